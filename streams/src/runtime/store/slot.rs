//! One store of one task: the engine, and its way to and from the changelog.

use bytes::Bytes;
use moldau_client::{KString, RecordHeader};

use super::changes::ChangelogRecord;
use super::disk::{
    DiskKeyValueStore, DiskSessionStore, DiskVersionedStore, DiskWindowStore, Engine, Place,
};
use super::memory_key_value::MemoryKeyValueStore;
use super::memory_session::MemorySessionStore;
use super::memory_versioned::MemoryVersionedStore;
use super::memory_window::MemoryWindowStore;
use super::state_store::{AnyKeyValue, AnySession, AnyVersioned, AnyWindow, StateStore};
use super::{KeyValueStore, SessionStore, StoreKind, StoreSpec, VersionedStore, WindowStore};
use crate::runtime::error::StreamsError;

/// One store of one task.
#[derive(Debug)]
pub(crate) struct StoreSlot {
    spec: StoreSpec,
    store: Store,
    /// Offset of the first changelog record that is not in the store, where it is known.
    changelog_position: Option<i64>,
}

#[derive(Debug)]
enum Store {
    KeyValue(Box<dyn AnyKeyValue>),
    Window(Box<dyn AnyWindow>),
    Session(Box<dyn AnySession>),
    Versioned(Box<dyn AnyVersioned>),
}

impl StoreSlot {
    /// An empty store in memory.
    pub(crate) fn in_memory(spec: &StoreSpec) -> Self {
        let logged = spec.changelog.is_some();
        let window = |retention_ms, keeps_duplicates| {
            Box::new(MemoryWindowStore::new(
                retention_ms,
                keeps_duplicates,
                logged,
            ))
        };
        let store = match spec.kind {
            StoreKind::KeyValue | StoreKind::SuppressBuffer => {
                Store::KeyValue(Box::new(MemoryKeyValueStore::new(logged)))
            }
            StoreKind::Window { retention_ms } => Store::Window(window(retention_ms, false)),
            StoreKind::JoinWindow { retention_ms } => Store::Window(window(retention_ms, true)),
            StoreKind::Session { retention_ms } => {
                Store::Session(Box::new(MemorySessionStore::new(retention_ms, logged)))
            }
            StoreKind::Versioned { history_ms } => {
                Store::Versioned(Box::new(MemoryVersionedStore::new(history_ms, logged)))
            }
        };
        Self {
            spec: spec.clone(),
            store,
            changelog_position: None,
        }
    }

    /// A store on disk, as it was when it was last written.
    pub(super) fn on_disk(
        spec: &StoreSpec,
        place: &Place,
        engine: &std::sync::Arc<Engine>,
    ) -> Result<Self, StreamsError> {
        let window = |retention_ms, keeps_duplicates| {
            DiskWindowStore::open(place, retention_ms, keeps_duplicates, engine).map(Box::new)
        };
        let store = match spec.kind {
            StoreKind::KeyValue | StoreKind::SuppressBuffer => {
                Store::KeyValue(Box::new(DiskKeyValueStore::open(place, engine)?))
            }
            StoreKind::Window { retention_ms } => Store::Window(window(retention_ms, false)?),
            StoreKind::JoinWindow { retention_ms } => Store::Window(window(retention_ms, true)?),
            StoreKind::Session { retention_ms } => {
                let store = DiskSessionStore::open(place, retention_ms, engine)?;
                Store::Session(Box::new(store))
            }
            StoreKind::Versioned { history_ms } => {
                let store = DiskVersionedStore::open(place, history_ms, engine)?;
                Store::Versioned(Box::new(store))
            }
        };
        let mut slot = Self {
            spec: spec.clone(),
            store,
            changelog_position: None,
        };
        slot.changelog_position = slot.state().position();
        Ok(slot)
    }

    /// Offset of the first changelog record that is not in the store, where it is known.
    pub(crate) const fn changelog_position(&self) -> Option<i64> {
        self.changelog_position
    }

    /// Says how far the store is in its changelog; kept with its data at the next commit.
    pub(crate) const fn set_changelog_position(&mut self, offset: i64) {
        self.changelog_position = Some(offset);
    }

    pub(super) const fn spec(&self) -> &StoreSpec {
        &self.spec
    }

    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(crate) fn changelog_topic(&self) -> Option<&str> {
        self.spec
            .changelog
            .as_ref()
            .map(|topic| topic.name.as_str())
    }

    pub(crate) fn key_value(&mut self) -> Result<&mut dyn KeyValueStore, StreamsError> {
        match &mut self.store {
            Store::KeyValue(store) => Ok(&mut **store),
            _ => Err(wrong_kind(&self.spec, "key-value")),
        }
    }

    pub(crate) fn window(&mut self) -> Result<&mut dyn WindowStore, StreamsError> {
        match &mut self.store {
            Store::Window(store) => Ok(&mut **store),
            _ => Err(wrong_kind(&self.spec, "window")),
        }
    }

    pub(crate) fn session(&mut self) -> Result<&mut dyn SessionStore, StreamsError> {
        match &mut self.store {
            Store::Session(store) => Ok(&mut **store),
            _ => Err(wrong_kind(&self.spec, "session")),
        }
    }

    pub(crate) fn versioned(&mut self) -> Result<&mut dyn VersionedStore, StreamsError> {
        match &mut self.store {
            Store::Versioned(store) => Ok(&mut **store),
            _ => Err(wrong_kind(&self.spec, "versioned")),
        }
    }

    pub(crate) fn approximate_len(&self) -> u64 {
        match &self.store {
            Store::KeyValue(store) => store.approximate_len(),
            Store::Window(store) => store.approximate_len(),
            Store::Session(store) => store.approximate_len(),
            Store::Versioned(store) => store.approximate_len(),
        }
    }

    /// Bytes of its files; `None` for a store in memory.
    pub(crate) fn disk_bytes(&self) -> Option<u64> {
        self.state().disk_bytes()
    }

    /// Takes back one changelog record. A record that was taken before changes nothing.
    pub(crate) fn restore(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        let restored = match key {
            Some(key) => self.state_mut().restore(key, value, timestamp),
            None => Err(StreamsError::Store {
                store: String::new(),
                reason: "changelog record without a key".to_owned(),
            }),
        };
        restored.map_err(|error| match error {
            StreamsError::Store { store, reason } if store.is_empty() => StreamsError::Store {
                store: self.spec.name.clone(),
                reason,
            },
            other => other,
        })
    }

    /// Headers that the store's changelog records with a value have.
    pub(crate) fn changelog_headers(&self) -> Vec<RecordHeader> {
        match self.spec.kind {
            StoreKind::SuppressBuffer => vec![RecordHeader {
                key: KString::from("v"),
                value: Some(Bytes::from_static(&[SUPPRESS_BUFFER_VERSION])),
            }],
            _ => Vec::new(),
        }
    }

    /// What changed since the last call, one record per key.
    pub(crate) fn take_changes(&mut self) -> Result<Vec<ChangelogRecord>, StreamsError> {
        self.state_mut().take_changes()
    }

    /// Makes what was changed until now permanent, together with the changelog position.
    pub(crate) fn commit(&mut self) -> Result<(), StreamsError> {
        let position = self.changelog_position;
        self.state_mut().commit(position)
    }

    /// Drops what has changed since the last commit; false if the store has to be opened or restored
    /// anew.
    pub(super) fn roll_back(&mut self) -> bool {
        self.state_mut().roll_back()
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.state().pending_bytes()
    }

    pub(super) fn abandon(&mut self) {
        self.state_mut().abandon();
    }

    fn state(&self) -> &dyn StateStore {
        match &self.store {
            Store::KeyValue(store) => &**store,
            Store::Window(store) => &**store,
            Store::Session(store) => &**store,
            Store::Versioned(store) => &**store,
        }
    }

    fn state_mut(&mut self) -> &mut dyn StateStore {
        match &mut self.store {
            Store::KeyValue(store) => &mut **store,
            Store::Window(store) => &mut **store,
            Store::Session(store) => &mut **store,
            Store::Versioned(store) => &mut **store,
        }
    }
}

/// Version of what a suppression buffer writes to its changelog.
const SUPPRESS_BUFFER_VERSION: u8 = 3;

fn wrong_kind(spec: &StoreSpec, wanted: &str) -> StreamsError {
    StreamsError::Store {
        store: spec.name.clone(),
        reason: format!(
            "was asked for as a {wanted} store, but it is a {}",
            spec.kind.name()
        ),
    }
}
