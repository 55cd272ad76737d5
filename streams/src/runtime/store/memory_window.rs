//! The in-memory window store.
//!
//! Changelog key: `key | window start (8 bytes) | sequence number (4 bytes)`, big-endian, as
//! Kafka Streams' window stores write it. The sequence number is 0 in stores that keep one value
//! per key and window; in stores of stream-stream joins it tells the values apart.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use hashbrown::hash_map::EntryRef;
use hashbrown::{HashMap, HashSet};

use super::changes::ChangelogRecord;
use super::compact_bytes::{CompactBytes, Held};
use super::undo::Undo;
use super::window_key::{WindowKey, next_sequence};
use super::{StoredValue, WindowIter, WindowStore};
use crate::runtime::error::StreamsError;

/// The values of each key by window start; all windows with one start are dropped together.
#[derive(Debug)]
pub(super) struct MemoryWindowStore {
    retention_ms: i64,
    /// Whether a key may have several values with one start, as in a stream-stream join.
    keeps_duplicates: bool,
    /// Last sequence number given; always 0 without duplicates.
    sequence: i32,
    /// Largest window start seen; retention counts back from here. What is too old is not found any
    /// more, and dropped with the next commit.
    observed_stream_time: i64,
    /// `observed_stream_time` and `sequence` at the last commit.
    committed: (i64, i32),
    keys: HashMap<CompactBytes, Windows>,
    /// Which keys have a window with this start.
    starts: BTreeMap<i64, HashSet<CompactBytes>>,
    len: u64,
    changes: Undo<(i64, CompactBytes, i32), Held>,
}

/// Values of one key by window start and sequence number.
type Windows = BTreeMap<(i64, i32), Held>;

impl MemoryWindowStore {
    pub(super) fn new(retention_ms: i64, keeps_duplicates: bool, logged: bool) -> Self {
        Self {
            retention_ms,
            keeps_duplicates,
            sequence: 0,
            observed_stream_time: -1,
            committed: (-1, 0),
            keys: HashMap::new(),
            starts: BTreeMap::new(),
            len: 0,
            changes: Undo::new(logged),
        }
    }

    /// Takes back a changelog record. A key that is too short for a window key is refused.
    pub(super) fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<(), String> {
        let WindowKey {
            key,
            start,
            sequence,
        } = WindowKey::parse(key)?;
        let sequence = if self.keeps_duplicates {
            self.sequence = self.sequence.max(sequence);
            sequence
        } else {
            0
        };
        if self.keeps_duplicates && value.is_none() {
            return Ok(());
        }
        let is_live = self.is_live(start);
        // What is restored is committed.
        self.expire();
        match value {
            Some(value) if is_live => {
                self.set(key, (start, sequence), Held::new(value, timestamp));
            }
            Some(_) => {}
            None => {
                self.remove(key, (start, sequence));
            }
        }
        Ok(())
    }

    pub(super) fn commit(&mut self) {
        self.changes.committed();
        self.committed = (self.observed_stream_time, self.sequence);
        self.expire();
    }

    /// Goes back to the last commit; false if the store has kept no account of its changes.
    pub(super) fn roll_back(&mut self) -> bool {
        let Some(undone) = self.changes.roll_back() else {
            return false;
        };
        for ((start, key, sequence), before) in undone {
            let place = (start, sequence);
            match before {
                Some(held) => self.set(key.as_ref(), place, held).1,
                None => self.remove(key.as_ref(), place),
            };
        }
        (self.observed_stream_time, self.sequence) = self.committed;
        true
    }

    pub(super) fn take_changes(&mut self) -> Vec<ChangelogRecord> {
        self.changes.take(|chunks, (start, key, sequence)| {
            WindowKey::encode_in(chunks, key.as_ref(), *start, *sequence)
        })
    }

    /// Moves retention on, and says whether a window with this start is still kept.
    fn is_live(&mut self, start: i64) -> bool {
        self.observed_stream_time = self.observed_stream_time.max(start);
        start >= self.first_live()
    }

    fn expire(&mut self) {
        let first_live = self.first_live();
        while let Some(first) = self.starts.first_entry() {
            let start = *first.key();
            if start >= first_live {
                break;
            }
            for key in first.remove() {
                let Some(windows) = self.keys.get_mut(&key) else {
                    continue;
                };
                let kept = windows.split_off(&(start.saturating_add(1), i32::MIN));
                self.len -= windows.len() as u64;
                *windows = kept;
                if windows.is_empty() {
                    self.keys.remove(&key);
                }
            }
        }
    }

    const fn first_live(&self) -> i64 {
        self.observed_stream_time
            .saturating_sub(self.retention_ms)
            .saturating_add(1)
    }

    /// Returns the stored key, for the list of changes, and what was there before.
    fn set(&mut self, key: &[u8], place: (i64, i32), held: Held) -> (CompactBytes, Option<Held>) {
        let (key, windows) = match self.keys.entry_ref(key) {
            EntryRef::Occupied(entry) => (entry.key().clone(), entry.into_mut()),
            EntryRef::Vacant(entry) => {
                let key = CompactBytes::from(key);
                let entry = entry.insert_entry_with_key(key.clone(), Windows::new());
                (key, entry.into_mut())
            }
        };
        let before = windows.insert(place, held);
        if before.is_none() {
            self.len += 1;
            self.starts.entry(place.0).or_default().insert(key.clone());
        }
        (key, before)
    }

    /// Returns what was there.
    fn remove(&mut self, key: &[u8], place: (i64, i32)) -> Option<Held> {
        let windows = self.keys.get_mut(key)?;
        let before = windows.remove(&place)?;
        self.len -= 1;
        let (start, _) = place;
        let is_last_of_start = windows.range(all_at(start, start)).next().is_none();
        let is_last_of_key = windows.is_empty();
        if is_last_of_start && let Some(keys) = self.starts.get_mut(&start) {
            keys.remove(key);
            if keys.is_empty() {
                self.starts.remove(&start);
            }
        }
        if is_last_of_key {
            self.keys.remove(key);
        }
        Some(before)
    }
}

impl WindowStore for MemoryWindowStore {
    fn get(&self, key: &[u8], start: i64) -> Result<Option<StoredValue>, StreamsError> {
        let windows = self.keys.get(key).filter(|_| start >= self.first_live());
        let mut found = windows
            .into_iter()
            .flat_map(|w| w.range(all_at(start, start)));
        Ok(found.next().map(|(_, held)| held.stored()))
    }

    fn put(
        &mut self,
        key: &[u8],
        start: i64,
        value: &[u8],
        timestamp: i64,
    ) -> Result<bool, StreamsError> {
        if self.keeps_duplicates {
            self.sequence = next_sequence(self.sequence);
        }
        let sequence = self.sequence;
        if !self.is_live(start) {
            let place = WindowKey {
                key,
                start,
                sequence,
            };
            self.changes
                .record_expired(|| place.record(Some(Bytes::copy_from_slice(value)), timestamp));
            return Ok(false);
        }
        let (key, before) = self.set(key, (start, sequence), Held::new(value, timestamp));
        let place = (start, key, sequence);
        self.changes.record(place, timestamp, before, Some(value));
        Ok(true)
    }

    fn delete(&mut self, key: &[u8], start: i64, timestamp: i64) -> Result<(), StreamsError> {
        if self.keeps_duplicates {
            // No value is meant by it, but it has a number and is logged.
            self.sequence = next_sequence(self.sequence);
            let sequence = self.sequence;
            let place = WindowKey {
                key,
                start,
                sequence,
            };
            self.changes
                .record_expired(|| place.record(None, timestamp));
            return Ok(());
        }
        self.is_live(start);
        let before = self.remove(key, (start, 0));
        let place = (start, CompactBytes::from(key), 0);
        self.changes.record(place, timestamp, before, None);
        Ok(())
    }

    fn fetch(&self, key: &[u8], from: i64, to: i64) -> Result<WindowIter<'_>, StreamsError> {
        let from = from.max(self.first_live());
        let Some((key, windows)) = self.keys.get_key_value(key).filter(|_| from <= to) else {
            return Ok(Box::new(std::iter::empty()));
        };
        let found = windows.range(all_at(from, to));
        let key = key.to_bytes();
        Ok(Box::new(found.map(move |((start, _), held)| {
            Ok((key.clone(), *start, held.stored()))
        })))
    }

    fn fetch_all(&self, from: i64, to: i64) -> Result<WindowIter<'_>, StreamsError> {
        let from = from.max(self.first_live());
        if from > to {
            return Ok(Box::new(std::iter::empty()));
        }
        let starts = self.starts.range(from..=to);
        Ok(Box::new(starts.flat_map(|(start, keys)| {
            let mut keys: Vec<_> = keys.iter().collect();
            keys.sort_unstable();
            let windows = |key| self.keys.get(key).map(|windows| (key, windows));
            let values = keys.into_iter().filter_map(windows);
            values.flat_map(|(key, windows)| {
                let key = key.to_bytes();
                let found = windows.range(all_at(*start, *start));
                found.map(move |((start, _), held)| Ok((key.clone(), *start, held.stored())))
            })
        })))
    }

    fn approximate_len(&self) -> u64 {
        self.len
    }
}

/// All sequence numbers of all starts within `from..=to`.
const fn all_at(from: i64, to: i64) -> RangeInclusive<(i64, i32)> {
    (from, i32::MIN)..=(to, i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(retention_ms: i64) -> MemoryWindowStore {
        MemoryWindowStore::new(retention_ms, false, true)
    }

    fn found(iter: WindowIter<'_>) -> Vec<(Bytes, i64, Bytes)> {
        iter.map(|entry| entry.expect("an entry"))
            .map(|(key, start, stored)| (key, start, stored.value))
            .collect()
    }

    fn entry(key: &'static str, start: i64, value: &'static str) -> (Bytes, i64, Bytes) {
        (Bytes::from(key), start, Bytes::from(value))
    }

    #[test]
    fn changelog_keys_are_key_start_and_sequence_number() {
        let mut store = store(1_000);
        assert!(store.put(b"k", 60, b"v", 61).expect("put"));
        let changes = store.take_changes();
        assert_eq!(changes.len(), 1);
        assert_eq!(
            changes[0].key.as_ref(),
            b"k\0\0\0\0\0\0\0\x3c\0\0\0\0".as_slice()
        );
        let mut restored = self::store(1_000);
        restored
            .restore(&changes[0].key, changes[0].value.as_deref(), 61)
            .expect("restore");
        assert!(restored.get(b"k", 60).expect("get").is_some());
    }

    #[test]
    fn windows_beyond_retention_are_dropped_and_not_taken_back() {
        let mut store = store(100);
        assert!(store.put(b"k", 0, b"v", 0).expect("put"));
        assert!(store.put(b"k", 99, b"v", 99).expect("put"));
        assert!(store.get(b"k", 0).expect("get").is_some());
        assert!(store.put(b"k", 100, b"v", 100).expect("put"));
        assert!(store.get(b"k", 0).expect("get").is_none());
        assert!(!store.put(b"k", 0, b"v", 0).expect("put"));
        store.commit();
        assert_eq!(store.approximate_len(), 2);
    }

    #[test]
    fn a_value_that_is_too_late_for_the_store_is_in_the_changelog_all_the_same() {
        let mut store = store(100);
        store.put(b"k", 1_000, b"new", 1_000).expect("put");
        store.take_changes();
        assert!(!store.put(b"k", 900, b"late", 901).expect("put"));
        let changes = store.take_changes();
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].value.as_deref(), Some(b"late".as_slice()));
        assert_eq!(changes[0].timestamp, 901);
    }

    #[test]
    fn a_store_with_duplicates_keeps_every_value_in_the_order_it_came() {
        let mut store = MemoryWindowStore::new(100, true, true);
        for (start, value) in [(10, "1"), (10, "2"), (12, "3"), (11, "4")] {
            store
                .put(b"k", start, value.as_bytes(), start)
                .expect("put");
        }
        let expected = [
            entry("k", 10, "1"),
            entry("k", 10, "2"),
            entry("k", 11, "4"),
            entry("k", 12, "3"),
        ];
        assert_eq!(found(store.fetch(b"k", 10, 12).expect("fetch")), expected);
        let changes = store.take_changes();
        assert_eq!(changes.len(), 4);
        let mut restored = MemoryWindowStore::new(100, true, true);
        for change in changes {
            restored
                .restore(&change.key, change.value.as_deref(), change.timestamp)
                .expect("restore");
        }
        restored.put(b"k", 10, b"5", 10).expect("put");
        assert_eq!(restored.approximate_len(), 5);
    }

    #[test]
    fn all_keys_are_found_by_start_and_then_key() {
        let mut store = store(100);
        for (key, start) in [("b", 2), ("a", 3), ("a", 2), ("c", 1), ("a", 9)] {
            store.put(key.as_bytes(), start, b"v", 0).expect("put");
        }
        let expected = [entry("a", 2, "v"), entry("b", 2, "v"), entry("a", 3, "v")];
        assert_eq!(found(store.fetch_all(2, 8).expect("fetch")), expected);
        assert_eq!(found(store.fetch_all(8, 2).expect("fetch")), []);
        store.delete(b"a", 2, 0).expect("delete");
        assert_eq!(
            found(store.fetch_all(2, 2).expect("fetch")),
            [entry("b", 2, "v")]
        );
    }

    #[test]
    fn a_short_changelog_key_is_an_error() {
        let mut store = store(100);
        assert!(store.restore(b"short", Some(b"v"), 0).is_err());
    }
}
