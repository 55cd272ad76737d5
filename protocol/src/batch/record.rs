//! Records as slices of their batch.

use bytes::Bytes;

use super::{BatchError, BatchHeader, TimestampType};
use crate::primitives::varint;
use crate::types::KString;

/// One record. Key, value and headers are slices of the batch or of its decompressed form.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Record {
    /// The record's offset in its partition.
    pub offset: i64,
    /// Milliseconds since 1970: the producer's, or the time of append.
    pub timestamp: i64,
    /// The key, if there is one.
    pub key: Option<Bytes>,
    /// The value; none in a tombstone.
    pub value: Option<Bytes>,
    /// Headers in the order in which they were written; a key may come more than once.
    pub headers: Vec<RecordHeader>,
}

/// A name and value beside the record's own.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RecordHeader {
    /// The name, which need not be unique.
    pub key: KString,
    /// The value, if there is one.
    pub value: Option<Bytes>,
}

/// Yields the records of a batch. After an error it yields nothing more.
#[derive(Clone, Debug)]
pub struct RecordIter {
    bytes: Bytes,
    position: usize,
    base_offset: i64,
    base_timestamp: i64,
    append_timestamp: Option<i64>,
    index: i32,
    count: i32,
}

impl RecordHeader {
    /// A header with a value.
    pub fn new(key: impl Into<KString>, value: impl Into<Bytes>) -> Self {
        Self {
            key: key.into(),
            value: Some(value.into()),
        }
    }
}

impl RecordIter {
    pub(super) fn new(header: &BatchHeader, bytes: Bytes) -> Result<Self, BatchError> {
        let append_time = header.timestamp_type() == TimestampType::LogAppendTime;
        let iter = Self {
            bytes,
            position: 0,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            append_timestamp: append_time.then_some(header.max_timestamp),
            index: 0,
            count: header.record_count,
        };
        let most = iter.bytes.len() / MIN_RECORD_SIZE;
        if usize::try_from(iter.count).is_ok_and(|count| count <= most) {
            return Ok(iter);
        }
        Err(iter.invalid("the batch is too short for its number of records"))
    }

    /// Yields the timestamps that the producer wrote even if the broker's count.
    #[must_use]
    pub const fn with_create_time(mut self) -> Self {
        self.append_timestamp = None;
        self
    }

    /// The decompressed bytes of all records.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    fn read(&mut self) -> Result<Record, &'static str> {
        let length = self.varint()?;
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| self.position.checked_add(length));
        let end = end
            .filter(|end| *end <= self.bytes.len())
            .ok_or("its length is impossible")?;
        let _attributes = self.bytes.get(self.position).ok_or(CUT)?;
        self.position += 1;
        let timestamp_delta = self.varlong()?;
        let offset_delta = self.varint()?;
        let key = self.nullable_bytes(end)?;
        let value = self.nullable_bytes(end)?;
        let headers = self.headers(end)?;
        if self.position != end {
            return Err("its length is not that of its fields");
        }
        Ok(Record {
            offset: self.base_offset.wrapping_add(i64::from(offset_delta)),
            timestamp: self
                .append_timestamp
                .unwrap_or(self.base_timestamp.wrapping_add(timestamp_delta)),
            key,
            value,
            headers,
        })
    }

    fn headers(&mut self, end: usize) -> Result<Vec<RecordHeader>, &'static str> {
        let count =
            usize::try_from(self.varint()?).map_err(|_| "its number of headers is negative")?;
        if count == 0 {
            return Ok(Vec::new());
        }
        if count > end.saturating_sub(self.position) / MIN_HEADER_SIZE {
            return Err("it is too short for its number of headers");
        }
        // Grown as headers are really found, because one is far larger in memory than on the wire.
        let mut headers = Vec::with_capacity(count.min(MAX_PREPARED_HEADERS));
        for _ in 0..count {
            let key = self.nullable_bytes(end)?.ok_or("a header has no key")?;
            let key = KString::from_utf8(key).map_err(|_| "a header's key is not UTF-8")?;
            headers.push(RecordHeader {
                key,
                value: self.nullable_bytes(end)?,
            });
        }
        Ok(headers)
    }

    fn nullable_bytes(&mut self, end: usize) -> Result<Option<Bytes>, &'static str> {
        let length = self.varint()?;
        let Ok(length) = usize::try_from(length) else {
            return Ok(None);
        };
        let after = self
            .position
            .checked_add(length)
            .filter(|after| *after <= end)
            .ok_or(CUT)?;
        let bytes = self.bytes.slice(self.position..after);
        self.position = after;
        Ok(Some(bytes))
    }

    fn varint(&mut self) -> Result<i32, &'static str> {
        let (value, size) =
            varint::read_i32(self.bytes.get(self.position..).unwrap_or_default()).ok_or(CUT)?;
        self.position += size;
        Ok(value)
    }

    fn varlong(&mut self) -> Result<i64, &'static str> {
        let (value, size) =
            varint::read_i64(self.bytes.get(self.position..).unwrap_or_default()).ok_or(CUT)?;
        self.position += size;
        Ok(value)
    }

    const fn invalid(&self, problem: &'static str) -> BatchError {
        BatchError::InvalidRecord {
            base_offset: self.base_offset,
            index: self.index,
            problem,
        }
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.count {
            return None;
        }
        let record = self.read().and_then(|record| {
            let last = self.index + 1 == self.count;
            if last && self.position != self.bytes.len() {
                Err("bytes follow the last record")
            } else {
                Ok(record)
            }
        });
        match record {
            Ok(record) => {
                self.index += 1;
                Some(Ok(record))
            }
            Err(problem) => {
                let error = self.invalid(problem);
                self.count = self.index;
                Some(Err(error))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.count - self.index).unwrap_or_default();
        (left.min(1), Some(left))
    }
}

const CUT: &str = "it is cut off";
/// Length, attributes, two deltas, two lengths and the number of headers: one byte each.
const MIN_RECORD_SIZE: usize = 7;
/// Two lengths of one byte each.
const MIN_HEADER_SIZE: usize = 2;
const MAX_PREPARED_HEADERS: usize = 16;
