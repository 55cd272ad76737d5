//! One coordinator and the partition of its internal topic that it writes to.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use moldau_core::coordinator::{CoordinatorRecord, OffsetsMarker, TransactionalProducer};
use moldau_core::ids::{AppendId, Token};
use moldau_core::transaction::Markers;
use moldau_log::ReadRequest;
use moldau_protocol::batch::{
    BatchError, BatchIter, Compression, EndTransactionMarker, RecordBatch, RecordBatchBuilder,
};
use moldau_protocol::{ErrorCode, ResponseKind, Uuid};
use tokio::sync::{OnceCell, oneshot};
use tracing::{error, info};

use super::machine::{Appended, Machine, Step};
use super::timer::Timer;
use crate::runtime::{Append, AppendResult, Partition, Slot, Writers, now_ms};

/// Where a shard sends the ends of transactions, that they are told to their partitions.
pub(super) type MarkerOutlet = Arc<OnceLock<Box<dyn Fn(Markers) + Send + Sync>>>;

/// A coordinator with what waits for it.
pub(super) struct Shard<M: Machine> {
    partition: Arc<Partition>,
    writers: Arc<Writers>,
    timer: Arc<Timer>,
    settings: M::Settings,
    markers: MarkerOutlet,
    /// How long a full writer queue is waited for.
    append_limit: Duration,
    state: Mutex<State<M>>,
    /// Set once the partition is replayed.
    loaded: OnceCell<()>,
    /// When core wants to be called, in milliseconds; `i64::MAX` for never.
    pub(super) due: AtomicI64,
    itself: Weak<Self>,
}

struct State<M> {
    /// `None` until the partition is replayed.
    coordinator: Option<M>,
    /// Requests that are not answered.
    waiting: HashMap<Token, oneshot::Sender<ResponseKind>>,
    /// Appends whose outcome is open, oldest first. Bound: [`MAX_APPENDS`].
    appends: VecDeque<(AppendId, oneshot::Receiver<AppendResult>)>,
    /// A task waits for the outcome of the appends.
    following: bool,
}

impl<M: Machine> Shard<M> {
    pub(super) fn new(
        partition: Arc<Partition>,
        writers: Arc<Writers>,
        timer: Arc<Timer>,
        settings: M::Settings,
        markers: MarkerOutlet,
        append_limit: Duration,
    ) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            partition,
            writers,
            timer,
            settings,
            markers,
            append_limit,
            state: Mutex::new(State {
                coordinator: None,
                waiting: HashMap::new(),
                appends: VecDeque::new(),
                following: false,
            }),
            loaded: OnceCell::new(),
            due: AtomicI64::new(i64::MAX),
            itself: Weak::clone(itself),
        })
    }

    pub(super) fn topic_id(&self) -> Uuid {
        self.partition.topic_id
    }

    /// Runs one request and waits for its response.
    pub(super) async fn call(
        &self,
        token: Token,
        call: impl FnOnce(&mut M, i64) -> Vec<M::Action>,
    ) -> Result<ResponseKind, ErrorCode> {
        let (sender, receiver) = oneshot::channel();
        self.load().await?;
        // Before core changes anything: from there on, nothing may wait or be given up.
        let slot = self.slot().await?;
        {
            let mut state = self.lock();
            if state.appends.len() >= MAX_APPENDS || state.waiting.len() >= MAX_WAITING {
                return Err(ErrorCode::CoordinatorLoadInProgress);
            }
            state.waiting.insert(token, sender);
            self.run(&mut state, Some(slot), call);
        }
        receiver.await.map_err(|_| ErrorCode::NotCoordinator)
    }

    /// Runs something that nobody waits for.
    pub(super) async fn act(
        &self,
        call: impl FnOnce(&mut M, i64) -> Vec<M::Action>,
    ) -> Result<(), ErrorCode> {
        self.load().await?;
        let slot = self.slot().await?;
        self.run(&mut self.lock(), Some(slot), call);
        Ok(())
    }

    pub(super) async fn read<R>(&self, read: impl FnOnce(&M) -> R) -> Result<R, ErrorCode> {
        self.load().await?;
        self.read_now(read)
            .ok_or(ErrorCode::CoordinatorNotAvailable)
    }

    /// Reads without waiting; `None` when the partition is not replayed yet.
    pub(super) fn read_now<R>(&self, read: impl FnOnce(&M) -> R) -> Option<R> {
        self.lock().coordinator.as_ref().map(read)
    }

    /// Answers all that waits, if the coordinator was ever used.
    pub(super) fn resign(&self, code: ErrorCode) {
        let mut state = self.lock();
        self.run(&mut state, None, |coordinator, _| coordinator.resign(code));
        state.waiting.clear();
    }

    /// Calls core because its time has come.
    pub(super) async fn time_out(&self) {
        let slot = self.slot().await.ok();
        self.run(&mut self.lock(), slot, M::handle_timeout);
    }

    /// Replays the partition before its first use; one caller does it, the others wait.
    async fn load(&self) -> Result<(), ErrorCode> {
        let load = || async {
            let partition = Arc::clone(&self.partition);
            let coordinator = M::create(&self.settings, partition.leader_epoch());
            let replayed =
                tokio::task::spawn_blocking(move || replay(&partition, coordinator)).await;
            let coordinator = replayed.map_err(|_| ErrorCode::CoordinatorNotAvailable)??;
            let mut state = self.lock();
            state.coordinator = Some(coordinator);
            self.run(&mut state, None, M::loaded);
            Ok(())
        };
        self.loaded.get_or_try_init(load).await.copied()
    }

    /// A place for one append; a full queue is waited for, but not for ever.
    async fn slot(&self) -> Result<Slot<'_>, ErrorCode> {
        let slot = self.writers.slot(&self.partition, self.append_limit).await;
        slot.map_err(|_| ErrorCode::CoordinatorNotAvailable)
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls core and carries out what it wants; `slot` is for its first append.
    fn run(
        &self,
        state: &mut State<M>,
        mut slot: Option<Slot<'_>>,
        call: impl FnOnce(&mut M, i64) -> Vec<M::Action>,
    ) {
        let Some(coordinator) = &mut state.coordinator else {
            return;
        };
        coordinator.refresh(&self.settings);
        let actions = call(coordinator, now_ms());
        let due = coordinator.poll_timeout().unwrap_or(i64::MAX);
        self.due.store(due, Ordering::Release);
        self.timer.earliest(due);
        for action in actions {
            match M::step(action) {
                Step::Respond { token, response } => {
                    if let Some(waiting) = state.waiting.remove(&token) {
                        let _ = waiting.send(response);
                    }
                }
                Step::Append { id, what } => {
                    let outcome = self.append(slot.take(), &what);
                    state.appends.push_back((id, outcome));
                }
                Step::WriteMarkers(markers) => match self.markers.get() {
                    Some(tell) => tell(markers),
                    None => error!("markers of a transaction have nowhere to go"),
                },
            }
        }
        if !state.appends.is_empty() && !state.following {
            state.following = true;
            self.follow();
        }
    }

    /// Puts a batch into the writer's queue.
    ///
    /// Without a slot at hand, a full queue fails the append: core then takes back what it did.
    fn append(&self, slot: Option<Slot<'_>>, what: &Appended) -> oneshot::Receiver<AppendResult> {
        let (reply, outcome) = oneshot::channel();
        let (guard, marker) = match what {
            Appended::Records { producer, .. } => {
                (producer.and_then(|producer| producer.guard), None)
            }
            Appended::Marker(marker) => (None, Some(marker.marker)),
        };
        let slot = slot.or_else(|| self.writers.free_slot(&self.partition));
        match (batch_of(what), slot) {
            (Ok(batch), Some(slot)) => slot.fill(Append {
                partition: Arc::clone(&self.partition),
                batch,
                log_append_time: false,
                guard,
                marker,
                committed: true,
                reply,
            }),
            (Err(error), _) => {
                error!(%error, "coordinator records do not make a batch");
                let _ = reply.send(Err(ErrorCode::UnknownServerError));
            }
            (_, None) => {
                let _ = reply.send(Err(ErrorCode::NotEnoughReplicas));
            }
        }
        outcome
    }

    /// The oldest append whose outcome is open; none ends the task that follows them.
    fn next_append(&self) -> Option<(AppendId, oneshot::Receiver<AppendResult>)> {
        let mut state = self.lock();
        let next = state.appends.pop_front();
        state.following = next.is_some();
        next
    }

    /// Tells core the outcome of each append in order, on a task that ends when none is open.
    fn follow(&self) {
        let Some(shard) = self.itself.upgrade() else {
            return;
        };
        tokio::spawn(async move {
            loop {
                let Some((id, outcome)) = shard.next_append() else {
                    return;
                };
                let outcome = outcome.await.unwrap_or(Err(ErrorCode::NotLeaderOrFollower));
                let slot = shard.slot().await.ok();
                shard.run(
                    &mut shard.lock(),
                    slot,
                    |coordinator, now_ms| match outcome {
                        Ok(_) => coordinator.committed(id, now_ms),
                        Err(code) => coordinator.append_failed(id, code, now_ms),
                    },
                );
            }
        });
    }
}

/// Gives every record of the partition to the coordinator. Blocks on files.
fn replay<M: Machine>(partition: &Partition, mut coordinator: M) -> Result<M, ErrorCode> {
    let Some(snapshot) = partition.snapshot() else {
        return Ok(coordinator);
    };
    let mut offset = snapshot.log_start_offset();
    let end = snapshot.log_end_offset();
    let failed = |error: &dyn fmt::Display| {
        error!(topic = M::TOPIC, partition = partition.index, %error, "cannot read coordinator's partition");
        ErrorCode::CoordinatorNotAvailable
    };
    while offset < end {
        let request = ReadRequest {
            offset,
            up_to_offset: end,
            max_bytes: READ_BYTES,
            at_least_one: true,
        };
        let Some(slice) = snapshot.read(&request).map_err(|error| failed(&error))? else {
            break;
        };
        for batch in BatchIter::new(slice.read_bytes().map_err(|error| failed(&error))?) {
            let batch = batch.map_err(|error| failed(&error))?;
            coordinator
                .replay_batch(&batch)
                .map_err(|error| failed(&error))?;
        }
        offset = slice.next_offset;
    }
    info!(
        topic = M::TOPIC,
        partition = partition.index,
        end_offset = end,
        "loaded coordinator"
    );
    Ok(coordinator)
}

fn batch_of(what: &Appended) -> Result<RecordBatch, BatchError> {
    match what {
        Appended::Records { producer, records } => batch_of_records(*producer, records),
        Appended::Marker(marker) => marker_batch(marker),
    }
}

fn batch_of_records(
    producer: Option<TransactionalProducer>,
    records: &[CoordinatorRecord],
) -> Result<RecordBatch, BatchError> {
    let now_ms = now_ms();
    let mut builder = RecordBatchBuilder::new(Compression::None);
    if let Some(producer) = producer {
        let (id, epoch) = (producer.producer_id.0, producer.producer_epoch.0);
        builder = builder.producer(id, epoch, NO_SEQUENCE).transactional(true);
    }
    for record in records {
        builder.append(now_ms, Some(&record.key), record.value.as_deref(), &[]);
    }
    RecordBatch::parse(builder.build())
}

/// The control batch of a marker; offset and leader epoch follow when it is appended.
pub(super) fn marker_batch(marker: &OffsetsMarker) -> Result<RecordBatch, BatchError> {
    let end = EndTransactionMarker {
        committed: marker.marker.committed,
        coordinator_epoch: marker.marker.coordinator_epoch,
    };
    let (id, epoch) = (marker.producer_id.0, marker.producer_epoch.0);
    RecordBatch::parse(end.to_batch(0, now_ms(), 0, id, epoch))
}

impl<M: Machine> fmt::Debug for Shard<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("partition", &self.partition.index)
            .finish_non_exhaustive()
    }
}

/// Appends of one coordinator whose outcome is open; beyond it, requests are asked to come again.
const MAX_APPENDS: usize = 1024;

/// Requests of one coordinator that wait for an answer, such as members that wait for the others.
const MAX_WAITING: usize = 100_000;

/// Bytes that are read at once when a partition is replayed.
const READ_BYTES: usize = 1024 * 1024;

/// Batches in the name of a transactional producer that it did not number.
const NO_SEQUENCE: i32 = -1;
