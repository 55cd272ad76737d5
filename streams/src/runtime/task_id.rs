//! Names of tasks, and positions of sources and stores within a sub-topology.

use std::fmt;

/// One task: a sub-topology's work on one partition number of all its source topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// Position in [`Application::sub_topologies`](super::Application::sub_topologies).
    pub sub_topology: usize,
    /// Partition of the source topics that this task reads.
    pub partition: i32,
}

impl TaskId {
    /// Reads what [`Display`](fmt::Display) writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (sub_topology, partition) = text.split_once('_')?;
        Some(Self {
            sub_topology: sub_topology.parse().ok()?,
            partition: partition.parse().ok()?,
        })
    }
}

impl fmt::Display for TaskId {
    /// As Kafka Streams writes it: `0_3`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}_{}", self.sub_topology, self.partition)
    }
}

/// Position of a source topic in [`SubTopology::sources`](super::SubTopology::sources).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceIndex(pub usize);

/// Position of a store in [`SubTopology::stores`](super::SubTopology::stores).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreIndex(pub usize);
