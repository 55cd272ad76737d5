//! Source `host_metrics`: figures of this machine, one record a sample.

mod source;
mod spec;

pub(crate) use source::HostMetricsSource;
pub(crate) use spec::HostMetricsSpec;
