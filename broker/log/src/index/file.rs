//! The index of a sealed segment, read from its file entry by entry.

use std::io;

use crate::error::{IoContext, LogError};
use crate::segment::LazyFile;
use crate::storage::{Storage, StorageFile, read_up_to, write_all};

/// The index of a sealed segment. Nothing of it is kept in memory but its size.
#[derive(Debug)]
pub(crate) struct IndexFile<S: Storage> {
    file: LazyFile<S>,
    size: usize,
}

impl<S: Storage> IndexFile<S> {
    pub(crate) const fn new(file: LazyFile<S>, size: usize) -> Self {
        Self { file, size }
    }

    /// Opens the file, so that it stays readable when another takes its name.
    pub(crate) fn hold_open(&self) -> Result<(), LogError> {
        self.file.get().map(|_| ())
    }

    /// In bytes.
    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    /// The bytes of the entry at `index`, where entries have `N` bytes.
    pub(crate) fn read<const N: usize>(&self, index: usize) -> Result<[u8; N], LogError> {
        let mut bytes = [0; N];
        let position = (index * N) as u64;
        let read =
            read_up_to(self.file.get()?, &mut bytes, position).context("read", self.file.path())?;
        if read < N {
            return Err(LogError::corrupt(
                self.file.path(),
                position,
                "the file is shorter than it was",
            ));
        }
        Ok(bytes)
    }
}

/// Writes `count` entries to an empty file; returns how many bytes.
pub(super) fn write<const N: usize>(
    file: &impl StorageFile,
    count: usize,
    entry: impl Fn(usize) -> [u8; N],
) -> io::Result<usize> {
    let mut buffer = Vec::with_capacity(count.min(ENTRIES_PER_WRITE) * N);
    for from in (0..count).step_by(ENTRIES_PER_WRITE) {
        buffer.clear();
        (from..count.min(from + ENTRIES_PER_WRITE))
            .for_each(|index| buffer.extend_from_slice(&entry(index)));
        write_all(file, &buffer)?;
    }
    Ok(count * N)
}

const ENTRIES_PER_WRITE: usize = 8192;
