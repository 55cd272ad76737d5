//! One partition as the broker's runtime keeps it, without threads.
//!
//! The same order of calls as in `broker/src/runtime`: stage what waits, write it at once, tell the
//! leader, answer or wait; sync beside that, and tell the leader of it later.

use std::collections::BTreeMap;

use moldau_core::ids::{AppendId, Offset, Token};
use moldau_core::partition::{
    Ack, BatchSummary, NextSync, Partition as Leader, PartitionStart, Prepared, Progress,
};
use moldau_core::producer_state::{
    CompletedTransaction, Marker, ProducerStates, VerificationGuard,
};
use moldau_log::{AppendBatch, Log, LogError, SimStorage, Storage};
use moldau_protocol::ErrorCode;
use moldau_protocol::batch::RecordBatch;

use super::mistake::Mistake;
use super::recovery::{Opening, Producers, aborted};

/// Who is told what became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reply {
    /// A request, by the node's own number for it.
    Request(u64),
    /// The coordinator on this partition.
    Coordinator(AppendId),
    /// The transaction coordinator, which tells this partition of an end.
    Marker { id: u64, partition: usize },
}

/// What waits for the writer.
#[derive(Clone, Debug)]
pub(super) struct Append {
    pub(super) batch: RecordBatch,
    pub(super) acks_all: bool,
    pub(super) reply: Reply,
    /// Proof that the partition belongs to the transaction of the batch.
    pub(super) guard: Option<VerificationGuard>,
    /// What a marker says.
    pub(super) marker: Option<Marker>,
}

impl Append {
    /// A batch that belongs to no transaction.
    pub(super) const fn plain(batch: RecordBatch, acks_all: bool, reply: Reply) -> Self {
        Self {
            batch,
            acks_all,
            reply,
            guard: None,
            marker: None,
        }
    }
}

/// What became of an append: its first offset, or why there is none.
pub(super) type Outcome = (Reply, Result<i64, ErrorCode>);

/// What a writer's round did.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) outcomes: Vec<Outcome>,
    /// Batches that are in the log now, as they are there.
    pub(super) written: Vec<RecordBatch>,
    /// Batches that the disk refused; it may have kept some of their bytes.
    pub(super) refused: Vec<RecordBatch>,
    pub(super) duplicates: u64,
}

#[derive(Debug)]
pub(super) struct Partition {
    opening: Opening,
    pub(super) log: Option<Log<SimStorage>>,
    pub(super) leader: Leader,
    queue: Vec<Append>,
    waiting: BTreeMap<Token, (Reply, i64)>,
    next_token: u64,
    /// A sync that is over, but of which the leader does not know.
    synced: Option<Result<i64, ErrorCode>>,
}

impl Partition {
    pub(super) fn open(opening: Opening, now_ms: i64) -> Result<Self, LogError> {
        let mut producers = Producers {
            states: ProducerStates::default(),
            now_ms,
        };
        let log = match opening.has_files {
            true => Some(opening.open(&mut producers)?),
            false => None,
        };
        if opening.mistake == Some(Mistake::ForgetProducers) {
            producers.states = ProducerStates::default();
        }
        let leader = Leader::open(PartitionStart {
            log_start_offset: Offset(log.as_ref().map_or(0, Log::log_start_offset)),
            log_end_offset: Offset(log.as_ref().map_or(0, Log::log_end_offset)),
            leader_epoch: opening.leader_epoch,
            flush: opening.flush,
            producers: producers.states,
        });
        Ok(Self {
            opening,
            log,
            leader,
            queue: Vec::new(),
            waiting: BTreeMap::new(),
            next_token: 0,
            synced: None,
        })
    }

    pub(super) fn push(&mut self, append: Append) {
        self.queue.push(append);
    }

    pub(super) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Appends everything that waits, by one write.
    pub(super) fn write(&mut self, now_ms: i64) -> Round {
        let appends = std::mem::take(&mut self.queue);
        let mut round = Round::default();
        self.roll_first(&appends);
        let mut batches = Vec::new();
        let mut staged = Vec::new();
        let mut ended = Vec::new();
        for append in appends {
            match self.stage(&append, now_ms) {
                Ok((base_offset, end, written)) => {
                    round.duplicates += u64::from(written.is_none());
                    if let Some((batch, completed)) = written {
                        batches.push(batch);
                        ended.push(completed);
                    }
                    staged.push((append, base_offset, end));
                }
                Err(code) => round.outcomes.push((append.reply, Err(code))),
            }
        }
        if let Err(error) = self.perform(&batches, ended) {
            let code = match error {
                LogError::InvalidBatch { .. } => ErrorCode::CorruptMessage,
                _ => ErrorCode::KafkaStorageError,
            };
            if self.opening.mistake == Some(Mistake::IgnoreFailedWrite) {
                let _ = self.leader.written(now_ms);
            }
            self.leader.write_failed();
            let failed = staged.into_iter().map(|(append, ..)| append.reply);
            round
                .outcomes
                .extend(failed.map(|reply| (reply, Err(code))));
            round.refused = batches;
            return round;
        }
        round.written = batches;
        let progress = self.leader.written(now_ms);
        for (append, base_offset, end) in staged {
            round
                .outcomes
                .extend(self.settle(&append, base_offset, end));
        }
        round.outcomes.extend(self.released(&progress));
        round
    }

    /// See `roll_first` in the runtime: the snapshot must be exactly the state at the segment's start.
    fn roll_first(&mut self, appends: &[Append]) {
        let Some(log) = &mut self.log else { return };
        let bytes = appends.iter().map(|append| append.batch.size_in_bytes());
        let bytes = bytes.sum();
        let timestamps = appends.iter().map(|append| append.batch.max_timestamp());
        let Some(max_timestamp) = timestamps.max() else {
            return;
        };
        if !log.will_roll(bytes, max_timestamp) {
            return;
        }
        let snapshot = self.leader.producers().to_snapshot();
        // The append that follows fails too if the log is at fault; recovery can do without.
        let _rolled = log
            .roll()
            .and_then(|()| log.write_producer_snapshot(log.log_end_offset(), &snapshot));
    }

    fn stage(
        &mut self,
        append: &Append,
        now_ms: i64,
    ) -> Result<(i64, Offset, Option<Written>), ErrorCode> {
        let mut summary = BatchSummary {
            guard: append.guard,
            marker: append.marker,
            ..BatchSummary::from(append.batch.header())
        };
        if self.opening.mistake == Some(Mistake::AppendDuplicates) {
            summary.producer_id = moldau_core::ids::ProducerId::NONE;
        }
        match self.leader.prepare(&summary, now_ms) {
            Ok(Prepared::Append {
                base_offset,
                leader_epoch,
                completed,
            }) => {
                let written = append.batch.relocated(base_offset.0, leader_epoch.0);
                let end = Offset(written.next_offset());
                Ok((base_offset.0, end, Some((written, completed))))
            }
            Ok(Prepared::Duplicate(original)) => {
                Ok((original.base_offset.0, original.last_offset + 1, None))
            }
            Err(error) => Err(error.code()),
        }
    }

    fn perform(
        &mut self,
        batches: &[RecordBatch],
        ended: Vec<Option<CompletedTransaction>>,
    ) -> Result<(), LogError> {
        if batches.is_empty() {
            return Ok(());
        }
        if self.log.is_none() {
            self.log = Some(self.opening.open(&mut ())?);
        }
        let forgets = self.opening.mistake == Some(Mistake::ForgetAborted);
        let append =
            |(batch, completed): (&RecordBatch, Option<CompletedTransaction>)| AppendBatch {
                aborted: completed.filter(|_| !forgets).as_ref().and_then(aborted),
                ..AppendBatch::new(batch)
            };
        let batches: Vec<AppendBatch> = batches.iter().zip(ended).map(append).collect();
        let log = self.log.as_mut().expect("opened above");
        log.append(&batches).map(|_| ())
    }

    fn settle(&mut self, append: &Append, base_offset: i64, end: Offset) -> Option<Outcome> {
        let hurries = self.opening.mistake == Some(Mistake::AnswerBeforeSync);
        if append.acks_all && !hurries {
            self.next_token += 1;
            let token = Token(self.next_token);
            if self.leader.await_committed(token, end) == Ack::Waiting {
                self.waiting.insert(token, (append.reply, base_offset));
                return None;
            }
        }
        Some((append.reply, Ok(base_offset)))
    }

    fn released(&mut self, progress: &Progress) -> Vec<Outcome> {
        let released = progress.released.iter();
        released
            .filter_map(|token| self.waiting.remove(token))
            .map(|(reply, base_offset)| (reply, Ok(base_offset)))
            .collect()
    }

    pub(super) fn is_sync_due(&self, now_ms: i64) -> bool {
        let due = match self.leader.next_sync() {
            NextSync::None => false,
            NextSync::Now => true,
            NextSync::At(when) => when <= now_ms,
        };
        due && self.synced.is_none() && self.log.is_some()
    }

    /// Syncs; the leader learns of it by [`Self::finish_sync`].
    pub(super) fn start_sync(&mut self) {
        let Some(log) = &self.log else { return };
        if self.opening.mistake == Some(Mistake::SkipSync) {
            self.synced = Some(Ok(log.log_end_offset()));
            return;
        }
        match log.sync_handle().sync() {
            Ok(durable) => self.synced = Some(Ok(durable)),
            // What was appended stays; the next sync may bring it to the disk.
            Err(_) if log.failure().is_none() => {}
            Err(_) => self.synced = Some(Err(ErrorCode::KafkaStorageError)),
        }
    }

    pub(super) fn has_finished_sync(&self) -> bool {
        self.synced.is_some()
    }

    pub(super) fn finish_sync(&mut self, now_ms: i64) -> Vec<Outcome> {
        match self.synced.take() {
            None => Vec::new(),
            Some(Ok(durable)) => {
                let progress = self.leader.synced(Offset(durable), now_ms);
                self.released(&progress)
            }
            Some(Err(code)) => {
                self.leader.fail_waiters();
                let waiting = std::mem::take(&mut self.waiting);
                let replies = waiting.into_values().map(|(reply, _)| (reply, Err(code)));
                replies.collect()
            }
        }
    }

    /// Retention and expiry of idle producers, as the broker's background work does it.
    pub(super) fn maintain(&mut self, now_ms: i64, expiration_ms: i64) -> Result<(), LogError> {
        self.leader.producers_mut().expire(now_ms, expiration_ms);
        let high_watermark = self.leader.high_watermark().0;
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        if log.has_deletable(now_ms, high_watermark)? {
            log.sync_handle().sync()?;
            let snapshot = self.leader.producers().to_snapshot();
            log.write_producer_snapshot(log.log_end_offset(), &snapshot)?;
        }
        let retention = log.apply_retention(now_ms, high_watermark)?;
        if retention.deleted_segments > 0 {
            let advanced = self
                .leader
                .advance_log_start(Offset(retention.log_start_offset));
            assert!(advanced.is_ok(), "retention went past the high watermark");
        }
        log.remove_deleted(now_ms).map(|_| ())
    }

    pub(super) fn delete_records(&mut self, offset: i64) -> Result<(), LogError> {
        if self.leader.advance_log_start(Offset(offset)).is_err() {
            return Ok(());
        }
        let start = self.leader.log_start_offset().0;
        match &mut self.log {
            Some(log) => log.advance_log_start(start),
            None => Ok(()),
        }
    }

    /// First offset that consumers may not read.
    pub(super) fn readable_end(&self) -> i64 {
        if self.opening.mistake == Some(Mistake::ReadPastHighWatermark) {
            return self.leader.log_end_offset().0;
        }
        self.leader.high_watermark().0
    }

    /// The names of its files, for whoever looks for a mistake.
    pub(super) fn files(&self) -> Vec<String> {
        let entries = self.opening.storage.list(&self.opening.directory);
        let entries = entries.unwrap_or_default().into_iter();
        entries.map(|entry| entry.name).collect()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.failure().is_some())
    }

    pub(super) fn close(self) -> Result<(), LogError> {
        let marks_only = self.opening.mistake == Some(Mistake::MarkWithoutClosing);
        match self.log {
            Some(log) if !marks_only => {
                let snapshot = self.leader.producers().to_snapshot();
                log.write_producer_snapshot(log.log_end_offset(), &snapshot)?;
                log.close()
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A batch to be written, and the transaction that it ends.
type Written = (RecordBatch, Option<CompletedTransaction>);
