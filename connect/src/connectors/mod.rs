//! The connectors, one folder each.

pub(crate) mod file;
pub(crate) mod generator;
pub(crate) mod host_metrics;
pub(crate) mod object;
