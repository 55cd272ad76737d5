//! One store of one task: the engine, and its way to and from the changelog.

use bytes::Bytes;
use moldau_client::{KString, RecordHeader};

use super::changes::ChangelogRecord;
use super::memory_key_value::MemoryKeyValueStore;
use super::memory_session::MemorySessionStore;
use super::memory_versioned::MemoryVersionedStore;
use super::memory_window::MemoryWindowStore;
use super::{KeyValueStore, SessionStore, StoreKind, StoreSpec, VersionedStore, WindowStore};
use crate::runtime::error::StreamsError;

/// One store of one task.
#[derive(Debug)]
pub(crate) struct StoreSlot {
    spec: StoreSpec,
    engine: Engine,
    /// Offset of the first changelog record that is not in the store, where it is known.
    changelog_position: Option<i64>,
}

#[derive(Debug)]
enum Engine {
    KeyValue(MemoryKeyValueStore),
    Window(MemoryWindowStore),
    Session(MemorySessionStore),
    Versioned(MemoryVersionedStore),
}

impl StoreSlot {
    pub(crate) fn open(spec: &StoreSpec) -> Self {
        let logged = spec.changelog.is_some();
        let engine = match spec.kind {
            StoreKind::KeyValue | StoreKind::SuppressBuffer => {
                Engine::KeyValue(MemoryKeyValueStore::new(logged))
            }
            StoreKind::Window { retention_ms } => {
                Engine::Window(MemoryWindowStore::new(retention_ms, false, logged))
            }
            StoreKind::JoinWindow { retention_ms } => {
                Engine::Window(MemoryWindowStore::new(retention_ms, true, logged))
            }
            StoreKind::Session { retention_ms } => {
                Engine::Session(MemorySessionStore::new(retention_ms, logged))
            }
            StoreKind::Versioned { history_ms } => {
                Engine::Versioned(MemoryVersionedStore::new(history_ms, logged))
            }
        };
        Self {
            spec: spec.clone(),
            engine,
            changelog_position: None,
        }
    }

    pub(crate) const fn changelog_position(&self) -> Option<i64> {
        self.changelog_position
    }

    pub(crate) const fn set_changelog_position(&mut self, offset: i64) {
        self.changelog_position = Some(offset);
    }

    /// Makes what has changed since the last commit last, together with the changelog offset that
    /// it reaches; `None` if nothing went to the changelog.
    #[expect(clippy::unnecessary_wraps, reason = "an engine on disk can fail")]
    pub(crate) fn commit(&mut self, changelog_position: Option<i64>) -> Result<(), StreamsError> {
        if changelog_position.is_some() {
            self.changelog_position = changelog_position;
        }
        Ok(())
    }

    /// Forgets what has changed since the last commit. False if the engine cannot do that: then
    /// the store is empty, and its whole changelog has to be read.
    #[expect(clippy::unnecessary_wraps, reason = "an engine on disk can fail")]
    pub(crate) fn rollback(&mut self) -> Result<bool, StreamsError> {
        *self = Self::open(&self.spec);
        Ok(false)
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
        match &mut self.engine {
            Engine::KeyValue(store) => Ok(store),
            _ => Err(wrong_kind(&self.spec, "key-value")),
        }
    }

    pub(crate) fn window(&mut self) -> Result<&mut dyn WindowStore, StreamsError> {
        match &mut self.engine {
            Engine::Window(store) => Ok(store),
            _ => Err(wrong_kind(&self.spec, "window")),
        }
    }

    pub(crate) fn session(&mut self) -> Result<&mut dyn SessionStore, StreamsError> {
        match &mut self.engine {
            Engine::Session(store) => Ok(store),
            _ => Err(wrong_kind(&self.spec, "session")),
        }
    }

    pub(crate) fn versioned(&mut self) -> Result<&mut dyn VersionedStore, StreamsError> {
        match &mut self.engine {
            Engine::Versioned(store) => Ok(store),
            _ => Err(wrong_kind(&self.spec, "versioned")),
        }
    }

    pub(crate) fn approximate_len(&self) -> u64 {
        match &self.engine {
            Engine::KeyValue(store) => store.approximate_len(),
            Engine::Window(store) => store.approximate_len(),
            Engine::Session(store) => store.approximate_len(),
            Engine::Versioned(store) => store.approximate_len(),
        }
    }

    /// Takes back one changelog record.
    pub(crate) fn restore(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        let restored = match (key, &mut self.engine) {
            (None, _) => Err("changelog record without a key".to_owned()),
            (Some(key), Engine::KeyValue(store)) => {
                store.restore(key, value, timestamp);
                Ok(())
            }
            (Some(key), Engine::Window(store)) => store.restore(key, value, timestamp),
            (Some(key), Engine::Session(store)) => store.restore(key, value, timestamp),
            (Some(key), Engine::Versioned(store)) => {
                store.restore(key, value, timestamp);
                Ok(())
            }
        };
        restored.map_err(|reason| StreamsError::Store {
            store: self.spec.name.clone(),
            reason,
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
    pub(crate) fn take_changes(&mut self) -> Vec<ChangelogRecord> {
        match &mut self.engine {
            Engine::KeyValue(store) => store.take_changes(),
            Engine::Window(store) => store.take_changes(),
            Engine::Session(store) => store.take_changes(),
            Engine::Versioned(store) => store.take_changes(),
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
