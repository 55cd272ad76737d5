//! The in-memory window store.
//!
//! Changelog key: `key | window start (8 bytes) | sequence number (4 bytes)`, big-endian, as
//! Kafka Streams' window stores write it. The sequence number is 0 in stores that keep one value
//! per key and window.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use hashbrown::HashMap;

use super::changes::{ChangelogRecord, Changes};
use super::{StoredValue, WindowIter, WindowStore};
use crate::runtime::error::StreamsError;

/// Values by window start, then key; all windows with one start are dropped together.
#[derive(Debug)]
pub(super) struct MemoryWindowStore {
    retention_ms: i64,
    /// Largest window start seen; retention counts back from here.
    observed_stream_time: i64,
    windows: BTreeMap<i64, HashMap<Bytes, StoredValue>>,
    changes: Changes<(i64, Bytes)>,
}

impl MemoryWindowStore {
    pub(super) const fn new(retention_ms: i64, logged: bool) -> Self {
        Self {
            retention_ms,
            observed_stream_time: -1,
            windows: BTreeMap::new(),
            changes: Changes::new(logged),
        }
    }

    /// Takes back a changelog record. A key that is too short for a window key is refused.
    pub(super) fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<(), String> {
        let (key, start) = split_window_key(key)
            .ok_or_else(|| format!("changelog key of {} bytes is no window key", key.len()))?;
        match value {
            Some(value) => {
                if self.is_live(start) {
                    self.set(key, start, value, timestamp);
                }
            }
            None => self.remove(key, start),
        }
        Ok(())
    }

    pub(super) fn take_changes(&mut self) -> Vec<ChangelogRecord> {
        let changes = self.changes.take();
        let record = |((start, key), changed_at): ((i64, Bytes), i64)| {
            let stored = self.windows.get(&start).and_then(|keys| keys.get(&key));
            ChangelogRecord {
                key: window_key(&key, start),
                value: stored.map(|stored| stored.value.clone()),
                timestamp: stored.map_or(changed_at, |stored| stored.timestamp),
            }
        };
        changes.into_iter().map(record).collect()
    }

    /// Moves retention on, and says whether a window with this start is still kept.
    fn is_live(&mut self, start: i64) -> bool {
        if start > self.observed_stream_time {
            self.observed_stream_time = start;
            let first_live = self.first_live();
            if self
                .windows
                .first_key_value()
                .is_some_and(|(first, _)| *first < first_live)
            {
                self.windows = self.windows.split_off(&first_live);
            }
        }
        start >= self.first_live()
    }

    const fn first_live(&self) -> i64 {
        self.observed_stream_time
            .saturating_sub(self.retention_ms)
            .saturating_add(1)
    }

    fn set(&mut self, key: &[u8], start: i64, value: &[u8], timestamp: i64) -> Bytes {
        let stored = StoredValue {
            value: Bytes::copy_from_slice(value),
            timestamp,
        };
        let keys = self.windows.entry(start).or_default();
        let key = match keys.get_key_value(key) {
            Some((key, _)) => key.clone(),
            None => Bytes::copy_from_slice(key),
        };
        keys.insert(key.clone(), stored);
        key
    }

    fn remove(&mut self, key: &[u8], start: i64) {
        if let Some(keys) = self.windows.get_mut(&start) {
            keys.remove(key);
            if keys.is_empty() {
                self.windows.remove(&start);
            }
        }
    }
}

impl WindowStore for MemoryWindowStore {
    fn get(&self, key: &[u8], start: i64) -> Result<Option<StoredValue>, StreamsError> {
        let keys = self.windows.get(&start);
        Ok(keys.and_then(|keys| keys.get(key)).cloned())
    }

    fn put(
        &mut self,
        key: &[u8],
        start: i64,
        value: &[u8],
        timestamp: i64,
    ) -> Result<bool, StreamsError> {
        if !self.is_live(start) {
            return Ok(false);
        }
        let key = self.set(key, start, value, timestamp);
        self.changes.record((start, key), timestamp);
        Ok(true)
    }

    fn delete(&mut self, key: &[u8], start: i64, timestamp: i64) -> Result<(), StreamsError> {
        self.remove(key, start);
        let key = Bytes::copy_from_slice(key);
        self.changes.record((start, key), timestamp);
        Ok(())
    }

    fn fetch(&self, key: &[u8], from: i64, to: i64) -> Result<WindowIter<'_>, StreamsError> {
        let mut found = Vec::new();
        if from <= to {
            for (start, keys) in self.windows.range(from..=to) {
                if let Some((key, stored)) = keys.get_key_value(key) {
                    found.push(Ok((key.clone(), *start, stored.clone())));
                }
            }
        }
        Ok(Box::new(found.into_iter()))
    }

    fn fetch_all(&self, from: i64, to: i64) -> Result<WindowIter<'_>, StreamsError> {
        if from > to {
            return Ok(Box::new(std::iter::empty()));
        }
        let windows = self.windows.range(from..=to);
        Ok(Box::new(windows.flat_map(|(start, keys)| {
            let mut entries: Vec<_> = keys.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            let entry =
                |(key, stored): (&Bytes, &StoredValue)| Ok((key.clone(), *start, stored.clone()));
            entries.into_iter().map(entry).collect::<Vec<_>>()
        })))
    }

    fn approximate_len(&self) -> u64 {
        self.windows.values().map(|keys| keys.len() as u64).sum()
    }
}

/// `key | start | sequence number`.
fn window_key(key: &[u8], start: i64) -> Bytes {
    let mut bytes = BytesMut::with_capacity(key.len() + WINDOW_SUFFIX);
    bytes.put_slice(key);
    bytes.put_i64(start);
    bytes.put_i32(0);
    bytes.freeze()
}

fn split_window_key(bytes: &[u8]) -> Option<(&[u8], i64)> {
    let (key, suffix) = bytes.split_at_checked(bytes.len().checked_sub(WINDOW_SUFFIX)?)?;
    let start = suffix.first_chunk::<8>()?;
    Some((key, i64::from_be_bytes(*start)))
}

/// Start (8 bytes) and sequence number (4 bytes).
const WINDOW_SUFFIX: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changelog_keys_are_key_start_and_sequence_number() {
        let mut store = MemoryWindowStore::new(1_000, true);
        assert!(store.put(b"k", 60, b"v", 61).expect("put"));
        let changes = store.take_changes();
        assert_eq!(changes.len(), 1);
        assert_eq!(
            changes[0].key.as_ref(),
            b"k\0\0\0\0\0\0\0\x3c\0\0\0\0".as_slice()
        );
        let mut restored = MemoryWindowStore::new(1_000, true);
        restored
            .restore(&changes[0].key, changes[0].value.as_deref(), 61)
            .expect("restore");
        assert!(restored.get(b"k", 60).expect("get").is_some());
    }

    #[test]
    fn windows_beyond_retention_are_dropped_and_not_taken_back() {
        let mut store = MemoryWindowStore::new(100, false);
        assert!(store.put(b"k", 0, b"v", 0).expect("put"));
        assert!(store.put(b"k", 99, b"v", 99).expect("put"));
        assert!(store.get(b"k", 0).expect("get").is_some());
        assert!(store.put(b"k", 100, b"v", 100).expect("put"));
        assert!(store.get(b"k", 0).expect("get").is_none());
        assert!(!store.put(b"k", 0, b"v", 0).expect("put"));
        assert_eq!(store.approximate_len(), 2);
    }

    #[test]
    fn a_short_changelog_key_is_an_error() {
        let mut store = MemoryWindowStore::new(100, false);
        assert!(store.restore(b"short", Some(b"v"), 0).is_err());
    }
}
