//! Keys and values of rows in trees.
//!
//! - what a store knows about itself: `0 | name`
//! - key-value: `1 | key` -> `timestamp (8) | value`
//! - window: `length of key (2) | key | start (8) | sequence number (4)` -> `timestamp | value`
//! - session: `length of key (2) | key | end (8) | start (8)` -> `timestamp | value`
//! - version: `1 | length of key (2) | key | valid from (8)` -> `0`, or `1 | value`
//! - end of a version: `2 | end (8) | length of key (2) | key` -> nothing
//!
//! Numbers are big-endian; times have their sign bit turned, so that negative ones come first.
//! With the length before it, no key is the beginning of another one's rows.

use bytes::{BufMut, Bytes, BytesMut};

use crate::runtime::store::StoredValue;

/// Builds a row's key.
pub(super) struct RowKey(BytesMut);

impl RowKey {
    pub(super) fn new() -> Self {
        Self(BytesMut::with_capacity(64))
    }

    pub(super) fn tag(mut self, tag: u8) -> Self {
        self.0.put_u8(tag);
        self
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.put_slice(bytes);
        self
    }

    /// The key with its length before it. Longer ones than 65,535 bytes were refused before.
    pub(super) fn key(mut self, key: &[u8]) -> Self {
        self.0.put_u16(u16::try_from(key.len()).unwrap_or(u16::MAX));
        self.0.put_slice(key);
        self
    }

    pub(super) fn time(mut self, time: i64) -> Self {
        self.0.put_u64(ordered(time));
        self
    }

    pub(super) fn sequence(mut self, sequence: i32) -> Self {
        self.0.put_u32(sequence.cast_unsigned() ^ (1 << 31));
        self
    }

    pub(super) fn build(self) -> Bytes {
        self.0.freeze()
    }
}

/// Reads a row's key from front to back; `None` where it is too short.
pub(super) struct RowKeyReader {
    rest: Bytes,
}

impl RowKeyReader {
    pub(super) const fn new(row_key: Bytes) -> Self {
        Self { rest: row_key }
    }

    pub(super) fn tag(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn key(&mut self) -> Option<Bytes> {
        let length = self.take(2)?;
        let length = u16::from_be_bytes(*length.first_chunk::<2>()?);
        self.take(usize::from(length))
    }

    pub(super) fn time(&mut self) -> Option<i64> {
        let time = u64::from_be_bytes(*self.take(8)?.first_chunk::<8>()?);
        Some((time ^ SIGN).cast_signed())
    }

    fn take(&mut self, bytes: usize) -> Option<Bytes> {
        (bytes <= self.rest.len()).then(|| self.rest.split_to(bytes))
    }
}

/// A value with its timestamp before it.
pub(super) fn encode_value(value: &[u8], timestamp: i64) -> Bytes {
    let mut row = BytesMut::with_capacity(8 + value.len());
    row.put_i64(timestamp);
    row.put_slice(value);
    row.freeze()
}

pub(super) fn decode_value(row: &Bytes) -> Option<StoredValue> {
    let timestamp = i64::from_be_bytes(*row.first_chunk::<8>()?);
    Some(StoredValue {
        value: row.slice(8..),
        timestamp,
    })
}

const fn ordered(time: i64) -> u64 {
    time.cast_unsigned() ^ SIGN
}

const SIGN: u64 = 1 << 63;
/// Rows in which a store says something about itself.
pub(super) const ABOUT: u8 = 0;
/// Rows of data.
pub(super) const DATA: u8 = 1;
/// Rows that say when versions end.
pub(super) const ENDS: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_sort_as_numbers_and_are_read_back() {
        let times = [i64::MIN, -1, 0, 1, i64::MAX];
        let keys = times.map(|time| RowKey::new().key(b"k").time(time).build());
        assert!(keys.is_sorted());
        for (key, time) in keys.into_iter().zip(times) {
            let mut reader = RowKeyReader::new(key);
            assert_eq!(reader.key(), Some(Bytes::from("k")));
            assert_eq!(reader.time(), Some(time));
            assert_eq!(reader.tag(), None);
        }
    }
}
