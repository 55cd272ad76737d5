//! Several batches one after another, as a fetch returns them.

use bytes::Bytes;

use super::{BatchError, BatchHeader, RecordBatch};

/// Yields the batches of a run of bytes; each is a slice of it.
///
/// A batch that is cut off ends the iteration without an error, because a fetch is cut at its size
/// limit; [`BatchIter::remaining`] then tells how many bytes were left over.
#[derive(Clone, Debug)]
pub struct BatchIter {
    bytes: Bytes,
    failed: bool,
}

impl BatchIter {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self {
            bytes,
            failed: false,
        }
    }

    /// How many bytes are not yet part of a batch.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.bytes.len()
    }
}

impl Iterator for BatchIter {
    type Item = Result<RecordBatch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.bytes.is_empty() {
            return None;
        }
        let header = match BatchHeader::read(&self.bytes) {
            Ok(header) => header,
            Err(BatchError::Incomplete { .. }) => return None,
            Err(error) => {
                self.failed = true;
                return Some(Err(error));
            }
        };
        if header.size_in_bytes() > self.bytes.len() {
            return None;
        }
        Some(RecordBatch::parse(
            self.bytes.split_to(header.size_in_bytes()),
        ))
    }
}
