//! Runs connectors.
//!
//! Each connector has a task of its own and a `supervisor` that starts it again after errors.
//! `source_task` moves records into topics, `sink_task` out of them. Both see the cluster through
//! the trait in `cluster`, so that tests can stop them at any point.

mod client_cluster;
pub(crate) mod cluster;
mod connect;
mod dead_letter;
pub(crate) mod error;
pub(crate) mod sink;
pub(crate) mod sink_task;
pub(crate) mod source;
pub(crate) mod source_progress;
mod source_task;
pub(crate) mod status;
pub(crate) mod supervisor;

use std::sync::Arc;

use tokio::sync::watch;

pub use connect::{Connect, ConnectConfig, ConnectHandle, StatusReader};
pub use status::{ConnectorState, ConnectorStatus};

use status::StatusBoard;

/// What a running connector has around it.
#[derive(Debug, Clone)]
pub(crate) struct TaskContext<C> {
    pub(crate) cluster: C,
    pub(crate) status: Arc<StatusBoard>,
    /// Becomes true when the connector is to stop.
    pub(crate) closing: watch::Receiver<bool>,
    /// Name of this machine.
    pub(crate) host: Arc<str>,
}

#[cfg(test)]
pub(crate) mod fake_cluster;
#[cfg(test)]
mod source_tests;
