//! The in-memory session store. Its changelog keys are `key | end | start`.

use std::collections::BTreeMap;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};

use super::changes::ChangelogRecord;
use super::undo::Undo;
use super::window_key::SessionKey;
use super::{SessionIter, SessionStore, SessionWindow, StoredValue};
use crate::runtime::error::StreamsError;

/// The sessions of each key by end and start; sessions that end at one time expire together.
#[derive(Debug)]
pub(super) struct MemorySessionStore {
    retention_ms: i64,
    /// Largest session end seen; retention counts back from here. What is too old is not found any
    /// more, and dropped with the next commit.
    observed_stream_time: i64,
    /// `observed_stream_time` at the last commit.
    committed_stream_time: i64,
    keys: HashMap<Bytes, Sessions>,
    /// Which keys have a session with this end.
    ends: BTreeMap<i64, HashSet<Bytes>>,
    len: u64,
    changes: Undo<(i64, i64, Bytes), StoredValue>,
}

/// Values of one key by session end and start.
type Sessions = BTreeMap<(i64, i64), StoredValue>;

impl MemorySessionStore {
    pub(super) fn new(retention_ms: i64, logged: bool) -> Self {
        Self {
            retention_ms,
            observed_stream_time: -1,
            committed_stream_time: -1,
            keys: HashMap::new(),
            ends: BTreeMap::new(),
            len: 0,
            changes: Undo::new(logged),
        }
    }

    /// Takes back a changelog record. A key that is too short for a session key is refused.
    pub(super) fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<(), String> {
        let SessionKey { key, start, end } = SessionKey::parse(key)?;
        let is_live = self.is_live(end);
        // What is restored is committed.
        self.expire();
        match value {
            Some(value) if is_live => {
                self.set(key, (end, start), stored(value, timestamp));
            }
            Some(_) => {}
            None => {
                self.take(key, (end, start));
            }
        }
        Ok(())
    }

    pub(super) fn commit(&mut self) {
        self.changes.committed();
        self.committed_stream_time = self.observed_stream_time;
        self.expire();
    }

    /// Goes back to the last commit; false if the store has kept no account of its changes.
    pub(super) fn roll_back(&mut self) -> bool {
        let Some(undone) = self.changes.roll_back() else {
            return false;
        };
        for ((end, start, key), before) in undone {
            match before {
                Some(stored) => self.set(&key, (end, start), stored).1,
                None => self.take(&key, (end, start)),
            };
        }
        self.observed_stream_time = self.committed_stream_time;
        true
    }

    pub(super) fn take_changes(&mut self) -> Vec<ChangelogRecord> {
        self.changes
            .take(|_, (end, start, key)| SessionKey::encode(key, *start, *end))
    }

    /// Moves retention on, and says whether a session with this end is still kept.
    fn is_live(&mut self, end: i64) -> bool {
        self.observed_stream_time = self.observed_stream_time.max(end);
        end >= self.first_live()
    }

    fn expire(&mut self) {
        let first_live = self.first_live();
        while let Some(first) = self.ends.first_entry() {
            let end = *first.key();
            if end >= first_live {
                break;
            }
            for key in first.remove() {
                let Some(sessions) = self.keys.get_mut(&key) else {
                    continue;
                };
                let kept = sessions.split_off(&(end.saturating_add(1), i64::MIN));
                self.len -= sessions.len() as u64;
                *sessions = kept;
                if sessions.is_empty() {
                    self.keys.remove(&key);
                }
            }
        }
    }

    /// Whether a session is too old to be looked at by itself, although it may still be found by
    /// a record next to it.
    const fn is_past_retention(&self, end: i64) -> bool {
        end <= self.observed_stream_time.saturating_sub(self.retention_ms)
    }

    /// Sessions expire a segment at a time, as in Kafka Streams' persistent stores: until then a
    /// session that is older than the retention time can still be found and go on.
    fn first_live(&self) -> i64 {
        let segment_ms = (self.retention_ms / 2).max(LEAST_SEGMENT_MS);
        let expired = self.observed_stream_time.saturating_sub(self.retention_ms);
        expired.div_euclid(segment_ms).saturating_mul(segment_ms)
    }

    /// Returns the stored key, which is shared with the list of changes, and what was there before.
    fn set(
        &mut self,
        key: &[u8],
        place: (i64, i64),
        stored: StoredValue,
    ) -> (Bytes, Option<StoredValue>) {
        let key = match self.keys.get_key_value(key) {
            Some((key, _)) => key.clone(),
            None => Bytes::copy_from_slice(key),
        };
        let sessions = self.keys.entry_ref(&key).or_default();
        let before = sessions.insert(place, stored);
        if before.is_none() {
            self.len += 1;
            self.ends.entry(place.0).or_default().insert(key.clone());
        }
        (key, before)
    }

    /// Returns what was there.
    fn take(&mut self, key: &[u8], place: (i64, i64)) -> Option<StoredValue> {
        let sessions = self.keys.get_mut(key)?;
        let before = sessions.remove(&place)?;
        self.len -= 1;
        let (end, _) = place;
        let mut same_end = sessions.range((end, i64::MIN)..=(end, i64::MAX));
        let is_last_of_end = same_end.next().is_none();
        let is_last_of_key = sessions.is_empty();
        if is_last_of_end && let Some(keys) = self.ends.get_mut(&end) {
            keys.remove(key);
            if keys.is_empty() {
                self.ends.remove(&end);
            }
        }
        if is_last_of_key {
            self.keys.remove(key);
        }
        Some(before)
    }
}

impl SessionStore for MemorySessionStore {
    fn get(&self, key: &[u8], session: SessionWindow) -> Result<Option<StoredValue>, StreamsError> {
        if self.is_past_retention(session.end) {
            return Ok(None);
        }
        let sessions = self.keys.get(key);
        let stored = sessions.and_then(|sessions| sessions.get(&(session.end, session.start)));
        Ok(stored.cloned())
    }

    fn put(
        &mut self,
        key: &[u8],
        session: SessionWindow,
        value: &[u8],
        timestamp: i64,
    ) -> Result<bool, StreamsError> {
        let SessionWindow { start, end } = session;
        if !self.is_live(end) {
            self.changes.record_expired(|| ChangelogRecord {
                key: SessionKey::encode(key, start, end),
                value: Some(Bytes::copy_from_slice(value)),
                timestamp,
            });
            return Ok(false);
        }
        let (key, before) = self.set(key, (end, start), stored(value, timestamp));
        let place = (end, start, key);
        self.changes.record(place, timestamp, before, Some(value));
        Ok(true)
    }

    fn remove(
        &mut self,
        key: &[u8],
        session: SessionWindow,
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        let SessionWindow { start, end } = session;
        self.is_live(end);
        let before = self.take(key, (end, start));
        let place = (end, start, Bytes::copy_from_slice(key));
        // What is past its retention is left to that of the changelog.
        if self.is_past_retention(end) {
            self.changes.record_silently(place, before);
        } else {
            self.changes.record(place, timestamp, before, None);
        }
        Ok(())
    }

    fn find(
        &self,
        key: &[u8],
        earliest_end: i64,
        latest_start: i64,
    ) -> Result<SessionIter<'_>, StreamsError> {
        let earliest_end = earliest_end.max(self.first_live());
        let Some((key, sessions)) = self.keys.get_key_value(key) else {
            return Ok(Box::new(std::iter::empty()));
        };
        let found = sessions.range((earliest_end, i64::MIN)..);
        let found = found.filter(move |((_, start), _)| *start <= latest_start);
        Ok(Box::new(found.map(move |((end, start), stored)| {
            let session = SessionWindow {
                start: *start,
                end: *end,
            };
            Ok((key.clone(), session, stored.clone()))
        })))
    }

    fn find_ended(
        &self,
        earliest_end: i64,
        latest_end: i64,
    ) -> Result<SessionIter<'_>, StreamsError> {
        let earliest_end = earliest_end.max(self.first_live());
        if earliest_end > latest_end {
            return Ok(Box::new(std::iter::empty()));
        }
        let ends = self.ends.range(earliest_end..=latest_end);
        Ok(Box::new(ends.flat_map(|(end, keys)| {
            let sessions = |key| self.keys.get(key).map(|sessions| (key, sessions));
            let found = keys.iter().filter_map(sessions);
            let mut found: Vec<_> = found
                .flat_map(|(key, sessions)| {
                    let same_end = sessions.range((*end, i64::MIN)..=(*end, i64::MAX));
                    same_end.map(move |((_, start), stored)| (*start, key, stored))
                })
                .collect();
            found.sort_unstable_by_key(|(start, key, _)| (*start, *key));
            found.into_iter().map(|(start, key, stored)| {
                let session = SessionWindow { start, end: *end };
                Ok((key.clone(), session, stored.clone()))
            })
        })))
    }

    fn approximate_len(&self) -> u64 {
        self.len
    }
}

fn stored(value: &[u8], timestamp: i64) -> StoredValue {
    StoredValue {
        value: Bytes::copy_from_slice(value),
        timestamp,
    }
}

/// Kafka Streams makes no segment shorter.
const LEAST_SEGMENT_MS: i64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: i64, end: i64) -> SessionWindow {
        SessionWindow { start, end }
    }

    fn found(iter: SessionIter<'_>) -> Vec<(Bytes, i64, i64)> {
        iter.map(|entry| entry.expect("an entry"))
            .map(|(key, session, _)| (key, session.start, session.end))
            .collect()
    }

    fn filled() -> MemorySessionStore {
        let mut store = MemorySessionStore::new(1_000, true);
        for (key, start, end) in [("a", 10, 20), ("a", 0, 5), ("b", 12, 20), ("a", 30, 40)] {
            assert!(
                store
                    .put(key.as_bytes(), window(start, end), b"v", end)
                    .expect("put")
            );
        }
        store
    }

    #[test]
    fn sessions_are_found_that_end_late_enough_and_start_early_enough() {
        let store = filled();
        let a = Bytes::from("a");
        let hits = found(store.find(b"a", 5, 10).expect("find"));
        assert_eq!(hits, [(a.clone(), 0, 5), (a.clone(), 10, 20)]);
        let hits = found(store.find(b"a", 6, 29).expect("find"));
        assert_eq!(hits, [(a, 10, 20)]);
    }

    #[test]
    fn sessions_of_all_keys_are_found_by_end_start_and_key() {
        let store = filled();
        let hits = found(store.find_ended(5, 20).expect("find"));
        let expected = [("a", 0, 5), ("a", 10, 20), ("b", 12, 20)];
        assert_eq!(hits, expected.map(|(key, s, e)| (Bytes::from(key), s, e)));
    }

    #[test]
    fn a_removed_session_is_a_tombstone_in_the_changelog() {
        let mut store = filled();
        store.take_changes();
        store.remove(b"a", window(0, 5), 41).expect("remove");
        let changes = store.take_changes();
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].key, SessionKey::encode(b"a", 0, 5));
        assert_eq!((changes[0].value.clone(), changes[0].timestamp), (None, 41));
        assert_eq!(store.approximate_len(), 3);
    }

    #[test]
    fn sessions_expire_with_all_others_that_end_in_their_segment() {
        let mut store = filled();
        store.put(b"c", window(50, 60_999), b"v", 0).expect("put");
        store.commit();
        assert_eq!(store.approximate_len(), 5);
        store.put(b"c", window(50, 61_000), b"v", 0).expect("put");
        assert_eq!(found(store.find_ended(0, 59_999).expect("find")), []);
        assert!(!store.put(b"a", window(0, 20), b"v", 0).expect("put"));
        store.commit();
        assert_eq!(store.approximate_len(), 2);
    }
}
