//! Windowed keys and their bytes.
//!
//! A key in a time window is `key | window start (8 bytes)` on a topic, as Kafka Streams'
//! `TimeWindowedSerializer` writes it, and a key in a session is `key | session end (8 bytes) |
//! session start (8 bytes)`, as its `SessionWindowedSerializer` does.

use bytes::{BufMut, Bytes, BytesMut};

use super::serde::{Serde, SerdeContext, SerdeError};
use crate::runtime::SessionWindow;

/// A key in a window: `Windowed<K>` in a time window, `Windowed<K, SessionWindow>` in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Windowed<K, W = Window> {
    /// The key.
    pub key: K,
    /// The window.
    pub window: W,
}

/// A time window, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// First millisecond.
    pub start: i64,
    /// First millisecond that is no longer inside; of a sliding window, the last one inside.
    /// A key read from a topic does not know it, because the bytes hold only the start: it is
    /// `i64::MAX` then.
    pub end: i64,
}

/// Bounds of a window, and their bytes behind a key.
pub trait WindowBounds: Copy + Send + Sync + 'static + sealed::Bounds {}

impl WindowBounds for Window {}
impl WindowBounds for SessionWindow {}

impl<K: Serde, W: WindowBounds> Serde for Windowed<K, W> {
    fn encode(&self, context: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        self.key.encode(context, out)?;
        self.window.put(out);
        Ok(())
    }

    fn decode(context: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        let (key, window) = split::<W>(bytes)
            .ok_or_else(|| SerdeError::new(format!("{} bytes are no windowed key", bytes.len())))?;
        Ok(Self {
            key: K::decode(context, &key)?,
            window,
        })
    }

    fn partition_key(encoded: &Bytes) -> Option<Bytes> {
        split::<W>(encoded).map(|(key, _)| key)
    }

    fn with_window_size(self, size_ms: i64) -> Self {
        Self {
            window: self.window.with_size(size_ms),
            ..self
        }
    }
}

/// Cuts a windowed key in two.
pub(crate) fn split<W: WindowBounds>(bytes: &Bytes) -> Option<(Bytes, W)> {
    let at = bytes.len().checked_sub(W::BYTES)?;
    let window = W::parse(bytes.get(at..)?)?;
    Some((bytes.slice(..at), window))
}

/// Cuts `key | start` in two.
pub(crate) fn split_windowed(bytes: &[u8]) -> Option<(&[u8], i64)> {
    let (key, start) = bytes.split_last_chunk()?;
    Some((key, i64::from_be_bytes(*start)))
}

/// Puts a window's bytes behind a key's, in a shared buffer.
pub(crate) fn windowed_key<W: WindowBounds>(buffer: &mut BytesMut, key: &[u8], window: W) -> Bytes {
    make_room(buffer, key.len() + W::BYTES);
    buffer.put_slice(key);
    window.put(buffer);
    buffer.split().freeze()
}

/// Overwrites a buffer with a window's bytes behind a key's.
pub(crate) fn write_windowed_key<W: WindowBounds>(buffer: &mut BytesMut, key: &[u8], window: W) {
    buffer.clear();
    buffer.put_slice(key);
    window.put(buffer);
}

/// A copy of a key in a shared buffer.
pub(crate) fn copied_key(buffer: &mut BytesMut, key: &[u8]) -> Bytes {
    make_room(buffer, key.len());
    buffer.put_slice(key);
    buffer.split().freeze()
}

fn make_room(buffer: &mut BytesMut, length: usize) {
    if buffer.capacity() < length {
        buffer.reserve(CHUNK.max(length));
    }
}

pub(crate) mod sealed {
    use bytes::BytesMut;

    use crate::runtime::{StoreIndex, StoredValue, StreamsError, TaskContext};

    /// What the library needs to know of a window.
    pub trait Bounds: Sized {
        /// How many bytes it adds to a key.
        const BYTES: usize;
        /// Writes the bounds.
        fn put(&self, out: &mut BytesMut);
        /// Reads the bounds.
        fn parse(bytes: &[u8]) -> Option<Self>;
        /// When the window ends.
        fn end(&self) -> i64;
        /// When a value of this window was valid, if it was stored with a timestamp.
        fn timestamp(&self, stored: i64) -> i64;
        /// The same window, now that its size is known.
        #[must_use]
        fn with_size(self, size_ms: i64) -> Self;
        /// The value of a key in this window.
        ///
        /// # Errors
        /// The store cannot be read.
        fn load(
            self,
            task: &mut TaskContext<'_>,
            store: StoreIndex,
            key: &[u8],
        ) -> Result<Option<StoredValue>, StreamsError>;
    }
}

use crate::runtime::{StoreIndex, StoredValue, StreamsError, TaskContext};

impl sealed::Bounds for Window {
    const BYTES: usize = 8;

    fn put(&self, out: &mut BytesMut) {
        out.put_i64(self.start);
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            start: i64::from_be_bytes(*bytes.first_chunk()?),
            end: i64::MAX,
        })
    }

    fn end(&self) -> i64 {
        self.end
    }

    fn timestamp(&self, stored: i64) -> i64 {
        stored
    }

    fn with_size(self, size_ms: i64) -> Self {
        Self {
            start: self.start,
            end: self.start.saturating_add(size_ms),
        }
    }

    fn load(
        self,
        task: &mut TaskContext<'_>,
        store: StoreIndex,
        key: &[u8],
    ) -> Result<Option<StoredValue>, StreamsError> {
        task.window_store(store)?.get(key, self.start)
    }
}

impl sealed::Bounds for SessionWindow {
    const BYTES: usize = 16;

    fn put(&self, out: &mut BytesMut) {
        out.put_i64(self.end);
        out.put_i64(self.start);
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (end, rest) = bytes.split_first_chunk()?;
        Some(Self {
            start: i64::from_be_bytes(*rest.first_chunk()?),
            end: i64::from_be_bytes(*end),
        })
    }

    fn end(&self) -> i64 {
        self.end
    }

    fn timestamp(&self, _: i64) -> i64 {
        self.end
    }

    fn with_size(self, _: i64) -> Self {
        self
    }

    fn load(
        self,
        task: &mut TaskContext<'_>,
        store: StoreIndex,
        key: &[u8],
    ) -> Result<Option<StoredValue>, StreamsError> {
        task.session_store(store)?.get(key, self)
    }
}

/// Size of the chunks that keys are written to.
const CHUNK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<T: Serde>(key: &T) -> Bytes {
        let mut out = BytesMut::new();
        key.encode(&SerdeContext::key("t"), &mut out)
            .expect("bytes");
        out.freeze()
    }

    #[test]
    fn a_key_in_a_time_window_is_key_and_start() {
        let window = Window { start: 13, end: 23 };
        let key = Windowed {
            key: "a".to_owned(),
            window,
        };
        let bytes = bytes(&key);
        assert_eq!(bytes.as_ref(), b"a\0\0\0\0\0\0\0\x0d");
        let read = Windowed::<String>::decode(&SerdeContext::key("t"), &bytes).expect("a key");
        assert_eq!(read.window.end, i64::MAX);
        assert_eq!(read.with_window_size(10), key);
    }

    #[test]
    fn a_key_in_a_session_is_key_end_and_start() {
        let window = SessionWindow { start: 1, end: 2 };
        let key = Windowed {
            key: "a".to_owned(),
            window,
        };
        let bytes = bytes(&key);
        assert_eq!(bytes.as_ref(), b"a\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01");
        let context = SerdeContext::key("t");
        let read = Windowed::<String, SessionWindow>::decode(&context, &bytes);
        assert_eq!(read, Ok(key));
        let part = Windowed::<String, SessionWindow>::partition_key(&bytes);
        assert_eq!(part.as_deref(), Some(b"a".as_slice()));
    }

    #[test]
    fn a_windowed_key_that_is_too_short_is_refused() {
        let error =
            Windowed::<String>::decode(&SerdeContext::key("t"), &Bytes::from_static(b"abc"));
        assert_eq!(
            error.expect_err("short").to_string(),
            "3 bytes are no windowed key"
        );
    }
}
