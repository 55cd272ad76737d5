//! Source `host_metrics`: figures of this machine, one record a sample.

mod spec;

pub(crate) use spec::HostMetricsSpec;
