//! The in-memory versioned store (KIP-889): the versions of each key as far back as the history
//! is kept.
//!
//! The changelog gets each single version, because the last one of a key does not tell the
//! others: `key`, the version's value, and the version's timestamp as that of the record.

use std::collections::BTreeMap;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};

use super::changes::ChangelogRecord;
use super::undo::Undo;
use super::{VersionIter, VersionPut, VersionedStore, VersionedValue};
use crate::runtime::error::StreamsError;

/// Versions of values by key.
#[derive(Debug)]
pub(super) struct MemoryVersionedStore {
    history_ms: i64,
    /// Largest timestamp seen; history counts back from here. What is older is not found any more,
    /// and dropped with the next commit.
    observed_stream_time: i64,
    /// `observed_stream_time` at the last commit.
    committed_stream_time: i64,
    keys: HashMap<Bytes, Versions>,
    /// When a version of a key ends or has no value: then older ones can be forgotten.
    ends: BTreeMap<i64, HashSet<Bytes>>,
    logged: bool,
    changes: Vec<ChangelogRecord>,
    undo: Undo<(Bytes, i64), Option<Bytes>>,
}

/// The versions of a key by the time they are valid from; a removal is a version without a value.
type Versions = BTreeMap<i64, Option<Bytes>>;

impl MemoryVersionedStore {
    pub(super) fn new(history_ms: i64, logged: bool) -> Self {
        Self {
            history_ms,
            observed_stream_time: -1,
            committed_stream_time: -1,
            keys: HashMap::new(),
            ends: BTreeMap::new(),
            logged,
            changes: Vec::new(),
            undo: Undo::new(logged),
        }
    }

    pub(super) fn restore(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) {
        // What is restored is committed.
        self.set(key, value, timestamp);
        self.expire();
    }

    pub(super) fn take_changes(&mut self) -> Vec<ChangelogRecord> {
        self.undo.set_aside();
        std::mem::take(&mut self.changes)
    }

    pub(super) fn commit(&mut self) {
        self.undo.committed();
        self.committed_stream_time = self.observed_stream_time;
        self.expire();
    }

    /// Goes back to the last commit; false if the store has kept no account of its changes.
    pub(super) fn roll_back(&mut self) -> bool {
        self.changes.clear();
        let Some(undone) = self.undo.roll_back() else {
            return false;
        };
        for ((key, timestamp), before) in undone {
            let versions = self.keys.entry_ref(&key).or_default();
            match before {
                Some(version) => versions.insert(timestamp, version),
                None => versions.remove(&timestamp),
            };
            if versions.is_empty() {
                self.keys.remove(&key);
            }
        }
        self.observed_stream_time = self.committed_stream_time;
        true
    }

    const fn first_kept(&self) -> i64 {
        self.observed_stream_time.saturating_sub(self.history_ms)
    }

    fn set(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) -> Set {
        if timestamp < self.first_kept() {
            return Set {
                put: VersionPut::TooLate,
                undo: None,
            };
        }
        self.observed_stream_time = self.observed_stream_time.max(timestamp);
        let key = match self.keys.get_key_value(key) {
            Some((key, _)) => key.clone(),
            None => Bytes::copy_from_slice(key),
        };
        let versions = self.keys.entry_ref(&key).or_default();
        let before = versions.insert(timestamp, value.map(Bytes::copy_from_slice));
        let next = timestamp.checked_add(1).and_then(|after| {
            let mut later = versions.range(after..);
            later.next().map(|(next, _)| *next)
        });
        let ends_another = versions.range(..timestamp).next().is_some();
        let own_end = (value.is_none() || ends_another).then_some(timestamp);
        for end in own_end.into_iter().chain(next) {
            self.ends.entry(end).or_default().insert(key.clone());
        }
        Set {
            put: next.map_or(VersionPut::Latest, VersionPut::ValidTo),
            undo: Some((key, before)),
        }
    }

    fn expire(&mut self) {
        let first_kept = self.first_kept();
        while let Some(first) = self.ends.first_entry() {
            if *first.key() > first_kept {
                break;
            }
            for key in first.remove() {
                let Some(versions) = self.keys.get_mut(&key) else {
                    continue;
                };
                forget(versions, first_kept);
                if versions.is_empty() {
                    self.keys.remove(&key);
                }
            }
        }
    }
}

/// What setting a version did.
struct Set {
    put: VersionPut,
    /// The stored key, and the version that was there before, if any; `None` if nothing was set.
    undo: Option<(Bytes, Option<Option<Bytes>>)>,
}

/// Drops the versions that ended before the history that is kept, and a removal that nothing
/// older is left to hide.
fn forget(versions: &mut Versions, first_kept: i64) {
    let current = versions.range(..=first_kept).next_back();
    if let Some(valid_from) = current.map(|(valid_from, _)| *valid_from) {
        *versions = versions.split_off(&valid_from);
        if let Some(first) = versions.first_entry()
            && first.get().is_none()
        {
            first.remove();
        }
    }
}

impl VersionedStore for MemoryVersionedStore {
    fn get(&self, key: &[u8]) -> Result<Option<VersionedValue>, StreamsError> {
        let latest = self.keys.get(key).and_then(|v| v.last_key_value());
        Ok(latest.and_then(|(valid_from, value)| {
            Some(VersionedValue {
                value: value.clone()?,
                valid_from: *valid_from,
                valid_to: None,
            })
        }))
    }

    fn get_as_of(&self, key: &[u8], as_of: i64) -> Result<Option<VersionedValue>, StreamsError> {
        let mut history = self.history(key, as_of, as_of)?;
        history.next().transpose()
    }

    fn put(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<VersionPut, StreamsError> {
        if self.logged {
            self.changes.push(ChangelogRecord {
                key: Bytes::copy_from_slice(key),
                value: value.map(Bytes::copy_from_slice),
                timestamp,
            });
        }
        let set = self.set(key, value, timestamp);
        if let Some((key, before)) = set.undo {
            self.undo.record_silently((key, timestamp), before);
        }
        Ok(set.put)
    }

    fn history(&self, key: &[u8], from: i64, to: i64) -> Result<VersionIter<'_>, StreamsError> {
        let Some(versions) = self.keys.get(key).filter(|_| from <= to) else {
            return Ok(Box::new(std::iter::empty()));
        };
        let first_kept = self.first_kept();
        let first = versions.range(..=from).next_back();
        let first = first.map_or(from, |(valid_from, _)| *valid_from);
        let found = versions.range(first..=to.max(first));
        Ok(Box::new(found.filter_map(move |(valid_from, value)| {
            let next = versions.range(valid_from.checked_add(1)?..).next();
            let valid_to = next.map(|(next, _)| *next);
            let is_kept = valid_to.is_none_or(|valid_to| valid_to > from.max(first_kept))
                && (valid_to.is_none() || to >= first_kept);
            let version = VersionedValue {
                value: value.clone()?,
                valid_from: *valid_from,
                valid_to,
            };
            (is_kept && *valid_from <= to).then_some(Ok(version))
        })))
    }

    fn approximate_len(&self) -> u64 {
        self.keys.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> MemoryVersionedStore {
        MemoryVersionedStore::new(100, true)
    }

    fn as_of(store: &MemoryVersionedStore, at: i64) -> Option<(Bytes, i64, Option<i64>)> {
        let version = store.get_as_of(b"k", at).expect("get")?;
        Some((version.value, version.valid_from, version.valid_to))
    }

    #[test]
    fn a_value_is_found_as_of_any_time_in_the_history() {
        let mut store = store();
        let put = |store: &mut MemoryVersionedStore, value, at| store.put(b"k", value, at);
        let first = put(&mut store, Some(b"1"), 10).expect("put");
        assert_eq!(first, VersionPut::Latest);
        put(&mut store, Some(b"3"), 30).expect("put");
        let between = put(&mut store, None, 20).expect("put");
        assert_eq!(between, VersionPut::ValidTo(30));
        assert_eq!(as_of(&store, 9), None);
        let one = (Bytes::from("1"), 10, Some(20));
        assert_eq!(as_of(&store, 19), Some(one.clone()));
        assert_eq!(as_of(&store, 20), None);
        let three = (Bytes::from("3"), 30, None);
        assert_eq!(as_of(&store, 1_000), Some(three.clone()));
        let history: Vec<_> = store.history(b"k", 0, 99).expect("history").collect();
        let history = history.into_iter().map(|version| version.expect("version"));
        let history: Vec<_> = history
            .map(|v| (v.value, v.valid_from, v.valid_to))
            .collect();
        assert_eq!(history, [one, three]);
    }

    #[test]
    fn a_version_older_than_the_history_is_not_put() {
        let mut store = store();
        store.put(b"other", Some(b"x"), 1_000).expect("put");
        let late = store.put(b"k", Some(b"late"), 899).expect("put");
        assert_eq!(late, VersionPut::TooLate);
        let just = store.put(b"k", Some(b"just"), 900).expect("put");
        assert_eq!(just, VersionPut::Latest);
        assert_eq!(store.take_changes().len(), 3);
    }

    #[test]
    fn a_latest_value_stays_beyond_the_history_and_older_ones_do_not() {
        let mut store = store();
        store.put(b"k", Some(b"1"), 10).expect("put");
        store.put(b"k", Some(b"2"), 20).expect("put");
        store.put(b"other", Some(b"x"), 1_000).expect("put");
        assert_eq!(as_of(&store, 15), None);
        assert_eq!(as_of(&store, 20), Some((Bytes::from("2"), 20, None)));
        store.put(b"k", Some(b"3"), 1_001).expect("put");
        assert_eq!(as_of(&store, 900), None, "older than the history");
        let two = (Bytes::from("2"), 20, Some(1_001));
        assert_eq!(as_of(&store, 950), Some(two));
    }

    #[test]
    fn deleting_gives_back_what_was_valid_then() {
        let mut store = store();
        store.put(b"k", Some(b"1"), 10).expect("put");
        let deleted = store.delete(b"k", 30).expect("delete").expect("a version");
        assert_eq!(deleted.value, Bytes::from("1"));
        assert_eq!(store.get(b"k").expect("get"), None);
        assert_eq!(as_of(&store, 29), Some((Bytes::from("1"), 10, Some(30))));
        assert!(store.delete(b"k", -500).expect("delete").is_none());
    }

    #[test]
    fn a_value_at_the_same_time_replaces_the_one_before() {
        let mut store = store();
        store.put(b"k", Some(b"1"), 10).expect("put");
        store.put(b"k", Some(b"2"), 10).expect("put");
        assert_eq!(as_of(&store, 10), Some((Bytes::from("2"), 10, None)));
    }
}
