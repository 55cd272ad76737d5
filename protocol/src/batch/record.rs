//! Records as slices of their batch.

use bytes::Bytes;

use super::record_ref::Reader;
use super::{BatchError, BatchHeader, RecordRef, RecordRefIter};
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
///
/// Keys and values share the batch's memory, which costs a reference count each; where they are only
/// looked at, [`RecordIter::borrowed`] is cheaper.
#[derive(Clone, Debug)]
pub struct RecordIter {
    bytes: Bytes,
    reader: Reader,
}

impl Record {
    /// Number of bytes of key, value and headers.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self
            .headers
            .iter()
            .map(|header| header.key.len() + len(&header.value));
        len(&self.key) + len(&self.value) + headers.sum::<usize>()
    }

    /// The value of the last header of this name, as Kafka's clients choose it.
    #[must_use]
    pub fn last_header(&self, key: &str) -> Option<&RecordHeader> {
        self.headers.iter().rev().find(|header| header.key == *key)
    }

    /// The borrowed record with parts of `bytes`, which it must have been read from.
    fn shared(record: &RecordRef<'_>, bytes: &Bytes) -> Self {
        let part = |part: Option<&[u8]>| part.map(|part| bytes.slice_ref(part));
        let header = |(key, value): (&str, _)| RecordHeader {
            key: KString::from_utf8(bytes.slice_ref(key.as_bytes())).unwrap_or_default(),
            value: part(value),
        };
        Self {
            offset: record.offset,
            timestamp: record.timestamp,
            key: part(record.key),
            value: part(record.value),
            headers: record.headers().map(header).collect(),
        }
    }
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
        Ok(Self {
            reader: Reader::new(header, bytes.len())?,
            bytes,
        })
    }

    /// Yields the timestamps that the producer wrote even if the broker's count.
    #[must_use]
    pub fn with_create_time(mut self) -> Self {
        self.reader.ignore_append_time();
        self
    }

    /// The records that are left, borrowed from the batch.
    #[must_use]
    pub fn borrowed(&self) -> RecordRefIter<'_> {
        RecordRefIter::new(&self.bytes, self.reader.clone())
    }

    /// The decompressed bytes of all records.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.reader.next(&self.bytes)?;
        Some(record.map(|record| Record::shared(&record, &self.bytes)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.reader.size_hint()
    }
}
