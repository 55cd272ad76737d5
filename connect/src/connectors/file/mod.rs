//! Files: lines to a topic (source), and JSON lines from topics (sink).

mod sink_spec;
mod source_spec;
mod tail;

pub(crate) use sink_spec::FileSinkSpec;
pub(crate) use source_spec::FileSourceSpec;
