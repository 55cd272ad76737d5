//! The persistent session store.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::engine::Engine;
use super::place::Place;
use super::row_key::{RowKeyReader, decode_value, encode_value, session as row_key};
use super::segments::Segments;
use crate::runtime::error::StreamsError;
use crate::runtime::store::changes::{ChangelogRecord, Changes};
use crate::runtime::store::state_store::StateStore;
use crate::runtime::store::window_key::SessionKey;
use crate::runtime::store::{SessionIter, SessionStore, SessionWindow, StoredValue};

/// Values by key and session, in segments by session end.
#[derive(Debug)]
pub(in crate::runtime::store) struct DiskSessionStore {
    place: Place,
    segments: Segments,
    changes: Changes<(i64, i64, Bytes)>,
}

impl DiskSessionStore {
    pub(in crate::runtime::store) fn open(
        place: &Place,
        retention_ms: i64,
        engine: &Arc<Engine>,
    ) -> Result<Self, StreamsError> {
        let mut segments = Segments::open(place, retention_ms, engine)?;
        segments.keep_whole();
        Ok(Self {
            place: place.clone(),
            segments,
            changes: Changes::new(true),
        })
    }
}

impl StateStore for DiskSessionStore {
    fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        let parsed = SessionKey::parse(key).map_err(|reason| self.place.error(&reason))?;
        let SessionKey { key, start, end } = parsed;
        self.place.check_key(key)?;
        let row = value.map(|value| encode_value(value, timestamp));
        self.segments.restore(end, row_key(key, end, start), row)
    }

    fn take_changes(&mut self) -> Result<Vec<ChangelogRecord>, StreamsError> {
        let (changes, mut records) = self.changes.take();
        for ((end, start, key), changed_at) in changes {
            let row = self.segments.stored(end, &row_key(&key, end, start))?;
            let stored = row.and_then(|row| decode_value(&row));
            let key = SessionKey::encode(&key, start, end);
            records.push(ChangelogRecord::of(key, stored, changed_at));
        }
        Ok(records)
    }

    fn commit(&mut self, position: Option<i64>) -> Result<(), StreamsError> {
        self.segments.commit(position, &[])
    }

    fn position(&self) -> Option<i64> {
        self.segments.position()
    }

    fn pending_bytes(&self) -> usize {
        self.segments.pending_bytes()
    }

    fn disk_bytes(&self) -> Option<u64> {
        Some(self.segments.disk_bytes())
    }

    fn abandon(&mut self) {
        self.segments.abandon();
    }
}

impl SessionStore for DiskSessionStore {
    fn get(&self, key: &[u8], session: SessionWindow) -> Result<Option<StoredValue>, StreamsError> {
        if self.segments.is_past_retention(session.end) {
            return Ok(None);
        }
        let row_key = row_key(key, session.end, session.start);
        let row = self.segments.get(session.end, &row_key)?;
        Ok(row.and_then(|row| decode_value(&row)))
    }

    fn put(
        &mut self,
        key: &[u8],
        session: SessionWindow,
        value: &[u8],
        timestamp: i64,
    ) -> Result<bool, StreamsError> {
        self.place.check_key(key)?;
        let SessionWindow { start, end } = session;
        if !self.segments.observe(end) {
            self.changes.record_expired(|| ChangelogRecord {
                key: SessionKey::encode(key, start, end),
                value: Some(Bytes::copy_from_slice(value)),
                timestamp,
            });
            return Ok(false);
        }
        let row = Some(encode_value(value, timestamp));
        self.segments.set(end, row_key(key, end, start), row)?;
        let key = Bytes::copy_from_slice(key);
        self.changes.record((end, start, key), timestamp);
        Ok(true)
    }

    fn remove(
        &mut self,
        key: &[u8],
        session: SessionWindow,
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        self.place.check_key(key)?;
        let SessionWindow { start, end } = session;
        self.segments.remove(end, row_key(key, end, start))?;
        if !self.segments.is_past_retention(end) {
            let key = Bytes::copy_from_slice(key);
            self.changes.record((end, start, key), timestamp);
        }
        Ok(())
    }

    fn find(
        &self,
        key: &[u8],
        earliest_end: i64,
        latest_start: i64,
    ) -> Result<SessionIter<'_>, StreamsError> {
        let (earliest_end, segments) = self.segments.between(earliest_end, i64::MAX);
        let first = row_key(key, earliest_end, i64::MIN);
        let last = row_key(key, i64::MAX, i64::MAX);
        let rows = segments
            .flat_map(move |rows| rows.range(Bound::Included(&first), Bound::Included(&last)));
        let found = rows.filter_map(|row| row.map(entry).transpose());
        Ok(Box::new(found.filter(move |entry| {
            let session = entry.as_ref().map(|(_, session, _)| session.start);
            session.map_or(true, |start| start <= latest_start)
        })))
    }

    fn find_ended(
        &self,
        earliest_end: i64,
        latest_end: i64,
    ) -> Result<SessionIter<'_>, StreamsError> {
        let (from, segments) = self.segments.between(earliest_end, latest_end);
        // Sorted segment by segment: all ends of one lie before those of the next.
        let sorted = segments.map(move |rows| {
            let mut found = Vec::new();
            for row in rows.range(Bound::Unbounded, Bound::Unbounded) {
                match entry(row?) {
                    Some(entry) if (from..=latest_end).contains(&entry.1.end) => found.push(entry),
                    _ => {}
                }
            }
            found.sort_by(|(key, session, _), (other, other_session, _)| {
                let place = (session.end, session.start, key);
                place.cmp(&(other_session.end, other_session.start, other))
            });
            Ok(found)
        });
        Ok(Box::new(sorted.flat_map(
            |found: Result<Vec<_>, StreamsError>| {
                let (found, error) = match found {
                    Ok(found) => (found, None),
                    Err(error) => (Vec::new(), Some(Err(error))),
                };
                found.into_iter().map(Ok).chain(error)
            },
        )))
    }

    /// A session counts once for each time that its change was written and not merged yet.
    fn approximate_len(&self) -> u64 {
        self.segments.approximate_len()
    }
}

fn entry((row_key, row): (Bytes, Bytes)) -> Option<(Bytes, SessionWindow, StoredValue)> {
    let mut reader = RowKeyReader::new(row_key);
    let (key, end, start) = (reader.key()?, reader.time()?, reader.time()?);
    Some((key, SessionWindow { start, end }, decode_value(&row)?))
}
