//! What a running application says about itself.

use super::task_id::TaskId;

/// State of a running application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamsState {
    /// Joining the group, or restoring stores.
    Rebalancing,
    /// All assigned tasks process records.
    Running,
    /// Committing for the last time.
    Closing,
    /// Closed on request.
    Closed,
    /// Stopped by an error; see [`StreamsHandle::error`](super::StreamsHandle::error).
    Failed,
}

/// A snapshot of a running application's figures.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamsMetrics {
    /// State.
    pub state: StreamsState,
    /// Records processed since the start.
    pub records_in: u64,
    /// Records written since the start, changelogs not counted.
    pub records_out: u64,
    /// Records dropped on purpose since the start: late, without a key, or skipped by policy.
    pub records_dropped: u64,
    /// Records processed per second, over the last seconds.
    pub records_in_rate: f64,
    /// Records written per second, over the last seconds.
    pub records_out_rate: f64,
    /// How long a task's turn took, of at most 1,024 records, over the last minute.
    pub process_latency: LatencyMetrics,
    /// How long commits took that had something to commit, over the last minute.
    pub commit_latency: LatencyMetrics,
    /// The write-back caches of all tables and aggregates.
    pub cache: CacheMetrics,
    /// Records that wait in the inputs; `None` while it is not known. With exactly-once, up to
    /// the first open transaction.
    pub lag: Option<i64>,
    /// The source topics.
    pub inputs: Vec<InputMetrics>,
    /// The tasks of this process.
    pub tasks: Vec<TaskMetrics>,
    /// Commits that had something to commit.
    pub commits: u64,
    /// Threads that failed and were replaced.
    pub threads_replaced: u64,
    /// How often a thread found that its tasks had gone to another member.
    pub tasks_migrated: u64,
    /// How often a thread went back to what was committed.
    pub tasks_corrupted: u64,
    /// Stores on disk whose content had to be thrown away and read anew: because the changelog is
    /// another one than that which they were written from (it was deleted, or has lost its end),
    /// or because their windows have changed. A crash or an aborted transaction is no reason: they
    /// go back to their last commit then. Stores in memory are not counted.
    pub stores_wiped: u64,
}

/// How long something took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LatencyMetrics {
    /// How often it was measured.
    pub count: u64,
    /// The mean in milliseconds; 0 if it was never measured.
    pub avg_ms: f64,
    /// The longest in milliseconds.
    pub max_ms: f64,
}

/// Figures of the write-back caches, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheMetrics {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Look-ups that found their entry in the cache.
    pub hits: u64,
    /// Look-ups that had to ask the store.
    pub misses: u64,
}

impl CacheMetrics {
    /// The share of look-ups that found their entry, from 0 to 1; 0 before the first.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        let all = self.hits.saturating_add(self.misses).max(1);
        self.hits as f64 / all as f64
    }
}

/// Figures of one source topic, of the partitions that this process reads.
#[derive(Clone, Debug, PartialEq)]
pub struct InputMetrics {
    /// The topic.
    pub topic: String,
    /// Records processed since the start.
    pub records_in: u64,
    /// Records processed per second, over the last seconds.
    pub rate: f64,
    /// Records that wait; `None` while it is not known.
    pub lag: Option<i64>,
}

/// Figures of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskMetrics {
    /// The task.
    pub id: TaskId,
    /// What it does.
    pub state: TaskRunState,
    /// Records processed since it was assigned.
    pub records_in: u64,
    /// Records written since it was assigned, changelogs not counted.
    pub records_out: u64,
    /// Records dropped on purpose since it was assigned.
    pub records_dropped: u64,
    /// Changelog records read back.
    pub restored: u64,
    /// Changelog records to read back in all.
    pub to_restore: u64,
    /// Largest timestamp taken from the inputs, -1 before the first.
    pub stream_time: i64,
    /// The stores.
    pub stores: Vec<StoreMetrics>,
}

/// Figures of one store of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreMetrics {
    /// The store.
    pub name: String,
    /// How many entries it has, about.
    pub entries: u64,
    /// Bytes of its files; `None` for a store in memory.
    pub disk_bytes: Option<u64>,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskRunState {
    /// Reads its changelogs.
    Restoring,
    /// Processes records.
    Running,
}
