//! Source `generator`: made-up records, the same ones for the same seed.

mod source;
mod spec;

pub(crate) use source::GeneratorSource;
pub(crate) use spec::{FieldGenerator, GeneratorSpec};
