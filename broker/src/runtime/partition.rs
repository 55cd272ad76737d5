//! One partition of this node.
//!
//! Two halves: [`WriterState`] behind a mutex that its writer thread takes (and, briefly, a sync thread and
//! maintenance), and the published offsets and log reader that everyone else reads without a lock.
//! A partition that was never written to has no files: its log is opened by the first append.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use arc_swap::ArcSwap;
use moldau_core::config::TopicConfig;
use moldau_core::ids::{Offset, Token};
use moldau_core::partition::{Partition as Leader, ProduceRules};
use moldau_log::{
    FileStorage, Log, LogConfig, LogError, LogReader, LogSnapshot, SyncHandle, TopicPartition,
};
use moldau_protocol::{ErrorCode, KString, Uuid};
use tokio::sync::oneshot;

use super::append::{AppendResult, Appended};
use super::tail::Tail;
use super::waiters::Waiters;
use super::{lock, open};

/// A partition that this node leads.
pub(crate) struct Partition {
    pub(crate) topic: KString,
    pub(crate) topic_id: Uuid,
    pub(crate) index: i32,
    pub(crate) tail: Tail,
    pub(crate) waiters: Waiters,
    pub(crate) rules: ArcSwap<Rules>,
    pub(crate) counters: Counters,
    published: Published,
    reader: OnceLock<LogReader<FileStorage>>,
    sync: OnceLock<SyncHandle<FileStorage>>,
    state: Mutex<WriterState>,
    /// Set when the partition is deleted or the node stops; nothing is appended afterwards.
    closed: AtomicBool,
}

/// The settings of the partition's topic, resolved.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) topic: TopicConfig,
    pub(crate) produce: ProduceRules,
}

/// Counts since start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) messages_in: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

/// What readers see. Each offset only ever grows, and
/// `log_start_offset <= last_stable_offset <= high_watermark <= log_end_offset` when read in this order.
#[derive(Debug)]
struct Published {
    log_start_offset: AtomicI64,
    last_stable_offset: AtomicI64,
    high_watermark: AtomicI64,
    log_end_offset: AtomicI64,
    leader_epoch: AtomicI32,
}

/// What only the holder of the partition's lock sees.
pub(crate) struct WriterState {
    /// `None` until the first append of a partition that has no files.
    pub(crate) log: Option<Log<FileStorage>>,
    pub(crate) leader: Leader,
    pub(super) opening: open::Opening,
    /// Answers of appends that wait until they are on disk.
    pub(super) waiting: HashMap<Token, Waiting>,
    pub(super) next_token: u64,
    /// The partition stands in the queue of the sync threads.
    pub(super) sync_queued: bool,
    /// Bytes appended since the high watermark moved last.
    pub(super) unseen_bytes: u64,
}

/// The answer of an append that waits until it is on disk.
pub(super) struct Waiting {
    pub(super) reply: oneshot::Sender<AppendResult>,
    pub(super) appended: Appended,
}

impl Partition {
    /// A partition with this state, which knows how to open its log when it has none.
    pub(super) fn new(name: open::Name, rules: Arc<Rules>, state: WriterState) -> Self {
        let partition = Self {
            topic: name.topic,
            topic_id: name.topic_id,
            index: name.index,
            tail: Tail::default(),
            waiters: Waiters::default(),
            rules: ArcSwap::new(rules),
            counters: Counters::default(),
            published: Published {
                log_start_offset: AtomicI64::new(0),
                last_stable_offset: AtomicI64::new(0),
                high_watermark: AtomicI64::new(0),
                log_end_offset: AtomicI64::new(0),
                leader_epoch: AtomicI32::new(0),
            },
            reader: OnceLock::new(),
            sync: OnceLock::new(),
            state: Mutex::new(state),
            closed: AtomicBool::new(false),
        };
        partition.publish(&lock(&partition.state));
        partition
    }

    pub(crate) fn log_start_offset(&self) -> i64 {
        self.published.log_start_offset.load(Ordering::Acquire)
    }

    /// Consumers that read committed data read below this.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        self.published.last_stable_offset.load(Ordering::Acquire)
    }

    /// Consumers read below this.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.published.high_watermark.load(Ordering::Acquire)
    }

    pub(crate) fn log_end_offset(&self) -> i64 {
        self.published.log_end_offset.load(Ordering::Acquire)
    }

    pub(crate) fn leader_epoch(&self) -> i32 {
        self.published.leader_epoch.load(Ordering::Acquire)
    }

    /// The segments as they are now; `None` while nothing was ever appended.
    pub(crate) fn snapshot(&self) -> Option<Arc<LogSnapshot<FileStorage>>> {
        self.reader.get().map(LogReader::snapshot)
    }

    /// Gives the newest snapshot to any thread; `None` while nothing was ever appended.
    pub(crate) fn reader(&self) -> Option<&LogReader<FileStorage>> {
        self.reader.get()
    }

    /// How the log's segments are written when the topic has these settings.
    pub(crate) fn log_config(&self, topic: &TopicConfig) -> LogConfig {
        open::log_config(topic)
    }

    pub(crate) fn size_in_bytes(&self) -> u64 {
        self.snapshot()
            .map_or(0, |snapshot| snapshot.size_in_bytes())
    }

    pub(crate) fn name(&self) -> TopicPartition {
        TopicPartition {
            topic: self.topic.to_string(),
            partition: self.index,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Compares the leader epoch that a client knows with ours; -1 means that it knows none.
    ///
    /// # Errors
    ///
    /// `FENCED_LEADER_EPOCH` for an older epoch, `UNKNOWN_LEADER_EPOCH` for a newer one.
    pub(crate) fn check_leader_epoch(&self, known: i32) -> Result<(), ErrorCode> {
        let ours = self.leader_epoch();
        if known < 0 || known == ours {
            Ok(())
        } else if known < ours {
            Err(ErrorCode::FencedLeaderEpoch)
        } else {
            Err(ErrorCode::UnknownLeaderEpoch)
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, WriterState> {
        lock(&self.state)
    }

    pub(super) fn sync_handle(&self) -> Option<&SyncHandle<FileStorage>> {
        self.sync.get()
    }

    /// Brings what is written to the disk, whatever the topic's flush setting; `None` without files.
    ///
    /// # Errors
    ///
    /// When the disk fails; the log then refuses appends.
    pub(crate) fn sync_now(&self) -> Result<Option<i64>, LogError> {
        self.sync.get().map(SyncHandle::sync).transpose()
    }

    /// Whether the log takes no appends because the disk refused.
    pub(crate) fn has_failed(&self) -> bool {
        self.sync.get().is_some_and(SyncHandle::has_failed)
    }

    /// Brings a failed log back to work. Blocks on files.
    ///
    /// # Errors
    ///
    /// When the disk still refuses.
    pub(crate) fn revive(&self) -> Result<(), LogError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(log) = &mut state.log else {
            return Ok(());
        };
        log.revive(&mut open::Producers::default())?;
        let durable = Offset(log.durable_offset());
        let progress = state.leader.synced(durable, super::now_ms());
        self.progress(state, &progress);
        Ok(())
    }

    /// Refuses appends from now on, answers those that wait, and wakes the fetches.
    pub(crate) fn close(&self, state: &mut WriterState, error: ErrorCode) {
        self.closed.store(true, Ordering::Release);
        self.fail_waiting(state, error);
        self.waiters.wake_all();
    }

    /// Answers the appends that wait to be committed with an error.
    pub(super) fn fail_waiting(&self, state: &mut WriterState, error: ErrorCode) {
        state.leader.fail_waiters();
        for (_, waiting) in state.waiting.drain() {
            let _ = waiting.reply.send(Err(error));
        }
    }

    /// Makes the state of the lock's holder visible to readers.
    pub(crate) fn publish(&self, state: &WriterState) {
        if let Some(log) = &state.log {
            self.reader.get_or_init(|| log.reader());
            self.sync.get_or_init(|| log.sync_handle());
        }
        let leader = &state.leader;
        let store = |to: &AtomicI64, offset: Offset| to.store(offset.0, Ordering::Release);
        self.published
            .leader_epoch
            .store(leader.leader_epoch().0, Ordering::Release);
        store(&self.published.log_end_offset, leader.log_end_offset());
        store(&self.published.high_watermark, leader.high_watermark());
        store(
            &self.published.last_stable_offset,
            leader.last_stable_offset(),
        );
        store(&self.published.log_start_offset, leader.log_start_offset());
    }

    /// Publishes, answers the appends that are committed now, and wakes the fetches that got enough.
    pub(super) fn progress(
        &self,
        state: &mut WriterState,
        progress: &moldau_core::partition::Progress,
    ) {
        self.publish(state);
        for token in &progress.released {
            if let Some(waiting) = state.waiting.remove(token) {
                let _ = waiting.reply.send(Ok(waiting.appended));
            }
        }
        if progress.high_watermark_moved {
            self.waiters
                .arrived(std::mem::take(&mut state.unseen_bytes));
        }
        // How many bytes readers of committed records gain is not counted: they look again.
        if progress.transaction_decided {
            self.waiters.wake_all();
        }
    }
}

impl WriterState {
    /// The log, opened now if this is the first append.
    ///
    /// # Errors
    ///
    /// When its files cannot be created.
    pub(super) fn open_log(&mut self) -> Result<&mut Log<FileStorage>, LogError> {
        if self.log.is_none() {
            self.log = Some(self.opening.create()?);
        }
        Ok(self.log.as_mut().expect("assigned above"))
    }

    pub(super) fn fresh_token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition")
            .field("topic", &self.topic)
            .field("index", &self.index)
            .field("published", &self.published)
            .finish_non_exhaustive()
    }
}
