//! The in-memory key-value store.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use super::changes::ChangelogRecord;
use super::compact_bytes::{CompactBytes, Held};
use super::disk::is_empty_range;
use super::undo::Undo;
use super::{KeyValueStore, StoreIter, StoredValue};
use crate::runtime::error::StreamsError;

/// Values by key in an ordered map.
#[derive(Debug)]
pub(super) struct MemoryKeyValueStore {
    entries: BTreeMap<CompactBytes, Held>,
    changes: Undo<CompactBytes, Held>,
}

impl MemoryKeyValueStore {
    pub(super) const fn new(logged: bool) -> Self {
        Self {
            entries: BTreeMap::new(),
            changes: Undo::new(logged),
        }
    }

    pub(super) fn restore(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) {
        match value {
            Some(value) => {
                // Nearly all keys are new, so they are not looked up first.
                let held = Held::new(value, timestamp);
                self.entries.insert(CompactBytes::from(key), held);
            }
            None => {
                self.entries.remove(key);
            }
        }
    }

    pub(super) fn take_changes(&mut self) -> Vec<ChangelogRecord> {
        self.changes.take(|chunks, key| chunks.of(key))
    }

    pub(super) fn commit(&mut self) {
        self.changes.committed();
    }

    /// Goes back to the last commit; false if the store has kept no account of its changes.
    pub(super) fn roll_back(&mut self) -> bool {
        let Some(undone) = self.changes.roll_back() else {
            return false;
        };
        for (key, before) in undone {
            match before {
                Some(held) => self.entries.insert(key, held),
                None => self.entries.remove(&key),
            };
        }
        true
    }

    /// Returns the stored key, for the list of changes, and what it had before.
    fn set(&mut self, key: &[u8], held: Held) -> (CompactBytes, Option<Held>) {
        let entry = self.entries.entry(CompactBytes::from(key));
        let key = entry.key().clone();
        let before = match entry {
            Entry::Occupied(mut entry) => Some(entry.insert(held)),
            Entry::Vacant(entry) => {
                entry.insert(held);
                None
            }
        };
        (key, before)
    }
}

impl KeyValueStore for MemoryKeyValueStore {
    fn get(&self, key: &[u8]) -> Result<Option<StoredValue>, StreamsError> {
        Ok(self.entries.get(key).map(Held::stored))
    }

    fn put(&mut self, key: &[u8], value: &[u8], timestamp: i64) -> Result<(), StreamsError> {
        let (key, before) = self.set(key, Held::new(value, timestamp));
        self.changes.record(key, timestamp, before, Some(value));
        Ok(())
    }

    fn delete(&mut self, key: &[u8], timestamp: i64) -> Result<(), StreamsError> {
        let (key, before) = match self.entries.remove_entry(key) {
            Some((key, before)) => (key, Some(before)),
            None => (CompactBytes::from(key), None),
        };
        self.changes.record(key, timestamp, before, None);
        Ok(())
    }

    fn range(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<StoreIter<'_>, StreamsError> {
        if is_empty_range(from, to) {
            return Ok(Box::new(std::iter::empty()));
        }
        let entries = self.entries.range::<[u8], _>((from, to));
        Ok(Box::new(
            entries.map(|(key, held)| Ok((key.to_bytes(), held.stored()))),
        ))
    }

    fn approximate_len(&self) -> u64 {
        self.entries.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_key_changed_often_gives_one_changelog_record_with_its_last_value() {
        let mut store = MemoryKeyValueStore::new(true);
        store.put(b"a", b"1", 10).expect("put");
        store.put(b"a", b"2", 20).expect("put");
        store.put(b"b", b"1", 30).expect("put");
        store.delete(b"b", 40).expect("delete");
        let changes = store.take_changes();
        assert_eq!(
            changes,
            [
                ChangelogRecord {
                    key: Bytes::from_static(b"a"),
                    value: Some(Bytes::from_static(b"2")),
                    timestamp: 20
                },
                ChangelogRecord {
                    key: Bytes::from_static(b"b"),
                    value: None,
                    timestamp: 40
                },
            ]
        );
        assert_eq!(store.take_changes(), []);
    }

    #[test]
    fn restoring_records_no_change() {
        let mut store = MemoryKeyValueStore::new(true);
        store.restore(b"a", Some(b"1"), 10);
        store.restore(b"b", Some(b"1"), 10);
        store.restore(b"b", None, 11);
        assert_eq!(store.take_changes(), []);
        assert_eq!(store.approximate_len(), 1);
    }

    #[test]
    fn a_range_turned_round_is_empty() {
        let mut store = MemoryKeyValueStore::new(false);
        store.put(b"m", b"1", 0).expect("put");
        let from = Bound::Included(b"z".as_slice());
        let to = Bound::Excluded(b"a".as_slice());
        assert_eq!(store.range(from, to).expect("range").count(), 0);
        let from = Bound::Excluded(b"m".as_slice());
        let to = Bound::Excluded(b"m".as_slice());
        assert_eq!(store.range(from, to).expect("range").count(), 0);
    }
}
