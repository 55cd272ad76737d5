//! Walks from batch to batch through the bytes of a segment.

use std::ops::{Range, RangeInclusive};
use std::path::Path;

use bytes::Bytes;
use moldau_protocol::batch::{BATCH_HEADER_SIZE, BatchHeader};

use crate::error::{IoContext, LogError};
use crate::storage::{StorageFile, read_up_to};

/// A batch and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchAt {
    pub(crate) header: BatchHeader,
    /// Where the batch begins, in bytes.
    pub(crate) position: u64,
}

impl BatchAt {
    /// Where the batch ends, in bytes.
    pub(crate) fn end(&self) -> u64 {
        self.position + self.header.size_in_bytes() as u64
    }

    /// All bytes of the batch.
    pub(crate) fn read(&self, file: &impl StorageFile, path: &Path) -> Result<Bytes, LogError> {
        read_exactly(file, path, self.position, self.header.size_in_bytes())
    }
}

/// Walks from batch to batch up to an end, checking that each follows the one before.
#[derive(Debug)]
pub(crate) struct BatchWalk<'a, F> {
    window: Window<'a, F>,
    path: &'a Path,
    position: u64,
    end: u64,
    /// The lowest offset that may come, and the highest.
    offsets: RangeInclusive<i64>,
    checks_crc: bool,
}

impl<'a, F: StorageFile> BatchWalk<'a, F> {
    /// Walks by headers alone, from a position where a batch begins.
    pub(crate) fn new(file: &'a F, path: &'a Path, bytes: Range<u64>, base_offset: i64) -> Self {
        Self {
            window: Window::new(file, WALK_WINDOW.min(length(&bytes))),
            path,
            position: bytes.start,
            end: bytes.end,
            offsets: base_offset..=base_offset.saturating_add(i64::from(i32::MAX)),
            checks_crc: false,
        }
    }

    /// Walks over all bytes from the beginning and checks them.
    pub(crate) fn checked(file: &'a F, path: &'a Path, end: u64, base_offset: i64) -> Self {
        let window = Window::new(file, CHECK_WINDOW.min(length(&(0..end))));
        Self {
            window,
            checks_crc: true,
            ..Self::new(file, path, 0..end, base_offset)
        }
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] where no valid batch follows; the walk stays there.
    pub(crate) fn next(&mut self) -> Result<Option<BatchAt>, LogError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let bytes = self
            .window
            .at(self.position, BATCH_HEADER_SIZE, self.path)?;
        let header = BatchHeader::read(bytes).map_err(|error| self.corrupt(error.to_string()))?;
        let batch = BatchAt {
            header,
            position: self.position,
        };
        if batch.end() > self.end {
            let left = self.end - self.position;
            return Err(self.corrupt(format!(
                "a batch of {} bytes has only {left}",
                header.size_in_bytes()
            )));
        }
        let (from, to) = (header.base_offset, header.last_offset());
        if from > to || !self.offsets.contains(&from) || !self.offsets.contains(&to) {
            let (lowest, highest) = (self.offsets.start(), self.offsets.end());
            return Err(self.corrupt(format!(
                "a batch has offsets {from} to {to}, outside {lowest} to {highest}"
            )));
        }
        if self.checks_crc {
            self.check_crc(&batch)?;
        }
        self.position = batch.end();
        self.offsets = header.next_offset()..=*self.offsets.end();
        Ok(Some(batch))
    }

    fn check_crc(&mut self, batch: &BatchAt) -> Result<(), LogError> {
        let (mut position, mut crc) = (batch.position + CRC_COVERS_FROM, 0);
        while position < batch.end() {
            let left = usize::try_from(batch.end() - position).unwrap_or(usize::MAX);
            let bytes = self.window.at(position, 1, self.path)?;
            let Some(bytes) = bytes
                .get(..left.min(bytes.len()))
                .filter(|bytes| !bytes.is_empty())
            else {
                return Err(self.corrupt("the file is shorter than it was".to_owned()));
            };
            crc = crc32c::crc32c_append(crc, bytes);
            position += bytes.len() as u64;
        }
        if crc != batch.header.crc {
            let (expected, base_offset) = (batch.header.crc, batch.header.base_offset);
            return Err(self.corrupt(format!(
                "the batch at offset {base_offset} has checksum {crc:#010x} instead of {expected:#010x}"
            )));
        }
        Ok(())
    }

    fn corrupt(&self, reason: String) -> LogError {
        LogError::corrupt(self.path, self.position, reason)
    }
}

/// A part of a file in memory that moves forward with the reader.
#[derive(Debug)]
struct Window<'a, F> {
    file: &'a F,
    /// Allocated when first needed; its size is the most that is read at once.
    buffer: Vec<u8>,
    capacity: usize,
    /// How many bytes of the buffer are read.
    filled: usize,
    /// Where the buffer begins in the file.
    from: u64,
}

impl<'a, F: StorageFile> Window<'a, F> {
    fn new(file: &'a F, capacity: usize) -> Self {
        let capacity = capacity.max(BATCH_HEADER_SIZE);
        Self {
            file,
            buffer: Vec::new(),
            capacity,
            filled: 0,
            from: 0,
        }
    }

    /// The bytes from `position` on that are in memory, at least `wanted` unless the file ends.
    fn at(&mut self, position: u64, wanted: usize, path: &Path) -> Result<&[u8], LogError> {
        let skipped = position
            .checked_sub(self.from)
            .and_then(|skipped| usize::try_from(skipped).ok());
        let start = skipped.filter(|start| start.saturating_add(wanted) <= self.filled);
        if let Some(start) = start {
            return Ok(&self.buffer[start..self.filled]);
        }
        if self.buffer.is_empty() {
            self.buffer = vec![0; self.capacity];
        }
        self.filled = read_up_to(self.file, &mut self.buffer, position).context("read", path)?;
        self.from = position;
        Ok(&self.buffer[..self.filled])
    }
}

fn length(bytes: &Range<u64>) -> usize {
    usize::try_from(bytes.end.saturating_sub(bytes.start)).unwrap_or(usize::MAX)
}

/// Reads bytes that must be there.
pub(crate) fn read_exactly(
    file: &impl StorageFile,
    path: &Path,
    position: u64,
    length: usize,
) -> Result<Bytes, LogError> {
    let mut bytes = vec![0; length];
    let read = read_up_to(file, &mut bytes, position).context("read", path)?;
    if read < length {
        return Err(LogError::corrupt(
            path,
            position,
            format!("{length} bytes are expected, {read} are there"),
        ));
    }
    Ok(Bytes::from(bytes))
}

/// Where the bytes begin that a batch's checksum covers.
const CRC_COVERS_FROM: u64 = 21;
/// Holds the headers of the batches between two entries of the offset index.
const WALK_WINDOW: usize = 4096;
const CHECK_WINDOW: usize = 256 * 1024;
