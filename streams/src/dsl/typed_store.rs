//! The typed write-back cache in front of a store's bytes.
//!
//! With a cache, updates stay typed in memory until the commit: then each changed entry is
//! encoded once, written to the store (and so to the changelog) once and emitted once. Without,
//! each update is written and emitted at once. Entries are found by their key's bytes, so a
//! record whose key has not changed is never encoded for the look-up.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hashbrown::DefaultHashBuilder;
use indexmap::IndexMap;
use indexmap::map::RawEntryApiV1;
use indexmap::map::raw_entry_v1::RawEntryMut;
use moldau_client::RecordHeader;

use super::graph::Store;
use super::serde::Serde;
use super::store_bytes::StoreBytes;
use super::windowed::copied_key;
use crate::runtime::{
    CacheBudget, CompactBytes, StoreIndex, StreamsError, TaskContext, VersionPut,
};

/// A typed store.
pub(crate) struct TypedStore<V> {
    bytes: StoreBytes,
    caching: bool,
    sends_old: bool,
    entries: IndexMap<CompactBytes, Entry<V>, DefaultHashBuilder>,
    /// Places in `entries` of those that changed since the last flush, in the order they first did.
    dirty: Vec<usize>,
    /// Keys that are written back are cut off from here.
    keys: BytesMut,
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
    value: Cached<V>,
    timestamp: i64,
    /// Headers of the record that changed it last.
    headers: Box<[RecordHeader]>,
    /// Number of its last change; 0 if that was written back.
    changed: u64,
    /// What was taken from the budget for it.
    counted_bytes: usize,
}

/// The value of a cached entry.
enum Cached<V> {
    /// The store has it.
    Forgotten,
    /// In place, so that changing it does not wait for other memory.
    Own(Option<V>),
    /// Others have it too: it is being emitted, or is another table's.
    Shared(Arc<Option<V>>),
}

impl<V> Cached<V> {
    const fn is_forgotten(&self) -> bool {
        matches!(self, Self::Forgotten)
    }

    /// The value, which may be nothing.
    fn get(&self) -> Option<&V> {
        match self {
            Self::Forgotten => None,
            Self::Own(value) => value.as_ref(),
            Self::Shared(value) => value.as_ref().as_ref(),
        }
    }

    /// Shares it with others.
    fn share(&mut self) -> Arc<Option<V>> {
        if let Self::Own(value) = self {
            *self = Self::Shared(Arc::new(value.take()));
        }
        match self {
            Self::Shared(value) => Arc::clone(value),
            Self::Own(_) | Self::Forgotten => Arc::default(),
        }
    }

    /// Has it in place again if nobody else has it any more.
    fn take_back(&mut self) {
        if let Self::Shared(value) = self
            && let Some(value) = Arc::get_mut(value)
        {
            *self = Self::Own(value.take());
        }
    }
}

/// What a changed entry emits.
pub(crate) struct Emission<V> {
    pub(crate) raw_key: Bytes,
    /// The value, if the cache does not hold it any more: see [`TypedStore::share`].
    pub(crate) value: Option<Arc<Option<V>>>,
    /// The value before, where later operators asked for it.
    pub(crate) old: Option<Arc<Option<V>>>,
    /// The value's bytes, for a sink that follows.
    pub(crate) raw_value: Option<Bytes>,
    pub(crate) timestamp: i64,
    pub(crate) headers: Box<[RecordHeader]>,
    /// False for a version that is older than the key's latest.
    pub(crate) is_latest: bool,
}

impl<V: Serde> TypedStore<V> {
    pub(crate) fn new(index: StoreIndex, store: &Store) -> Self {
        Self {
            bytes: StoreBytes::new(index, store),
            caching: store.caching,
            sends_old: store.sends_old,
            entries: IndexMap::default(),
            dirty: Vec::new(),
            keys: BytesMut::new(),
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
        key: &[u8],
    ) -> Result<(Arc<Option<V>>, i64), StreamsError> {
        let cached = self.entries.get_mut(key);
        if let Some(entry) = cached.filter(|entry| !entry.value.is_forgotten()) {
            self.hits += 1;
            return Ok((entry.value.share(), entry.timestamp));
        }
        self.misses += 1;
        let loaded = self.bytes.load_decoded(task, key)?;
        Ok((Arc::new(loaded.value), loaded.timestamp))
    }

    /// Sets the value of a key, whatever it was.
    pub(crate) fn set(
        &mut self,
        task: &mut TaskContext<'_>,
        key: &[u8],
        headers: &[RecordHeader],
        value: &Arc<Option<V>>,
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        let place = self.change(task, key, headers)?;
        let entry = &mut self.entries[place];
        entry.value = Cached::Shared(Arc::clone(value));
        entry.timestamp = timestamp;
        Ok(())
    }

    /// Changes the entry of a key. `change` gets the value as it is, `None` if there is none,
    /// and the timestamp that goes with it (-1 if there is none), and returns the new timestamp.
    pub(crate) fn update(
        &mut self,
        task: &mut TaskContext<'_>,
        key: &[u8],
        headers: &[RecordHeader],
        change: impl FnOnce(&mut Option<V>, i64) -> i64,
    ) -> Result<(), StreamsError> {
        let place = self.change(task, key, headers)?;
        let entry = &mut self.entries[place];
        entry.value.take_back();
        if let Cached::Shared(value) = &entry.value {
            // Another table has the same value, or it is still being emitted: copied by way of
            // its bytes.
            let raw = self.bytes.encode(value.as_ref().as_ref())?;
            let stored = raw.map(|value| crate::runtime::StoredValue {
                value,
                timestamp: entry.timestamp,
            });
            entry.value = Cached::Own(self.bytes.decode(stored)?.0);
        }
        if let Cached::Own(value) = &mut entry.value {
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
        Ok(())
    }

    /// The place of a key's entry, which counts as changed from now on.
    fn change(
        &mut self,
        task: &mut TaskContext<'_>,
        key: &[u8],
        headers: &[RecordHeader],
    ) -> Result<usize, StreamsError> {
        let (place, entry) = match self.entries.raw_entry_mut_v1().from_key(key) {
            RawEntryMut::Occupied(found) => {
                let place = found.index();
                let entry = found.into_mut();
                if entry.value.is_forgotten() {
                    self.misses += 1;
                    let loaded = self.bytes.load_decoded(task, key)?;
                    entry.value = Cached::Own(loaded.value);
                    entry.timestamp = loaded.timestamp;
                } else {
                    self.hits += 1;
                }
                (place, entry)
            }
            RawEntryMut::Vacant(vacant) => {
                self.misses += 1;
                let loaded = self.bytes.load_decoded(task, key)?;
                let counted_bytes = counted_bytes::<V>(key, loaded.bytes);
                self.share.take(task, counted_bytes);
                let entry = Entry {
                    value: Cached::Own(loaded.value),
                    timestamp: loaded.timestamp,
                    headers: Box::default(),
                    changed: 0,
                    counted_bytes,
                };
                let place = vacant.index();
                (place, vacant.insert(CompactBytes::from(key), entry).1)
            }
        };
        match entry.changed {
            0 => self.dirty.push(place),
            last => self.is_reordered |= last != self.changes,
        }
        self.changes += 1;
        entry.changed = self.changes;
        if !entry.headers.is_empty() || !headers.is_empty() {
            entry.headers = headers.into();
        }
        Ok(place)
    }

    /// Whether changes must be written and emitted now, because there is no cache or no room.
    pub(crate) fn must_flush(&self, task: &TaskContext<'_>) -> bool {
        !self.is_caching(task) || self.share.is_exceeded
    }

    /// The places of what changed since the last call, in the order of their last changes, to be
    /// [written back](Self::write_back). They are good until it is [flushed](Self::flushed).
    pub(crate) fn take_dirty(&mut self) -> Vec<usize> {
        let mut places = std::mem::take(&mut self.dirty);
        if std::mem::take(&mut self.is_reordered) {
            places.sort_unstable_by_key(|place| self.entries[*place].changed);
        }
        places
    }

    /// Writes a changed entry to the store and says what to emit: nothing, if a key that never
    /// was is removed.
    pub(crate) fn write_back(
        &mut self,
        task: &mut TaskContext<'_>,
        place: usize,
    ) -> Result<Option<Emission<V>>, StreamsError> {
        let is_caching = self.is_caching(task);
        let Some((key, entry)) = self.entries.get_index_mut(place) else {
            return Ok(None);
        };
        let key = key.as_ref();
        entry.changed = 0;
        let mut emission = Emission {
            raw_key: copied_key(&mut self.keys, key),
            value: None,
            old: None,
            raw_value: self.bytes.encode(entry.value.get())?,
            timestamp: entry.timestamp,
            headers: std::mem::take(&mut entry.headers),
            is_latest: true,
        };
        if self.sends_old {
            let loaded = self.bytes.load(task, key)?;
            emission.old = Some(Arc::new(self.bytes.decode(loaded)?.0));
        }
        if self.bytes.is_versioned() {
            // It may not be the latest one, which is what a look-up wants.
            emission.value = Some(entry.value.share());
            entry.value = Cached::Forgotten;
            return self.write_version(task, emission);
        }
        let value_bytes = emission.raw_value.as_ref().map_or(0, Bytes::len);
        let counted_bytes = counted_bytes::<V>(key, value_bytes);
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
                let existed = match &emission.old {
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
        Ok(emits.then_some(emission))
    }

    /// The value of an entry that is emitted. [`take_back`](Self::take_back) it when that is done.
    pub(crate) fn share(&mut self, place: usize) -> Arc<Option<V>> {
        let entry = self.entries.get_index_mut(place);
        entry.map_or_else(Arc::default, |(_, entry)| entry.value.share())
    }

    /// After an entry was emitted: has the value for itself again, if nobody kept it.
    pub(crate) fn take_back(&mut self, place: usize) {
        if let Some((_, entry)) = self.entries.get_index_mut(place) {
            entry.value.take_back();
        }
    }

    /// Puts a version and says what to emit: nothing, if it is too late.
    fn write_version(
        &self,
        task: &mut TaskContext<'_>,
        emission: Emission<V>,
    ) -> Result<Option<Emission<V>>, StreamsError> {
        let (value, timestamp) = (emission.raw_value.as_deref(), emission.timestamp);
        let put = self
            .bytes
            .put_version(task, &emission.raw_key, value, timestamp)?;
        if put == VersionPut::TooLate {
            task.drop_records(1);
            return Ok(None);
        }
        Ok(Some(Emission {
            is_latest: put == VersionPut::Latest,
            ..emission
        }))
    }

    /// The value of a key as it was at a point of event time; only of a versioned store.
    pub(crate) fn get_as_of(
        &mut self,
        task: &mut TaskContext<'_>,
        key: &[u8],
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
            // They have new places now.
            self.dirty = (0..self.entries.len()).collect();
            self.is_reordered = !self.dirty.is_empty();
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

/// What is counted for an entry: key and value as bytes, and what is around them.
const fn counted_bytes<V>(key: &[u8], value_bytes: usize) -> usize {
    let in_map = size_of::<CompactBytes>() + size_of::<Entry<V>>();
    in_map + CompactBytes::outside(key) + value_bytes + ENTRY_OVERHEAD
}

/// The value's own memory of one entry, its hash and place, room to grow and the allocator, about.
const ENTRY_OVERHEAD: usize = 112;
/// The timestamp of what is not there.
const NO_TIMESTAMP: i64 = -1;
