//! Records borrowed from their batch.

use super::{BatchError, BatchHeader, TimestampType};
use crate::primitives::varint;

/// One record, borrowed from the batch or its decompressed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// The record's offset in its partition.
    pub offset: i64,
    /// Milliseconds since 1970: the producer's, or the time of append.
    pub timestamp: i64,
    /// The key, if there is one.
    pub key: Option<&'a [u8]>,
    /// The value; none in a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers as they were written; checked.
    headers: &'a [u8],
    header_count: usize,
}

/// Yields the records of a batch. After an error it yields nothing more.
#[derive(Clone, Debug)]
pub struct RecordRefIter<'a> {
    bytes: &'a [u8],
    reader: Reader,
}

/// Yields the headers of a record: name and value.
#[derive(Clone, Debug)]
pub struct HeaderRefIter<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

/// How far the records of a batch have been read.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    position: usize,
    base_offset: i64,
    base_timestamp: i64,
    append_timestamp: Option<i64>,
    index: i32,
    count: i32,
}

#[derive(Clone, Debug)]
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> RecordRef<'a> {
    /// The headers in the order in which they were written; a name may come more than once.
    #[must_use]
    pub const fn headers(&self) -> HeaderRefIter<'a> {
        HeaderRefIter {
            cursor: Cursor { rest: self.headers },
            left: self.header_count,
        }
    }

    /// Number of headers.
    #[must_use]
    pub const fn header_count(&self) -> usize {
        self.header_count
    }
}

impl<'a> RecordRefIter<'a> {
    pub(super) const fn new(bytes: &'a [u8], reader: Reader) -> Self {
        Self { bytes, reader }
    }
}

impl<'a> Iterator for RecordRefIter<'a> {
    type Item = Result<RecordRef<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.reader.next(self.bytes)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.reader.size_hint()
    }
}

impl<'a> Iterator for HeaderRefIter<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // The headers were checked when the record was read.
        self.cursor.header().ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.min(MAX_EXPECTED_HEADERS), Some(self.left))
    }
}

impl Reader {
    pub(super) fn new(header: &BatchHeader, length: usize) -> Result<Self, BatchError> {
        let append_time = header.timestamp_type() == TimestampType::LogAppendTime;
        let reader = Self {
            position: 0,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            append_timestamp: append_time.then_some(header.max_timestamp),
            index: 0,
            count: header.record_count,
        };
        let most = length / MIN_RECORD_SIZE;
        if usize::try_from(reader.count).is_ok_and(|count| count <= most) {
            return Ok(reader);
        }
        Err(reader.invalid("the batch is too short for its number of records"))
    }

    pub(super) const fn ignore_append_time(&mut self) {
        self.append_timestamp = None;
    }

    pub(super) fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.count - self.index).unwrap_or_default();
        (left.min(1), Some(left))
    }

    pub(super) fn next<'a>(
        &mut self,
        bytes: &'a [u8],
    ) -> Option<Result<RecordRef<'a>, BatchError>> {
        if self.index >= self.count {
            return None;
        }
        match self.read(bytes) {
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

    fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<RecordRef<'a>, &'static str> {
        let rest = bytes.get(self.position..).unwrap_or_default();
        let mut batch = Cursor { rest };
        let length = usize::try_from(batch.varint()?).map_err(|_| "its length is negative")?;
        let mut record = Cursor {
            rest: batch.take(length)?,
        };
        if self.index + 1 == self.count && !batch.rest.is_empty() {
            return Err("bytes follow the last record");
        }
        let _attributes = record.take(1)?;
        let timestamp_delta = record.varlong()?;
        let offset_delta = record.varint()?;
        let key = record.nullable()?;
        let value = record.nullable()?;
        let header_count =
            usize::try_from(record.varint()?).map_err(|_| "its number of headers is negative")?;
        let headers = record.rest;
        record.skip_headers(header_count)?;
        self.position = bytes.len() - batch.rest.len();
        Ok(RecordRef {
            offset: self.base_offset.wrapping_add(i64::from(offset_delta)),
            timestamp: self
                .append_timestamp
                .unwrap_or(self.base_timestamp.wrapping_add(timestamp_delta)),
            key,
            value,
            headers,
            header_count,
        })
    }

    #[cold]
    const fn invalid(&self, problem: &'static str) -> BatchError {
        BatchError::InvalidRecord {
            base_offset: self.base_offset,
            index: self.index,
            problem,
        }
    }
}

impl<'a> Cursor<'a> {
    fn skip_headers(&mut self, count: usize) -> Result<(), &'static str> {
        if count > self.rest.len() / MIN_HEADER_SIZE {
            return Err("it is too short for its number of headers");
        }
        for _ in 0..count {
            self.header()?;
        }
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err("its length is not that of its fields")
        }
    }

    fn header(&mut self) -> Result<(&'a str, Option<&'a [u8]>), &'static str> {
        let key = self.nullable()?.ok_or("a header has no key")?;
        let key = std::str::from_utf8(key).map_err(|_| "a header's key is not UTF-8")?;
        Ok((key, self.nullable()?))
    }

    #[inline]
    fn nullable(&mut self) -> Result<Option<&'a [u8]>, &'static str> {
        match usize::try_from(self.varint()?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn varint(&mut self) -> Result<i32, &'static str> {
        let (value, size) = varint::read_i32(self.rest).ok_or(CUT)?;
        self.take(size)?;
        Ok(value)
    }

    #[inline]
    fn varlong(&mut self) -> Result<i64, &'static str> {
        let (value, size) = varint::read_i64(self.rest).ok_or(CUT)?;
        self.take(size)?;
        Ok(value)
    }
}

const CUT: &str = "it is cut off";
/// Length, attributes, two deltas, two lengths and the number of headers: one byte each.
const MIN_RECORD_SIZE: usize = 7;
/// Two lengths of one byte each.
const MIN_HEADER_SIZE: usize = 2;
/// Room made at once for headers: one is far larger in memory than on the wire.
const MAX_EXPECTED_HEADERS: usize = 16;
