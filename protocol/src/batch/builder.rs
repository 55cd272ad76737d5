//! Writes a batch record by record.

use bytes::Bytes;

use super::header::{self, CRC_COVERS_FROM, LENGTH_END, MAGIC};
use super::{BATCH_HEADER_SIZE, BatchError, BatchHeader, RecordHeader, TimestampType};
use crate::compression::Compression;
use crate::primitives::varint;

/// Builds one batch. Without compression the records are written once and never copied.
#[derive(Clone, Debug)]
pub struct RecordBatchBuilder {
    compression: Compression,
    level: Option<i32>,
    flags: i16,
    base_offset: i64,
    leader_epoch: i32,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    append_timestamp: Option<i64>,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    last_offset_delta: i32,
    count: i32,
    /// Room for the header, then the records.
    buffer: Vec<u8>,
}

impl RecordBatchBuilder {
    /// An empty batch at offset 0 without producer.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        Self::with_capacity(compression, 0)
    }

    /// An empty batch with room for `capacity` bytes of records before compression.
    #[must_use]
    pub fn with_capacity(compression: Compression, capacity: usize) -> Self {
        let mut buffer = Vec::with_capacity(BATCH_HEADER_SIZE + capacity);
        buffer.resize(BATCH_HEADER_SIZE, 0);
        Self {
            compression,
            level: None,
            flags: 0,
            base_offset: 0,
            leader_epoch: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            append_timestamp: None,
            base_timestamp: None,
            max_timestamp: -1,
            last_offset_delta: -1,
            count: 0,
            buffer,
        }
    }

    /// Sets the codec's level instead of its default.
    #[must_use]
    pub const fn compression_level(mut self, level: i32) -> Self {
        self.level = Some(level);
        self
    }

    /// Sets the offset of the first record.
    #[must_use]
    pub const fn base_offset(mut self, base_offset: i64) -> Self {
        self.base_offset = base_offset;
        self
    }

    /// Sets who gives the timestamps; [`Self::log_append_time`] gives the broker's.
    #[must_use]
    pub const fn timestamp_type(mut self, timestamp_type: TimestampType) -> Self {
        self.flags &= !header::LOG_APPEND_TIME;
        if let TimestampType::LogAppendTime = timestamp_type {
            self.flags |= header::LOG_APPEND_TIME;
        }
        self
    }

    /// Makes `timestamp` the time of append of all records.
    #[must_use]
    pub const fn log_append_time(mut self, timestamp: i64) -> Self {
        self.append_timestamp = Some(timestamp);
        self.timestamp_type(TimestampType::LogAppendTime)
    }

    /// Lets the tombstones of the batch go at `horizon`, in milliseconds (KIP-534). It takes the
    /// place of the base timestamp, so it is set before the first record.
    #[must_use]
    pub const fn delete_horizon(mut self, horizon: i64) -> Self {
        self.base_timestamp = Some(horizon);
        self.flag(header::DELETE_HORIZON, true)
    }

    /// Sets the least that the batch gives as its largest timestamp, for one that lost its records.
    #[must_use]
    pub const fn max_timestamp(mut self, timestamp: i64) -> Self {
        self.max_timestamp = timestamp;
        self
    }

    /// Sets the idempotent producer and the sequence number of the first record.
    #[must_use]
    pub const fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
        self
    }

    /// Sets whether the batch belongs to a transaction.
    #[must_use]
    pub const fn transactional(self, transactional: bool) -> Self {
        self.flag(header::TRANSACTIONAL, transactional)
    }

    /// Sets whether the batch holds a control record.
    #[must_use]
    pub const fn control(self, control: bool) -> Self {
        self.flag(header::CONTROL, control)
    }

    /// Sets the epoch of the partition's leader.
    #[must_use]
    pub const fn leader_epoch(mut self, leader_epoch: i32) -> Self {
        self.leader_epoch = leader_epoch;
        self
    }

    /// Adds a record at the next offset.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader],
    ) {
        self.write(self.last_offset_delta + 1, timestamp, key, value, headers);
    }

    /// Adds a record at an offset beyond the last one, so that compaction can leave gaps.
    ///
    /// # Errors
    /// The offset is not beyond the last one, or too far from the base offset.
    pub fn append_at(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader],
    ) -> Result<(), BatchError> {
        let delta = offset
            .checked_sub(self.base_offset)
            .and_then(|delta| i32::try_from(delta).ok());
        let delta = delta
            .filter(|delta| *delta > self.last_offset_delta)
            .ok_or(BatchError::InvalidRecord {
                base_offset: self.base_offset,
                index: self.count,
                problem: "its offset is not beyond the last one, or too far",
            })?;
        self.write(delta, timestamp, key, value, headers);
        Ok(())
    }

    /// Makes the batch end at `offset` although its last records are gone, as compaction does.
    pub fn extend_to(&mut self, offset: i64) {
        let delta = i32::try_from(offset.saturating_sub(self.base_offset)).unwrap_or(i32::MAX);
        self.last_offset_delta = self.last_offset_delta.max(delta);
    }

    /// Number of records.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of bytes that the batch has before compression, header included.
    #[must_use]
    pub fn estimated_size(&self) -> usize {
        self.buffer.len()
    }

    /// Number of bytes that a record would add before compression, at most.
    #[must_use]
    pub fn size_of_record(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader],
    ) -> usize {
        // Length 5, attributes 1, timestamp delta 10, offset delta 5.
        21 + body_size(key, value, headers)
    }

    /// The finished batch.
    #[must_use]
    pub fn build(mut self) -> Bytes {
        if self.compression != Compression::None {
            let compressed = self
                .compression
                .compress(&self.buffer[BATCH_HEADER_SIZE..], self.level);
            self.buffer.truncate(BATCH_HEADER_SIZE);
            self.buffer.extend_from_slice(&compressed);
        }
        let mut header = BatchHeader {
            base_offset: self.base_offset,
            batch_length: (self.buffer.len() - LENGTH_END) as i32,
            partition_leader_epoch: self.leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes: self.flags | i16::from(self.compression.id()),
            last_offset_delta: self.last_offset_delta.max(0),
            base_timestamp: self.base_timestamp.unwrap_or(-1),
            max_timestamp: self.append_timestamp.unwrap_or(self.max_timestamp),
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            record_count: self.count,
        };
        self.buffer[..BATCH_HEADER_SIZE].copy_from_slice(&header.write());
        header.crc = crc32c::crc32c(&self.buffer[CRC_COVERS_FROM..]);
        self.buffer[..BATCH_HEADER_SIZE].copy_from_slice(&header.write());
        Bytes::from(self.buffer)
    }

    const fn flag(mut self, flag: i16, set: bool) -> Self {
        if set {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
        self
    }

    fn write(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader],
    ) {
        let base_timestamp = *self.base_timestamp.get_or_insert(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(base_timestamp);
        let deltas = varint::size_u64(varint::zigzag_i64(timestamp_delta))
            + size_of_length(i64::from(offset_delta));
        let size = 1 + deltas + body_size(key, value, headers);
        self.buffer.reserve(size + MAX_LENGTH_SIZE);
        self.put_varint(size as i64);
        self.buffer.push(0);
        self.put_varint(timestamp_delta);
        self.put_varint(i64::from(offset_delta));
        self.put_bytes(key);
        self.put_bytes(value);
        self.put_varint(headers.len() as i64);
        for header in headers {
            self.put_bytes(Some(header.key.as_bytes()));
            self.put_bytes(header.value.as_deref());
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.last_offset_delta = offset_delta;
        self.count += 1;
    }

    fn put_bytes(&mut self, bytes: Option<&[u8]>) {
        self.put_varint(bytes.map_or(-1, |bytes| bytes.len() as i64));
        self.buffer.extend_from_slice(bytes.unwrap_or_default());
    }

    #[inline]
    fn put_varint(&mut self, value: i64) {
        let value = varint::zigzag_i64(value);
        if value < 0x80 {
            self.buffer.push(value as u8);
            return;
        }
        let mut bytes = [0; 10];
        let size = varint::write_u64(value, &mut bytes);
        self.buffer.extend_from_slice(&bytes[..size]);
    }
}

/// Most bytes that a record's length takes.
const MAX_LENGTH_SIZE: usize = 5;

fn body_size(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[RecordHeader]) -> usize {
    let headers_size: usize = headers
        .iter()
        .map(|header| {
            size_of_bytes(Some(header.key.as_bytes())) + size_of_bytes(header.value.as_deref())
        })
        .sum();
    size_of_bytes(key) + size_of_bytes(value) + size_of_length(headers.len() as i64) + headers_size
}

fn size_of_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| size_of_length(bytes.len() as i64) + bytes.len())
}

const fn size_of_length(length: i64) -> usize {
    varint::size_u64(varint::zigzag_i64(length))
}
