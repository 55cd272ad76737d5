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

use bytes::Bytes;

use super::short::{Key, Row};
use crate::runtime::store::StoredValue;

/// The key of a row of a key-value store.
pub(super) fn key_value(key: &[u8]) -> Key {
    Key::of(&[&[DATA], key])
}

/// The key of a row in which a store says something about itself.
pub(super) fn about(name: &str) -> Key {
    Key::of(&[&[ABOUT], name.as_bytes()])
}

/// The key of a window.
pub(super) fn window(key: &[u8], start: i64, sequence: i32) -> Key {
    let sequence = sequence.cast_unsigned() ^ (1 << 31);
    Key::of(&[&length(key), key, &time(start), &sequence.to_be_bytes()])
}

/// The key of a session.
pub(super) fn session(key: &[u8], end: i64, start: i64) -> Key {
    Key::of(&[&length(key), key, &time(end), &time(start)])
}

/// The key of a version.
pub(super) fn version(key: &[u8], valid_from: i64) -> Key {
    Key::of(&[&[DATA], &length(key), key, &time(valid_from)])
}

/// The key of the row that says when a version ends.
pub(super) fn version_end(end: i64, key: &[u8]) -> Key {
    Key::of(&[&[ENDS], &time(end), &length(key), key])
}

/// The first key of versions that end at this time or later.
pub(super) fn first_version_end(end: i64) -> Key {
    Key::of(&[&[ENDS], &time(end)])
}

/// Longer keys than 65,535 bytes were refused before.
fn length(key: &[u8]) -> [u8; 2] {
    u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes()
}

const fn time(time: i64) -> [u8; 8] {
    (time.cast_unsigned() ^ SIGN).to_be_bytes()
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
pub(super) fn encode_value(value: &[u8], timestamp: i64) -> Row {
    Row::of(&[&timestamp.to_be_bytes(), value])
}

pub(super) fn decode_value(row: &Bytes) -> Option<StoredValue> {
    let timestamp = i64::from_be_bytes(*row.first_chunk::<8>()?);
    Some(StoredValue {
        value: row.slice(8..),
        timestamp,
    })
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
        let keys = times.map(|time| window(b"k", time, 0));
        assert!(keys.is_sorted());
        for (key, time) in keys.into_iter().zip(times) {
            let mut reader = RowKeyReader::new(Bytes::copy_from_slice(&key));
            assert_eq!(reader.key(), Some(Bytes::from("k")));
            assert_eq!(reader.time(), Some(time));
        }
    }
}
