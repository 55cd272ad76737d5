//! One batch in memory, read in place.

use bytes::{Bytes, BytesMut};

use super::header::CRC_COVERS_FROM;
use super::{BATCH_HEADER_SIZE, BatchError, BatchHeader, RecordIter, TimestampType};
use crate::compression::{Compression, CompressionError, MAX_DECOMPRESSED_SIZE};

/// The bytes of exactly one batch with the values of its header; no record is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl RecordBatch {
    /// Takes bytes that are exactly one batch. The checksum is left to [`Self::verify_crc`].
    ///
    /// # Errors
    /// The header is wrong, or its length is not the length of the bytes.
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::read(&bytes)?;
        if header.size_in_bytes() > bytes.len() {
            return Err(BatchError::Incomplete {
                needed: header.size_in_bytes(),
                available: bytes.len(),
            });
        }
        if header.size_in_bytes() < bytes.len() {
            return Err(header.invalid_length());
        }
        Ok(Self { header, bytes })
    }

    /// The same batch as a copy that keeps no larger buffer in memory.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            header: self.header,
            bytes: Bytes::copy_from_slice(&self.bytes),
        }
    }

    /// All values of the header.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Offset of the first record, also if compaction has removed that record.
    #[must_use]
    pub const fn base_offset(&self) -> i64 {
        self.header.base_offset
    }

    /// Offset of the last record, also if compaction has removed that record.
    #[must_use]
    pub const fn last_offset(&self) -> i64 {
        self.header.last_offset()
    }

    /// First offset after the batch.
    #[must_use]
    pub const fn next_offset(&self) -> i64 {
        self.header.next_offset()
    }

    /// Last offset less base offset.
    #[must_use]
    pub const fn last_offset_delta(&self) -> i32 {
        self.header.last_offset_delta
    }

    /// Epoch of the leader that appended the batch, or -1.
    #[must_use]
    pub const fn partition_leader_epoch(&self) -> i32 {
        self.header.partition_leader_epoch
    }

    /// Format version, always 2.
    #[must_use]
    pub const fn magic(&self) -> i8 {
        self.header.magic
    }

    /// CRC32C of everything from the attributes on, as the header says.
    #[must_use]
    pub const fn crc(&self) -> u32 {
        self.header.crc
    }

    /// Compression, timestamp type and flags.
    #[must_use]
    pub const fn attributes(&self) -> i16 {
        self.header.attributes
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// The codec is unknown.
    pub fn compression(&self) -> Result<Compression, CompressionError> {
        self.header.compression()
    }

    /// Who sets the timestamps.
    #[must_use]
    pub const fn timestamp_type(&self) -> TimestampType {
        self.header.timestamp_type()
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.header.is_transactional()
    }

    /// Whether the batch holds a control record, which no consumer sees.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.header.is_control()
    }

    /// Timestamp that the records' deltas refer to, in milliseconds.
    #[must_use]
    pub const fn base_timestamp(&self) -> i64 {
        self.header.base_timestamp
    }

    /// Largest timestamp of the records, or the time of append, in milliseconds.
    #[must_use]
    pub const fn max_timestamp(&self) -> i64 {
        self.header.max_timestamp
    }

    /// Id of the idempotent producer, or -1.
    #[must_use]
    pub const fn producer_id(&self) -> i64 {
        self.header.producer_id
    }

    /// Epoch of the idempotent producer, or -1.
    #[must_use]
    pub const fn producer_epoch(&self) -> i16 {
        self.header.producer_epoch
    }

    /// Sequence number of the first record, or -1.
    #[must_use]
    pub const fn base_sequence(&self) -> i32 {
        self.header.base_sequence
    }

    /// Sequence number of the last record, which wraps to zero after `i32::MAX`; -1 without one.
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        self.header.last_sequence()
    }

    /// Number of records.
    #[must_use]
    pub const fn record_count(&self) -> i32 {
        self.header.record_count
    }

    /// Number of bytes, header included.
    #[must_use]
    pub const fn size_in_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The batch's bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The batch's bytes.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The bytes of the records, still compressed.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(BATCH_HEADER_SIZE..)
    }

    /// The bytes of the header, to be patched.
    #[must_use]
    pub fn header_bytes(&self) -> [u8; BATCH_HEADER_SIZE] {
        self.header.write()
    }

    /// Checks that the bytes are those that the producer wrote.
    ///
    /// # Errors
    /// The checksum is wrong.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let actual = crc32c::crc32c(&self.bytes[CRC_COVERS_FROM..]);
        if actual == self.header.crc {
            return Ok(());
        }
        Err(BatchError::Corrupt {
            base_offset: self.base_offset(),
            expected: self.header.crc,
            actual,
        })
    }

    /// The records, which are slices of the batch or of its decompressed form.
    ///
    /// # Errors
    /// The records cannot be decompressed, or are larger than [`MAX_DECOMPRESSED_SIZE`] then.
    pub fn records(&self) -> Result<RecordIter, BatchError> {
        self.records_within(MAX_DECOMPRESSED_SIZE)
    }

    /// The records, which may have at most `max_size` bytes after decompression.
    ///
    /// # Errors
    /// The records cannot be decompressed, or are larger than `max_size` then.
    pub fn records_within(&self, max_size: usize) -> Result<RecordIter, BatchError> {
        let payload = self.compression()?.decompress(self.payload(), max_size)?;
        RecordIter::new(&self.header, payload)
    }

    /// A copy with another base offset and leader epoch, as a leader does on append.
    #[must_use]
    pub fn relocated(&self, base_offset: i64, leader_epoch: i32) -> Self {
        let header = BatchHeader {
            base_offset,
            partition_leader_epoch: leader_epoch,
            ..self.header
        };
        let mut bytes = BytesMut::with_capacity(self.bytes.len());
        bytes.extend_from_slice(&header.write());
        bytes.extend_from_slice(&self.bytes[BATCH_HEADER_SIZE..]);
        Self {
            header,
            bytes: bytes.freeze(),
        }
    }
}
