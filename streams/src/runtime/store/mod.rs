//! Stores: a task's own part of the application's state, as bytes.

mod changes;
mod memory_key_value;
mod memory_window;
mod slot;
mod spec;

pub(crate) use changes::ChangelogRecord;
pub(crate) use slot::StoreSlot;
pub use spec::{StoreKind, StoreSpec};

use std::fmt::Debug;
use std::ops::Bound;

use bytes::Bytes;

use super::error::StreamsError;

/// A value with the event time it is valid from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredValue {
    /// The value's bytes.
    pub value: Bytes,
    /// Event time in milliseconds; the timestamp of its changelog record.
    pub timestamp: i64,
}

/// Entries of a key-value store, in the order of their key bytes.
pub type StoreIter<'a> = Box<dyn Iterator<Item = Result<(Bytes, StoredValue), StreamsError>> + 'a>;

/// Entries of a window store: key, window start, value.
pub type WindowIter<'a> =
    Box<dyn Iterator<Item = Result<(Bytes, i64, StoredValue), StreamsError>> + 'a>;

/// Values by key. What changes goes to the changelog at commit, once per key.
pub trait KeyValueStore: Send + Debug {
    /// The value of `key`.
    ///
    /// # Errors
    /// The store cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<StoredValue>, StreamsError>;

    /// Sets the value of `key`. The store copies both, so that no fetched batch is kept alive.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put(&mut self, key: &[u8], value: &[u8], timestamp: i64) -> Result<(), StreamsError>;

    /// Removes `key`; `timestamp` is that of the tombstone in the changelog.
    ///
    /// # Errors
    /// The store cannot be written.
    fn delete(&mut self, key: &[u8], timestamp: i64) -> Result<(), StreamsError>;

    /// Entries between two keys.
    ///
    /// # Errors
    /// The store cannot be read.
    fn range(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<StoreIter<'_>, StreamsError>;

    /// All entries.
    ///
    /// # Errors
    /// The store cannot be read.
    fn all(&self) -> Result<StoreIter<'_>, StreamsError> {
        self.range(Bound::Unbounded, Bound::Unbounded)
    }

    /// How many entries there are, about.
    fn approximate_len(&self) -> u64;
}

/// Values by key and window start. Windows older than the retention time are gone.
///
/// What changes goes to the changelog at commit, once per key and window, under Kafka Streams'
/// key `key | start (8 bytes) | sequence number (4 bytes)`.
pub trait WindowStore: Send + Debug {
    /// The value of `key` in the window that starts at `start`.
    ///
    /// # Errors
    /// The store cannot be read.
    fn get(&self, key: &[u8], start: i64) -> Result<Option<StoredValue>, StreamsError>;

    /// Sets the value; false if the window is already beyond retention, and nothing was stored.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put(
        &mut self,
        key: &[u8],
        start: i64,
        value: &[u8],
        timestamp: i64,
    ) -> Result<bool, StreamsError>;

    /// Removes the value; `timestamp` is that of the tombstone in the changelog.
    ///
    /// # Errors
    /// The store cannot be written.
    fn delete(&mut self, key: &[u8], start: i64, timestamp: i64) -> Result<(), StreamsError>;

    /// Windows of `key` that start within `from..=to`, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    fn fetch(&self, key: &[u8], from: i64, to: i64) -> Result<WindowIter<'_>, StreamsError>;

    /// All windows that start within `from..=to`, oldest first, then by key.
    ///
    /// # Errors
    /// The store cannot be read.
    fn fetch_all(&self, from: i64, to: i64) -> Result<WindowIter<'_>, StreamsError>;

    /// How many entries there are, about.
    fn approximate_len(&self) -> u64;
}
