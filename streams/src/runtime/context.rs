//! What a program sees of its task.

use std::sync::Arc;

use bytes::Bytes;

use super::cache_budget::CacheBudget;
use super::error::StreamsError;
use super::record::OutputRecord;
use super::store::{KeyValueStore, StoreSlot, WindowStore};
use super::task_id::{StoreIndex, TaskId};

/// What a program sees of its task, for the time of one call.
#[derive(Debug)]
pub struct TaskContext<'a> {
    state: &'a mut TaskState,
}

/// The part of a task that its program may touch.
#[derive(Debug)]
pub(crate) struct TaskState {
    pub(crate) id: TaskId,
    /// Largest timestamp taken from the inputs, -1 before the first; never goes back.
    pub(crate) stream_time: i64,
    pub(crate) wall_clock_ms: i64,
    pub(crate) stores: Vec<StoreSlot>,
    pub(crate) cache_budget: Arc<CacheBudget>,
    /// What the program sent since the runtime last took it.
    pub(crate) outputs: Vec<Output>,
    pub(crate) commit_requested: bool,
    pub(crate) records_out: u64,
    pub(crate) records_dropped: u64,
}

/// A record on its way out of a task.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) record: OutputRecord,
    /// Bytes that decide the partition, where they are not the key.
    pub(crate) partition_key: Option<Bytes>,
}

impl<'a> TaskContext<'a> {
    pub(crate) const fn new(state: &'a mut TaskState) -> Self {
        Self { state }
    }

    /// The task.
    #[must_use]
    pub const fn task_id(&self) -> TaskId {
        self.state.id
    }

    /// The partition of the inputs that this task reads.
    #[must_use]
    pub const fn partition(&self) -> i32 {
        self.state.id.partition
    }

    /// Largest timestamp of the records taken from the inputs so far, -1 before the first.
    #[must_use]
    pub const fn stream_time(&self) -> i64 {
        self.state.stream_time
    }

    /// Moves stream time on to a record's timestamp; an older one changes nothing.
    pub fn advance_stream_time(&mut self, timestamp: i64) {
        self.state.stream_time = self.state.stream_time.max(timestamp);
    }

    /// Milliseconds since 1970, at the beginning of this call; the test driver's clock is virtual.
    #[must_use]
    pub const fn wall_clock_ms(&self) -> i64 {
        self.state.wall_clock_ms
    }

    /// The memory that this program's caches share with all others.
    #[must_use]
    pub const fn cache_budget(&self) -> &Arc<CacheBudget> {
        &self.state.cache_budget
    }

    /// A key-value store. Changes go to its changelog at commit, once per key.
    ///
    /// # Errors
    /// The sub-topology has no such store, or it is a window store.
    pub fn store(&mut self, index: StoreIndex) -> Result<&mut dyn KeyValueStore, StreamsError> {
        slot(&mut self.state.stores, index)?.key_value()
    }

    /// A window store.
    ///
    /// # Errors
    /// The sub-topology has no such store, or it is a key-value store.
    pub fn window_store(
        &mut self,
        index: StoreIndex,
    ) -> Result<&mut dyn WindowStore, StreamsError> {
        slot(&mut self.state.stores, index)?.window()
    }

    /// Writes a record; it is on its way at the latest when the next commit begins.
    pub fn send(&mut self, record: OutputRecord) {
        self.state.records_out += 1;
        self.state.outputs.push(Output {
            record,
            partition_key: None,
        });
    }

    /// Writes a record whose partition follows from other bytes than its key: of a windowed key,
    /// the part without the window, so that all windows of a key meet in one partition.
    pub fn send_partitioned_by(&mut self, record: OutputRecord, partition_key: Bytes) {
        self.state.records_out += 1;
        self.state.outputs.push(Output {
            record,
            partition_key: Some(partition_key),
        });
    }

    /// Asks for a commit soon, before the interval has passed.
    pub const fn request_commit(&mut self) {
        self.state.commit_requested = true;
    }

    /// Counts records that were dropped on purpose: late, without a key, or skipped by policy.
    pub const fn drop_records(&mut self, count: u64) {
        self.state.records_dropped += count;
    }
}

fn slot(stores: &mut [StoreSlot], index: StoreIndex) -> Result<&mut StoreSlot, StreamsError> {
    let count = stores.len();
    stores.get_mut(index.0).ok_or_else(|| StreamsError::Store {
        store: format!("#{}", index.0),
        reason: format!("the sub-topology has only {count} stores"),
    })
}
