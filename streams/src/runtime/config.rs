//! Settings of a running application.

use std::path::PathBuf;

use super::uncaught_error::UncaughtErrorHandler;

/// Settings of a running application. Names and defaults are Kafka Streams'.
#[derive(Clone, Debug)]
pub struct StreamsConfig {
    /// What a crash may do to results (`processing.guarantee`, at least once).
    pub processing_guarantee: ProcessingGuarantee,
    /// Longest time between two commits; `None` is 30,000 ms, or 100 ms with exactly-once.
    pub commit_interval_ms: Option<u64>,
    /// Time after which the cluster aborts the open transaction of a thread that has gone silent
    /// (10,000 ms). Readers of committed records may have to wait that long after a crash.
    pub transaction_timeout_ms: u64,
    /// How long a thread waits for an output topic that does not exist, or for room in its producer
    /// (60,000 ms, the producer's `max.block.ms`).
    pub max_block_ms: u64,
    /// What to do when a thread meets an error that it cannot handle (stop this client).
    pub uncaught_error: UncaughtErrorHandler,
    /// Threads in this process, each with a consumer and a producer of its own (1).
    pub num_threads: usize,
    /// How long a task waits for data of an input that has none, although it has read all there
    /// is of it, before it goes on with the other inputs (0 ms). Negative: never wait, not even for
    /// records that are known to be there.
    pub max_task_idle_ms: i64,
    /// Memory for the write-back caches of all tasks together (10 MiB,
    /// `statestore.cache.max.bytes`). With a cache a table emits the last value of each changed
    /// key at commit; with 0 it emits each single update.
    pub cache_max_bytes: usize,
    /// Records that may wait in one input partition before it is paused (1,000).
    pub buffered_records_per_partition: usize,
    /// How long to wait for records when there is nothing to do (100 ms).
    pub poll_ms: u64,
    /// How long the group waits for a member that has gone silent before others take its tasks
    /// over (45,000 ms).
    pub session_timeout_ms: i32,
    /// A name that stays the same over restarts (`group.instance.id`): the process gets its tasks
    /// back at once when it comes again within the session timeout, even after a crash.
    pub group_instance_id: Option<String>,
    /// Replicas of internal topics (-1: the broker's default).
    pub replication_factor: i16,
    /// Copies of each task's stores that other processes keep up to date, so that a task can move
    /// there without a long restore (0).
    pub num_standby_replicas: usize,
    /// `host:port` where this process answers queries of the others (`application.server`); port 0
    /// takes a free one. `None`: only this process's own stores can be asked.
    pub application_server: Option<String>,
    /// How often records that are done are deleted from repartition topics (30,000 ms).
    pub repartition_purge_interval_ms: u64,
    /// How long to wait for source topics that do not exist yet (30,000 ms).
    pub missing_topic_timeout_ms: u64,
    /// Directory for stores that outlive the process (`state.dir`, none): each task has a
    /// directory `<application id>/<task id>` there. Without one, all stores are in memory and
    /// come back from their changelogs as a whole at each start.
    pub state_dir: Option<PathBuf>,
    /// Memory of all stores in `state_dir` together (64 MiB), whatever the number of tasks: half
    /// of it for blocks read from disk, a quarter for what is committed and not written yet, and a
    /// quarter for changes that are not committed; beyond that tasks commit early.
    pub store_memory_bytes: usize,
}

impl Default for StreamsConfig {
    fn default() -> Self {
        Self {
            processing_guarantee: ProcessingGuarantee::AtLeastOnce,
            commit_interval_ms: None,
            transaction_timeout_ms: 10_000,
            max_block_ms: 60_000,
            uncaught_error: UncaughtErrorHandler::default(),
            num_threads: 1,
            max_task_idle_ms: 0,
            cache_max_bytes: 10 * 1024 * 1024,
            buffered_records_per_partition: 1_000,
            poll_ms: 100,
            session_timeout_ms: 45_000,
            group_instance_id: None,
            replication_factor: -1,
            num_standby_replicas: 0,
            application_server: None,
            repartition_purge_interval_ms: 30_000,
            missing_topic_timeout_ms: 30_000,
            state_dir: None,
            store_memory_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What a crash may do to results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProcessingGuarantee {
    /// Nothing is lost; records since the last commit are processed again, and their results
    /// written again.
    #[default]
    AtLeastOnce,
    /// Input, state and results move on together, in one transaction per thread and commit
    /// (KIP-129, KIP-447). Inputs are read committed; readers of the results should do so too.
    ExactlyOnceV2,
}

impl StreamsConfig {
    /// The commit interval that holds, in milliseconds.
    #[must_use]
    pub fn effective_commit_interval_ms(&self) -> u64 {
        let default = match self.processing_guarantee {
            ProcessingGuarantee::AtLeastOnce => 30_000,
            ProcessingGuarantee::ExactlyOnceV2 => 100,
        };
        self.commit_interval_ms.unwrap_or(default)
    }

    pub(crate) fn is_exactly_once(&self) -> bool {
        self.processing_guarantee == ProcessingGuarantee::ExactlyOnceV2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_interval_follows_the_guarantee_unless_it_is_set() {
        let mut config = StreamsConfig::default();
        assert_eq!(config.effective_commit_interval_ms(), 30_000);
        config.processing_guarantee = ProcessingGuarantee::ExactlyOnceV2;
        assert_eq!(config.effective_commit_interval_ms(), 100);
        config.commit_interval_ms = Some(7);
        assert_eq!(config.effective_commit_interval_ms(), 7);
    }
}
