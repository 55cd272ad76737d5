//! Reads the batches of a segment one after another, with their bytes.

use std::path::Path;

use bytes::Bytes;
use moldau_protocol::batch::{BATCH_HEADER_SIZE, BatchHeader, RecordBatch};

use super::{Pace, Step};
use crate::error::LogError;
use crate::segment::read_exactly;
use crate::storage::StorageFile;

/// Reads the batches of a file in large pieces, and checks each one's checksum.
pub(super) struct Batches<'a, F> {
    file: &'a F,
    path: &'a Path,
    /// Where the next batch begins.
    position: u64,
    end: u64,
    /// Bytes from `position` on that are read already.
    ahead: Bytes,
}

impl<'a, F: StorageFile> Batches<'a, F> {
    /// Reads from `position`, where a batch begins, to `end`.
    pub(super) const fn new(file: &'a F, path: &'a Path, position: u64, end: u64) -> Self {
        Self {
            file,
            path,
            position,
            end,
            ahead: Bytes::new(),
        }
    }

    /// The next batch, and whether it is the last one; `None` at the end.
    pub(super) fn next(&mut self, pace: &mut dyn Pace) -> Step<Option<(RecordBatch, bool)>> {
        if self.position >= self.end {
            return Ok(None);
        }
        self.read_ahead(BATCH_HEADER_SIZE, pace)?;
        let header = BatchHeader::read(&self.ahead).map_err(|error| self.corrupt(error))?;
        self.read_ahead(header.size_in_bytes(), pace)?;
        let bytes = self.ahead.split_to(header.size_in_bytes());
        let batch = RecordBatch::parse(bytes).map_err(|error| self.corrupt(error))?;
        batch.verify_crc().map_err(|error| self.corrupt(error))?;
        self.position += batch.size_in_bytes() as u64;
        Ok(Some((batch, self.position >= self.end)))
    }

    /// Makes sure that `wanted` bytes are read.
    fn read_ahead(&mut self, wanted: usize, pace: &mut dyn Pace) -> Step<()> {
        if self.ahead.len() >= wanted {
            return Ok(());
        }
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        if wanted > left {
            let reason = format!("a batch of {wanted} bytes has only {left}");
            return Err(LogError::corrupt(self.path, self.position, reason).into());
        }
        let length = wanted.max(READ_SIZE).min(left);
        pace.moved(length)?;
        self.ahead = read_exactly(self.file, self.path, self.position, length)?;
        Ok(())
    }

    fn corrupt(&self, error: impl ToString) -> LogError {
        LogError::corrupt(self.path, self.position, error.to_string())
    }
}

/// How much is read at once, unless a batch is larger.
const READ_SIZE: usize = 256 * 1024;
