//! The typed write-back cache in front of a store's bytes.
//!
//! With a cache, updates stay typed in memory until the commit: then each changed entry is
//! encoded once, written to the store (and so to the changelog) once and emitted once. Without,
//! each update is written and emitted at once. Entries are found by their key's bytes, so a
//! record whose key has not changed is never encoded for the look-up.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hashbrown::HashMap;
use moldau_client::RecordHeader;

use super::graph::Store;
use super::serde::{Serde, SerdeContext, encode};
use super::windows::split_windowed;
use crate::runtime::{StoreIndex, StoreKind, StoredValue, StreamsError, TaskContext};

/// A typed store. Window stores have keys of the form `key | window start (8 bytes)` here.
pub(crate) struct TypedStore<V> {
    name: String,
    index: StoreIndex,
    windowed: bool,
    caching: bool,
    entries: HashMap<Bytes, Entry<V>>,
    /// Keys that changed since the last flush, in the order they first did.
    dirty: Vec<Bytes>,
    /// What this cache took from the common budget.
    taken_bytes: usize,
    over_budget: bool,
    buffer: BytesMut,
}

/// A cached entry.
pub(crate) struct Entry<V> {
    /// The value; shared only for the time in which it is emitted.
    pub(crate) value: Arc<Option<V>>,
    pub(crate) timestamp: i64,
    /// Headers of the record that changed it last.
    pub(crate) headers: Vec<RecordHeader>,
    dirty: bool,
}

/// What a changed entry emits.
pub(crate) struct Emission<V> {
    pub(crate) value: Arc<Option<V>>,
    /// The value's bytes, for a sink that follows.
    pub(crate) raw_value: Option<Bytes>,
    pub(crate) timestamp: i64,
    pub(crate) headers: Vec<RecordHeader>,
}

impl<V: Serde> TypedStore<V> {
    pub(crate) fn new(index: StoreIndex, store: &Store) -> Self {
        Self {
            name: store.name.clone(),
            index,
            windowed: matches!(store.kind, StoreKind::Window { .. }),
            caching: store.caching,
            entries: HashMap::new(),
            dirty: Vec::new(),
            taken_bytes: 0,
            over_budget: false,
            buffer: BytesMut::new(),
        }
    }

    /// Value and timestamp of a key, as of now: with updates that are not committed yet.
    pub(crate) fn get(
        &mut self,
        task: &mut TaskContext<'_>,
        key: &Bytes,
    ) -> Result<(Arc<Option<V>>, i64), StreamsError> {
        if let Some(entry) = self.entries.get(key) {
            return Ok((Arc::clone(&entry.value), entry.timestamp));
        }
        let (value, timestamp) = self.load(task, key)?;
        Ok((Arc::new(value), timestamp))
    }

    /// Changes the entry of a key. `change` gets the value as it is, `None` if there is none,
    /// and the timestamp that goes with it (-1 if there is none), and returns the new timestamp.
    pub(crate) fn update(
        &mut self,
        task: &mut TaskContext<'_>,
        key: &Bytes,
        headers: &[RecordHeader],
        change: impl FnOnce(&mut Option<V>, i64) -> i64,
    ) -> Result<(), StreamsError> {
        if !self.entries.contains_key(key) {
            let (value, timestamp) = self.load(task, key)?;
            let entry = Entry {
                value: Arc::new(value),
                timestamp,
                headers: Vec::new(),
                dirty: false,
            };
            // A copy of its own, so that the cache does not keep fetched batches alive.
            self.entries.insert(Bytes::copy_from_slice(key), entry);
            self.take_budget(task, key.len());
        }
        let Some((own_key, entry)) = self.entries.get_key_value_mut(key) else {
            return Ok(());
        };
        if Arc::get_mut(&mut entry.value).is_none() {
            entry.value = Arc::new(copy(&entry.value, &self.name, &mut self.buffer)?);
        }
        if let Some(value) = Arc::get_mut(&mut entry.value) {
            entry.timestamp = change(value, entry.timestamp);
        }
        if !entry.headers.is_empty() || !headers.is_empty() {
            entry.headers = headers.to_vec();
        }
        if !entry.dirty {
            entry.dirty = true;
            self.dirty.push(own_key.clone());
        }
        Ok(())
    }

    /// Whether changes must be written and emitted now, because there is no cache or no room.
    pub(crate) fn must_flush(&self, task: &TaskContext<'_>) -> bool {
        !self.is_caching(task) || self.over_budget
    }

    /// The keys that changed since the last call.
    pub(crate) fn take_dirty(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.dirty)
    }

    /// Writes a changed entry to the store and says what to emit: nothing, if a key that never
    /// was is removed.
    pub(crate) fn write_back(
        &mut self,
        task: &mut TaskContext<'_>,
        key: &Bytes,
    ) -> Result<Option<Emission<V>>, StreamsError> {
        let caching = self.is_caching(task);
        let Some(entry) = self.entries.get_mut(key) else {
            return Ok(None);
        };
        entry.dirty = false;
        let mut emission = Emission {
            value: Arc::clone(&entry.value),
            raw_value: None,
            timestamp: entry.timestamp,
            headers: std::mem::take(&mut entry.headers),
        };
        let context = SerdeContext::value(&self.name);
        let bytes = match emission.value.as_ref() {
            Some(value) => encode(value, &context, &mut self.buffer).map_err(|error| {
                store_error(&self.name, format!("cannot write a value: {error}"))
            })?,
            None => None,
        };
        let emits = match bytes {
            Some(bytes) => {
                self.put(task, key, &bytes, emission.timestamp)?;
                emission.raw_value = Some(bytes);
                true
            }
            None => {
                // Without a cache every update is emitted, as Kafka Streams does.
                let emits = !caching || self.load_bytes(task, key)?.is_some();
                if emits {
                    self.delete(task, key, emission.timestamp)?;
                }
                emits
            }
        };
        Ok(emits.then_some(emission))
    }

    /// Ends a flush: frees memory if there is too little, or all of it where there is no cache.
    pub(crate) fn flushed(&mut self, task: &TaskContext<'_>) {
        if self.must_flush(task) {
            self.entries.retain(|_, entry| entry.dirty);
            task.cache_budget().give_back(self.taken_bytes);
            self.taken_bytes = 0;
            self.over_budget = false;
        }
    }

    fn is_caching(&self, task: &TaskContext<'_>) -> bool {
        self.caching && task.cache_budget().is_enabled()
    }

    fn take_budget(&mut self, task: &TaskContext<'_>, key_bytes: usize) {
        let bytes = key_bytes + size_of::<Entry<V>>() + size_of::<V>() + ENTRY_OVERHEAD;
        self.taken_bytes += bytes;
        self.over_budget = !task.cache_budget().take(bytes);
    }

    fn load(
        &self,
        task: &mut TaskContext<'_>,
        key: &Bytes,
    ) -> Result<(Option<V>, i64), StreamsError> {
        let Some(stored) = self.load_bytes(task, key)? else {
            return Ok((None, -1));
        };
        let value = V::decode(&SerdeContext::value(&self.name), &stored.value)
            .map_err(|error| store_error(&self.name, format!("cannot read a value: {error}")))?;
        Ok((Some(value), stored.timestamp))
    }

    fn load_bytes(
        &self,
        task: &mut TaskContext<'_>,
        key: &Bytes,
    ) -> Result<Option<StoredValue>, StreamsError> {
        if !self.windowed {
            return task.store(self.index)?.get(key);
        }
        let (key, start) = self.window_key(key)?;
        task.window_store(self.index)?.get(&key, start)
    }

    fn put(
        &self,
        task: &mut TaskContext<'_>,
        key: &Bytes,
        value: &[u8],
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        if !self.windowed {
            return task.store(self.index)?.put(key, value, timestamp);
        }
        let (key, start) = self.window_key(key)?;
        task.window_store(self.index)?
            .put(&key, start, value, timestamp)?;
        Ok(())
    }

    fn delete(
        &self,
        task: &mut TaskContext<'_>,
        key: &Bytes,
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        if !self.windowed {
            return task.store(self.index)?.delete(key, timestamp);
        }
        let (key, start) = self.window_key(key)?;
        task.window_store(self.index)?
            .delete(&key, start, timestamp)
    }

    fn window_key(&self, key: &Bytes) -> Result<(Bytes, i64), StreamsError> {
        split_windowed(key)
            .ok_or_else(|| store_error(&self.name, "was given a key without a window".to_owned()))
    }
}

/// A copy by way of the bytes, for a value that is still being emitted.
fn copy<V: Serde>(
    value: &Option<V>,
    store: &str,
    buffer: &mut BytesMut,
) -> Result<Option<V>, StreamsError> {
    let context = SerdeContext::value(store);
    let copied = encode(value, &context, buffer).and_then(|bytes| {
        let bytes = bytes.as_ref();
        bytes.map(|bytes| V::decode(&context, bytes)).transpose()
    });
    copied.map_err(|error| store_error(store, format!("cannot copy a value: {error}")))
}

fn store_error(store: &str, reason: String) -> StreamsError {
    StreamsError::Store {
        store: store.to_owned(),
        reason,
    }
}

/// Hash map slot, list of changed keys and allocator overhead of one entry, about.
const ENTRY_OVERHEAD: usize = 96;
