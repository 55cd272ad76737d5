//! Files: lines to a topic (source), and JSON lines from topics (sink).

mod sink;
mod sink_spec;
mod source;
mod source_spec;
mod tail;

pub(crate) use sink::FileSink;
pub(crate) use sink_spec::{FileSinkSpec, Fsync};
pub(crate) use source::FileSource;
pub(crate) use source_spec::FileSourceSpec;
