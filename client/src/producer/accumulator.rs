//! Records that wait to be sent, in batches by partition.
//!
//! `send` appends here under a lock of the one partition; the sending task takes sealed batches from here.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use hashbrown::HashMap;
use moldau_protocol::KString;
use moldau_protocol::batch::{BATCH_HEADER_SIZE, RecordBatchBuilder};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::error::ClientError;
use crate::producer::batch::{Batch, OpenBatch};
use crate::producer::config::ProducerConfig;
use crate::producer::delivery::{BatchOutcome, Delivery};
use crate::producer::record::ProducerRecord;
use crate::topic_partition::TopicPartition;

/// All queues of one producer.
#[derive(Debug)]
pub(crate) struct Accumulator {
    config: Arc<ProducerConfig>,
    /// Whether batches belong to transactions.
    is_transactional: bool,
    topics: RwLock<HashMap<KString, Arc<TopicQueues>>>,
    /// Queues that have become non-empty since the sending task last looked.
    activated: Mutex<Vec<Arc<PartitionQueue>>>,
    /// Wakes the sending task.
    pub(crate) wake: Notify,
    memory: Arc<Semaphore>,
    memory_waiters: AtomicUsize,
    flushes: AtomicUsize,
    closing: AtomicBool,
    /// Whether nothing is waited for any more.
    given_up: AtomicBool,
    next_batch_id: AtomicU64,
    next_queue_id: AtomicUsize,
    /// Batches without outcome, for `flush`. Bounded by `buffer_memory`.
    incomplete: Mutex<HashMap<u64, Arc<BatchOutcome>>>,
    first_error: Mutex<Option<ClientError>>,
}

/// The queues of one topic; the index is the partition.
#[derive(Debug)]
pub(crate) struct TopicQueues {
    pub(crate) partitions: Vec<Arc<PartitionQueue>>,
    sticky: AtomicI32,
}

/// The queue of one partition.
#[derive(Debug)]
pub(crate) struct PartitionQueue {
    pub(crate) id: usize,
    pub(crate) topic_partition: TopicPartition,
    state: Mutex<QueueState>,
}

#[derive(Debug, Default)]
struct QueueState {
    open: Option<OpenBatch>,
    sealed: VecDeque<Batch>,
    /// Whether the sending task looks at this queue.
    active: bool,
}

/// Memory for a batch that is about to be opened.
pub(crate) type BatchMemory = OwnedSemaphorePermit;

/// When a queue has something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Now,
    At(Instant),
    Empty,
}

impl Accumulator {
    pub(crate) fn new(config: Arc<ProducerConfig>, is_transactional: bool) -> Self {
        let memory = Arc::new(Semaphore::new(memory_limit(&config)));
        Self {
            config,
            is_transactional,
            topics: RwLock::default(),
            activated: Mutex::default(),
            wake: Notify::new(),
            memory,
            memory_waiters: AtomicUsize::new(0),
            flushes: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            next_batch_id: AtomicU64::new(0),
            next_queue_id: AtomicUsize::new(0),
            incomplete: Mutex::default(),
            first_error: Mutex::default(),
        }
    }

    /// The queues of each topic that something was sent to.
    pub(crate) fn topics(&self) -> RwLockReadGuard<'_, HashMap<KString, Arc<TopicQueues>>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes queues for a topic, or more of them if it has got more partitions.
    pub(crate) fn add_topic(&self, name: &KString, partitions: usize) -> Arc<TopicQueues> {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let known = topics.get(name);
        if let Some(known) = known.filter(|known| known.partitions.len() >= partitions) {
            return Arc::clone(known);
        }
        let name = name.detached();
        let mut queues = known.map_or_else(Vec::new, |known| known.partitions.clone());
        for partition in queues.len()..partitions {
            queues.push(Arc::new(PartitionQueue {
                id: self.next_queue_id.fetch_add(1, Ordering::Relaxed),
                topic_partition: TopicPartition {
                    topic: name.clone(),
                    partition: partition as i32,
                },
                state: Mutex::default(),
            }));
        }
        let topic = Arc::new(TopicQueues {
            sticky: AtomicI32::new(random_partition(queues.len())),
            partitions: queues,
        });
        topics.insert(name, Arc::clone(&topic));
        topic
    }

    /// Copies a record into the open batch of `queue`, or gives `None` where a new batch is needed.
    pub(crate) fn append(
        &self,
        queue: &PartitionQueue,
        record: &ProducerRecord,
        size: usize,
        timestamp: i64,
    ) -> Option<Delivery> {
        let mut state = queue.lock();
        let open = state.open.as_mut()?;
        open.has_room(size, self.config.batch_size)
            .then(|| open.append(record, timestamp))
    }

    /// Copies a record into a new batch of `queue`, or into one that somebody else has opened meanwhile.
    pub(crate) fn append_to_new_batch(
        &self,
        queue: &Arc<PartitionQueue>,
        record: &ProducerRecord,
        size: usize,
        timestamp: i64,
        memory: BatchMemory,
    ) -> Delivery {
        let mut guard = queue.lock();
        let state = &mut *guard;
        if let Some(open) = state.open.take() {
            if open.has_room(size, self.config.batch_size) {
                let open = state.open.insert(open);
                return open.append(record, timestamp);
            }
            state.sealed.push_back(open.seal());
        }
        let id = self.next_batch_id.fetch_add(1, Ordering::Relaxed);
        let outcome = BatchOutcome::new(queue.topic_partition.clone());
        let capacity = size.max(self.config.batch_size);
        let builder = RecordBatchBuilder::with_capacity(self.config.compression, capacity)
            .transactional(self.is_transactional);
        let mut open = OpenBatch::new(id, builder, Arc::clone(&outcome), memory);
        let delivery = open.append(record, timestamp);
        lock(&self.incomplete).insert(id, outcome);
        state.open = Some(open);
        if !std::mem::replace(&mut state.active, true) {
            lock(&self.activated).push(Arc::clone(queue));
        }
        drop(guard);
        self.wake.notify_one();
        delivery
    }

    /// Memory for a batch that starts with a record of `size` bytes. Waits while `buffer_memory` is used up.
    pub(crate) async fn memory(&self, size: usize) -> Result<BatchMemory, ClientError> {
        let wanted = (size + BATCH_HEADER_SIZE)
            .max(self.config.batch_size)
            .min(memory_limit(&self.config));
        let permits = u32::try_from(wanted).unwrap_or(u32::MAX);
        let memory = Arc::clone(&self.memory);
        if let Ok(memory) = Arc::clone(&memory).try_acquire_many_owned(permits) {
            return Ok(memory);
        }
        let _waiting = Counted::new(&self.memory_waiters);
        self.wake.notify_one();
        let limit = Duration::from_millis(self.config.max_block_ms);
        match tokio::time::timeout(limit, memory.acquire_many_owned(permits)).await {
            Ok(Ok(memory)) => Ok(memory),
            Ok(Err(_)) => Err(CLOSED),
            Err(_) => Err(ClientError::Timeout {
                operation: format!(
                    "waiting for room in `buffer_memory` ({} bytes, all of it waits to be delivered: \
                     send less, raise it, or see why the brokers do not keep up)",
                    self.config.buffer_memory
                ),
                after_ms: self.config.max_block_ms,
            }),
        }
    }

    /// Partition for a record without key: one until its batch is full, then another.
    pub(crate) fn sticky_partition<'a>(
        &self,
        topic: &'a TopicQueues,
        size: usize,
    ) -> Option<&'a Arc<PartitionQueue>> {
        let current = topic.partition(topic.sticky.load(Ordering::Relaxed))?;
        if current.has_room(size, self.config.batch_size) {
            return Some(current);
        }
        let next = random_partition(topic.partitions.len());
        topic.sticky.store(next, Ordering::Relaxed);
        topic.partition(next)
    }

    /// Queues that have become non-empty since the last call.
    pub(crate) fn take_activated(&self) -> Vec<Arc<PartitionQueue>> {
        std::mem::take(&mut *lock(&self.activated))
    }

    /// Whether batches are sent without waiting for their linger time.
    pub(crate) fn is_urgent(&self) -> bool {
        self.flushes.load(Ordering::Acquire) > 0
            || self.memory_waiters.load(Ordering::Acquire) > 0
            || self.is_closing()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(crate) fn start_closing(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Ends the sending task at once; what is not delivered fails as closed.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.start_closing();
    }

    pub(crate) fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Nothing more is taken; whoever waits for memory gets an error.
    pub(crate) fn close_memory(&self) {
        self.memory.close();
    }

    pub(crate) fn has_incomplete(&self) -> bool {
        !lock(&self.incomplete).is_empty()
    }

    /// Ends a batch: its records' deliveries get `result`, its memory is free again.
    pub(crate) fn complete(
        &self,
        batch: Batch,
        result: Result<crate::producer::delivery::Stored, ClientError>,
    ) {
        if let Err(error) = &result {
            lock(&self.first_error).get_or_insert_with(|| error.clone());
        }
        let id = batch.id();
        batch.outcome().complete(result);
        lock(&self.incomplete).remove(&id);
    }

    /// Sends all that was appended before, without linger, and waits for the outcomes.
    pub(crate) async fn flush(&self) -> Result<(), ClientError> {
        let _flushing = Counted::new(&self.flushes);
        self.wake.notify_one();
        let outcomes: Vec<_> = lock(&self.incomplete).values().map(Arc::clone).collect();
        for outcome in outcomes {
            // The outcome itself is in `first_error` already.
            let _ = Delivery::new(outcome, 0, 0).await;
        }
        match lock(&self.first_error).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl TopicQueues {
    pub(crate) fn partition(&self, partition: i32) -> Option<&Arc<PartitionQueue>> {
        self.partitions.get(usize::try_from(partition).ok()?)
    }
}

impl PartitionQueue {
    /// Whether a batch can be taken, and if not, when.
    pub(crate) fn readiness(&self, linger: Duration, urgent: bool, now: Instant) -> Readiness {
        let state = self.lock();
        if !state.sealed.is_empty() {
            return Readiness::Now;
        }
        match &state.open {
            None => Readiness::Empty,
            Some(_) if urgent => Readiness::Now,
            Some(open) if open.created_at() + linger <= now => Readiness::Now,
            Some(open) => Readiness::At(open.created_at() + linger),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.open.is_none() && state.sealed.is_empty()
    }

    /// Takes the oldest batch, sealing the open one if there is no other.
    pub(crate) fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        let sealed = state.sealed.pop_front();
        sealed.or_else(|| state.open.take().map(OpenBatch::seal))
    }

    /// Size of the batch that [`take`](Self::take) would give, about: an open one may still grow.
    pub(crate) fn next_size(&self) -> Option<usize> {
        let state = self.lock();
        let sealed = state.sealed.front().map(Batch::size);
        sealed.or_else(|| state.open.as_ref().map(OpenBatch::size))
    }

    /// Takes the oldest batch if it was opened before `oldest`.
    pub(crate) fn take_older_than(&self, oldest: Instant) -> Option<Batch> {
        let mut state = self.lock();
        if let Some(front) = state.sealed.front() {
            return match front.created_at() < oldest {
                true => state.sealed.pop_front(),
                false => None,
            };
        }
        let open = state.open.take_if(|open| open.created_at() < oldest)?;
        Some(open.seal())
    }

    /// Ends the sending task's interest in this queue, if it is empty.
    pub(crate) fn deactivate(&self) -> bool {
        let mut state = self.lock();
        let empty = state.open.is_none() && state.sealed.is_empty();
        state.active = !empty;
        empty
    }

    fn has_room(&self, size: usize, limit: usize) -> bool {
        let state = self.lock();
        state
            .open
            .as_ref()
            .is_some_and(|open| open.has_room(size, limit))
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        lock(&self.state)
    }
}

pub(crate) const CLOSED: ClientError = ClientError::Closed { object: "producer" };

fn memory_limit(config: &ProducerConfig) -> usize {
    config
        .buffer_memory
        .max(config.batch_size)
        .min(u32::MAX as usize)
        .min(Semaphore::MAX_PERMITS)
}

fn random_partition(partitions: usize) -> i32 {
    rand::random_range(0..partitions.max(1)) as i32
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one while it lives, also if the future that holds it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::AcqRel);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
