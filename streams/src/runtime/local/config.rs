//! Settings of a local run.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Settings of a local run.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// Partitions of topics that are not in `topics` (1).
    pub partitions: i32,
    /// Partition counts of topics. Patterns of sources find these topics from the start.
    pub topics: BTreeMap<String, i32>,
    /// Memory for write-back caches (10 MiB). 0 makes tables emit each single update.
    pub cache_max_bytes: usize,
    /// When to commit (after every record).
    pub commit: CommitMode,
    /// The virtual wall clock at the start, in milliseconds since 1970 (0).
    pub wall_clock_ms: i64,
    /// Wall-clock time between two looks for windows that have closed, in milliseconds (0, like
    /// Kafka Streams' test driver; against a cluster it is 1,000).
    pub emit_interval_ms: i64,
    /// Directory for stores that outlive a crash of the tasks; without one (the default) all
    /// stores are in memory.
    pub state_dir: Option<PathBuf>,
    /// Memory of the stores in `state_dir`, as in
    /// [`StreamsConfig::store_memory_bytes`](crate::StreamsConfig::store_memory_bytes).
    pub store_memory_bytes: usize,
    /// Longest run of records that a program gets at once (1,024; 1 where every record commits).
    pub max_run: usize,
}

/// When a local run commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitMode {
    /// After every record, like Kafka Streams' test driver: each update is seen.
    EveryRecord,
    /// Only when asked to, so that caches and crashes can be tested.
    Manual,
}

impl LocalConfig {
    /// The same settings with the partition count of one topic.
    #[must_use]
    pub fn topic(mut self, name: impl Into<String>, partitions: i32) -> Self {
        self.topics.insert(name.into(), partitions);
        self
    }

    /// The same settings with another commit mode.
    #[must_use]
    pub const fn commit(mut self, commit: CommitMode) -> Self {
        self.commit = commit;
        self
    }

    pub(in crate::runtime) fn partitions_of(&self, topic: &str) -> i32 {
        self.topics.get(topic).copied().unwrap_or(self.partitions)
    }
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            partitions: 1,
            topics: BTreeMap::new(),
            cache_max_bytes: 10 * 1024 * 1024,
            commit: CommitMode::EveryRecord,
            wall_clock_ms: 0,
            emit_interval_ms: 0,
            state_dir: None,
            store_memory_bytes: 64 * 1024 * 1024,
            max_run: 1_024,
        }
    }
}
