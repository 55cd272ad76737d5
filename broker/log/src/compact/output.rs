//! Writes what a compaction keeps of some segments.

use std::path::{Path, PathBuf};

use std::io::IoSlice;

use bytes::Bytes;
use moldau_protocol::batch::BatchHeader;

use super::{Pace, Step};
use crate::error::{IoContext, LogError};
use crate::index::{AbortedTransaction, IndexFile};
use crate::names::{CLEANED_SUFFIX, FileKind, SWAP_SUFFIX, file_name};
use crate::segment::{Indexer, LazyFile, Segment};
use crate::storage::{Storage, StorageFile, write_all_vectored};

/// A segment that a compaction writes.
#[derive(Debug)]
pub(super) struct Output<S: Storage> {
    files: CleanedFiles<S>,
    file: S::File,
    path: PathBuf,
    /// Takes the index entries.
    segment: Segment<S>,
    indexer: Indexer,
    size: u64,
    pending: Vec<Bytes>,
    pending_bytes: usize,
}

/// The files of a segment that a compaction wrote; removed when dropped, unless they took the
/// place of live ones.
#[derive(Debug)]
pub(crate) struct CleanedFiles<S: Storage> {
    storage: S,
    directory: PathBuf,
    base_offset: i64,
    /// The kinds that were written.
    kinds: Vec<FileKind>,
    is_in_place: bool,
}

impl<S: Storage> Output<S> {
    pub(super) fn create(
        storage: &S,
        directory: &Path,
        base_offset: i64,
        index_interval_bytes: u32,
    ) -> Result<Self, LogError> {
        let mut files = CleanedFiles {
            storage: storage.clone(),
            directory: directory.to_path_buf(),
            base_offset,
            kinds: Vec::new(),
            is_in_place: false,
        };
        let (path, file) = files.create(FileKind::Log)?;
        let lazy = LazyFile::opened(storage.clone(), path.clone(), file.clone());
        Ok(Self {
            files,
            file,
            path,
            segment: Segment::active(base_offset, lazy),
            indexer: Indexer::new(index_interval_bytes),
            size: 0,
            pending: Vec::new(),
            pending_bytes: 0,
        })
    }

    /// Adds a batch.
    pub(super) fn push(
        &mut self,
        header: &BatchHeader,
        bytes: Bytes,
        pace: &mut dyn Pace,
    ) -> Step<()> {
        let position = self.size + self.pending_bytes as u64;
        self.indexer.note(&self.segment, header, position);
        self.pending_bytes += bytes.len();
        self.pending.push(bytes);
        if self.pending_bytes >= WRITE_SIZE {
            pace.moved(self.pending_bytes)?;
            self.write()?;
        }
        Ok(())
    }

    /// Adds an aborted transaction, whose marker was added last.
    pub(super) fn push_aborted(&self, aborted: &AbortedTransaction) {
        self.segment.transaction_index.push(aborted);
    }

    /// Bytes of all batches.
    pub(super) const fn size(&self) -> u64 {
        self.size + self.pending_bytes as u64
    }

    /// Writes the rest and the indexes, and brings all to the disk; returns the segment as it will
    /// be once its files are in place.
    pub(super) fn finish(mut self) -> Result<(CleanedFiles<S>, Segment<S>), LogError> {
        self.write()?;
        self.indexer.index_max_timestamp(&self.segment);
        self.file.sync().context("sync", &self.path)?;
        let Self {
            mut files, segment, ..
        } = self;
        let offset_index = files.write_index(FileKind::OffsetIndex, |file| {
            segment.offset_index.write_to(file)
        })?;
        let time_index = files.write_index(FileKind::TimeIndex, |file| {
            segment.time_index.write_to(file)
        })?;
        let aborted = if segment.transaction_index.len() > 0 {
            Some(files.write_index(FileKind::TransactionIndex, |file| {
                segment.transaction_index.write_to(file)
            })?)
        } else {
            None
        };
        let log = files.in_place(FileKind::Log);
        let indexes = [offset_index, time_index];
        let sealed = Segment::sealed(segment.base_offset, log, self.size, indexes, aborted);
        Ok((files, sealed))
    }

    fn write(&mut self) -> Result<(), LogError> {
        let mut slices: Vec<_> = self
            .pending
            .iter()
            .map(|bytes| IoSlice::new(bytes))
            .collect();
        write_all_vectored(&self.file, &mut slices).context("write", &self.path)?;
        self.size += self.pending_bytes as u64;
        self.pending.clear();
        self.pending_bytes = 0;
        Ok(())
    }
}

impl<S: Storage> CleanedFiles<S> {
    /// Lets the files take the place of the live ones after the next start, whatever happens.
    ///
    /// The log comes last: without it the others count for nothing. Waits for the disk.
    ///
    /// # Errors
    /// The file system refuses; the second value says whether the compaction may come into force
    /// all the same.
    pub(crate) fn commit(&mut self) -> Result<(), (LogError, bool)> {
        for kind in self.kinds_log_last() {
            self.rename(kind, CLEANED_SUFFIX, SWAP_SUFFIX)
                .map_err(|error| (error, false))?;
        }
        self.is_in_place = true;
        self.storage
            .sync_directory(&self.directory)
            .context("sync directory", &self.directory)
            .map_err(|error| (error, true))
    }

    /// Gives the files the names of live ones, the log last.
    pub(crate) fn put_in_place(&self) -> Result<(), LogError> {
        self.kinds_log_last()
            .into_iter()
            .try_for_each(|kind| self.rename(kind, SWAP_SUFFIX, ""))
    }

    fn create(&mut self, kind: FileKind) -> Result<(PathBuf, S::File), LogError> {
        let path = self.path(kind, CLEANED_SUFFIX);
        let file = self.storage.create(&path).context("create", &path)?;
        self.kinds.push(kind);
        Ok((path, file))
    }

    fn write_index(
        &mut self,
        kind: FileKind,
        write: impl Fn(&S::File) -> std::io::Result<usize>,
    ) -> Result<IndexFile<S>, LogError> {
        let (path, file) = self.create(kind)?;
        let size = write(&file).context("write", &path)?;
        file.sync().context("sync", &path)?;
        Ok(IndexFile::new(self.in_place(kind), size))
    }

    fn in_place(&self, kind: FileKind) -> LazyFile<S> {
        LazyFile::new(self.storage.clone(), self.path(kind, ""))
    }

    fn kinds_log_last(&self) -> Vec<FileKind> {
        self.kinds.iter().rev().copied().collect()
    }

    fn rename(&self, kind: FileKind, from: &str, to: &str) -> Result<(), LogError> {
        let from = self.path(kind, from);
        self.storage
            .rename(&from, &self.path(kind, to))
            .context("rename", &from)
    }

    fn path(&self, kind: FileKind, suffix: &str) -> PathBuf {
        self.directory
            .join(file_name(self.base_offset, kind) + suffix)
    }
}

impl<S: Storage> Drop for CleanedFiles<S> {
    fn drop(&mut self) {
        if self.is_in_place {
            return;
        }
        for kind in &self.kinds {
            // What cannot be removed now goes when the log is opened next.
            let _ = self.storage.remove_file(&self.path(*kind, CLEANED_SUFFIX));
            let _ = self.storage.remove_file(&self.path(*kind, SWAP_SUFFIX));
        }
    }
}

/// How much is written at once.
const WRITE_SIZE: usize = 256 * 1024;
