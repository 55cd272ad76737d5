//! Sinks `s3` and `object_store`: objects with the records of a range of offsets.

mod builder;
mod path_pattern;
mod sink;
mod spec;
mod store;

pub(crate) use sink::ObjectSink;
pub(crate) use spec::ObjectSinkSpec;
pub(crate) use store::StoreTarget;

#[cfg(test)]
mod tests;
