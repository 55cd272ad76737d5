//! What the runtime asks of every store, whatever it holds and wherever it keeps it.

use std::fmt::Debug;

use super::changes::ChangelogRecord;
use super::memory_key_value::MemoryKeyValueStore;
use super::memory_session::MemorySessionStore;
use super::memory_versioned::MemoryVersionedStore;
use super::memory_window::MemoryWindowStore;
use super::{KeyValueStore, SessionStore, VersionedStore, WindowStore};
use crate::runtime::error::StreamsError;

/// A store as the commit cycle sees it.
pub(super) trait StateStore: Send + Debug {
    /// Takes back one changelog record. A record that was taken before changes nothing.
    fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<(), StreamsError>;

    /// What changed since the last call, for the changelog.
    fn take_changes(&mut self) -> Result<Vec<ChangelogRecord>, StreamsError>;

    /// The changes are in the changelog for good: keeps them, and `position` with them, the
    /// offset of the first changelog record that is not in the store.
    fn commit(&mut self, _position: Option<i64>) -> Result<(), StreamsError> {
        Ok(())
    }

    /// Drops what has changed since the last commit; false if the store cannot do so and has to be
    /// opened or restored anew.
    fn roll_back(&mut self) -> bool {
        false
    }

    /// The position that was kept with the data when the store was last open.
    fn position(&self) -> Option<i64> {
        None
    }

    /// Memory of changes that are not committed, for stores that give it back at commit.
    fn pending_bytes(&self) -> usize {
        0
    }

    /// Bytes of its files; `None` if it has none.
    fn disk_bytes(&self) -> Option<u64> {
        None
    }

    /// Does not write what is only in memory when it is dropped, as if the process had crashed.
    fn abandon(&mut self) {}
}

/// A key-value store of the runtime.
pub(super) trait AnyKeyValue: KeyValueStore + StateStore {}
impl<S: KeyValueStore + StateStore> AnyKeyValue for S {}

/// A window store of the runtime.
pub(super) trait AnyWindow: WindowStore + StateStore {}
impl<S: WindowStore + StateStore> AnyWindow for S {}

/// A session store of the runtime.
pub(super) trait AnySession: SessionStore + StateStore {}
impl<S: SessionStore + StateStore> AnySession for S {}

/// A versioned store of the runtime.
pub(super) trait AnyVersioned: VersionedStore + StateStore {}
impl<S: VersionedStore + StateStore> AnyVersioned for S {}

impl StateStore for MemoryKeyValueStore {
    fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        self.restore(key, value, timestamp);
        Ok(())
    }

    fn commit(&mut self, _position: Option<i64>) -> Result<(), StreamsError> {
        self.commit();
        Ok(())
    }

    fn roll_back(&mut self) -> bool {
        self.roll_back()
    }

    fn take_changes(&mut self) -> Result<Vec<ChangelogRecord>, StreamsError> {
        Ok(self.take_changes())
    }
}

impl StateStore for MemoryWindowStore {
    fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        self.restore(key, value, timestamp).map_err(unnamed)
    }

    fn commit(&mut self, _position: Option<i64>) -> Result<(), StreamsError> {
        self.commit();
        Ok(())
    }

    fn roll_back(&mut self) -> bool {
        self.roll_back()
    }

    fn take_changes(&mut self) -> Result<Vec<ChangelogRecord>, StreamsError> {
        Ok(self.take_changes())
    }
}

impl StateStore for MemorySessionStore {
    fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        self.restore(key, value, timestamp).map_err(unnamed)
    }

    fn commit(&mut self, _position: Option<i64>) -> Result<(), StreamsError> {
        self.commit();
        Ok(())
    }

    fn roll_back(&mut self) -> bool {
        self.roll_back()
    }

    fn take_changes(&mut self) -> Result<Vec<ChangelogRecord>, StreamsError> {
        Ok(self.take_changes())
    }
}

impl StateStore for MemoryVersionedStore {
    fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        self.restore(key, value, timestamp);
        Ok(())
    }

    fn commit(&mut self, _position: Option<i64>) -> Result<(), StreamsError> {
        self.commit();
        Ok(())
    }

    fn roll_back(&mut self) -> bool {
        self.roll_back()
    }

    fn take_changes(&mut self) -> Result<Vec<ChangelogRecord>, StreamsError> {
        Ok(self.take_changes())
    }
}

/// Stores in memory do not know their name; their slot puts it in.
const fn unnamed(reason: String) -> StreamsError {
    StreamsError::Store {
        store: String::new(),
        reason,
    }
}
