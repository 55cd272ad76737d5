//! The leader's view of one partition: offsets, idempotent producers and waiting producers.
//!
//! The partition's writer drives it in rounds: [`Partition::prepare`] each batch that waits, write
//! them all at once, then [`Partition::written`] or [`Partition::write_failed`]. Whoever asked for
//! `acks=all` waits by [`Partition::await_committed`] until the high watermark passes the batch.
//!
//! With a single replica the high watermark follows the flush mode: what is on disk under
//! `commit`, what is written under `os` and an interval.

mod batch;
#[cfg(test)]
pub(crate) mod fixture;
mod validate;

use std::collections::BTreeMap;

use moldau_protocol::error_code::ErrorCode;

pub use self::batch::BatchSummary;
pub(crate) use self::batch::add_to_sequence;
pub use self::validate::{ProduceRules, RecordCheck, RecordRejection, Treatment, validate_batch};
use crate::config::FlushMode;
use crate::ids::{LeaderEpoch, Offset, Token};
use crate::producer_state::{
    AppendedBatch, CompletedTransaction, ProducerError, ProducerStates, SequenceCheck, Undo,
};
use crate::rejection::Rejection;

/// The state of one partition on its leader.
#[derive(Debug)]
pub struct Partition {
    leader_epoch: LeaderEpoch,
    flush: FlushMode,
    producers: ProducerStates,
    /// Offset of the first record still there.
    log_start_offset: Offset,
    /// First offset that consumers may not read yet.
    ///
    /// Exclusive. Invariant: log_start_offset <= high_watermark <= log_end_offset. Never falls.
    high_watermark: Offset,
    /// First offset that may be lost in a crash. Invariant: durable_offset <= log_end_offset.
    durable_offset: Offset,
    /// Offset after the last written record.
    log_end_offset: Offset,
    /// Offset after the last prepared record. Invariant: log_end_offset <= next_offset.
    next_offset: Offset,
    /// How to forget the batches between log_end_offset and next_offset, oldest first.
    prepared: Vec<Undo>,
    /// When the oldest record that is not on disk was written.
    unsynced_since_ms: Option<i64>,
    /// Producers that wait until the high watermark reaches an offset. As many as have a request
    /// in the writer's queue, which is bounded.
    waiting: BTreeMap<Offset, Vec<Token>>,
}

/// What a partition starts from once its log is open.
#[derive(Debug)]
pub struct PartitionStart {
    /// Offset of the first record.
    pub log_start_offset: Offset,
    /// Offset after the last record; all before it is on disk.
    pub log_end_offset: Offset,
    /// The epoch this leader writes into its batches.
    pub leader_epoch: LeaderEpoch,
    /// When records count as safe.
    pub flush: FlushMode,
    /// The idempotent producers, as the log's snapshot and batches tell.
    pub producers: ProducerStates,
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// To be written with this base offset and leader epoch.
    Append {
        /// Offset of its first record.
        base_offset: Offset,
        /// The leader epoch of the batch.
        leader_epoch: LeaderEpoch,
        /// The transaction that the batch ends, if it is a marker and there is one.
        completed: Option<CompletedTransaction>,
    },
    /// Already in the log: answered as it was the first time, once that batch is committed. If the
    /// round in which both came fails to be written, both fail.
    Duplicate(AppendedBatch),
}

/// What an event changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Progress {
    /// Whether consumers can read more than before.
    pub high_watermark_moved: bool,
    /// Whether readers of committed records see the end of a transaction.
    pub transaction_decided: bool,
    /// Who need not wait any longer, ordered by offset.
    pub released: Vec<Token>,
}

/// Whether a producer can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// At once.
    Ready,
    /// When a [`Progress`] releases its token.
    Waiting,
}

/// When the log is to be synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextSync {
    /// Nothing asks for it.
    None,
    /// Someone waits for it.
    Now,
    /// At this time at the latest.
    At(i64),
}

impl Partition {
    /// Takes the lead of a partition with a single replica, whose whole log is on disk.
    #[must_use]
    pub fn open(mut start: PartitionStart) -> Self {
        start.producers.committed_below(start.log_end_offset);
        Self {
            leader_epoch: start.leader_epoch,
            flush: start.flush,
            producers: start.producers,
            log_start_offset: start.log_start_offset,
            high_watermark: start.log_end_offset,
            durable_offset: start.log_end_offset,
            log_end_offset: start.log_end_offset,
            next_offset: start.log_end_offset,
            prepared: Vec::new(),
            unsynced_since_ms: None,
            waiting: BTreeMap::new(),
        }
    }

    /// Gives a batch its offsets, or finds that the log has it already.
    ///
    /// # Errors
    /// The batch breaks the order of its idempotent producer. Nothing changes then.
    pub fn prepare(
        &mut self,
        batch: &BatchSummary,
        now_ms: i64,
    ) -> Result<Prepared, ProducerError> {
        if let SequenceCheck::Duplicate(original) = self.producers.check(batch)? {
            return Ok(Prepared::Duplicate(original));
        }
        let base_offset = self.next_offset;
        let batch = BatchSummary {
            base_offset,
            ..*batch
        };
        let recorded = self.producers.record(&batch, now_ms);
        self.prepared.extend(recorded.undo);
        self.next_offset = batch.end_offset();
        Ok(Prepared::Append {
            base_offset,
            leader_epoch: self.leader_epoch,
            completed: recorded.completed,
        })
    }

    /// Everything prepared is in the log's file.
    pub fn written(&mut self, now_ms: i64) -> Progress {
        self.prepared.clear();
        if self.next_offset > self.log_end_offset {
            self.log_end_offset = self.next_offset;
            self.unsynced_since_ms.get_or_insert(now_ms);
        }
        self.advance_high_watermark()
    }

    /// Nothing that was prepared is in the log's file; its offsets are given out again.
    pub fn write_failed(&mut self) {
        while let Some(undo) = self.prepared.pop() {
            self.producers.undo(undo);
        }
        self.next_offset = self.log_end_offset;
    }

    /// Every record below `up_to` is on disk.
    pub fn synced(&mut self, up_to: Offset, now_ms: i64) -> Progress {
        self.durable_offset = self.durable_offset.max(up_to.min(self.log_end_offset));
        self.unsynced_since_ms = (self.durable_offset < self.log_end_offset).then_some(now_ms);
        self.advance_high_watermark()
    }

    /// Waits until every record below `end` is committed. For `acks=all`, after [`Self::written`].
    pub fn await_committed(&mut self, token: Token, end: Offset) -> Ack {
        if end <= self.high_watermark {
            return Ack::Ready;
        }
        self.waiting.entry(end).or_default().push(token);
        Ack::Waiting
    }

    /// When the log must be synced next.
    #[must_use]
    pub fn next_sync(&self) -> NextSync {
        match (self.flush, self.unsynced_since_ms) {
            (_, None) | (FlushMode::Os, _) => NextSync::None,
            (FlushMode::Commit, Some(_)) => NextSync::Now,
            (FlushMode::Interval { ms }, Some(since)) => NextSync::At(since.saturating_add(ms)),
        }
    }

    /// Gives up all who wait, ordered by offset; the caller answers them with an error.
    pub fn fail_waiters(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.waiting)
            .into_values()
            .flatten()
            .collect()
    }

    /// Forgets the records below `offset`: retention, or DeleteRecords. Never goes back.
    ///
    /// # Errors
    /// The offset is above the high watermark.
    pub fn advance_log_start(&mut self, offset: Offset) -> Result<(), Rejection> {
        if offset > self.high_watermark {
            let message = format!(
                "offset {offset} is above the high watermark, {}",
                self.high_watermark
            );
            return Err(Rejection::new(ErrorCode::OffsetOutOfRange, message));
        }
        self.log_start_offset = self.log_start_offset.max(offset);
        Ok(())
    }

    /// Follows a change of the topic setting `flush`.
    pub fn set_flush(&mut self, flush: FlushMode) -> Progress {
        self.flush = flush;
        self.advance_high_watermark()
    }

    /// Offset of the first record still there.
    #[must_use]
    pub const fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    /// First offset that consumers may not read yet.
    #[must_use]
    pub const fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// First offset that consumers of committed transactions may not read yet.
    #[must_use]
    pub fn last_stable_offset(&self) -> Offset {
        let unstable = self.producers.first_unstable_offset();
        unstable.map_or(self.high_watermark, |offset| {
            offset.max(self.log_start_offset).min(self.high_watermark)
        })
    }

    /// Offset after the last written record.
    #[must_use]
    pub const fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    /// The epoch this leader writes into its batches.
    #[must_use]
    pub const fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The idempotent producers.
    #[must_use]
    pub const fn producers(&self) -> &ProducerStates {
        &self.producers
    }

    /// The idempotent producers, to expire them; between rounds only.
    pub const fn producers_mut(&mut self) -> &mut ProducerStates {
        &mut self.producers
    }

    fn advance_high_watermark(&mut self) -> Progress {
        let safe = match self.flush {
            FlushMode::Commit => self.durable_offset,
            FlushMode::Os | FlushMode::Interval { .. } => self.log_end_offset,
        };
        let high_watermark_moved = safe > self.high_watermark;
        let stable = self.last_stable_offset();
        let held_back = stable < self.high_watermark;
        if high_watermark_moved {
            self.high_watermark = safe;
            self.producers.committed_below(safe);
        }
        let transaction_decided = held_back && self.last_stable_offset() > stable;
        let still_waiting = self.waiting.split_off(&(self.high_watermark + 1));
        let released = std::mem::replace(&mut self.waiting, still_waiting)
            .into_values()
            .flatten()
            .collect();
        debug_assert!(
            self.high_watermark <= self.log_end_offset && self.log_end_offset <= self.next_offset
        );
        Progress {
            high_watermark_moved,
            transaction_decided,
            released,
        }
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
