//! A segment: a run of the log in one file, with its indexes.

mod indexer;
mod lazy_file;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tracing::{debug, warn};

pub(crate) use indexer::Indexer;
pub(crate) use lazy_file::LazyFile;
pub(crate) use walk::{BatchAt, BatchWalk, read_exactly};

use crate::error::{IoContext, LogError};
use crate::index::{IndexFile, OffsetIndex, TimeEntry, TimeIndex, TransactionIndex};
use crate::names::{FileKind, file_name};
use crate::storage::{Storage, StorageFile};

/// A run of the log in one file, with its indexes.
///
/// The last segment of a log is active: its file grows, its indexes are in memory, and how much
/// of it counts is said by the snapshot that a reader holds. All others are sealed.
#[derive(Debug)]
pub(crate) struct Segment<S: Storage> {
    /// Lower bound of the segment's offsets; names its files.
    pub(crate) base_offset: i64,
    pub(crate) file: LazyFile<S>,
    pub(crate) offset_index: OffsetIndex<S>,
    pub(crate) time_index: TimeIndex<S>,
    pub(crate) transaction_index: TransactionIndex<S>,
    /// In bytes; zero for the active segment.
    pub(crate) sealed_size: u64,
    /// Largest timestamp of a sealed segment, once it was looked up.
    max_timestamp: OnceLock<Option<TimeEntry>>,
}

/// A segment that can be appended to.
#[derive(Debug)]
pub(crate) struct Activated<S: Storage> {
    pub(crate) segment: Segment<S>,
    pub(crate) indexer: Indexer,
    /// First offset after its batches.
    pub(crate) end_offset: i64,
}

/// The files of a segment that must be synced before the segment counts as durable.
pub(crate) type SyncedFiles<F> = Vec<(PathBuf, F)>;

impl<S: Storage> Segment<S> {
    /// A segment whose indexes are in memory and still empty.
    pub(crate) fn active(base_offset: i64, file: LazyFile<S>) -> Self {
        Self {
            base_offset,
            file,
            offset_index: OffsetIndex::in_memory(base_offset),
            time_index: TimeIndex::in_memory(base_offset),
            transaction_index: TransactionIndex::in_memory(),
            sealed_size: 0,
            max_timestamp: OnceLock::new(),
        }
    }

    /// A segment with complete index files; without one for aborted transactions there are none.
    pub(crate) fn sealed(
        base_offset: i64,
        file: LazyFile<S>,
        size: u64,
        indexes: [IndexFile<S>; 2],
        aborted: Option<IndexFile<S>>,
    ) -> Self {
        let [offset_index, time_index] = indexes;
        Self {
            base_offset,
            file,
            offset_index: OffsetIndex::in_file(base_offset, offset_index),
            time_index: TimeIndex::in_file(base_offset, time_index),
            transaction_index: aborted
                .map_or_else(TransactionIndex::in_memory, TransactionIndex::in_file),
            sealed_size: size,
            max_timestamp: OnceLock::new(),
        }
    }

    /// Writes the index files of a segment that will not grow any more, and gives its sealed form.
    ///
    /// The files returned are not synced yet.
    pub(crate) fn seal(
        &self,
        storage: &S,
        size: u64,
    ) -> Result<(Self, SyncedFiles<S::File>), LogError> {
        let directory = self.file.path().parent().unwrap_or(Path::new(""));
        let mut synced = Vec::with_capacity(3);
        let mut write = |kind, write_to: &dyn Fn(&S::File) -> std::io::Result<usize>| {
            let path = directory.join(file_name(self.base_offset, kind));
            let file = storage.create(&path).context("create", &path)?;
            let size = write_to(&file).context("write", &path)?;
            synced.push((path.clone(), file));
            Ok(IndexFile::new(LazyFile::new(storage.clone(), path), size))
        };
        let offset_index = write(FileKind::OffsetIndex, &|file| {
            self.offset_index.write_to(file)
        })?;
        let time_index = write(FileKind::TimeIndex, &|file| self.time_index.write_to(file))?;
        let aborted = if self.transaction_index.len() > 0 {
            Some(write(FileKind::TransactionIndex, &|file| {
                self.transaction_index.write_to(file)
            })?)
        } else {
            None
        };
        let sealed = Self::sealed(
            self.base_offset,
            self.file.duplicate(),
            size,
            [offset_index, time_index],
            aborted,
        );
        Ok((sealed, synced))
    }

    /// The form of this segment that can be appended to after its first `size` bytes, which end
    /// below `end_offset`. Index entries for these bytes are taken over if they are sound.
    pub(crate) fn activate(
        &self,
        size: u64,
        end_offset: i64,
        index_interval_bytes: u32,
    ) -> Result<Activated<S>, LogError> {
        let activated = match self.activate_from_indexes(size, end_offset, index_interval_bytes) {
            Ok(activated) => activated,
            Err(error) => {
                warn!(file = %self.file.path().display(), %error, "index is unusable, building it anew");
                self.activate_by_walk(size, index_interval_bytes)?
            }
        };
        for aborted in self.transaction_index.from(i64::MIN)? {
            if aborted.last_offset < activated.end_offset.min(end_offset) {
                activated.segment.transaction_index.push(&aborted);
            }
        }
        Ok(activated)
    }

    /// The same, with indexes built anew from the headers of all batches.
    pub(crate) fn activate_by_walk(
        &self,
        size: u64,
        index_interval_bytes: u32,
    ) -> Result<Activated<S>, LogError> {
        let segment = Self::active(self.base_offset, self.file.duplicate());
        let mut indexer = Indexer::new(index_interval_bytes);
        let end_offset = segment.index_from(0, size, &mut indexer)?;
        Ok(Activated {
            segment,
            indexer,
            end_offset,
        })
    }

    fn activate_from_indexes(
        &self,
        size: u64,
        end_offset: i64,
        index_interval_bytes: u32,
    ) -> Result<Activated<S>, LogError> {
        let segment = Self::active(self.base_offset, self.file.duplicate());
        let (mut position, mut last_offset) = (0, self.base_offset - 1);
        for index in 0..self.offset_index.len() {
            let entry = self.offset_index.entry(index)?;
            if entry.offset >= end_offset || entry.position >= size {
                break;
            }
            if entry.offset <= last_offset || entry.position <= position && index > 0 {
                return Err(LogError::corrupt(
                    self.file.path(),
                    entry.position,
                    "the offset index is out of order",
                ));
            }
            (position, last_offset) = (entry.position, entry.offset);
            segment.offset_index.push(entry);
        }
        let mut max_timestamp: Option<TimeEntry> = None;
        for index in 0..self.time_index.len() {
            let entry = self.time_index.entry(index)?;
            if entry.offset >= end_offset {
                break;
            }
            if max_timestamp
                .is_some_and(|last| entry.timestamp <= last.timestamp || entry.offset < last.offset)
            {
                return Err(LogError::corrupt(
                    self.file.path(),
                    0,
                    "the time index is out of order",
                ));
            }
            max_timestamp = Some(entry);
            segment.time_index.push(entry);
        }
        let first = if size > 0 {
            self.walk(0, size)?.next()?
        } else {
            None
        };
        let first_timestamp = first.map(|batch| batch.header.max_timestamp);
        let mut indexer = Indexer::resume(index_interval_bytes, max_timestamp, first_timestamp);
        let end_offset = segment.index_from(position, size, &mut indexer)?;
        Ok(Activated {
            segment,
            indexer,
            end_offset,
        })
    }

    /// Adds the batches from `position` to `end` to the indexes in memory; returns the offset
    /// after them.
    fn index_from(&self, position: u64, end: u64, indexer: &mut Indexer) -> Result<i64, LogError> {
        let (mut walk, mut end_offset) = (self.walk(position, end)?, self.base_offset);
        while let Some(batch) = walk.next()? {
            indexer.note(self, &batch.header, batch.position);
            end_offset = batch.header.next_offset();
        }
        Ok(end_offset)
    }

    /// Opens all files, so that readers of this segment go on when others take their names.
    pub(crate) fn hold_open(&self) -> Result<(), LogError> {
        self.file.get()?;
        self.offset_index.hold_open()?;
        self.time_index.hold_open()?;
        self.transaction_index.hold_open()
    }

    /// Walks by headers from `position`, where a batch begins, to `end`.
    pub(crate) fn walk(&self, position: u64, end: u64) -> Result<BatchWalk<'_, S::File>, LogError> {
        let bytes = position..end;
        Ok(BatchWalk::new(
            self.file.get()?,
            self.file.path(),
            bytes,
            self.base_offset,
        ))
    }

    /// The first batch of the first `size` bytes that ends at or after `offset`.
    pub(crate) fn batch_at_or_after(
        &self,
        offset: i64,
        size: u64,
    ) -> Result<Option<BatchAt>, LogError> {
        let floor = self.usable(self.offset_index.floor_of_offset(offset));
        let position = floor.map_or(0, |entry| entry.position);
        if position > 0 && position < size {
            let mut walk = self.walk(position, size)?;
            // An index that leads astray must not make the log unreadable, or hide a part of it.
            match walk.next() {
                Ok(Some(first)) if first.header.base_offset <= offset => {
                    return find(walk, Some(first), offset);
                }
                Ok(_) | Err(LogError::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut walk = self.walk(0, size)?;
        let first = walk.next()?;
        find(walk, first, offset)
    }

    /// What an index says, or nothing if it cannot be read: then the batches are walked instead.
    pub(crate) fn usable<T>(&self, found: Result<Option<T>, LogError>) -> Option<T> {
        found.unwrap_or_else(|error| {
            debug!(file = %self.file.path().display(), %error, "index cannot be read");
            None
        })
    }

    /// The batch with the largest timestamp of a sealed segment; `None` if it has no batch.
    pub(crate) fn max_timestamp(&self) -> Result<Option<TimeEntry>, LogError> {
        if let Some(known) = self.max_timestamp.get() {
            return Ok(*known);
        }
        let found = match self.usable(self.time_index.last()) {
            Some(entry) => Some(entry),
            None => self.max_timestamp_by_walk()?,
        };
        Ok(*self.max_timestamp.get_or_init(|| found))
    }

    fn max_timestamp_by_walk(&self) -> Result<Option<TimeEntry>, LogError> {
        let (mut walk, mut largest) = (self.walk(0, self.sealed_size)?, None::<TimeEntry>);
        while let Some(BatchAt { header, .. }) = walk.next()? {
            let has_records = header.record_count > 0;
            if has_records && largest.is_none_or(|largest| header.max_timestamp > largest.timestamp)
            {
                largest = Some(TimeEntry {
                    timestamp: header.max_timestamp,
                    offset: header.last_offset(),
                });
            }
        }
        Ok(largest)
    }
}

/// The first batch from `candidate` on that ends at or after `offset`.
fn find<F: StorageFile>(
    mut walk: BatchWalk<'_, F>,
    mut candidate: Option<BatchAt>,
    offset: i64,
) -> Result<Option<BatchAt>, LogError> {
    while let Some(batch) = candidate {
        if batch.header.last_offset() >= offset {
            return Ok(Some(batch));
        }
        candidate = walk.next()?;
    }
    Ok(None)
}
