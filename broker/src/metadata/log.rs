//! The metadata log: the partition log `__cluster_metadata-0` of this node.
//!
//! ```text
//! one record batch per change | key null | value = one metadata record, framed by core
//! ```
//! A batch counts as valid when its length and checksum fit; recovery cuts what follows the last valid one.
//! A change is acknowledged after `fdatasync`, so what is cut was never acknowledged.

use std::path::Path;

use moldau_core::metadata::{ApplyError, MetadataDecodeError, MetadataRecord};
use moldau_log::{
    AppendBatch, FileStorage, Log, LogConfig, LogError, LogStart, ReadRequest, TopicPartition,
};
use moldau_protocol::batch::{BatchError, BatchIter, Compression, RecordBatch, RecordBatchBuilder};

use crate::runtime::now_ms;

/// The open metadata log.
#[derive(Debug)]
pub(crate) struct MetadataLog {
    /// `None` after it was closed.
    log: Option<Log<FileStorage>>,
    end_offset: i64,
}

/// Why the metadata log cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The files cannot be read.
    #[error("metadata log: {0}")]
    Log(#[from] LogError),
    /// A batch cannot be decoded.
    #[error("metadata log: batch at offset {offset}: {source}")]
    Batch {
        /// Where it lies.
        offset: i64,
        /// What is wrong.
        source: BatchError,
    },
    /// A record is not metadata.
    #[error("metadata log: record at offset {offset}: {source}")]
    Record {
        /// Where it lies.
        offset: i64,
        /// What is wrong.
        source: MetadataDecodeError,
    },
    /// A record contradicts the ones before it.
    #[error("metadata log: record at offset {offset}: {source}")]
    Apply {
        /// Where it lies.
        offset: i64,
        /// What is wrong.
        source: ApplyError,
    },
}

impl MetadataLog {
    /// Opens the log in the data directory, or creates it.
    ///
    /// # Errors
    ///
    /// When its files cannot be read or written.
    pub(crate) fn open(data_dir: &Path, start: LogStart) -> Result<Self, LogError> {
        let directory = data_dir.join(metadata_partition().to_string());
        let config = LogConfig {
            retention_ms: -1,
            retention_bytes: -1,
            ..LogConfig::default()
        };
        let (log, _) = Log::open(FileStorage, directory, config, &start, &mut ())?;
        Ok(Self {
            end_offset: log.log_end_offset(),
            log: Some(log),
        })
    }

    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Appends `records` as one batch and brings it to the disk; returns the log end offset.
    ///
    /// # Errors
    ///
    /// When the log cannot be written.
    pub(crate) fn append(&mut self, records: &[MetadataRecord]) -> Result<i64, LogError> {
        let Some(log) = &mut self.log else {
            return Ok(self.end_offset);
        };
        let now_ms = now_ms();
        let mut builder = RecordBatchBuilder::new(Compression::None)
            .base_offset(log.log_end_offset())
            .leader_epoch(LEADER_EPOCH);
        for record in records {
            builder.append(now_ms, None, Some(&encode(record)), &[]);
        }
        let batch =
            RecordBatch::parse(builder.build()).expect("a batch that was just built is valid");
        let at = log.append(&[AppendBatch::new(&batch)])?;
        log.sync_handle().sync()?;
        self.end_offset = at.next_offset;
        Ok(at.next_offset)
    }

    /// Gives every record to `apply`, oldest first.
    ///
    /// # Errors
    ///
    /// At the first record that cannot be read or applied.
    pub(crate) fn replay(
        &self,
        apply: &mut dyn FnMut(&MetadataRecord) -> Result<(), ApplyError>,
    ) -> Result<(), ReplayError> {
        let Some(log) = &self.log else { return Ok(()) };
        let snapshot = log.reader().snapshot();
        let mut offset = snapshot.log_start_offset();
        loop {
            let request = ReadRequest {
                offset,
                up_to_offset: i64::MAX,
                max_bytes: READ_BYTES,
                at_least_one: true,
            };
            let Some(slice) = snapshot.read(&request)? else {
                return Ok(());
            };
            for batch in BatchIter::new(slice.read_bytes()?) {
                let batch = batch.map_err(|source| ReplayError::Batch { offset, source })?;
                replay_batch(&batch, apply)?;
            }
            offset = slice.next_offset;
        }
    }

    /// Writes what recovery needs and closes the files.
    ///
    /// # Errors
    ///
    /// When the log cannot be written.
    pub(crate) fn close(&mut self) -> Result<(), LogError> {
        self.log.take().map_or(Ok(()), Log::close)
    }
}

/// A record that is too large for its encoding cannot come from a request, which is smaller.
fn encode(record: &MetadataRecord) -> bytes::Bytes {
    record
        .encode()
        .expect("metadata records come from requests of limited size")
}

fn replay_batch(
    batch: &RecordBatch,
    apply: &mut dyn FnMut(&MetadataRecord) -> Result<(), ApplyError>,
) -> Result<(), ReplayError> {
    let batch_error = |source| ReplayError::Batch {
        offset: batch.base_offset(),
        source,
    };
    for record in batch.records().map_err(batch_error)? {
        let record = record.map_err(batch_error)?;
        let offset = record.offset;
        let value = record.value.unwrap_or_default();
        let decoded = MetadataRecord::decode(&value)
            .map_err(|source| ReplayError::Record { offset, source })?;
        apply(&decoded).map_err(|source| ReplayError::Apply { offset, source })?;
    }
    Ok(())
}

/// The metadata log's name, as Kafka's.
pub(crate) fn metadata_partition() -> TopicPartition {
    TopicPartition::new("__cluster_metadata", 0)
}

/// A quorum of one never changes its leader.
const LEADER_EPOCH: i32 = 1;

/// Bytes that are read at once when the log is replayed.
const READ_BYTES: usize = 1024 * 1024;
