//! Sinks `s3` and `object_store`: objects with the records of a range of offsets.

mod path_pattern;
mod spec;

pub(crate) use spec::ObjectSinkSpec;
