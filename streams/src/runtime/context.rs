//! What a program sees of its task.

use std::sync::Arc;

use bytes::Bytes;
use moldau_client::{KString, ProducerRecord};

use super::cache_budget::CacheBudget;
use super::error::StreamsError;
use super::global::{GlobalIndex, GlobalStore};
use super::offset_metadata::ProcessorMetadata;
use super::partition_counts::PartitionCounts;
use super::punctuation::{PunctuationId, PunctuationQueue, PunctuationType};
use super::record::OutputRecord;
use super::store::{
    KeyValueStore, SessionStore, StoreSlot, TaskStores, VersionedStore, WindowStore,
};
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
    pub(crate) emit_interval_ms: i64,
    /// Topic of the run of records that is processed, or was last.
    pub(crate) source_topic: KString,
    pub(crate) stores: TaskStores,
    pub(crate) global_stores: Arc<[GlobalStore]>,
    pub(crate) punctuations: PunctuationQueue,
    /// What operators keep with the committed offsets.
    pub(crate) processor_metadata: ProcessorMetadata,
    pub(crate) cache_budget: Arc<CacheBudget>,
    pub(crate) partition_counts: Arc<dyn PartitionCounts>,
    pub(crate) async_runtime: Option<tokio::runtime::Handle>,
    /// What the program sent since the runtime last took it.
    pub(crate) outputs: Vec<Output>,
    pub(crate) commit_requested: bool,
    pub(crate) records_out: u64,
    pub(crate) records_dropped: u64,
}

/// A record on its way out of a task.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) record: ProducerRecord,
    /// Bytes that decide the partition, where they are not the key.
    pub(crate) partition_key: Option<Bytes>,
    /// Whether it is a change of a store, whose offset the store has to know.
    pub(crate) is_changelog: bool,
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

    /// Topic of the records that are processed. Partition, offset and headers are in each
    /// [`Record`](super::Record).
    #[must_use]
    pub const fn source_topic(&self) -> &KString {
        &self.state.source_topic
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

    /// Wall-clock milliseconds that pass between two looks for windows that have closed.
    #[must_use]
    pub const fn emit_interval_ms(&self) -> i64 {
        self.state.emit_interval_ms
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

    /// The store of a global table, as far as its topic has been read.
    ///
    /// # Errors
    /// The application has no such table.
    pub fn global_store(&self, index: GlobalIndex) -> Result<&GlobalStore, StreamsError> {
        let stores = &self.state.global_stores;
        stores.get(index.0).ok_or_else(|| StreamsError::Store {
            store: format!("global #{}", index.0),
            reason: format!("the application has only {} global tables", stores.len()),
        })
    }

    /// Asks for [`TaskProgram::punctuate`](super::TaskProgram::punctuate) every `interval_ms`,
    /// at least 1. By stream time the first call is due with the first record, by the wall
    /// clock after the first interval. Punctuations end with the task; a program asks for them
    /// anew in [`TaskProgram::init`](super::TaskProgram::init).
    pub fn schedule(&mut self, interval_ms: i64, clock: PunctuationType) -> PunctuationId {
        let first_ms = match clock {
            PunctuationType::StreamTime => 0,
            PunctuationType::WallClockTime => {
                self.state.wall_clock_ms.saturating_add(interval_ms.max(1))
            }
        };
        self.schedule_from(first_ms, interval_ms, clock)
    }

    /// As [`schedule`](Self::schedule), with the first call due at `first_ms`: so all tasks
    /// are called at the full minute, for example.
    pub fn schedule_from(
        &mut self,
        first_ms: i64,
        interval_ms: i64,
        clock: PunctuationType,
    ) -> PunctuationId {
        self.state
            .punctuations
            .schedule(clock, first_ms, interval_ms)
    }

    /// Ends a punctuation; one that has ended already changes nothing.
    pub fn cancel_punctuation(&mut self, id: PunctuationId) {
        self.state.punctuations.cancel(id);
    }

    /// A figure that an operator keeps with the committed offsets, such as the end of the last
    /// window it has emitted; it survives restarts and moves with the task.
    #[must_use]
    pub fn processor_metadata(&self, name: &str) -> Option<i64> {
        self.state.processor_metadata.get(name).copied()
    }

    /// Sets a figure that is committed with the offsets of all inputs.
    pub fn set_processor_metadata(&mut self, name: &str, value: i64) {
        let metadata = &mut self.state.processor_metadata;
        match metadata.get_mut(name) {
            Some(before) => *before = value,
            None => {
                metadata.insert(name.to_owned(), value);
            }
        }
    }

    /// A session store.
    ///
    /// # Errors
    /// The sub-topology has no such store, or it is of another kind.
    pub fn session_store(
        &mut self,
        index: StoreIndex,
    ) -> Result<&mut dyn SessionStore, StreamsError> {
        slot(&mut self.state.stores, index)?.session()
    }

    /// A versioned store.
    ///
    /// # Errors
    /// The sub-topology has no such store, or it is of another kind.
    pub fn versioned_store(
        &mut self,
        index: StoreIndex,
    ) -> Result<&mut dyn VersionedStore, StreamsError> {
        slot(&mut self.state.stores, index)?.versioned()
    }

    /// The tokio runtime that the application was started in, to start futures in or to wait for
    /// one; `None` in a local run.
    #[must_use]
    pub const fn async_runtime(&self) -> Option<&tokio::runtime::Handle> {
        self.state.async_runtime.as_ref()
    }

    /// How many partitions a topic has that this program writes to; at least 1.
    ///
    /// # Errors
    /// The topic does not exist, or the cluster cannot be asked.
    pub fn partition_count(&self, topic: &KString) -> Result<i32, StreamsError> {
        self.state.partition_counts.partition_count(topic)
    }

    /// Writes a record; it is on its way at the latest when the next commit begins.
    pub fn send(&mut self, record: OutputRecord) {
        self.state.records_out += 1;
        self.state.outputs.push(Output {
            record: record.into(),
            partition_key: None,
            is_changelog: false,
        });
    }

    /// Writes a record whose partition follows from other bytes than its key: of a windowed key,
    /// the part without the window, so that all windows of a key meet in one partition.
    pub fn send_partitioned_by(&mut self, record: OutputRecord, partition_key: Bytes) {
        self.state.records_out += 1;
        self.state.outputs.push(Output {
            record: record.into(),
            partition_key: Some(partition_key),
            is_changelog: false,
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
