//! Appends record batches to the active segment.
//!
//! ```text
//! .log    batch | batch | batch …     each one: header of 61 bytes, then its payload
//! ```
//!
//! Batches go to the file as they came: only the header is the caller's own copy, in which offset
//! and leader epoch were set. They count as valid when their length and CRC32C agree with the
//! header; a batch counts as durable after a sync.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use moldau_protocol::batch::{BATCH_HEADER_SIZE, BatchHeader, RecordBatch};
use tracing::warn;

use super::Log;
use crate::error::{LogError, is_disk_full};
use crate::index::{AbortedTransaction, OFFSET_ENTRY_SIZE, TIME_ENTRY_SIZE};
use crate::leader_epochs::EpochEntry;
use crate::storage::{Storage, StorageFile, write_all_vectored};

/// A batch to be appended: a header with its final offset and leader epoch, and the payload of the
/// producer's frame, which is not copied.
#[derive(Clone, Debug)]
pub struct AppendBatch {
    /// The batch's first 61 bytes.
    pub header: [u8; BATCH_HEADER_SIZE],
    /// The bytes that follow.
    pub payload: Bytes,
    /// The transaction that the batch ends, if it is an abort marker and there is one.
    pub aborted: Option<AbortedTransaction>,
}

/// Where batches were appended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendedAt {
    /// Base offset of the first batch.
    pub first_offset: i64,
    /// The log end offset after the last one.
    pub next_offset: i64,
    /// Bytes of all batches.
    pub bytes: u64,
    /// Base offsets of the segments that were begun; usually none. A producer snapshot belongs to
    /// each.
    pub rolled_at: Vec<i64>,
}

impl AppendBatch {
    /// Appends a batch as it is.
    #[must_use]
    pub fn new(batch: &RecordBatch) -> Self {
        Self {
            header: batch.header_bytes(),
            payload: batch.payload(),
            aborted: None,
        }
    }
}

impl<S: Storage> Log<S> {
    /// Appends batches, all of them or none, with one write for each segment that they touch.
    ///
    /// The caller has checked the batches and set their offsets, which rise from the log end
    /// offset on.
    ///
    /// # Errors
    /// - [`LogError::InvalidBatch`]: an offset is below the log end offset, or a length is wrong
    /// - [`LogError::DiskFull`], [`LogError::Io`]: nothing was appended, and the log is as it was
    /// - [`LogError::Failed`]: the disk refused, now or earlier; the batches may reappear after a
    ///   restart
    pub fn append(&mut self, batches: &[AppendBatch]) -> Result<AppendedAt, LogError> {
        self.shared.check()?;
        let before = self.log_end_offset;
        let mut appended = AppendedAt {
            first_offset: before,
            next_offset: before,
            ..AppendedAt::default()
        };
        match self.append_all(batches, &mut appended) {
            Ok(()) => {
                appended.next_offset = self.log_end_offset;
                self.publish();
                Ok(appended)
            }
            Err(error) => {
                // Runs that went to segments before the one that could not be written are taken
                // back.
                let changed = self.log_end_offset > before || !appended.rolled_at.is_empty();
                if changed && self.shared.failure().is_none() {
                    self.cut_to(before)?;
                }
                Err(error)
            }
        }
    }

    /// Whether a batch, or several together, of `bytes` and with this largest timestamp would
    /// begin a new segment. Who wants a producer snapshot exactly there calls [`Log::roll`]
    /// first.
    #[must_use]
    pub fn will_roll(&self, bytes: usize, max_timestamp: i64) -> bool {
        let first_timestamp = self.active.indexer.first_timestamp;
        self.active.size > 0
            && self.is_full(self.active.size, bytes, first_timestamp, max_timestamp)
    }

    fn append_all(
        &mut self,
        batches: &[AppendBatch],
        appended: &mut AppendedAt,
    ) -> Result<(), LogError> {
        let headers = Headers::read(batches, self.log_end_offset)?;
        if let Some(first) = headers.all.first() {
            appended.first_offset = first.base_offset;
        }
        let mut from = 0;
        while from < batches.len() {
            let header = &headers.all[from];
            if self.must_roll(
                self.active.size,
                self.active.indexer.first_timestamp,
                header,
            ) {
                self.roll_for(header)?;
                appended.rolled_at.push(self.active_segment().base_offset);
            }
            let to = self.end_of_run(&headers.all, from);
            appended.bytes += self.append_run(&batches[from..to], &headers.all[from..to])?;
            from = to;
        }
        Ok(())
    }

    /// The first batch after `from` that goes to another segment.
    fn end_of_run(&self, headers: &[BatchHeader], from: usize) -> usize {
        let first_timestamp = self
            .active
            .indexer
            .first_timestamp
            .or(Some(headers[from].max_timestamp));
        let mut size = self.active.size;
        for (index, header) in headers.iter().enumerate().skip(from) {
            if index > from && self.must_roll(size, first_timestamp, header) {
                return index;
            }
            size += header.size_in_bytes() as u64;
        }
        headers.len()
    }

    /// Whether a batch goes to a new segment when the active one has `size` bytes.
    fn must_roll(&self, size: u64, first_timestamp: Option<i64>, header: &BatchHeader) -> bool {
        let segment = self.active_segment();
        if header.last_offset() - segment.base_offset > i64::from(i32::MAX) {
            return true;
        }
        if size == 0 {
            return false;
        }
        self.is_full(
            size,
            header.size_in_bytes(),
            first_timestamp,
            header.max_timestamp,
        )
    }

    /// Whether the active segment, when it has `size` bytes, cannot take another `bytes`.
    fn is_full(
        &self,
        size: u64,
        bytes: usize,
        first_timestamp: Option<i64>,
        max_timestamp: i64,
    ) -> bool {
        let (segment, config) = (self.active_segment(), &self.config);
        let waited = first_timestamp.map_or(0, |first| max_timestamp.saturating_sub(first));
        let index_bytes = config.segment_index_bytes as usize;
        // The time index keeps room for the entry that is added when the segment is sealed.
        size + bytes as u64 > u64::from(config.segment_bytes.min(MAX_SEGMENT_BYTES))
            || waited > config.segment_ms
            || (segment.offset_index.len() + 1) * OFFSET_ENTRY_SIZE > index_bytes
            || (segment.time_index.len() + 2) * TIME_ENTRY_SIZE > index_bytes
    }

    /// Begins the segment for a batch where the log ends, unless the batch is too far away for
    /// that.
    fn roll_for(&mut self, header: &BatchHeader) -> Result<(), LogError> {
        let in_range = header.last_offset() - self.log_end_offset <= i64::from(i32::MAX);
        self.roll_to(if in_range {
            self.log_end_offset
        } else {
            header.base_offset
        })
    }

    fn append_run(
        &mut self,
        batches: &[AppendBatch],
        headers: &[BatchHeader],
    ) -> Result<u64, LogError> {
        let mut slices = Vec::with_capacity(batches.len() * 2);
        for batch in batches {
            slices.push(IoSlice::new(&batch.header));
            slices.push(IoSlice::new(&batch.payload));
        }
        let segment = Arc::clone(self.active_segment());
        if let Err(error) = write_all_vectored(segment.file.get()?, &mut slices) {
            return Err(self.roll_back_write(error));
        }
        let before = self.active.size;
        for (header, batch) in headers.iter().zip(batches) {
            self.note_epoch(EpochEntry {
                epoch: header.partition_leader_epoch,
                start_offset: header.base_offset,
            });
            self.active.indexer.note(&segment, header, self.active.size);
            self.active.size += header.size_in_bytes() as u64;
            self.log_end_offset = header.next_offset();
            if let Some(aborted) = &batch.aborted {
                segment.transaction_index.push(aborted);
            }
        }
        Ok(self.active.size - before)
    }

    /// Cuts off what a failed write left. Only if that works and the disk was full, the log goes on.
    fn roll_back_write(&self, error: io::Error) -> LogError {
        let segment = self.active_segment();
        let path = segment.file.path().to_path_buf();
        let file = segment.file.get().ok().filter(|_| is_disk_full(&error));
        let Some(file) = file.filter(|file| file.set_size(self.active.size).is_ok()) else {
            return self.shared.fail("append to", &path, error);
        };
        warn!(file = %path.display(), %error, "disk is full, appends are refused until there is room");
        // Once the next sync is done, what was refused cannot come back after a crash.
        self.shared.sync.add_files([(path.clone(), file.clone())]);
        let (action, source) = ("append to", Arc::new(error));
        LogError::DiskFull {
            action,
            path,
            source,
        }
    }
}

/// The headers of batches that fit the log.
struct Headers {
    all: Vec<BatchHeader>,
}

impl Headers {
    fn read(batches: &[AppendBatch], log_end_offset: i64) -> Result<Self, LogError> {
        let mut all = Vec::with_capacity(batches.len());
        let mut next_offset = log_end_offset;
        for batch in batches {
            let header =
                BatchHeader::read(&batch.header).map_err(|error| LogError::InvalidBatch {
                    base_offset: -1,
                    reason: error.to_string(),
                })?;
            let base_offset = header.base_offset;
            let size = BATCH_HEADER_SIZE + batch.payload.len();
            let problem = if base_offset < next_offset {
                format!("the log already ends at {next_offset}")
            } else if header.last_offset_delta < 0 || header.next_offset() == i64::MAX {
                format!("its last offset is {}", header.last_offset())
            } else if header.size_in_bytes() != size {
                format!(
                    "its header says {} bytes, it has {size}",
                    header.size_in_bytes()
                )
            } else if size > MAX_SEGMENT_BYTES as usize {
                format!("its {size} bytes are more than a segment can have")
            } else {
                next_offset = header.next_offset();
                all.push(header);
                continue;
            };
            return Err(LogError::InvalidBatch {
                base_offset,
                reason: problem,
            });
        }
        Ok(Self { all })
    }
}

/// Positions in an index have 31 bits.
const MAX_SEGMENT_BYTES: u32 = i32::MAX as u32;
