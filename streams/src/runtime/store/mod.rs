//! Stores: a task's own part of the application's state, as bytes.

mod changes;
mod compact_bytes;
mod disk;
mod key_log;
mod memory_key_value;
mod memory_session;
mod memory_versioned;
mod memory_window;
mod slot;
mod spec;
mod state_store;
mod task_stores;
#[cfg(test)]
mod twins;
mod undo;
mod window_key;

pub(crate) use changes::ChangelogRecord;
pub(crate) use compact_bytes::CompactBytes;
pub(crate) use slot::StoreSlot;
pub use spec::{StoreKind, StorePlace, StoreSpec};
pub(crate) use task_stores::{StoreEnvironment, TaskStores};

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

/// Entries of a session store: key, session, value.
pub type SessionIter<'a> =
    Box<dyn Iterator<Item = Result<(Bytes, SessionWindow, StoredValue), StreamsError>> + 'a>;

/// Versions of one key of a versioned store, oldest first.
pub type VersionIter<'a> = Box<dyn Iterator<Item = Result<VersionedValue, StreamsError>> + 'a>;

/// The bounds of a session in milliseconds since 1970, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionWindow {
    /// Timestamp of the session's first record.
    pub start: i64,
    /// Timestamp of the session's last record.
    pub end: i64,
}

/// A value of a versioned store with the time in which it is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedValue {
    /// The value's bytes.
    pub value: Bytes,
    /// First millisecond in which it is valid.
    pub valid_from: i64,
    /// First millisecond in which it is not valid any more; `None` for the latest version.
    pub valid_to: Option<i64>,
}

/// What became of a version that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionPut {
    /// It is the latest one of its key.
    Latest,
    /// A later version is there already, which is valid from this time on.
    ValidTo(i64),
    /// It is older than the history that is kept, and was not put.
    TooLate,
}

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

/// Values by key and window start. Windows older than the retention time are gone: those that
/// start a retention time or more before the largest start that the store has seen.
///
/// A store of a stream-stream join ([`StoreKind::JoinWindow`]) keeps several values with one key
/// and start, in the order in which they came; nothing can be deleted from it.
///
/// What changes goes to the changelog at commit, once per key and window, under Kafka Streams'
/// key `key | start (8 bytes) | sequence number (4 bytes)`.
pub trait WindowStore: Send + Debug {
    /// The value of `key` in the window that starts at `start`; the first one, if there are several.
    ///
    /// # Errors
    /// The store cannot be read.
    fn get(&self, key: &[u8], start: i64) -> Result<Option<StoredValue>, StreamsError>;

    /// Sets the value; false if the window is already beyond retention, and nothing was stored.
    /// The changelog gets it all the same, as in Kafka Streams.
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

    /// Removes the value; `timestamp` is that of the tombstone in the changelog. A store with
    /// several values per key and start keeps them all, and only logs the tombstone.
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

/// Values by key and session. Sessions older than the retention time are gone: those that end a
/// retention time or more before the largest end that the store has seen.
///
/// What changes goes to the changelog at commit, once per key and session, under Kafka Streams'
/// key `key | end (8 bytes) | start (8 bytes)`.
pub trait SessionStore: Send + Debug {
    /// The value of exactly this session.
    ///
    /// # Errors
    /// The store cannot be read.
    fn get(&self, key: &[u8], session: SessionWindow) -> Result<Option<StoredValue>, StreamsError>;

    /// Sets the value; false if the session is already beyond retention, and nothing was stored.
    /// The changelog gets it all the same, as in Kafka Streams.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put(
        &mut self,
        key: &[u8],
        session: SessionWindow,
        value: &[u8],
        timestamp: i64,
    ) -> Result<bool, StreamsError>;

    /// Removes a session; `timestamp` is that of the tombstone in the changelog.
    ///
    /// # Errors
    /// The store cannot be written.
    fn remove(
        &mut self,
        key: &[u8],
        session: SessionWindow,
        timestamp: i64,
    ) -> Result<(), StreamsError>;

    /// Sessions of `key` that end at `earliest_end` or later and start at `latest_start` or
    /// earlier, by end and then start. With `timestamp - gap` and `timestamp + gap` these are the
    /// sessions that a record belongs to.
    ///
    /// # Errors
    /// The store cannot be read.
    fn find(
        &self,
        key: &[u8],
        earliest_end: i64,
        latest_start: i64,
    ) -> Result<SessionIter<'_>, StreamsError>;

    /// Sessions of all keys that end within `earliest_end..=latest_end`, by end, start and key.
    ///
    /// # Errors
    /// The store cannot be read.
    fn find_ended(
        &self,
        earliest_end: i64,
        latest_end: i64,
    ) -> Result<SessionIter<'_>, StreamsError>;

    /// How many entries there are, about.
    fn approximate_len(&self) -> u64;
}

/// Values by key, with those that were valid before, as far back as the history is kept (KIP-889).
///
/// The changelog gets each single version, with its own timestamp.
pub trait VersionedStore: Send + Debug {
    /// The latest version of `key`, however old it is.
    ///
    /// # Errors
    /// The store cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<VersionedValue>, StreamsError>;

    /// The version of `key` that was valid at `as_of`. Before the history only the latest
    /// version is known.
    ///
    /// # Errors
    /// The store cannot be read.
    fn get_as_of(&self, key: &[u8], as_of: i64) -> Result<Option<VersionedValue>, StreamsError>;

    /// Puts a version that is valid from `timestamp` until the next later one; `None` removes the
    /// key for that time.
    ///
    /// # Errors
    /// The store cannot be written.
    fn put(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<VersionPut, StreamsError>;

    /// Removes `key` from `timestamp` on, and gives back what was valid then.
    ///
    /// # Errors
    /// The store cannot be read or written.
    fn delete(
        &mut self,
        key: &[u8],
        timestamp: i64,
    ) -> Result<Option<VersionedValue>, StreamsError> {
        let before = self.get_as_of(key, timestamp)?;
        Ok(match self.put(key, None, timestamp)? {
            VersionPut::TooLate => None,
            VersionPut::Latest | VersionPut::ValidTo(_) => before,
        })
    }

    /// The versions of `key` that were valid at some time within `from..=to`, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    fn history(&self, key: &[u8], from: i64, to: i64) -> Result<VersionIter<'_>, StreamsError>;

    /// How many keys there are, about.
    fn approximate_len(&self) -> u64;
}
