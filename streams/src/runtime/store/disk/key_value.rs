//! The persistent key-value store.

use std::ops::Bound;
use std::sync::Arc;

use super::engine::Engine;
use super::place::Place;
use super::row_key::{DATA, decode_value, encode_value, key_value as row_key};
use super::rows::{Changed, Rows};
use super::segments::{MAIN, Position};
use super::short::Key;
use super::tree::Tree;
use crate::runtime::error::StreamsError;
use crate::runtime::store::changes::{ChangelogRecord, Chunks};
use crate::runtime::store::state_store::StateStore;
use crate::runtime::store::{KeyValueStore, StoreIter, StoredValue};

/// Values by key in a tree.
#[derive(Debug)]
pub(in crate::runtime::store) struct DiskKeyValueStore {
    place: Place,
    rows: Rows,
    position: Position,
}

impl DiskKeyValueStore {
    pub(in crate::runtime::store) fn open(
        place: &Place,
        engine: &Arc<Engine>,
    ) -> Result<Self, StreamsError> {
        let rows = Rows::new(Tree::open(place, MAIN, engine)?);
        Ok(Self {
            position: Position::read(&rows)?,
            place: place.clone(),
            rows,
        })
    }
}

impl StateStore for DiskKeyValueStore {
    fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        self.place.check_key(key)?;
        let row = value.map(|value| encode_value(value, timestamp));
        self.rows.set_committed(row_key(key), row)
    }

    fn take_changes(&mut self) -> Result<Vec<ChangelogRecord>, StreamsError> {
        let mut records = Vec::with_capacity(self.rows.pending_len());
        let mut chunks = Chunks::default();
        self.rows.take_changes(|key, changed| {
            // All other rows are about the store.
            let Some((&DATA, key)) = key.split_first() else {
                return;
            };
            let (value, timestamp) = match changed {
                Changed::Set(row) => match row.split_first_chunk() {
                    Some((timestamp, value)) => {
                        (Some(chunks.copy(value)), i64::from_be_bytes(*timestamp))
                    }
                    None => return,
                },
                Changed::Removed(timestamp) => (None, *timestamp),
            };
            records.push(ChangelogRecord {
                key: chunks.copy(key),
                value,
                timestamp,
            });
        });
        Ok(records)
    }

    fn commit(&mut self, position: Option<i64>) -> Result<(), StreamsError> {
        self.position.set(&mut self.rows, position);
        self.rows.commit();
        if self.rows.is_full() {
            self.rows.flush()?;
        }
        Ok(())
    }

    fn position(&self) -> Option<i64> {
        self.position.offset()
    }

    fn pending_bytes(&self) -> usize {
        self.rows.pending_bytes()
    }

    fn disk_bytes(&self) -> Option<u64> {
        Some(self.rows.disk_bytes())
    }

    fn abandon(&mut self) {
        self.rows.abandon();
    }
}

impl KeyValueStore for DiskKeyValueStore {
    fn get(&self, key: &[u8]) -> Result<Option<StoredValue>, StreamsError> {
        let row = self.rows.get(&row_key(key))?;
        Ok(row.and_then(|row| decode_value(&row)))
    }

    fn put(&mut self, key: &[u8], value: &[u8], timestamp: i64) -> Result<(), StreamsError> {
        self.place.check_key(key)?;
        self.rows.set(row_key(key), encode_value(value, timestamp));
        Ok(())
    }

    fn delete(&mut self, key: &[u8], timestamp: i64) -> Result<(), StreamsError> {
        self.place.check_key(key)?;
        self.rows.remove(row_key(key), timestamp);
        Ok(())
    }

    fn range(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<StoreIter<'_>, StreamsError> {
        let from = match from {
            Bound::Unbounded => Bound::Included(row_key(b"")),
            bound => bound.map(row_key),
        };
        let to = match to {
            Bound::Unbounded => Bound::Excluded(Key::of(&[&[DATA + 1]])),
            bound => bound.map(row_key),
        };
        let bounds = (
            from.as_ref().map(|key| &**key),
            to.as_ref().map(|key| &**key),
        );
        let rows = self.rows.range(bounds.0, bounds.1);
        Ok(Box::new(rows.filter_map(|row| {
            let row = row.map(|(key, row)| Some((key.slice(1..), decode_value(&row)?)));
            row.transpose()
        })))
    }

    /// A key counts once for each time that its change was written and not merged yet.
    fn approximate_len(&self) -> u64 {
        self.rows.approximate_len()
    }
}
