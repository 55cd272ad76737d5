//! Compaction: keeps the last record of each key.
//!
//! ```text
//!            clean section             dirty section          untouched
//! .log    | 0 … 999 | 1000 … 1999 | 2000 … 2999 | 3000 …  | active |
//!                                 ^ first dirty offset     ^ first uncleanable offset
//! ```
//!
//! 1. The last offset of each key of the dirty section is put into a map of bounded memory. What
//!    no longer fits is left for the next compaction.
//! 2. All segments from the first one to the end of the map are written anew, several small ones
//!    into one, without the records that the map knows a later one for. They are written to files
//!    with the suffix `.cleaned` and synced.
//! 3. The writer of the log puts them in place: `.cleaned` is renamed to `.swap`, the log last, and
//!    the directory synced: from here on the compaction counts, whatever happens. The old files
//!    get the suffix `.deleted`, then `.swap` is taken off the new ones.
//!
//! Batches keep their base and last offset, also when records fall out, so offsets never change.
//! A batch that lost all records stays as a bare header if it is the last one of its producer, or
//! the last one of its segment: so sequence numbers stay known, and segments follow each other
//! without a gap.
//!
//! Batches of aborted transactions go. The marker of a transaction goes like a tombstone once no
//! batch of the transaction is left.
//!
//! A tombstone stays for `delete.retention.ms` after the first compaction that found it the last
//! record of its key. That time stands in the batch's header in place of the base timestamp
//! (KIP-534).

mod batches;
mod cleanable;
mod filter;
mod offset_map;
mod output;
mod transactions;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use moldau_protocol::batch::{BatchError, BatchHeader, RecordBatch};

use self::batches::Batches;
pub use self::cleanable::{Cleanable, CleanableRequest};
use self::filter::{Fate, Filter, Outcome};
use self::offset_map::OffsetMap;
pub(crate) use self::output::CleanedFiles;
use self::output::Output;
use self::transactions::Transactions;
use crate::config::LogConfig;
use crate::error::LogError;
use crate::segment::Segment;
use crate::snapshot::{LogReader, LogSnapshot};
use crate::storage::{FileStorage, Storage};

/// What to compact, and how.
#[derive(Clone, Debug)]
pub struct CompactionRequest {
    /// What may be compacted.
    pub cleanable: Cleanable,
    /// Sizes of the segments that are written.
    pub config: LogConfig,
    /// `delete.retention.ms`: how long tombstones stay.
    pub delete_retention_ms: i64,
    /// `log.cleaner.dedupe.buffer.size`: the most memory that the keys of the dirty section take.
    pub map_bytes: usize,
    /// The last batch of each producer that may still write, by producer id.
    pub last_records: BTreeMap<i64, LastRecord>,
    /// The time now, in milliseconds.
    pub now_ms: i64,
}

/// What a producer wrote last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRecord {
    /// Last offset of its last batch; `None` if that was the marker of a transaction.
    pub offset: Option<i64>,
    /// Its epoch then.
    pub producer_epoch: i16,
}

/// Is told how many bytes a compaction reads and writes; may wait, so that others get their share
/// of the disk, or stop it.
pub trait Pace {
    /// The compaction moves this many bytes next.
    ///
    /// # Errors
    /// The compaction is to end now; nothing has changed then.
    fn moved(&mut self, bytes: usize) -> Result<(), Stopped>;
}

/// The compaction is to end now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// As fast as the disk allows.
impl Pace for () {
    fn moved(&mut self, _bytes: usize) -> Result<(), Stopped> {
        Ok(())
    }
}

/// Why a compaction ended early. Segments that were replaced before stay replaced.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CompactionError {
    /// It was asked to stop.
    #[error("compaction was stopped")]
    Stopped,
    /// Not even the keys of one batch fit into memory.
    #[error(
        "the keys of the batch at offset {base_offset} do not fit into {map_bytes} bytes; raise log.cleaner.dedupe.buffer.size"
    )]
    KeysDoNotFit {
        /// The batch's base offset.
        base_offset: i64,
        /// The bound.
        map_bytes: usize,
    },
    /// A batch cannot be decoded, or built anew.
    #[error("the batch at offset {base_offset} cannot be compacted: {source}")]
    Batch {
        /// The batch's base offset.
        base_offset: i64,
        /// What is wrong with it.
        source: BatchError,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<Stopped> for CompactionError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

pub(crate) type Step<T> = Result<T, CompactionError>;

/// A compaction of one log; runs beside its writer and its readers.
///
/// Each segment that [`Compaction::next_segment`] gives is put in place by
/// [`Log::replace_segments`](crate::Log::replace_segments) before the next one is asked for.
#[derive(Debug)]
pub struct Compaction<S: Storage = FileStorage> {
    reader: LogReader<S>,
    snapshot: Arc<LogSnapshot<S>>,
    request: CompactionRequest,
    map: OffsetMap,
    /// Records below are in the map.
    end_offset: i64,
    /// Follows the transactions from segment to segment.
    transactions: Transactions,
    /// First segment that was not looked at yet.
    next_segment: usize,
    progress: CompactionProgress,
}

/// What a compaction did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionProgress {
    /// Bytes of the segments that were read.
    pub bytes_before: u64,
    /// Bytes of the segments that took their place.
    pub bytes_after: u64,
    /// How many keys the dirty section has.
    pub keys: usize,
}

/// A segment that takes the place of others.
#[derive(Debug)]
pub struct CleanedSegment<S: Storage = FileStorage> {
    pub(crate) replaced: Vec<Arc<Segment<S>>>,
    pub(crate) segment: Segment<S>,
    pub(crate) files: CleanedFiles<S>,
}

impl<S: Storage> Compaction<S> {
    /// Begins a compaction: reads the keys of the dirty section.
    ///
    /// # Errors
    /// See [`CompactionError`].
    pub fn begin(
        reader: LogReader<S>,
        request: CompactionRequest,
        pace: &mut dyn Pace,
    ) -> Result<Self, CompactionError> {
        let mut compaction = Self {
            snapshot: reader.snapshot(),
            reader,
            map: OffsetMap::new(request.map_bytes),
            transactions: Transactions::default(),
            end_offset: request.cleanable.first_dirty_offset,
            next_segment: 0,
            progress: CompactionProgress::default(),
            request,
        };
        compaction.read_keys(pace)?;
        compaction.transactions = compaction.transactions_from(0)?;
        compaction.progress.keys = compaction.map.len();
        Ok(compaction)
    }

    /// Where the compacted part ends once all segments are in place: the next first dirty offset.
    #[must_use]
    pub const fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// What was done so far.
    #[must_use]
    pub const fn progress(&self) -> CompactionProgress {
        self.progress
    }

    /// Writes the next segment; `None` when all are written.
    ///
    /// # Errors
    /// See [`CompactionError`]; what was written for this segment is removed.
    pub fn next_segment(
        &mut self,
        pace: &mut dyn Pace,
    ) -> Result<Option<CleanedSegment<S>>, CompactionError> {
        while let Some(group) = self.next_group() {
            self.next_segment = group.end;
            if let Some(cleaned) = self.clean(group, pace)? {
                return Ok(Some(cleaned));
            }
        }
        Ok(None)
    }

    /// Puts the keys of the dirty section into the map, as far as they fit.
    fn read_keys(&mut self, pace: &mut dyn Pace) -> Step<()> {
        let Cleanable {
            first_dirty_offset,
            first_uncleanable_offset,
            ..
        } = self.request.cleanable;
        let snapshot = Arc::clone(&self.snapshot);
        let mut transactions = self.transactions_from(first_dirty_offset)?;
        for (index, segment) in snapshot.segments.iter().enumerate() {
            let segment_end = snapshot.segment_end_offset(index);
            if segment_end <= first_dirty_offset {
                continue;
            }
            if segment.base_offset >= first_uncleanable_offset {
                break;
            }
            let size = snapshot.segment_size(index);
            let first = segment.batch_at_or_after(first_dirty_offset, size)?;
            let position = first.map_or(size, |first| first.position);
            let mut batches =
                Batches::new(segment.file.get()?, segment.file.path(), position, size);
            while let Some((batch, _)) = batches.next(pace)? {
                if !self.read_keys_of(&batch, &mut transactions)? {
                    return self.check_room(&batch);
                }
                self.end_offset = self.end_offset.max(batch.next_offset());
            }
            // There may be a gap behind the last batch.
            self.end_offset = self.end_offset.max(segment_end);
        }
        Ok(())
    }

    /// The aborted transactions that end at or after `offset`.
    fn transactions_from(&self, offset: i64) -> Step<Transactions> {
        let end = self.request.cleanable.first_uncleanable_offset;
        let aborted = self.snapshot.aborted_transactions(offset, end)?;
        Ok(Transactions::new(aborted))
    }

    /// Whether all keys of the batch are in the map. Those of aborted transactions do not count.
    fn read_keys_of(&mut self, batch: &RecordBatch, transactions: &mut Transactions) -> Step<bool> {
        let undecodable = of_batch(batch.header());
        if batch.is_control() {
            transactions.meet_marker(batch).map_err(&undecodable)?;
            return Ok(true);
        }
        if transactions.meet_batch(batch.header()) {
            return Ok(true);
        }
        let records = batch.records().map_err(&undecodable)?;
        for record in records.borrowed() {
            let record = record.map_err(&undecodable)?;
            if let Some(key) = record.key
                && record.offset >= self.request.cleanable.first_dirty_offset
                && !self.map.put(key, record.offset)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Without any progress the next compaction would end at the same batch.
    fn check_room(&self, batch: &RecordBatch) -> Step<()> {
        if self.end_offset > self.request.cleanable.first_dirty_offset {
            return Ok(());
        }
        Err(CompactionError::KeysDoNotFit {
            base_offset: batch.base_offset(),
            map_bytes: self.request.map_bytes,
        })
    }

    /// The next segments that together become one.
    fn next_group(&self) -> Option<Range<usize>> {
        let (segments, first) = (&self.snapshot.segments, self.next_segment);
        let base_offset = segments.get(first)?.base_offset;
        let last_end = self
            .end_offset
            .min(self.request.cleanable.first_uncleanable_offset);
        if base_offset >= last_end {
            return None;
        }
        let config = &self.request.config;
        let (mut size, mut offset_entries, mut time_entries, mut end) = (0, 0, 0, first);
        while let Some(segment) = segments
            .get(end)
            .filter(|segment| segment.base_offset < last_end)
        {
            size += self.snapshot.segment_size(end);
            offset_entries += segment.offset_index.len();
            time_entries += segment.time_index.len();
            let fits = size <= u64::from(config.segment_bytes)
                && segment_fits(offset_entries, time_entries, config)
                && self.snapshot.segment_end_offset(end) - base_offset <= i64::from(i32::MAX);
            if end > first && !fits {
                break;
            }
            end += 1;
        }
        Some(first..end)
    }

    /// Writes what is left of a group; `None` if it is a single segment that stays as it is.
    fn clean(
        &mut self,
        group: Range<usize>,
        pace: &mut dyn Pace,
    ) -> Step<Option<CleanedSegment<S>>> {
        let snapshot = Arc::clone(&self.snapshot);
        let replaced = snapshot.segments[group.clone()].to_vec();
        let (storage, directory) = self.reader.place();
        let config = &self.request.config;
        let base_offset = replaced[0].base_offset;
        let mut output =
            Output::create(storage, directory, base_offset, config.index_interval_bytes)?;
        let last = group
            .clone()
            .rev()
            .find(|index| snapshot.segment_size(*index) > 0);
        let (mut changed, mut before) = (false, 0);
        for index in group {
            let (segment, size) = (&snapshot.segments[index], snapshot.segment_size(index));
            before += size;
            let mut batches = Batches::new(segment.file.get()?, segment.file.path(), 0, size);
            while let Some((batch, is_last)) = batches.next(pace)? {
                let is_last = is_last && Some(index) == last;
                changed |= self.clean_batch(&batch, is_last, &mut output, pace)?;
            }
        }
        self.progress.bytes_before += before;
        if !changed && replaced.len() == 1 {
            self.progress.bytes_after += before;
            return Ok(None);
        }
        self.progress.bytes_after += output.size();
        let (files, segment) = output.finish()?;
        Ok(Some(CleanedSegment {
            replaced,
            segment,
            files,
        }))
    }

    /// Writes what is left of a batch; returns whether that is not all of it.
    fn clean_batch(
        &mut self,
        batch: &RecordBatch,
        is_last: bool,
        output: &mut Output<S>,
        pace: &mut dyn Pace,
    ) -> Step<bool> {
        let failed = of_batch(batch.header());
        let (is_obsolete, aborted) = if batch.is_control() {
            let marker = self.transactions.meet_marker(batch).map_err(&failed)?;
            (marker.is_obsolete, marker.aborted)
        } else {
            (self.transactions.meet_batch(batch.header()), None)
        };
        let filter = self.filter();
        let fate = Fate {
            is_anchor: is_last || filter.is_last_of_producer(batch.header()),
            is_obsolete,
        };
        if let Some(aborted) = aborted {
            output.push_aborted(&aborted);
        }
        match filter.apply(batch, fate).map_err(&failed)? {
            Outcome::Kept => {
                output.push(batch.header(), batch.bytes().clone(), pace)?;
                Ok(false)
            }
            Outcome::Replaced(bytes) => {
                let header = BatchHeader::read(&bytes).map_err(&failed)?;
                output.push(&header, bytes, pace)?;
                Ok(true)
            }
            Outcome::Dropped => Ok(true),
        }
    }

    fn filter(&self) -> Filter<'_> {
        Filter {
            map: &self.map,
            mapped_up_to: self.end_offset,
            last_records: &self.request.last_records,
            now_ms: self.request.now_ms,
            delete_retention_ms: self.request.delete_retention_ms,
        }
    }
}

fn of_batch(header: &BatchHeader) -> impl Fn(BatchError) -> CompactionError {
    let base_offset = header.base_offset;
    move |source| CompactionError::Batch {
        base_offset,
        source,
    }
}

fn segment_fits(offset_entries: usize, time_entries: usize, config: &LogConfig) -> bool {
    use crate::index::{OFFSET_ENTRY_SIZE, TIME_ENTRY_SIZE};
    let most = config.segment_index_bytes as usize;
    offset_entries * OFFSET_ENTRY_SIZE <= most && time_entries * TIME_ENTRY_SIZE <= most
}
