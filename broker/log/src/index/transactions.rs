//! The index of aborted transactions of a segment.
//!
//! ```text
//! .txnindex   an entry for every abort marker that ended a transaction with records here, 34 bytes:
//!   0  2  version, always 0
//!   2  8  producer id
//!  10  8  first offset: of the transaction's first record, maybe in an earlier segment
//!  18  8  last offset: of the abort marker, in this segment                  rising strictly
//!  26  8  last stable offset: the log's own once the marker is in it
//! ```
//!
//! A segment in which no transaction was aborted has no such file.

use super::words::Words;
use super::{Entries, IndexFile, file, last_where};
use crate::error::LogError;
use crate::storage::{Storage, StorageFile};

/// A transaction that was aborted in this partition (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The producer.
    pub producer_id: i64,
    /// Offset of the transaction's first record.
    pub first_offset: i64,
    /// Offset of the abort marker.
    pub last_offset: i64,
    /// First offset that was still undecided when the marker had been written: the first offset of
    /// the oldest other transaction then open, else the one after the marker.
    pub last_stable_offset: i64,
}

/// The aborted transactions whose marker lies in one segment.
#[derive(Debug)]
pub(crate) struct TransactionIndex<S: Storage> {
    entries: Entries<S>,
}

impl<S: Storage> TransactionIndex<S> {
    pub(crate) fn in_memory() -> Self {
        Self {
            entries: Entries::Memory(Box::default()),
        }
    }

    pub(crate) const fn in_file(file: IndexFile<S>) -> Self {
        Self {
            entries: Entries::File(file),
        }
    }

    /// Opens the file, if there is one.
    pub(crate) fn hold_open(&self) -> Result<(), LogError> {
        self.entries.hold_open()
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        match &self.entries {
            Entries::Memory(words) => words.len() / WORDS,
            Entries::File(file) => file.size() / TRANSACTION_ENTRY_SIZE,
        }
    }

    /// Whether looking at the entries reads a file.
    pub(crate) const fn is_in_file(&self) -> bool {
        matches!(self.entries, Entries::File(_))
    }

    pub(crate) fn entry(&self, index: usize) -> Result<AbortedTransaction, LogError> {
        match &self.entries {
            Entries::Memory(words) => Ok(of_words(words, index)),
            Entries::File(file) => Ok(of_bytes(&file.read(index)?)),
        }
    }

    /// All entries whose marker lies at or after `offset`.
    pub(crate) fn from(&self, offset: i64) -> Result<Vec<AbortedTransaction>, LogError> {
        let from = self.first_at_or_after(offset)?;
        (from..self.len()).map(|index| self.entry(index)).collect()
    }

    /// The index of the first entry whose marker lies at or after `offset`.
    pub(crate) fn first_at_or_after(&self, offset: i64) -> Result<usize, LogError> {
        let indexed = |index| self.entry(index).map(|entry| (index, entry));
        let below = last_where(self.len(), indexed, |(_, entry)| entry.last_offset < offset)?;
        Ok(below.map_or(0, |(index, _)| index + 1))
    }

    /// Adds an entry to an index in memory; only the log's writer may do so.
    pub(crate) fn push(&self, entry: &AbortedTransaction) {
        if let Entries::Memory(words) = &self.entries {
            let all = [
                entry.producer_id,
                entry.first_offset,
                entry.last_offset,
                entry.last_stable_offset,
            ];
            words.push(all.map(i64::cast_unsigned));
        }
    }

    /// Writes all entries, to be called when no more will come; returns how many bytes.
    pub(crate) fn write_to(&self, file: &impl StorageFile) -> std::io::Result<usize> {
        match &self.entries {
            Entries::File(file) => Ok(file.size()),
            Entries::Memory(words) => {
                file::write(file, self.len(), |index| to_bytes(&of_words(words, index)))
            }
        }
    }
}

fn of_words(words: &Words, index: usize) -> AbortedTransaction {
    let word = |place| words.at(index * WORDS + place).cast_signed();
    AbortedTransaction {
        producer_id: word(0),
        first_offset: word(1),
        last_offset: word(2),
        last_stable_offset: word(3),
    }
}

fn of_bytes(bytes: &[u8; TRANSACTION_ENTRY_SIZE]) -> AbortedTransaction {
    let field = |at: usize| {
        let mut field = [0; 8];
        field.copy_from_slice(&bytes[at..at + 8]);
        i64::from_be_bytes(field)
    };
    AbortedTransaction {
        producer_id: field(2),
        first_offset: field(10),
        last_offset: field(18),
        last_stable_offset: field(26),
    }
}

fn to_bytes(entry: &AbortedTransaction) -> [u8; TRANSACTION_ENTRY_SIZE] {
    let mut bytes = [0; TRANSACTION_ENTRY_SIZE];
    let fields = [
        (2, entry.producer_id),
        (10, entry.first_offset),
        (18, entry.last_offset),
        (26, entry.last_stable_offset),
    ];
    for (at, field) in fields {
        bytes[at..at + 8].copy_from_slice(&field.to_be_bytes());
    }
    bytes
}

/// Bytes of an entry; its version is 0.
pub(crate) const TRANSACTION_ENTRY_SIZE: usize = 34;
/// Words of an entry in memory.
const WORDS: usize = 4;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::segment::LazyFile;
    use crate::storage::SimStorage;

    fn aborted(producer_id: i64, first_offset: i64, last_offset: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id,
            first_offset,
            last_offset,
            last_stable_offset: last_offset + 1,
        }
    }

    #[test]
    fn an_entry_has_kafkas_34_bytes() {
        let entry = AbortedTransaction {
            producer_id: 1,
            first_offset: 2,
            last_offset: 3,
            last_stable_offset: 4,
        };
        let mut expected = vec![0, 0];
        for field in 1..=4_i64 {
            expected.extend(field.to_be_bytes());
        }
        assert_eq!(to_bytes(&entry).to_vec(), expected);
        assert_eq!(of_bytes(&to_bytes(&entry)), entry);
    }

    #[test]
    fn entries_are_read_back_from_memory_and_from_the_file() {
        let storage = SimStorage::new();
        let index = TransactionIndex::<SimStorage>::in_memory();
        let entries: Vec<_> = (0..100)
            .map(|number| aborted(number, number * 10, number * 10 + 7))
            .collect();
        entries.iter().for_each(|entry| index.push(entry));
        let path = Path::new("/00000000000000000000.txnindex");
        let file = storage.create(path).unwrap();
        let size = index.write_to(&file).unwrap();
        assert_eq!(size, 3_400);
        let lazy = LazyFile::new(storage, path.to_path_buf());
        let on_disk = TransactionIndex::in_file(IndexFile::new(lazy, size));
        for index in [index, on_disk] {
            assert_eq!(index.from(0).unwrap(), entries);
            assert_eq!(index.from(497).unwrap(), entries[49..]);
            assert_eq!(index.from(498).unwrap(), entries[50..]);
            assert_eq!(index.from(10_000).unwrap(), []);
        }
    }
}
