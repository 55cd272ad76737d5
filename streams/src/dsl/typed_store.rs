//! The typed write-back cache in front of a store's bytes.
//!
//! With a cache, updates stay typed in memory until the commit: then each changed entry is
//! encoded once, written to the store (and so to the changelog) once and emitted once. Without,
//! each update is written and emitted at once. Entries are found by their key's bytes, so a
//! record whose key has not changed is never encoded for the look-up.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use moldau_client::RecordHeader;

use super::graph::Store;
use super::serde::Serde;
use super::store_bytes::StoreBytes;
use crate::runtime::{CacheBudget, StoreIndex, StreamsError, TaskContext, VersionPut};

/// A typed store.
pub(crate) struct TypedStore<V> {
    bytes: StoreBytes,
    caching: bool,
    sends_old: bool,
    entries: HashMap<Bytes, Entry<V>>,
    /// Keys that changed since the last flush, in the order they first did.
    dirty: Vec<Bytes>,
    /// How many changes there were; numbers them.
    changes: u64,
    /// Whether a key changed again after another, so that `dirty` is not in the order of changes.
    is_reordered: bool,
    share: Share,
    /// Look-ups since the last flush that found their entry, and that did not.
    hits: u64,
    misses: u64,
}

/// A cached entry.
struct Entry<V> {
    /// The value; shared only for the time in which it is emitted.
    value: Arc<Option<V>>,
    timestamp: i64,
    /// Headers of the record that changed it last.
    headers: Vec<RecordHeader>,
    /// Number of its last change; 0 if that was written back.
    changed: u64,
    /// What is counted for it: key and value as bytes, and what is around them.
    counted_bytes: usize,
}

/// What a changed entry emits.
pub(crate) struct Emission<V> {
    pub(crate) value: Arc<Option<V>>,
    /// The value before, where later operators asked for it.
    pub(crate) old: Option<Arc<Option<V>>>,
    /// The value's bytes, for a sink that follows.
    pub(crate) raw_value: Option<Bytes>,
    pub(crate) timestamp: i64,
    pub(crate) headers: Vec<RecordHeader>,
    /// False for a version that is older than the key's latest.
    pub(crate) is_latest: bool,
}

impl<V: Serde> TypedStore<V> {
    pub(crate) fn new(index: StoreIndex, store: &Store) -> Self {
        Self {
            bytes: StoreBytes::new(index, store),
            caching: store.caching,
            sends_old: store.sends_old,
            entries: HashMap::new(),
            dirty: Vec::new(),
            changes: 0,
            is_reordered: false,
            share: Share::default(),
            hits: 0,
            misses: 0,
        }
    }

    /// The value of a key, as of now: with updates that are not committed yet. With it, its
    /// timestamp; -1 if there is none.
    pub(crate) fn get(
        &mut self,
        task: &mut TaskContext<'_>,
        key: &Bytes,
    ) -> Result<(Arc<Option<V>>, i64), StreamsError> {
        if let Some(entry) = self.entries.get(key) {
            self.hits += 1;
            return Ok((Arc::clone(&entry.value), entry.timestamp));
        }
        self.misses += 1;
        let loaded = self.bytes.load(task, key)?;
        let (value, timestamp) = self.bytes.decode(loaded)?;
        Ok((Arc::new(value), timestamp))
    }

    /// Sets the value of a key, whatever it was.
    pub(crate) fn set(
        &mut self,
        task: &mut TaskContext<'_>,
        key: &Bytes,
        headers: &[RecordHeader],
        value: &Arc<Option<V>>,
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        self.update(task, key, headers, |_, _| timestamp)?;
        if let Some(entry) = self.entries.get_mut(key) {
            entry.value = Arc::clone(value);
        }
        Ok(())
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
        let entry = match self.entries.entry_ref(key.as_ref()) {
            EntryRef::Occupied(occupied) => {
                self.hits += 1;
                match occupied.get().changed {
                    0 => self.dirty.push(occupied.key().clone()),
                    last => self.is_reordered |= last != self.changes,
                }
                occupied.into_mut()
            }
            EntryRef::Vacant(vacant) => {
                self.misses += 1;
                let loaded = self.bytes.load(task, key)?;
                let value_bytes = loaded.as_ref().map_or(0, |stored| stored.value.len());
                let (value, timestamp) = self.bytes.decode(loaded)?;
                // A copy of its own, so that the cache does not keep fetched batches alive.
                let key = Bytes::copy_from_slice(key);
                let counted_bytes =
                    key.len() + value_bytes + size_of::<Entry<V>>() + ENTRY_OVERHEAD;
                self.share.take(task, counted_bytes);
                self.dirty.push(key.clone());
                let entry = Entry {
                    value: Arc::new(value),
                    timestamp,
                    headers: Vec::new(),
                    changed: 0,
                    counted_bytes,
                };
                vacant.insert_entry_with_key(key, entry).into_mut()
            }
        };
        self.changes += 1;
        entry.changed = self.changes;
        if Arc::get_mut(&mut entry.value).is_none() {
            // Still being emitted, which no operator does: copied by way of its bytes.
            let raw = self.bytes.encode(entry.value.as_ref().as_ref())?;
            let stored = raw.map(|value| crate::runtime::StoredValue {
                value,
                timestamp: entry.timestamp,
            });
            entry.value = Arc::new(self.bytes.decode(stored)?.0);
        }
        if let Some(value) = Arc::get_mut(&mut entry.value) {
            let timestamp = if value.is_some() {
                entry.timestamp
            } else {
                NO_TIMESTAMP
            };
            entry.timestamp = change(value, timestamp);
            if value.as_ref().is_some_and(V::is_null) {
                // A null is no value: the next change begins anew.
                *value = None;
            }
        }
        if !entry.headers.is_empty() || !headers.is_empty() {
            entry.headers = headers.to_vec();
        }
        Ok(())
    }

    /// Whether changes must be written and emitted now, because there is no cache or no room.
    pub(crate) fn must_flush(&self, task: &TaskContext<'_>) -> bool {
        !self.is_caching(task) || self.share.is_exceeded
    }

    /// The keys that changed since the last call, in the order of their last changes.
    pub(crate) fn take_dirty(&mut self) -> Vec<Bytes> {
        let mut keys = std::mem::take(&mut self.dirty);
        if std::mem::take(&mut self.is_reordered) {
            let changed = |key: &Bytes| self.entries.get(key).map_or(0, |entry| entry.changed);
            keys.sort_by_cached_key(changed);
        }
        keys
    }

    /// Writes a changed entry to the store and says what to emit: nothing, if a key that never
    /// was is removed.
    pub(crate) fn write_back(
        &mut self,
        task: &mut TaskContext<'_>,
        key: &Bytes,
    ) -> Result<Option<Emission<V>>, StreamsError> {
        if self.bytes.is_versioned() {
            return self.write_version(task, key);
        }
        let is_caching = self.is_caching(task);
        let Some(entry) = self.entries.get_mut(key) else {
            return Ok(None);
        };
        entry.changed = 0;
        let mut emission = Emission {
            value: Arc::clone(&entry.value),
            old: None,
            raw_value: None,
            timestamp: entry.timestamp,
            headers: std::mem::take(&mut entry.headers),
            is_latest: true,
        };
        emission.raw_value = self.bytes.encode(emission.value.as_ref().as_ref())?;
        let before = if self.sends_old {
            let loaded = self.bytes.load(task, key)?;
            Some(self.bytes.decode::<V>(loaded)?.0)
        } else {
            None
        };
        let value_bytes = emission.raw_value.as_ref().map_or(0, Bytes::len);
        let counted_bytes = key.len() + value_bytes + size_of::<Entry<V>>() + ENTRY_OVERHEAD;
        if counted_bytes > entry.counted_bytes {
            self.share.take(task, counted_bytes - entry.counted_bytes);
            entry.counted_bytes = counted_bytes;
        }
        let emits = match &emission.raw_value {
            Some(value) => {
                self.bytes.put(task, key, value, emission.timestamp)?;
                true
            }
            None => {
                // Without a cache every update is emitted, as Kafka Streams does.
                let existed = match &before {
                    Some(before) => before.is_some(),
                    None => is_caching && self.bytes.load(task, key)?.is_some(),
                };
                let emits = !is_caching || existed;
                if emits {
                    self.bytes.delete(task, key, emission.timestamp)?;
                }
                emits
            }
        };
        emission.old = before.map(Arc::new);
        Ok(emits.then_some(emission))
    }

    /// Puts a version and says what to emit: nothing, if it is too late. The entry is forgotten,
    /// because it may not be the latest one, which is what a look-up wants.
    fn write_version(
        &mut self,
        task: &mut TaskContext<'_>,
        key: &Bytes,
    ) -> Result<Option<Emission<V>>, StreamsError> {
        let Some(entry) = self.entries.remove(key) else {
            return Ok(None);
        };
        let before = if self.sends_old {
            let loaded = self.bytes.load(task, key)?;
            Some(Arc::new(self.bytes.decode::<V>(loaded)?.0))
        } else {
            None
        };
        let raw_value = self.bytes.encode(entry.value.as_ref().as_ref())?;
        let (value, timestamp) = (raw_value.as_deref(), entry.timestamp);
        let put = self.bytes.put_version(task, key, value, timestamp)?;
        if put == VersionPut::TooLate {
            task.drop_records(1);
            return Ok(None);
        }
        Ok(Some(Emission {
            value: entry.value,
            old: before,
            raw_value,
            timestamp,
            headers: entry.headers,
            is_latest: put == VersionPut::Latest,
        }))
    }

    /// The value of a key as it was at a point of event time; only of a versioned store.
    pub(crate) fn get_as_of(
        &mut self,
        task: &mut TaskContext<'_>,
        key: &Bytes,
        timestamp: i64,
    ) -> Result<(Arc<Option<V>>, i64), StreamsError> {
        let loaded = self.bytes.load_as_of(task, key, timestamp)?;
        let (value, timestamp) = self.bytes.decode(loaded)?;
        Ok((Arc::new(value), timestamp))
    }

    /// Ends a flush: frees the memory if there is too little, or no cache at all.
    pub(crate) fn flushed(&mut self, task: &TaskContext<'_>) {
        if self.is_caching(task) {
            let (hits, misses) = (self.hits, self.misses);
            task.cache_budget().count(hits, misses);
        }
        (self.hits, self.misses) = (0, 0);
        if self.must_flush(task) || task.cache_budget().is_exceeded() {
            self.entries.retain(|_, entry| entry.changed != 0);
            let kept = self.entries.values().map(|entry| entry.counted_bytes).sum();
            self.share.give_back_all_but(kept);
        }
    }

    fn is_caching(&self, task: &TaskContext<'_>) -> bool {
        self.caching && task.cache_budget().is_enabled()
    }
}

/// What a cache took from the budget that all share. Given back with the task at the latest.
#[derive(Default)]
struct Share {
    budget: Option<Arc<CacheBudget>>,
    taken_bytes: usize,
    is_exceeded: bool,
}

impl Share {
    fn take(&mut self, task: &mut TaskContext<'_>, bytes: usize) {
        let budget = self.budget.get_or_insert_with(|| {
            task.cache_budget().join();
            Arc::clone(task.cache_budget())
        });
        self.taken_bytes += bytes;
        let is_exceeded = !budget.take(bytes);
        self.is_exceeded = is_exceeded && self.taken_bytes >= budget.fair_share();
        if is_exceeded && !self.is_exceeded {
            // Others have more than their share, and give it back when they commit.
            task.request_commit();
        }
    }

    fn give_back_all_but(&mut self, kept_bytes: usize) {
        if let Some(budget) = &self.budget {
            budget.give_back(self.taken_bytes.saturating_sub(kept_bytes));
        }
        self.taken_bytes = self.taken_bytes.min(kept_bytes);
        self.is_exceeded = false;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back_all_but(0);
        if let Some(budget) = &self.budget {
            budget.leave();
        }
    }
}

/// Hash map slot, list of changed keys, allocator and the value's own memory of one entry, about.
const ENTRY_OVERHEAD: usize = 128;
/// The timestamp of what is not there.
const NO_TIMESTAMP: i64 = -1;
