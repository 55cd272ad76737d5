//! The sparse indexes of a segment.
//!
//! ```text
//! .index      an entry for every index_interval_bytes of batches, 8 bytes:
//!   0  4  offset: last offset of a batch, less the segment's base offset     rising strictly
//!   4  4  position: where that batch begins in the .log file                 rising strictly
//!
//! .timeindex  an entry at the same moments, if the timestamp grew, 12 bytes:
//!   0  8  timestamp: the largest one so far, in milliseconds                 rising strictly
//!   8  4  offset: last offset of the batch that has it, less the base offset rising
//! ```
//!
//! All integers are big-endian. The indexes of the active segment live in memory and are written
//! when it is sealed or the log closed; the files count as valid once they were synced, before the
//! recovery point passes the segment. After a crash those of later segments are built anew.

mod file;
mod transactions;
mod words;

use crate::error::LogError;
use crate::storage::{Storage, StorageFile};

pub(crate) use file::IndexFile;
pub use transactions::AbortedTransaction;
pub(crate) use transactions::{TRANSACTION_ENTRY_SIZE, TransactionIndex};
use words::Words;

/// Where a batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    /// Last offset of the batch.
    pub(crate) offset: i64,
    /// Where the batch begins, in bytes.
    pub(crate) position: u64,
}

/// The largest timestamp up to some offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    /// In milliseconds.
    pub(crate) timestamp: i64,
    /// Last offset of the batch that has it.
    pub(crate) offset: i64,
}

/// The offset index of a segment.
#[derive(Debug)]
pub(crate) struct OffsetIndex<S: Storage> {
    base_offset: i64,
    entries: Entries<S>,
}

/// The time index of a segment.
#[derive(Debug)]
pub(crate) struct TimeIndex<S: Storage> {
    base_offset: i64,
    entries: Entries<S>,
}

#[derive(Debug)]
enum Entries<S: Storage> {
    /// Of the active segment: one word an offset entry, two a time entry, four an aborted transaction.
    Memory(Box<Words>),
    /// Of a sealed segment.
    File(IndexFile<S>),
}

impl<S: Storage> Entries<S> {
    fn hold_open(&self) -> Result<(), LogError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::File(file) => file.hold_open(),
        }
    }
}

impl<S: Storage> OffsetIndex<S> {
    pub(crate) fn in_memory(base_offset: i64) -> Self {
        Self {
            base_offset,
            entries: Entries::Memory(Box::default()),
        }
    }

    pub(crate) const fn in_file(base_offset: i64, file: IndexFile<S>) -> Self {
        Self {
            base_offset,
            entries: Entries::File(file),
        }
    }

    /// Opens the file, if there is one.
    pub(crate) fn hold_open(&self) -> Result<(), LogError> {
        self.entries.hold_open()
    }

    pub(crate) fn len(&self) -> usize {
        match &self.entries {
            Entries::Memory(words) => words.len(),
            Entries::File(file) => file.size() / OFFSET_ENTRY_SIZE,
        }
    }

    pub(crate) fn entry(&self, index: usize) -> Result<OffsetEntry, LogError> {
        let bytes = match &self.entries {
            Entries::Memory(words) => words.at(index).to_be_bytes(),
            Entries::File(file) => file.read::<OFFSET_ENTRY_SIZE>(index)?,
        };
        let [a, b, c, d, e, f, g, h] = bytes;
        Ok(OffsetEntry {
            offset: self
                .base_offset
                .saturating_add(u32::from_be_bytes([a, b, c, d]).into()),
            position: u64::from(u32::from_be_bytes([e, f, g, h])),
        })
    }

    /// The last entry at or below `offset`.
    pub(crate) fn floor_of_offset(&self, offset: i64) -> Result<Option<OffsetEntry>, LogError> {
        last_where(
            self.len(),
            |index| self.entry(index),
            |entry| entry.offset <= offset,
        )
    }

    /// The last entry at or below `position`.
    pub(crate) fn floor_of_position(&self, position: u64) -> Result<Option<OffsetEntry>, LogError> {
        last_where(
            self.len(),
            |index| self.entry(index),
            |entry| entry.position <= position,
        )
    }

    /// Adds an entry to an index in memory; only the log's writer may do so.
    pub(crate) fn push(&self, entry: OffsetEntry) {
        let (offset, position) = (
            relative(entry.offset, self.base_offset),
            entry.position & u64::from(u32::MAX),
        );
        if let Entries::Memory(words) = &self.entries {
            words.push([u64::from(offset) << 32 | position]);
        }
    }

    /// Writes all entries, to be called when no more will come.
    pub(crate) fn write_to(&self, file: &impl StorageFile) -> std::io::Result<usize> {
        match &self.entries {
            Entries::Memory(words) => {
                file::write(file, words.len(), |index| words.at(index).to_be_bytes())
            }
            Entries::File(file) => Ok(file.size()),
        }
    }
}

impl<S: Storage> TimeIndex<S> {
    pub(crate) fn in_memory(base_offset: i64) -> Self {
        Self {
            base_offset,
            entries: Entries::Memory(Box::default()),
        }
    }

    pub(crate) const fn in_file(base_offset: i64, file: IndexFile<S>) -> Self {
        Self {
            base_offset,
            entries: Entries::File(file),
        }
    }

    /// Opens the file, if there is one.
    pub(crate) fn hold_open(&self) -> Result<(), LogError> {
        self.entries.hold_open()
    }

    pub(crate) fn len(&self) -> usize {
        match &self.entries {
            Entries::Memory(words) => words.len() / 2,
            Entries::File(file) => file.size() / TIME_ENTRY_SIZE,
        }
    }

    pub(crate) fn entry(&self, index: usize) -> Result<TimeEntry, LogError> {
        let (timestamp, offset) = match &self.entries {
            Entries::Memory(words) => (words.at(2 * index), words.at(2 * index + 1) as u32),
            Entries::File(file) => {
                let [a, b, c, d, e, f, g, h, i, j, k, l] = file.read::<TIME_ENTRY_SIZE>(index)?;
                (
                    u64::from_be_bytes([a, b, c, d, e, f, g, h]),
                    u32::from_be_bytes([i, j, k, l]),
                )
            }
        };
        Ok(TimeEntry {
            timestamp: timestamp.cast_signed(),
            offset: self.base_offset.saturating_add(offset.into()),
        })
    }

    /// The entry with the largest timestamp.
    pub(crate) fn last(&self) -> Result<Option<TimeEntry>, LogError> {
        self.len()
            .checked_sub(1)
            .map(|last| self.entry(last))
            .transpose()
    }

    /// The last entry at or below `timestamp`.
    pub(crate) fn floor_of_timestamp(&self, timestamp: i64) -> Result<Option<TimeEntry>, LogError> {
        last_where(
            self.len(),
            |index| self.entry(index),
            |entry| entry.timestamp <= timestamp,
        )
    }

    /// Adds an entry to an index in memory; only the log's writer may do so.
    pub(crate) fn push(&self, entry: TimeEntry) {
        if let Entries::Memory(words) = &self.entries {
            words.push([
                entry.timestamp.cast_unsigned(),
                relative(entry.offset, self.base_offset).into(),
            ]);
        }
    }

    /// Writes all entries, to be called when no more will come.
    pub(crate) fn write_to(&self, file: &impl StorageFile) -> std::io::Result<usize> {
        match &self.entries {
            Entries::File(file) => Ok(file.size()),
            Entries::Memory(words) => file::write(file, words.len() / 2, |index| {
                let mut bytes = [0; TIME_ENTRY_SIZE];
                bytes[..8].copy_from_slice(&words.at(2 * index).to_be_bytes());
                bytes[8..].copy_from_slice(&(words.at(2 * index + 1) as u32).to_be_bytes());
                bytes
            }),
        }
    }
}

/// The last entry for which `holds`, given that it holds for all those before as well.
fn last_where<T>(
    len: usize,
    entry: impl Fn(usize) -> Result<T, LogError>,
    holds: impl Fn(&T) -> bool,
) -> Result<Option<T>, LogError> {
    let (mut from, mut to, mut found) = (0, len, None);
    while from < to {
        let middle = from + (to - from) / 2;
        let candidate = entry(middle)?;
        if holds(&candidate) {
            found = Some(candidate);
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    Ok(found)
}

fn relative(offset: i64, base_offset: i64) -> u32 {
    u32::try_from(offset - base_offset)
        .expect("the segment was rolled before its offsets left the range")
}

/// Bytes of an entry of the offset index.
pub(crate) const OFFSET_ENTRY_SIZE: usize = 8;
/// Bytes of an entry of the time index.
pub(crate) const TIME_ENTRY_SIZE: usize = 12;

#[cfg(test)]
mod tests;
