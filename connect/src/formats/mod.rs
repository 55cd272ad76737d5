//! How records are written outside of topics.

mod json_lines;

pub(crate) use json_lines::{FormatError, LineFormat, StoredRecord};
