//! The 61 bytes at the front of a batch.

use super::BatchError;
use crate::compression::{Compression, CompressionError};

/// How many bytes a batch has before its records.
pub const BATCH_HEADER_SIZE: usize = 61;

/// The values of a batch's header, read without looking at its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record, also if compaction has removed that record.
    pub base_offset: i64,
    /// Number of bytes after this field: the batch's size less 12.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch, or -1.
    pub partition_leader_epoch: i32,
    /// Format version, always 2.
    pub magic: i8,
    /// CRC32C of everything from the attributes on.
    pub crc: u32,
    /// Compression, timestamp type and flags.
    pub attributes: i16,
    /// Last offset less base offset; compaction keeps it.
    pub last_offset_delta: i32,
    /// Timestamp that the records' deltas refer to, in milliseconds.
    pub base_timestamp: i64,
    /// Largest timestamp of the records, or the time of append, in milliseconds.
    pub max_timestamp: i64,
    /// Id of the idempotent producer, or -1.
    pub producer_id: i64,
    /// Epoch of the idempotent producer, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Number of records.
    pub record_count: i32,
}

/// Sets the idempotent producer of a batch in place, as a producer does that retries with a new id.
///
/// # Errors
/// The bytes do not begin with a batch.
pub fn set_producer(
    batch: &mut [u8],
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
) -> Result<(), BatchError> {
    BatchHeader::read(batch)?;
    let available = batch.len();
    let incomplete = BatchError::Incomplete {
        needed: BATCH_HEADER_SIZE,
        available,
    };
    let header = batch.first_chunk_mut().ok_or(incomplete)?;
    BatchHeader::patch_producer(header, producer_id, producer_epoch, base_sequence);
    Ok(())
}

/// Who sets the timestamps of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer does, one for each record.
    #[default]
    CreateTime,
    /// The broker does, one for the whole batch.
    LogAppendTime,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`; what follows it need not be there.
    ///
    /// # Errors
    /// There are fewer than 61 bytes, the length is too small for a header, or the format is not 2.
    pub fn read(bytes: &[u8]) -> Result<Self, BatchError> {
        let incomplete = BatchError::Incomplete {
            needed: BATCH_HEADER_SIZE,
            available: bytes.len(),
        };
        let header: &[u8; BATCH_HEADER_SIZE] = bytes.first_chunk().ok_or(incomplete)?;
        let header = Self::read_unchecked(header);
        if header.magic != MAGIC {
            return Err(BatchError::UnsupportedMagic {
                magic: header.magic,
            });
        }
        if header.batch_length < MIN_BATCH_LENGTH {
            return Err(header.invalid_length());
        }
        Ok(header)
    }

    /// The header's bytes.
    #[must_use]
    pub fn write(&self) -> [u8; BATCH_HEADER_SIZE] {
        let mut bytes = [0; BATCH_HEADER_SIZE];
        let mut rest = &mut bytes[..];
        put(&mut rest, self.base_offset.to_be_bytes());
        put(&mut rest, self.batch_length.to_be_bytes());
        put(&mut rest, self.partition_leader_epoch.to_be_bytes());
        put(&mut rest, self.magic.to_be_bytes());
        put(&mut rest, self.crc.to_be_bytes());
        put(&mut rest, self.attributes.to_be_bytes());
        put(&mut rest, self.last_offset_delta.to_be_bytes());
        put(&mut rest, self.base_timestamp.to_be_bytes());
        put(&mut rest, self.max_timestamp.to_be_bytes());
        put(&mut rest, self.producer_id.to_be_bytes());
        put(&mut rest, self.producer_epoch.to_be_bytes());
        put(&mut rest, self.base_sequence.to_be_bytes());
        put(&mut rest, self.record_count.to_be_bytes());
        bytes
    }

    /// Offset of the last record, also if compaction has removed that record.
    #[must_use]
    pub const fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(self.last_offset_delta as i64)
    }

    /// First offset after the batch.
    #[must_use]
    pub const fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Number of bytes of the batch, header included.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        usize::try_from(self.batch_length).unwrap_or_default() + LENGTH_END
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// The codec is unknown.
    pub fn compression(&self) -> Result<Compression, CompressionError> {
        let id = (self.attributes & COMPRESSION_MASK) as i8;
        Compression::from_id(id).ok_or(CompressionError::UnknownCodec { id })
    }

    /// Who sets the timestamps.
    #[must_use]
    pub const fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch holds a control record, which no consumer sees.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Time in milliseconds from which tombstones of the batch may be removed, if it was set.
    #[must_use]
    pub const fn delete_horizon(&self) -> Option<i64> {
        if self.attributes & DELETE_HORIZON != 0 {
            Some(self.base_timestamp)
        } else {
            None
        }
    }

    /// Whether an idempotent producer wrote the batch.
    #[must_use]
    pub const fn has_producer(&self) -> bool {
        self.producer_id >= 0
    }

    /// Sequence number of the last record, which wraps to zero after `i32::MAX`; -1 without one.
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        // The sum wraps into the negative numbers, and the mask brings it back from zero upwards.
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// Sets the base offset in a batch's bytes; the checksum stays valid.
    pub fn patch_base_offset(header: &mut [u8; BATCH_HEADER_SIZE], base_offset: i64) {
        header[..LENGTH_AT].copy_from_slice(&base_offset.to_be_bytes());
    }

    /// Sets the partition leader epoch in a batch's bytes; the checksum stays valid.
    pub fn patch_leader_epoch(header: &mut [u8; BATCH_HEADER_SIZE], leader_epoch: i32) {
        header[LEADER_EPOCH_AT..MAGIC_AT].copy_from_slice(&leader_epoch.to_be_bytes());
    }

    /// Makes `max_timestamp` the time of append of a whole batch and corrects the checksum, which
    /// must be right before. The records are not needed.
    pub fn patch_log_append_time(header: &mut [u8; BATCH_HEADER_SIZE], max_timestamp: i64) {
        Self::patch_covered(header, |values| {
            values.attributes |= LOG_APPEND_TIME;
            values.max_timestamp = max_timestamp;
        });
    }

    /// Sets the idempotent producer and the first sequence number and corrects the checksum, which
    /// must be right before. The records are not needed.
    pub fn patch_producer(
        header: &mut [u8; BATCH_HEADER_SIZE],
        producer_id: i64,
        producer_epoch: i16,
        base_sequence: i32,
    ) {
        Self::patch_covered(header, |values| {
            values.producer_id = producer_id;
            values.producer_epoch = producer_epoch;
            values.base_sequence = base_sequence;
        });
    }

    /// Changes values that the checksum covers. The new checksum is the old one plus the change of
    /// the header, moved along by the length of the records.
    fn patch_covered(header: &mut [u8; BATCH_HEADER_SIZE], change: impl FnOnce(&mut Self)) {
        let mut values = Self::read_unchecked(header);
        let before = crc32c::crc32c(&header[CRC_COVERS_FROM..]);
        change(&mut values);
        *header = values.write();
        let after = crc32c::crc32c(&header[CRC_COVERS_FROM..]);
        let records = values.size_in_bytes().saturating_sub(BATCH_HEADER_SIZE);
        values.crc = crc32c::crc32c_combine(before ^ after, values.crc, records);
        *header = values.write();
    }

    fn read_unchecked(header: &[u8; BATCH_HEADER_SIZE]) -> Self {
        let mut rest = &header[..];
        Self {
            base_offset: i64::from_be_bytes(take(&mut rest)),
            batch_length: i32::from_be_bytes(take(&mut rest)),
            partition_leader_epoch: i32::from_be_bytes(take(&mut rest)),
            magic: i8::from_be_bytes(take(&mut rest)),
            crc: u32::from_be_bytes(take(&mut rest)),
            attributes: i16::from_be_bytes(take(&mut rest)),
            last_offset_delta: i32::from_be_bytes(take(&mut rest)),
            base_timestamp: i64::from_be_bytes(take(&mut rest)),
            max_timestamp: i64::from_be_bytes(take(&mut rest)),
            producer_id: i64::from_be_bytes(take(&mut rest)),
            producer_epoch: i16::from_be_bytes(take(&mut rest)),
            base_sequence: i32::from_be_bytes(take(&mut rest)),
            record_count: i32::from_be_bytes(take(&mut rest)),
        }
    }

    pub(super) const fn invalid_length(&self) -> BatchError {
        BatchError::InvalidLength {
            base_offset: self.base_offset,
            length: self.batch_length,
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (chunk, after) = rest
        .split_first_chunk()
        .expect("the fields are 61 bytes together");
    *rest = after;
    *chunk
}

fn put<const N: usize>(rest: &mut &mut [u8], value: [u8; N]) {
    let (chunk, after) = std::mem::take(rest)
        .split_first_chunk_mut()
        .expect("the fields are 61 bytes together");
    *chunk = value;
    *rest = after;
}

pub(super) const MAGIC: i8 = 2;
pub(super) const COMPRESSION_MASK: i16 = 0b111;
pub(super) const LOG_APPEND_TIME: i16 = 1 << 3;
pub(super) const TRANSACTIONAL: i16 = 1 << 4;
pub(super) const CONTROL: i16 = 1 << 5;
pub(super) const DELETE_HORIZON: i16 = 1 << 6;

const LENGTH_AT: usize = 8;
/// The length field counts the bytes from here on.
pub(super) const LENGTH_END: usize = 12;
const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
/// The checksum covers the bytes from here on.
pub(super) const CRC_COVERS_FROM: usize = 21;
const MIN_BATCH_LENGTH: i32 = (BATCH_HEADER_SIZE - LENGTH_END) as i32;
