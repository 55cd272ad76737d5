//! What readers see of a log: an immutable snapshot, and slices of its files.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use moldau_protocol::types::FileRange;

use crate::error::LogError;
use crate::index::{AbortedTransaction, TimeEntry};
use crate::leader_epochs::LeaderEpochs;
use crate::log::Shared;
use crate::segment::{BatchAt, Segment, read_exactly};
use crate::storage::{FileStorage, Storage};

/// Gives the newest snapshot of a log to any thread, without a lock.
#[derive(Debug)]
pub struct LogReader<S: Storage = FileStorage> {
    shared: Arc<Shared<S>>,
}

/// A log as it was after some append. It stays valid while the log goes on, except that deleted
/// segments become unreadable.
#[derive(Debug)]
pub struct LogSnapshot<S: Storage = FileStorage> {
    /// Never empty; the last one is active.
    pub(crate) segments: Arc<[Arc<Segment<S>>]>,
    /// How many bytes of the active segment count.
    pub(crate) active_size: u64,
    /// The largest timestamp of the active segment.
    pub(crate) active_max_timestamp: Option<TimeEntry>,
    pub(crate) sealed_bytes: u64,
    pub(crate) log_start_offset: i64,
    pub(crate) log_end_offset: i64,
    pub(crate) epochs: Arc<LeaderEpochs>,
}

/// What to read.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest {
    /// The first offset wanted; the slice begins with the batch that holds it.
    pub offset: i64,
    /// Only batches that end below this offset are read: a high watermark, or `i64::MAX`.
    pub up_to_offset: i64,
    /// The slice has at most this many bytes.
    pub max_bytes: usize,
    /// The first batch is read even if it is larger than `max_bytes`.
    pub at_least_one: bool,
}

/// Whole batches in a file.
#[derive(Clone, Debug)]
pub struct ReadSlice<S: Storage = FileStorage> {
    segment: Arc<Segment<S>>,
    file: S::File,
    /// Where the batches begin, in bytes.
    pub position: u64,
    /// How many bytes they have.
    pub length: usize,
    /// Base offset of the first batch, at or below the offset asked for unless compaction left a
    /// gap.
    pub base_offset: i64,
    /// Where to read on.
    pub next_offset: i64,
}

impl<S: Storage> Clone for LogReader<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S: Storage> LogReader<S> {
    pub(crate) const fn new(shared: Arc<Shared<S>>) -> Self {
        Self { shared }
    }

    /// The log as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<LogSnapshot<S>> {
        self.shared.snapshot.load_full()
    }

    /// First offset that is not known to be on the disk.
    pub(crate) fn durable_offset(&self) -> i64 {
        self.shared.sync.durable_offset()
    }

    /// Where the log's files are.
    pub(crate) fn place(&self) -> (&S, &Path) {
        (&self.shared.storage, &self.shared.directory)
    }
}

impl<S: Storage> LogSnapshot<S> {
    /// First offset that can be read.
    #[must_use]
    pub const fn log_start_offset(&self) -> i64 {
        self.log_start_offset
    }

    /// First offset that is not written yet.
    #[must_use]
    pub const fn log_end_offset(&self) -> i64 {
        self.log_end_offset
    }

    /// Bytes of all segments, without their indexes.
    #[must_use]
    pub const fn size_in_bytes(&self) -> u64 {
        self.sealed_bytes + self.active_size
    }

    /// How many segments there are, at least one.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Which leader epoch wrote which offsets.
    #[must_use]
    pub fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// Finds whole batches of one segment; `None` if there is nothing to read below the bound, or
    /// the first batch is larger than allowed.
    ///
    /// # Errors
    /// - [`LogError::OffsetOutOfRange`]: the offset is not in the log, or was deleted meanwhile
    /// - [`LogError::Corrupt`], [`LogError::Io`]: the file cannot be read
    pub fn read(&self, request: &ReadRequest) -> Result<Option<ReadSlice<S>>, LogError> {
        let offset = request.offset;
        if offset < self.log_start_offset || offset > self.log_end_offset {
            return Err(self.out_of_range(offset));
        }
        self.find_slice(request).map_err(|error| {
            if error.is_not_found() {
                self.out_of_range(offset)
            } else {
                error
            }
        })
    }

    /// The aborted transactions that a reader of committed records needs for those from `offset` to
    /// `up_to_offset`, exclusive, which is at most the last stable offset. Ordered by their markers.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Io`]: an index file cannot be read.
    pub fn aborted_transactions(
        &self,
        offset: i64,
        up_to_offset: i64,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        let mut found = Vec::new();
        for segment in &self.segments[self.first_segment(offset)..] {
            let index = &segment.transaction_index;
            for place in index.first_at_or_after(offset)?..index.len() {
                let aborted = index.entry(place)?;
                if aborted.first_offset < up_to_offset {
                    found.push(aborted);
                }
                if aborted.last_stable_offset >= up_to_offset {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Whether [`Self::aborted_transactions`] from `offset` on reads files.
    #[must_use]
    pub fn aborted_transactions_need_files(&self, offset: i64) -> bool {
        self.segments[self.first_segment(offset)..]
            .iter()
            .any(|segment| segment.transaction_index.is_in_file())
    }

    /// The index of the segment in which `offset` lies.
    fn first_segment(&self, offset: i64) -> usize {
        let after = self
            .segments
            .partition_point(|segment| segment.base_offset <= offset);
        after.saturating_sub(1)
    }

    fn find_slice(&self, request: &ReadRequest) -> Result<Option<ReadSlice<S>>, LogError> {
        let up_to = request.up_to_offset.min(self.log_end_offset);
        if request.offset >= up_to {
            return Ok(None);
        }
        let Some((index, first)) = self.batch_at_or_after(request.offset)? else {
            return Ok(None);
        };
        let size = first.header.size_in_bytes();
        if first.header.last_offset() >= up_to
            || (size > request.max_bytes && !request.at_least_one)
        {
            return Ok(None);
        }
        let max_bytes = request.max_bytes.max(size) as u64;
        let (end, next_offset) = self.end_of_slice(index, &first, max_bytes, up_to)?;
        let segment = &self.segments[index];
        Ok(Some(ReadSlice {
            segment: Arc::clone(segment),
            file: segment.file.get()?.clone(),
            position: first.position,
            length: usize::try_from(end - first.position).unwrap_or(usize::MAX),
            base_offset: first.header.base_offset,
            next_offset,
        }))
    }

    /// Where a slice ends that begins with `first`, and the offset to read on from.
    fn end_of_slice(
        &self,
        index: usize,
        first: &BatchAt,
        max_bytes: u64,
        up_to: i64,
    ) -> Result<(u64, i64), LogError> {
        let (segment, size) = (&self.segments[index], self.segment_size(index));
        let limit = first.position.saturating_add(max_bytes).min(size);
        let segment_end = self.segment_end_offset(index);
        if limit == size && segment_end <= up_to {
            return Ok((size, segment_end));
        }
        if limit == first.end() {
            return Ok((limit, first.header.next_offset()));
        }
        // An entry names a batch by its last offset, so the batch at `by_offset` still belongs to
        // the slice.
        let by_position = segment.usable(segment.offset_index.floor_of_position(limit));
        let by_offset = segment.usable(segment.offset_index.floor_of_offset(up_to - 1));
        let known = by_position
            .zip(by_offset)
            .map_or(0, |(a, b)| a.position.min(b.position));
        let bounds = Bounds {
            limit,
            size,
            up_to,
            segment_end,
        };
        match self.first_outside(index, known.max(first.end()), bounds) {
            // An index that leads astray must not make the log unreadable, or show too much of it.
            Ok((_, next_offset)) if next_offset > up_to => {
                self.first_outside(index, first.end(), bounds)
            }
            Err(LogError::Corrupt { .. }) if known > first.end() => {
                self.first_outside(index, first.end(), bounds)
            }
            found => found,
        }
    }

    /// Walks from `position` to the first batch that does not belong to a slice any more.
    fn first_outside(
        &self,
        index: usize,
        position: u64,
        bounds: Bounds,
    ) -> Result<(u64, i64), LogError> {
        let mut walk = self.segments[index].walk(position, bounds.size)?;
        while let Some(batch) = walk.next()? {
            if batch.end() > bounds.limit || batch.header.last_offset() >= bounds.up_to {
                return Ok((batch.position, batch.header.base_offset));
            }
        }
        Ok((bounds.size, bounds.segment_end))
    }

    /// The first batch that ends at or after `offset`, and its segment.
    pub(crate) fn batch_at_or_after(
        &self,
        offset: i64,
    ) -> Result<Option<(usize, BatchAt)>, LogError> {
        let after = self
            .segments
            .partition_point(|segment| segment.base_offset <= offset);
        for index in after.saturating_sub(1)..self.segments.len() {
            let found = self.segments[index].batch_at_or_after(offset, self.segment_size(index))?;
            if let Some(batch) = found {
                return Ok(Some((index, batch)));
            }
        }
        Ok(None)
    }

    /// How many bytes of a segment count.
    pub(crate) fn segment_size(&self, index: usize) -> u64 {
        if index + 1 == self.segments.len() {
            self.active_size
        } else {
            self.segments[index].sealed_size
        }
    }

    /// First offset that lies behind a segment.
    pub(crate) fn segment_end_offset(&self, index: usize) -> i64 {
        self.segments
            .get(index + 1)
            .map_or(self.log_end_offset, |next| next.base_offset)
    }

    /// The batch with the largest timestamp of a segment.
    pub(crate) fn segment_max_timestamp(
        &self,
        index: usize,
    ) -> Result<Option<TimeEntry>, LogError> {
        if index + 1 == self.segments.len() {
            Ok(self.active_max_timestamp)
        } else {
            self.segments[index].max_timestamp()
        }
    }

    const fn out_of_range(&self, offset: i64) -> LogError {
        let (log_start_offset, log_end_offset) = (self.log_start_offset, self.log_end_offset);
        LogError::OffsetOutOfRange {
            offset,
            log_start_offset,
            log_end_offset,
        }
    }
}

/// Where a slice must end at the latest.
#[derive(Clone, Copy)]
struct Bounds {
    /// Position of the request's last byte.
    limit: u64,
    /// Bytes of the segment.
    size: u64,
    /// First offset that may not be read.
    up_to: i64,
    /// First offset behind the segment.
    segment_end: i64,
}

impl<S: Storage> ReadSlice<S> {
    /// The file that holds the batches.
    #[must_use]
    pub const fn file(&self) -> &S::File {
        &self.file
    }

    /// Reads the batches.
    ///
    /// # Errors
    /// The file cannot be read, or was cut meanwhile because the log was truncated.
    pub fn read_bytes(&self) -> Result<Bytes, LogError> {
        read_exactly(
            &self.file,
            self.segment.file.path(),
            self.position,
            self.length,
        )
    }
}

impl ReadSlice<FileStorage> {
    /// The slice as a piece of a response, for `sendfile`.
    #[must_use]
    pub fn file_range(&self) -> FileRange {
        FileRange {
            file: Arc::clone(self.file.as_file()),
            position: self.position,
            length: u32::try_from(self.length).expect("a segment has less than 2^31 bytes"),
        }
    }
}
