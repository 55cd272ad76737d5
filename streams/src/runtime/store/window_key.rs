//! Keys of window and session stores as their changelogs hold them, all big-endian:
//!
//! - window: `key | start (8 bytes) | sequence number (4 bytes)`
//! - session: `key | end (8 bytes) | start (8 bytes)`

use bytes::{BufMut, Bytes, BytesMut};

use super::changes::{ChangelogRecord, Chunks};

/// A key with the start of its window, and which of several values it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WindowKey<'a> {
    pub(super) key: &'a [u8],
    pub(super) start: i64,
    pub(super) sequence: i32,
}

impl<'a> WindowKey<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let split = || {
            let (key, suffix) = bytes.split_at_checked(bytes.len().checked_sub(WINDOW_SUFFIX)?)?;
            let (start, sequence) = suffix.split_first_chunk::<8>()?;
            Some(Self {
                key,
                start: i64::from_be_bytes(*start),
                sequence: i32::from_be_bytes(*sequence.first_chunk::<4>()?),
            })
        };
        split().ok_or_else(|| format!("a key of {} bytes is no window key", bytes.len()))
    }

    /// What the changelog gets of a value that is in no store, or no longer.
    pub(super) fn record(self, value: Option<Bytes>, timestamp: i64) -> ChangelogRecord {
        let (start, sequence) = (self.start.to_be_bytes(), self.sequence.to_be_bytes());
        ChangelogRecord {
            key: Bytes::from([self.key, &start, &sequence].concat()),
            value,
            timestamp,
        }
    }

    /// The key as the changelog holds it, in memory that is shared with others.
    pub(super) fn encode_in(chunks: &mut Chunks, key: &[u8], start: i64, sequence: i32) -> Bytes {
        chunks.join(&[key, &start.to_be_bytes(), &sequence.to_be_bytes()])
    }
}

/// A key with the bounds of its session, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionKey<'a> {
    pub(super) key: &'a [u8],
    pub(super) start: i64,
    pub(super) end: i64,
}

impl<'a> SessionKey<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let split = || {
            let (key, suffix) = bytes.split_at_checked(bytes.len().checked_sub(SESSION_SUFFIX)?)?;
            let (end, start) = suffix.split_first_chunk::<8>()?;
            Some(Self {
                key,
                start: i64::from_be_bytes(*start.first_chunk::<8>()?),
                end: i64::from_be_bytes(*end),
            })
        };
        split().ok_or_else(|| format!("a key of {} bytes is no session key", bytes.len()))
    }

    pub(super) fn encode(key: &[u8], start: i64, end: i64) -> Bytes {
        let mut bytes = BytesMut::with_capacity(key.len() + SESSION_SUFFIX);
        bytes.put_slice(key);
        bytes.put_i64(end);
        bytes.put_i64(start);
        bytes.freeze()
    }
}

/// The sequence number after this one: never negative, as in Kafka Streams.
pub(super) const fn next_sequence(sequence: i32) -> i32 {
    sequence.wrapping_add(1) & i32::MAX
}

/// Start (8 bytes) and sequence number (4 bytes).
const WINDOW_SUFFIX: usize = 12;
/// End (8 bytes) and start (8 bytes).
const SESSION_SUFFIX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_key_is_key_end_and_start() {
        let bytes = SessionKey::encode(b"k", 1, 2);
        assert_eq!(
            bytes.as_ref(),
            b"k\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01".as_slice()
        );
        let key = SessionKey {
            key: b"k",
            start: 1,
            end: 2,
        };
        assert_eq!(SessionKey::parse(&bytes), Ok(key));
        assert!(SessionKey::parse(b"too short").is_err());
    }

    #[test]
    fn sequence_numbers_start_again_after_the_largest() {
        assert_eq!(next_sequence(0), 1);
        assert_eq!(next_sequence(i32::MAX), 0);
    }
}
