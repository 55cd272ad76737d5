//! Windows and windowed keys.
//!
//! A windowed key on a topic is `key | window start (8 bytes)`, as Kafka Streams'
//! `TimeWindowedSerializer` writes it.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::serde::{Serde, SerdeContext, SerdeError};

/// Windows of one size that lie side by side: each record is in exactly one.
///
/// Grace is how long, in event time, a window takes late records after its end. It has no
/// default, because both choices lose something: records, or time.
///
/// ```
/// use std::time::Duration;
///
/// use moldau_streams::Tumbling;
///
/// let minutes = Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(10));
/// let strict = Tumbling::of(Duration::from_secs(60)).no_grace();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tumbling {
    pub(crate) size_ms: i64,
    pub(crate) grace_ms: i64,
}

/// Tumbling windows whose grace is not said yet.
#[derive(Clone, Copy, Debug)]
#[must_use = "say the grace: `.grace(..)` or `.no_grace()`"]
pub struct TumblingSize {
    size_ms: i64,
}

impl Tumbling {
    /// Windows of this size, in whole milliseconds and at least one.
    pub fn of(size: Duration) -> TumblingSize {
        TumblingSize {
            size_ms: millis(size).max(1),
        }
    }

    /// Start of the window that `timestamp` is in.
    pub(crate) const fn start_of(&self, timestamp: i64) -> i64 {
        timestamp - timestamp.rem_euclid(self.size_ms)
    }
}

impl TumblingSize {
    /// Takes records that are late by up to `grace`.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Tumbling {
        Tumbling {
            size_ms: self.size_ms,
            grace_ms: millis(grace),
        }
    }

    /// Closes each window at its end: later records are dropped.
    #[must_use]
    pub const fn no_grace(self) -> Tumbling {
        Tumbling {
            size_ms: self.size_ms,
            grace_ms: 0,
        }
    }
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

/// A key in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Windowed<K> {
    /// The key.
    pub key: K,
    /// The window.
    pub window: Window,
}

/// A time window, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// First millisecond.
    pub start: i64,
    /// First millisecond that is no longer inside. A key read from a topic does not know it,
    /// because the bytes hold only the start: it is `i64::MAX` then.
    pub end: i64,
}

impl<K: Serde> Serde for Windowed<K> {
    fn encode(&self, context: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        self.key.encode(context, out)?;
        out.put_i64(self.window.start);
        Ok(())
    }

    fn decode(context: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        let (key, start) = split_windowed(bytes)
            .ok_or_else(|| SerdeError::new(format!("{} bytes are no windowed key", bytes.len())))?;
        Ok(Self {
            key: K::decode(context, &key)?,
            window: Window {
                start,
                end: i64::MAX,
            },
        })
    }

    fn partition_key(encoded: &Bytes) -> Option<Bytes> {
        split_windowed(encoded).map(|(key, _)| key)
    }
}

/// Cuts `key | start` in two.
pub(crate) fn split_windowed(bytes: &Bytes) -> Option<(Bytes, i64)> {
    let at = bytes.len().checked_sub(START_BYTES)?;
    let start = bytes.get(at..)?.first_chunk::<START_BYTES>()?;
    Some((bytes.slice(..at), i64::from_be_bytes(*start)))
}

const START_BYTES: usize = 8;
