//! Appends to one partition: everything that waits for it in one write.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use moldau_core::ids::Offset;
use moldau_core::partition::{Ack, BatchSummary, Prepared};
use moldau_core::producer_state::{AppendedBatch, CompletedTransaction, Marker, VerificationGuard};
use moldau_log::{AbortedTransaction, AppendBatch, LogError};
use moldau_protocol::ErrorCode;
use moldau_protocol::batch::{BatchHeader, RecordBatch};
use tokio::sync::oneshot;
use tracing::{debug, error, warn};

use super::partition::{Partition, Waiting, WriterState};
use super::tail::TailBatch;
use super::writer::WriterShared;

/// A request to append, as it stands in a writer's queue.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) partition: Arc<Partition>,
    /// A checked batch: right length, checksum and rules.
    pub(crate) batch: RecordBatch,
    /// Set the time of append as the batches' timestamp.
    pub(crate) log_append_time: bool,
    /// Answer when the batches are committed (`acks=all`), not when they are written.
    pub(crate) committed: bool,
    /// What a client's transactional batch must carry where its partition is verified.
    pub(crate) guard: Option<VerificationGuard>,
    /// What the batch says, if it is a marker of the transaction coordinator.
    pub(crate) marker: Option<Marker>,
    pub(crate) reply: oneshot::Sender<AppendResult>,
}

/// The outcome of an append.
pub(crate) type AppendResult = Result<Appended, ErrorCode>;

/// Where an append went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Offset of the first record; for a duplicate, that of the original.
    pub(crate) base_offset: i64,
    /// Time of append in milliseconds; -1 when the records keep their own.
    pub(crate) log_append_time: i64,
    pub(crate) log_start_offset: i64,
}

/// An append that got its offsets, until the write tells whether it holds.
struct Staged {
    append: Append,
    appended: Appended,
    /// First offset after the append.
    end: Offset,
}

/// Appends all of `appends`, which are for the same partition, by one write.
pub(super) fn append_all(shared: &WriterShared, appends: &mut Vec<Append>, now_ms: i64) {
    let Some(partition) = appends.first().map(|append| Arc::clone(&append.partition)) else {
        return;
    };
    let mut guard = partition.lock();
    let state = &mut *guard;
    if partition.is_closed() {
        refuse(appends.drain(..), ErrorCode::NotLeaderOrFollower);
        return;
    }
    roll_first(&partition, state, appends, now_ms);
    let mut write = Write::default();
    let mut staged = Vec::with_capacity(appends.len());
    for append in appends.drain(..) {
        match write.stage(state, &append, now_ms) {
            Ok((appended, end)) => staged.push(Staged {
                append,
                appended,
                end,
            }),
            Err(code) => refuse([append], code),
        }
    }
    if let Err(error) = write.perform(state) {
        state.leader.write_failed();
        report(&partition, &error);
        let code = storage_code(&error);
        refuse(staged.into_iter().map(|staged| staged.append), code);
        return;
    }
    let progress = state.leader.written(now_ms);
    partition
        .counters
        .messages_in
        .fetch_add(write.records, Ordering::Relaxed);
    partition
        .counters
        .bytes_in
        .fetch_add(write.bytes, Ordering::Relaxed);
    shared.tail.push(&partition, write.tail.drain(..), now_ms);
    for staged in staged {
        settle(state, staged);
    }
    partition.progress(state, &progress);
    shared.syncs.after_write(&partition, state);
}

/// Begins a new segment before the appends are staged, if they would begin one, and leaves a producer snapshot there.
///
/// It must be exactly the state at the segment's start: a snapshot that knew later batches would take their
/// repetition after a crash for duplicates, although a torn tail has lost them.
fn roll_first(partition: &Partition, state: &mut WriterState, appends: &[Append], now_ms: i64) {
    let Some(log) = &mut state.log else { return };
    let bytes = appends
        .iter()
        .map(|append| append.batch.size_in_bytes())
        .sum();
    let timestamp = |append: &Append| {
        if append.log_append_time {
            now_ms
        } else {
            append.batch.max_timestamp()
        }
    };
    let Some(max_timestamp) = appends.iter().map(timestamp).max() else {
        return;
    };
    if !log.will_roll(bytes, max_timestamp) {
        return;
    }
    let snapshot = state.leader.producers().to_snapshot();
    let rolled = log
        .roll()
        .and_then(|()| log.write_producer_snapshot(log.log_end_offset(), &snapshot));
    if let Err(error) = rolled {
        // If the log itself is at fault, the append that follows fails too; recovery can do without the snapshot.
        warn!(topic = %partition.topic, partition = partition.index, %error, "cannot roll segment");
    }
}

/// Answers, or keeps the answer until the append is committed.
fn settle(state: &mut WriterState, staged: Staged) {
    let Staged {
        append,
        appended,
        end,
    } = staged;
    if append.committed {
        let token = state.fresh_token();
        if matches!(state.leader.await_committed(token, end), Ack::Waiting) {
            state.waiting.insert(
                token,
                Waiting {
                    reply: append.reply,
                    appended,
                },
            );
            return;
        }
    }
    let _ = append.reply.send(Ok(appended));
}

fn refuse(appends: impl IntoIterator<Item = Append>, code: ErrorCode) {
    for append in appends {
        let _ = append.reply.send(Err(code));
    }
}

/// What the log's index keeps of a transaction that a marker ended: nothing if it was committed.
pub(super) fn aborted(completed: &CompletedTransaction) -> Option<AbortedTransaction> {
    (!completed.committed).then_some(AbortedTransaction {
        producer_id: completed.producer_id.0,
        first_offset: completed.first_offset.0,
        last_offset: completed.last_offset.0,
        last_stable_offset: completed.last_stable_offset.0,
    })
}

/// What a batch gets when it is appended.
struct Place {
    base_offset: i64,
    leader_epoch: i32,
    append_time: Option<i64>,
}

/// The batches of one write.
#[derive(Default)]
struct Write {
    batches: Vec<AppendBatch>,
    tail: Vec<TailBatch>,
    records: u64,
    bytes: u64,
}

impl Write {
    /// Gives an append its offsets, or finds that it must not be written.
    fn stage(
        &mut self,
        state: &mut WriterState,
        append: &Append,
        now_ms: i64,
    ) -> Result<(Appended, Offset), ErrorCode> {
        let summary = BatchSummary {
            guard: append.guard,
            marker: append.marker,
            ..BatchSummary::from(append.batch.header())
        };
        let log_start_offset = state.leader.log_start_offset().0;
        match state.leader.prepare(&summary, now_ms) {
            Ok(Prepared::Append {
                base_offset,
                leader_epoch,
                completed,
            }) => {
                let append_time = append.log_append_time.then_some(now_ms);
                let place = Place {
                    base_offset: base_offset.0,
                    leader_epoch: leader_epoch.0,
                    append_time,
                };
                self.push(&append.batch, place, completed.as_ref());
                let log_append_time = append_time.unwrap_or(NO_TIMESTAMP);
                let appended = Appended {
                    base_offset: base_offset.0,
                    log_append_time,
                    log_start_offset,
                };
                Ok((
                    appended,
                    base_offset + i64::from(summary.last_offset_delta) + 1,
                ))
            }
            Ok(Prepared::Duplicate(AppendedBatch {
                base_offset,
                last_offset,
                timestamp,
            })) => {
                let log_append_time = if append.log_append_time {
                    timestamp
                } else {
                    NO_TIMESTAMP
                };
                Ok((
                    Appended {
                        base_offset: base_offset.0,
                        log_append_time,
                        log_start_offset,
                    },
                    last_offset + 1,
                ))
            }
            Err(error) => {
                let partition = &append.partition;
                debug!(topic = %partition.topic, partition = partition.index, %error, "batch refused");
                Err(error.code())
            }
        }
    }

    fn push(
        &mut self,
        batch: &RecordBatch,
        place: Place,
        completed: Option<&CompletedTransaction>,
    ) {
        let Place {
            base_offset,
            leader_epoch,
            append_time,
        } = place;
        let mut header = batch.header_bytes();
        BatchHeader::patch_base_offset(&mut header, base_offset);
        BatchHeader::patch_leader_epoch(&mut header, leader_epoch);
        if let Some(time) = append_time {
            BatchHeader::patch_log_append_time(&mut header, time);
        }
        let payload = batch.payload();
        let last_offset = base_offset + i64::from(batch.last_offset_delta());
        self.tail
            .push(TailBatch::new(base_offset, last_offset, &header, &payload));
        self.records += u64::try_from(batch.record_count()).unwrap_or(0);
        self.bytes += batch.size_in_bytes() as u64;
        let aborted = completed.and_then(aborted);
        self.batches.push(AppendBatch {
            header,
            payload,
            aborted,
        });
    }

    /// Writes what was staged.
    fn perform(&mut self, state: &mut WriterState) -> Result<(), LogError> {
        if self.batches.is_empty() {
            return Ok(());
        }
        let at = state.open_log()?.append(&self.batches)?;
        state.unseen_bytes += at.bytes;
        Ok(())
    }
}

fn report(partition: &Partition, error: &LogError) {
    error!(topic = %partition.topic, partition = partition.index, %error, "append failed");
}

/// Clients retry both; a full disk can be cured while they do.
pub(crate) fn storage_code(error: &LogError) -> ErrorCode {
    match error {
        LogError::InvalidBatch { .. } => ErrorCode::CorruptMessage,
        _ => ErrorCode::KafkaStorageError,
    }
}

const NO_TIMESTAMP: i64 = -1;
