//! One coordinator and the partition of `__consumer_offsets` that it writes to.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use moldau_core::coordinator::{Action, Coordinator, CoordinatorRecord, CoordinatorSettings};
use moldau_core::ids::{AppendId, Token};
use moldau_log::ReadRequest;
use moldau_protocol::batch::{BatchIter, Compression, RecordBatch, RecordBatchBuilder};
use moldau_protocol::{ErrorCode, ResponseKind, Uuid};
use tokio::sync::{OnceCell, oneshot};
use tracing::{error, info, warn};

use super::timer::Timer;
use crate::metadata::Images;
use crate::runtime::{Append, AppendResult, Partition, Slot, Writers, now_ms};

/// A coordinator with what waits for it.
pub(super) struct Shard {
    partition: Arc<Partition>,
    writers: Arc<Writers>,
    timer: Arc<Timer>,
    images: Images,
    settings: CoordinatorSettings,
    /// How long a full writer queue is waited for.
    append_limit: Duration,
    state: Mutex<State>,
    /// Set once the partition is replayed.
    loaded: OnceCell<()>,
    /// When core wants to be called, in milliseconds; `i64::MAX` for never.
    pub(super) due: AtomicI64,
    itself: Weak<Self>,
}

#[derive(Default)]
struct State {
    /// `None` until the partition is replayed.
    coordinator: Option<Coordinator>,
    /// Requests that are not answered.
    waiting: HashMap<Token, oneshot::Sender<ResponseKind>>,
    /// Appends whose outcome is open, oldest first. Bound: [`MAX_APPENDS`].
    appends: VecDeque<(AppendId, oneshot::Receiver<AppendResult>)>,
    /// A task waits for the outcome of the appends.
    following: bool,
}

impl Shard {
    pub(super) fn new(
        partition: Arc<Partition>,
        writers: Arc<Writers>,
        timer: Arc<Timer>,
        images: Images,
        settings: CoordinatorSettings,
        append_limit: Duration,
    ) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            partition,
            writers,
            timer,
            images,
            settings,
            append_limit,
            state: Mutex::default(),
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
        call: impl FnOnce(&mut Coordinator, i64) -> Vec<Action>,
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
        call: impl FnOnce(&mut Coordinator, i64) -> Vec<Action>,
    ) -> Result<(), ErrorCode> {
        self.load().await?;
        let slot = self.slot().await?;
        self.run(&mut self.lock(), Some(slot), call);
        Ok(())
    }

    pub(super) async fn read<R>(
        &self,
        read: impl FnOnce(&Coordinator) -> R,
    ) -> Result<R, ErrorCode> {
        self.load().await?;
        self.read_now(read)
            .ok_or(ErrorCode::CoordinatorNotAvailable)
    }

    /// Reads without waiting; `None` when the partition is not replayed yet.
    pub(super) fn read_now<R>(&self, read: impl FnOnce(&Coordinator) -> R) -> Option<R> {
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
        self.run(&mut self.lock(), slot, Coordinator::handle_timeout);
    }

    /// Replays the partition before its first use; one caller does it, the others wait.
    async fn load(&self) -> Result<(), ErrorCode> {
        let load = || async {
            let partition = Arc::clone(&self.partition);
            let coordinator = Coordinator::new(self.settings);
            let replayed =
                tokio::task::spawn_blocking(move || replay(&partition, coordinator)).await;
            let coordinator = replayed.map_err(|_| ErrorCode::CoordinatorNotAvailable)??;
            let mut state = self.lock();
            state.coordinator = Some(coordinator);
            self.run(&mut state, None, Coordinator::loaded);
            Ok(())
        };
        self.loaded.get_or_try_init(load).await.copied()
    }

    /// A place for one append; a full queue is waited for, but not for ever.
    async fn slot(&self) -> Result<Slot<'_>, ErrorCode> {
        let slot = self.writers.slot(&self.partition, self.append_limit).await;
        slot.map_err(|_| ErrorCode::CoordinatorNotAvailable)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls core and carries out what it wants; `slot` is for its first append.
    fn run(
        &self,
        state: &mut State,
        mut slot: Option<Slot<'_>>,
        call: impl FnOnce(&mut Coordinator, i64) -> Vec<Action>,
    ) {
        let Some(coordinator) = &mut state.coordinator else {
            return;
        };
        coordinator.metadata_changed(&self.images.newest());
        let actions = call(coordinator, now_ms());
        let due = coordinator.poll_timeout().unwrap_or(i64::MAX);
        self.due.store(due, Ordering::Release);
        self.timer.earliest(due);
        for action in actions {
            match action {
                Action::Respond { token, response } => {
                    if let Some(waiting) = state.waiting.remove(&token) {
                        let _ = waiting.send(response);
                    }
                }
                Action::Append { id, records } => {
                    let outcome = self.append(slot.take(), &records);
                    state.appends.push_back((id, outcome));
                }
            }
        }
        if !state.appends.is_empty() && !state.following {
            state.following = true;
            self.follow();
        }
    }

    /// Puts `records` into the writer's queue as one batch.
    ///
    /// Without a slot at hand, a full queue fails the append: core then takes back what it did.
    fn append(
        &self,
        slot: Option<Slot<'_>>,
        records: &[CoordinatorRecord],
    ) -> oneshot::Receiver<AppendResult> {
        let (reply, outcome) = oneshot::channel();
        let now_ms = now_ms();
        let mut builder = RecordBatchBuilder::new(Compression::None);
        for record in records {
            builder.append(now_ms, Some(&record.key), record.value.as_deref(), &[]);
        }
        let slot = slot.or_else(|| self.writers.free_slot(&self.partition));
        match (RecordBatch::parse(builder.build()), slot) {
            (Ok(batch), Some(slot)) => slot.fill(Append {
                partition: Arc::clone(&self.partition),
                batch,
                log_append_time: false,
                guard: None,
                marker: None,
                committed: true,
                reply,
            }),
            (Err(error), _) => {
                error!(%error, "group records do not make a batch");
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
fn replay(partition: &Partition, mut coordinator: Coordinator) -> Result<Coordinator, ErrorCode> {
    let Some(snapshot) = partition.snapshot() else {
        return Ok(coordinator);
    };
    let mut offset = snapshot.log_start_offset();
    let end = snapshot.log_end_offset();
    let failed = |error: &dyn fmt::Display| {
        error!(partition = partition.index, %error, "cannot read __consumer_offsets");
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
            replay_batch(&mut coordinator, &batch).map_err(|error| failed(&error))?;
        }
        offset = slice.next_offset;
    }
    info!(
        partition = partition.index,
        end_offset = end,
        "loaded group coordinator"
    );
    Ok(coordinator)
}

fn replay_batch(
    coordinator: &mut Coordinator,
    batch: &RecordBatch,
) -> Result<(), moldau_protocol::batch::BatchError> {
    if batch.is_control() {
        return Ok(());
    }
    for record in batch.records()? {
        let record = record?;
        let Some(key) = &record.key else { continue };
        if let Err(error) = coordinator.replay(key, record.value.as_ref()) {
            warn!(offset = record.offset, %error, "skipping record of __consumer_offsets");
        }
    }
    Ok(())
}

impl fmt::Debug for Shard {
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
