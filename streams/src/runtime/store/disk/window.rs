//! The persistent window store.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::engine::Engine;
use super::place::Place;
use super::row_key::{RowKeyReader, decode_value, encode_value, window as row_key};
use super::segments::Segments;
use crate::runtime::error::StreamsError;
use crate::runtime::store::changes::{ChangelogRecord, Changes, Chunks};
use crate::runtime::store::state_store::StateStore;
use crate::runtime::store::window_key::{WindowKey, next_sequence};
use crate::runtime::store::{StoredValue, WindowIter, WindowStore};

/// Values by key and window start, in segments by start.
#[derive(Debug)]
pub(in crate::runtime::store) struct DiskWindowStore {
    place: Place,
    segments: Segments,
    keeps_duplicates: bool,
    /// Last sequence number given; always 0 without duplicates.
    sequence: i32,
    changes: Changes<(i64, Bytes, i32)>,
}

impl DiskWindowStore {
    pub(in crate::runtime::store) fn open(
        place: &Place,
        retention_ms: i64,
        keeps_duplicates: bool,
        engine: &Arc<Engine>,
    ) -> Result<Self, StreamsError> {
        let segments = Segments::open(place, retention_ms, engine)?;
        let sequence = segments.number(SEQUENCE)?.unwrap_or(0);
        Ok(Self {
            place: place.clone(),
            segments,
            keeps_duplicates,
            sequence: i32::try_from(sequence).unwrap_or(0),
            changes: Changes::new(true),
        })
    }

    fn value(
        &self,
        key: &[u8],
        start: i64,
        sequence: i32,
    ) -> Result<Option<StoredValue>, StreamsError> {
        let row = self.segments.get(start, &row_key(key, start, sequence))?;
        Ok(row.and_then(|row| decode_value(&row)))
    }
}

impl StateStore for DiskWindowStore {
    fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        let parsed = WindowKey::parse(key).map_err(|reason| self.place.error(&reason))?;
        let WindowKey {
            key,
            start,
            sequence,
        } = parsed;
        self.place.check_key(key)?;
        let sequence = if self.keeps_duplicates {
            self.sequence = self.sequence.max(sequence);
            sequence
        } else {
            0
        };
        if self.keeps_duplicates && value.is_none() {
            return Ok(());
        }
        let row = value.map(|value| encode_value(value, timestamp));
        self.segments
            .restore(start, row_key(key, start, sequence), row)
    }

    fn take_changes(&mut self) -> Result<Vec<ChangelogRecord>, StreamsError> {
        let (changes, mut records) = self.changes.take();
        let mut chunks = Chunks::default();
        for ((start, key, sequence), changed_at) in changes {
            let row_key = row_key(&key, start, sequence);
            let row = self.segments.stored(start, &row_key)?;
            let stored = row.and_then(|row| decode_value(&row));
            let key = WindowKey::encode_in(&mut chunks, &key, start, sequence);
            records.push(ChangelogRecord::of(key, stored, changed_at));
        }
        Ok(records)
    }

    fn commit(&mut self, position: Option<i64>) -> Result<(), StreamsError> {
        let sequence = (SEQUENCE, i64::from(self.sequence));
        self.segments.commit(position, &[sequence])
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

impl WindowStore for DiskWindowStore {
    fn get(&self, key: &[u8], start: i64) -> Result<Option<StoredValue>, StreamsError> {
        if !self.keeps_duplicates {
            return self.value(key, start, 0);
        }
        let mut found = self.fetch(key, start, start)?;
        let first = found.next().transpose()?;
        Ok(first.map(|(_, _, stored)| stored))
    }

    fn put(
        &mut self,
        key: &[u8],
        start: i64,
        value: &[u8],
        timestamp: i64,
    ) -> Result<bool, StreamsError> {
        self.place.check_key(key)?;
        if self.keeps_duplicates {
            self.sequence = next_sequence(self.sequence);
        }
        let sequence = self.sequence;
        if !self.segments.observe(start) {
            let place = WindowKey {
                key,
                start,
                sequence,
            };
            self.changes
                .record_expired(|| place.record(Some(Bytes::copy_from_slice(value)), timestamp));
            return Ok(false);
        }
        let row = Some(encode_value(value, timestamp));
        self.segments
            .set(start, row_key(key, start, sequence), row)?;
        let key = Bytes::copy_from_slice(key);
        self.changes.record((start, key, sequence), timestamp);
        Ok(true)
    }

    fn delete(&mut self, key: &[u8], start: i64, timestamp: i64) -> Result<(), StreamsError> {
        self.place.check_key(key)?;
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
        self.segments.remove(start, row_key(key, start, 0))?;
        let key = Bytes::copy_from_slice(key);
        self.changes.record((start, key, 0), timestamp);
        Ok(())
    }

    fn fetch(&self, key: &[u8], from: i64, to: i64) -> Result<WindowIter<'_>, StreamsError> {
        let (from, segments) = self.segments.between(from, to);
        let first = row_key(key, from, i32::MIN);
        let last = row_key(key, to, i32::MAX);
        let rows = segments
            .flat_map(move |rows| rows.range(Bound::Included(&first), Bound::Included(&last)));
        Ok(Box::new(rows.filter_map(|row| row.map(entry).transpose())))
    }

    fn fetch_all(&self, from: i64, to: i64) -> Result<WindowIter<'_>, StreamsError> {
        let (from, segments) = self.segments.between(from, to);
        // Sorted segment by segment: all starts of one lie before those of the next.
        let sorted = segments.map(move |rows| {
            let mut found = Vec::new();
            for row in rows.range(Bound::Unbounded, Bound::Unbounded) {
                match entry(row?) {
                    Some(entry) if (from..=to).contains(&entry.1) => found.push(entry),
                    _ => {}
                }
            }
            // Stable, so that values with one key and start stay in the order they came.
            found.sort_by(|(key, start, _), (other, other_start, _)| {
                (start, key).cmp(&(other_start, other))
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

    /// A key counts once for each time that its change was written and not merged yet.
    fn approximate_len(&self) -> u64 {
        self.segments.approximate_len()
    }
}

fn entry((row_key, row): (Bytes, Bytes)) -> Option<(Bytes, i64, StoredValue)> {
    let mut reader = RowKeyReader::new(row_key);
    Some((reader.key()?, reader.time()?, decode_value(&row)?))
}

/// Row of the last sequence number.
const SEQUENCE: &str = "sequence number";
