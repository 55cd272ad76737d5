//! How many partitions the topics have that tasks write to.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use moldau_client::{Client, KString};

use super::error::StreamsError;
use super::local::LocalConfig;

/// Tells how many partitions a topic has that a task writes to.
pub(crate) trait PartitionCounts: Debug + Send + Sync {
    /// At least 1.
    ///
    /// # Errors
    /// The topic does not exist, or the cluster cannot be asked.
    fn partition_count(&self, topic: &KString) -> Result<i32, StreamsError>;
}

/// Those of a cluster: as last heard, else asked for, which waits.
pub(crate) struct ClusterPartitionCounts {
    pub(crate) client: Client,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl PartitionCounts for ClusterPartitionCounts {
    fn partition_count(&self, topic: &KString) -> Result<i32, StreamsError> {
        if let Some(count) = self.client.cluster_metadata().partition_count(topic) {
            return Ok(count);
        }
        // Tasks run in threads of their own, so waiting holds nobody up.
        let count = self.runtime.block_on(self.client.partition_count(topic));
        let count = count.map_err(|error| {
            StreamsError::client(format!("look up target topic \"{topic}\""), error)
        })?;
        count.ok_or_else(|| {
            StreamsError::topology(format!(
                "target topic \"{topic}\" does not exist\n  hint: create it first, for example with `moldau topic create {topic} --partitions 3`"
            ))
        })
    }
}

impl Debug for ClusterPartitionCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClusterPartitionCounts")
            .finish_non_exhaustive()
    }
}

/// Those of a local run: of internal topics as planned, of others as configured.
#[derive(Debug)]
pub(crate) struct LocalPartitionCounts {
    pub(crate) internal: BTreeMap<String, i32>,
    pub(crate) config: LocalConfig,
}

impl PartitionCounts for LocalPartitionCounts {
    fn partition_count(&self, topic: &KString) -> Result<i32, StreamsError> {
        let internal = self.internal.get(topic.as_str()).copied();
        let count = internal.unwrap_or_else(|| self.config.partitions_of(topic));
        Ok(count.max(1))
    }
}
