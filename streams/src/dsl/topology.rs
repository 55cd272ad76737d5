//! A finished topology.

use std::sync::Arc;

use super::compile::application;
use super::describe::describe;
use super::graph::Graph;
use super::test_driver::TestDriver;
use crate::runtime::{Application, LocalConfig, StreamsError};

/// A finished topology: to describe, to test and to run.
#[derive(Clone)]
pub struct Topology {
    graph: Arc<Graph>,
}

impl Topology {
    pub(super) const fn new(graph: Arc<Graph>) -> Self {
        Self { graph }
    }

    /// The consumer group, and prefix of all internal topics.
    #[must_use]
    pub fn application_id(&self) -> &str {
        &self.graph.application_id
    }

    /// The topology as text, as Java's `Topology.describe()` writes it.
    #[must_use]
    pub fn describe(&self) -> String {
        describe(&self.graph)
    }

    /// What the runtime runs.
    #[must_use]
    pub fn application(&self) -> Application {
        application(&self.graph)
    }

    /// A driver that runs the topology in memory, with one partition per topic, and commits after
    /// each record.
    ///
    /// # Errors
    /// The topology cannot run.
    pub fn test(&self) -> Result<TestDriver, StreamsError> {
        self.test_with(LocalConfig::default())
    }

    /// A driver with partitions, commits and cache of its own.
    ///
    /// # Errors
    /// The topology cannot run.
    pub fn test_with(&self, config: LocalConfig) -> Result<TestDriver, StreamsError> {
        TestDriver::new(self.application(), config)
    }
}

impl std::fmt::Debug for Topology {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.describe())
    }
}
