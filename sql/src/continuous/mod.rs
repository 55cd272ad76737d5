//! Continuous queries on the streams runtime.
//!
//! A query is one application. Without `GROUP BY`, or if it groups by the source's key, it is one
//! sub-topology; else the rows first go to a repartition topic by their new key.

mod application;
mod counters;
mod layout;
mod program;
mod repartition;
mod writer;

#[cfg(test)]
mod tests;

pub use application::{QuerySpec, application};
pub use counters::QueryCounters;
pub use layout::{SinkLayout, sink_columns};
