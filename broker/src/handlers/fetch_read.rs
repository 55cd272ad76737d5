//! One look at all partitions of a fetch.
//!
//! What is in the tail cache is read at once; as soon as one partition needs its files, the look is repeated on a
//! blocking thread, which also brings the pages into memory before they are sent.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use moldau_core::fetch_session::FetchOutcome;
use moldau_log::{AbortedTransaction, EpochEndOffset, LogError, LogSnapshot, ReadRequest};
use moldau_protocol::{ErrorCode, Records, RecordsPiece};
use tracing::error;

use super::fetch_plan::{Plan, Target};
use crate::net::read_ahead;
use crate::runtime::Partition;

/// What one look found.
#[derive(Debug)]
pub(super) struct Read {
    /// By target.
    pub(super) partitions: Vec<PartitionRead>,
    bytes: usize,
    /// Something must be told at once: an error, or that the log diverged.
    urgent: bool,
}

/// What one partition gave.
#[derive(Debug)]
pub(super) struct PartitionRead {
    pub(super) error: ErrorCode,
    pub(super) high_watermark: i64,
    pub(super) last_stable_offset: i64,
    pub(super) log_start_offset: i64,
    pub(super) diverging: Option<EpochEndOffset>,
    pub(super) records: Records,
    /// For readers of committed records: the transactions that these records are to be freed of.
    pub(super) aborted: Option<Vec<AbortedTransaction>>,
}

/// Looks at all partitions of `plan`.
pub(super) async fn read(plan: &Arc<Plan>) -> Read {
    if let Some(read) = look(plan, Files::Avoid) {
        return read;
    }
    let shared = Arc::clone(plan);
    let blocking = tokio::task::spawn_blocking(move || look(&shared, Files::Read)).await;
    blocking
        .ok()
        .flatten()
        .unwrap_or_else(|| Read::failed(plan))
}

impl Read {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the response must not wait any longer.
    pub(super) fn must_answer(&self, min_bytes: usize) -> bool {
        self.urgent || self.bytes >= min_bytes || self.partitions.is_empty()
    }

    /// What a fetch session takes note of, by target.
    pub(super) fn outcomes(&self) -> Vec<FetchOutcome> {
        self.partitions
            .iter()
            .map(|read| FetchOutcome {
                error: read.error,
                has_records: !read.records.is_empty(),
                diverged: read.diverging.is_some(),
                high_watermark: read.high_watermark,
                log_start_offset: read.log_start_offset,
            })
            .collect()
    }

    /// The look ended early, for example because the node stops.
    fn failed(plan: &Plan) -> Self {
        let partitions = plan
            .targets
            .iter()
            .map(|_| PartitionRead::error(ErrorCode::KafkaStorageError))
            .collect();
        Self {
            partitions,
            bytes: 0,
            urgent: true,
        }
    }
}

impl PartitionRead {
    fn error(error: ErrorCode) -> Self {
        Self {
            error,
            high_watermark: UNKNOWN,
            last_stable_offset: UNKNOWN,
            log_start_offset: UNKNOWN,
            diverging: None,
            records: Records::new(),
            aborted: None,
        }
    }
}

/// Whether a look may read files, which can take long.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Files {
    Avoid,
    Read,
}

/// The limits that are left for the partitions still to be read.
struct Budget {
    bytes: usize,
    /// Bytes that may be given from memory; a client that does not read them keeps them there.
    memory: usize,
    /// No partition gave records yet: the first batch found is given whatever its size.
    at_least_one: bool,
}

/// `None` when files are needed and must be avoided.
fn look(plan: &Plan, files: Files) -> Option<Read> {
    let mut found: Vec<Option<PartitionRead>> = plan.targets.iter().map(|_| None).collect();
    let mut budget = Budget {
        bytes: plan.max_bytes,
        memory: MAX_FROM_MEMORY,
        at_least_one: true,
    };
    let mut read = Read {
        partitions: Vec::new(),
        bytes: 0,
        urgent: false,
    };
    for (position, target) in plan.rotated() {
        let one = match read_one(target, plan.read_committed, &budget, files) {
            Ok(Some(one)) => one,
            Ok(None) => return None,
            Err(code) => PartitionRead::error(code),
        };
        let bytes = one.records.len();
        read.bytes += bytes;
        read.urgent |= one.error != ErrorCode::None || one.diverging.is_some();
        budget.bytes = budget.bytes.saturating_sub(bytes);
        if in_memory(&one.records) {
            budget.memory = budget.memory.saturating_sub(bytes);
        }
        budget.at_least_one &= bytes == 0;
        if let Some(slot) = found.get_mut(position) {
            *slot = Some(one);
        }
    }
    read.partitions = found.into_iter().flatten().collect();
    Some(read)
}

fn read_one(
    target: &Target,
    read_committed: bool,
    budget: &Budget,
    files: Files,
) -> Result<Option<PartitionRead>, ErrorCode> {
    let partition = target.partition.as_ref().map_err(|code| *code)?;
    if partition.is_closed() {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    partition.check_leader_epoch(target.current_leader_epoch)?;
    // In this order, so that `log_start_offset <= last_stable_offset <= high_watermark <= log_end_offset`.
    let log_start_offset = partition.log_start_offset();
    let last_stable_offset = partition.last_stable_offset();
    let high_watermark = partition.high_watermark();
    let log_end_offset = partition.log_end_offset();
    let mut one = PartitionRead {
        error: ErrorCode::None,
        high_watermark,
        last_stable_offset,
        log_start_offset,
        diverging: diverging(target, partition),
        records: Records::new(),
        aborted: read_committed.then(Vec::new),
    };
    if one.diverging.is_some() {
        return Ok(Some(one));
    }
    if target.fetch_offset < log_start_offset || target.fetch_offset > log_end_offset {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let request = ReadRequest {
        offset: target.fetch_offset,
        up_to_offset: if read_committed {
            last_stable_offset
        } else {
            high_watermark
        },
        max_bytes: target.max_bytes.min(budget.bytes),
        at_least_one: budget.at_least_one,
    };
    if request.offset >= request.up_to_offset || (request.max_bytes == 0 && !request.at_least_one) {
        return Ok(Some(one));
    }
    // Taken before the records are read: a compaction between the two removes what was aborted from the
    // records first, and what tells so from the index only when nothing of it is left.
    let index = partition.snapshot().filter(|_| read_committed);
    let Some((records, next_offset)) = read_records(partition, &request, budget.memory, files)?
    else {
        return Ok(None);
    };
    if read_committed && !records.is_empty() {
        let offsets = target.fetch_offset..next_offset;
        let Some(aborted) = read_aborted(partition, index.as_deref(), offsets, files)? else {
            return Ok(None);
        };
        one.aborted = Some(aborted);
    }
    partition
        .counters
        .bytes_out
        .fetch_add(records.len() as u64, Ordering::Relaxed);
    one.records = records;
    Ok(Some(one))
}

/// The aborted transactions with records between two offsets; `None` when files are needed.
fn read_aborted(
    partition: &Partition,
    index: Option<&LogSnapshot>,
    offsets: Range<i64>,
    files: Files,
) -> Result<Option<Vec<AbortedTransaction>>, ErrorCode> {
    let Some(index) = index else {
        return Ok(Some(Vec::new()));
    };
    if files == Files::Avoid && index.aborted_transactions_need_files(offsets.start) {
        return Ok(None);
    }
    let aborted = index.aborted_transactions(offsets.start, offsets.end);
    aborted
        .map(Some)
        .map_err(|error| read_failed(partition, &error))
}

/// The records, and the offset after them; from memory or, when that is allowed, from files.
fn read_records(
    partition: &Partition,
    request: &ReadRequest,
    memory: usize,
    files: Files,
) -> Result<Option<(Records, i64)>, ErrorCode> {
    let &ReadRequest {
        offset,
        up_to_offset,
        max_bytes,
        at_least_one,
    } = request;
    if let Some(read) = partition
        .tail
        .read(offset, up_to_offset, max_bytes, at_least_one)
        && read.records.len() <= memory
    {
        return Ok(Some((read.records, read.next_offset)));
    }
    if files == Files::Avoid {
        return Ok(None);
    }
    let Some(snapshot) = partition.snapshot() else {
        return Ok(Some((Records::new(), offset)));
    };
    let mut records = Records::new();
    match snapshot.read(request) {
        Ok(Some(slice)) => {
            let range = slice.file_range();
            read_ahead(&range.file, range.position, u64::from(range.length));
            records.push(range);
            Ok(Some((records, slice.next_offset)))
        }
        Ok(None) => Ok(Some((records, offset))),
        Err(error) => Err(read_failed(partition, &error)),
    }
}

fn in_memory(records: &Records) -> bool {
    matches!(records.pieces().first(), Some(RecordsPiece::Bytes(_)))
}

fn read_failed(partition: &Partition, error: &LogError) -> ErrorCode {
    if matches!(error, LogError::OffsetOutOfRange { .. }) {
        return ErrorCode::OffsetOutOfRange;
    }
    error!(topic = %partition.topic, partition = partition.index, %error, "cannot read log");
    ErrorCode::KafkaStorageError
}

/// Where the epoch that the client fetched last ended here, if that is before its fetch offset.
fn diverging(target: &Target, partition: &Partition) -> Option<EpochEndOffset> {
    if target.last_fetched_epoch < 0 {
        return None;
    }
    let snapshot = partition.snapshot()?;
    let end = snapshot
        .epochs()
        .end_offset_for(target.last_fetched_epoch, snapshot.log_end_offset());
    (end.epoch != target.last_fetched_epoch || end.end_offset < target.fetch_offset).then_some(end)
}

/// Bytes of one response from memory; what goes beyond is sent from the files.
const MAX_FROM_MEMORY: usize = 2 * 1024 * 1024;

/// What stands for an offset that is not known.
const UNKNOWN: i64 = -1;
