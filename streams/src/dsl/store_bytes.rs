//! The bytes behind a typed store: a key-value store or a window store of the task.

use bytes::{Bytes, BytesMut};

use super::graph::Store;
use super::serde::{Serde, SerdeContext, encode};
use super::windowed::split_windowed;
use crate::runtime::{
    StoreIndex, StoreKind, StoredValue, StreamsError, TaskContext, VersionPut, VersionedValue,
};

/// How a store is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    KeyValue,
    Windowed,
    Versioned,
}

/// Reads and writes a store's bytes. Keys of window stores are `key | window start (8 bytes)`.
pub(crate) struct StoreBytes {
    name: String,
    index: StoreIndex,
    kind: Kind,
    buffer: BytesMut,
}

/// What a store holds for a key.
pub(crate) struct Loaded<V> {
    pub(crate) value: Option<V>,
    /// -1 if there is no value.
    pub(crate) timestamp: i64,
    /// Length of the value's bytes.
    pub(crate) bytes: usize,
}

impl StoreBytes {
    pub(crate) fn new(index: StoreIndex, store: &Store) -> Self {
        Self {
            name: store.name.clone(),
            index,
            kind: match store.kind {
                StoreKind::Window { .. } => Kind::Windowed,
                StoreKind::Versioned { .. } => Kind::Versioned,
                StoreKind::KeyValue
                | StoreKind::SuppressBuffer
                | StoreKind::JoinWindow { .. }
                | StoreKind::Session { .. } => Kind::KeyValue,
            },
            buffer: BytesMut::new(),
        }
    }

    pub(crate) fn load(
        &self,
        task: &mut TaskContext<'_>,
        key: &[u8],
    ) -> Result<Option<StoredValue>, StreamsError> {
        match self.kind {
            Kind::KeyValue => task.store(self.index)?.get(key),
            Kind::Versioned => {
                let version = task.versioned_store(self.index)?.get(key)?;
                Ok(version.map(stored))
            }
            Kind::Windowed => {
                let (key, start) = self.window_key(key)?;
                task.window_store(self.index)?.get(key, start)
            }
        }
    }

    /// As [`load`](Self::load), decoded.
    pub(crate) fn load_decoded<V: Serde>(
        &self,
        task: &mut TaskContext<'_>,
        key: &[u8],
    ) -> Result<Loaded<V>, StreamsError> {
        let loaded = self.load(task, key)?;
        let bytes = loaded.as_ref().map_or(0, |stored| stored.value.len());
        let (value, timestamp) = self.decode(loaded)?;
        Ok(Loaded {
            value,
            timestamp,
            bytes,
        })
    }

    /// What was valid at a point of event time; only of a versioned store.
    pub(crate) fn load_as_of(
        &self,
        task: &mut TaskContext<'_>,
        key: &[u8],
        timestamp: i64,
    ) -> Result<Option<StoredValue>, StreamsError> {
        let store = task.versioned_store(self.index)?;
        Ok(store.get_as_of(key, timestamp)?.map(stored))
    }

    pub(crate) const fn is_versioned(&self) -> bool {
        matches!(self.kind, Kind::Versioned)
    }

    /// Puts a version, or with `None` the end of one; only into a versioned store.
    pub(crate) fn put_version(
        &self,
        task: &mut TaskContext<'_>,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<VersionPut, StreamsError> {
        task.versioned_store(self.index)?.put(key, value, timestamp)
    }

    pub(crate) fn put(
        &self,
        task: &mut TaskContext<'_>,
        key: &[u8],
        value: &[u8],
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        if self.kind != Kind::Windowed {
            return task.store(self.index)?.put(key, value, timestamp);
        }
        let (key, start) = self.window_key(key)?;
        let store = task.window_store(self.index)?;
        // A window that is beyond retention by now is emitted, but not kept.
        store.put(key, start, value, timestamp)?;
        Ok(())
    }

    pub(crate) fn delete(
        &self,
        task: &mut TaskContext<'_>,
        key: &[u8],
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        if self.kind != Kind::Windowed {
            return task.store(self.index)?.delete(key, timestamp);
        }
        let (key, start) = self.window_key(key)?;
        task.window_store(self.index)?.delete(key, start, timestamp)
    }

    /// Value and timestamp of what was loaded; -1 is the timestamp of nothing.
    pub(crate) fn decode<V: Serde>(
        &self,
        stored: Option<StoredValue>,
    ) -> Result<(Option<V>, i64), StreamsError> {
        let Some(stored) = stored else {
            return Ok((None, -1));
        };
        let value = V::decode(&SerdeContext::value(&self.name), &stored.value);
        let value = value.map_err(|error| self.error(format!("cannot read a value: {error}")))?;
        Ok((Some(value), stored.timestamp))
    }

    pub(crate) fn encode<V: Serde>(
        &mut self,
        value: Option<&V>,
    ) -> Result<Option<Bytes>, StreamsError> {
        let Some(value) = value else { return Ok(None) };
        let encoded = encode(value, &SerdeContext::value(&self.name), &mut self.buffer);
        encoded.map_err(|error| self.error(format!("cannot write a value: {error}")))
    }

    fn window_key<'k>(&self, key: &'k [u8]) -> Result<(&'k [u8], i64), StreamsError> {
        split_windowed(key).ok_or_else(|| self.error("was given a key without a window".to_owned()))
    }

    fn error(&self, reason: String) -> StreamsError {
        StreamsError::Store {
            store: self.name.clone(),
            reason,
        }
    }
}

fn stored(version: VersionedValue) -> StoredValue {
    StoredValue {
        value: version.value,
        timestamp: version.valid_from,
    }
}
