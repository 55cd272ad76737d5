//! The persistent versioned store.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::engine::Engine;
use super::place::Place;
use super::row_key::{RowKeyReader, first_version_end, version as row_key, version_end as end_key};
use super::rows::Rows;
use super::segments::{MAIN, OBSERVED, Position, read_number, write_number};
use super::short::{Key, Row};
use super::tree::Tree;
use crate::runtime::error::StreamsError;
use crate::runtime::store::changes::ChangelogRecord;
use crate::runtime::store::state_store::StateStore;
use crate::runtime::store::{VersionIter, VersionPut, VersionedStore, VersionedValue};

/// Versions of values by key. Each ends where the next one of its key begins.
#[derive(Debug)]
pub(in crate::runtime::store) struct DiskVersionedStore {
    place: Place,
    rows: Rows,
    position: Position,
    history_ms: i64,
    /// Largest timestamp seen; history counts back from here.
    observed_stream_time: i64,
    changes: Vec<ChangelogRecord>,
}

impl DiskVersionedStore {
    pub(in crate::runtime::store) fn open(
        place: &Place,
        history_ms: i64,
        engine: &Arc<Engine>,
    ) -> Result<Self, StreamsError> {
        let rows = Rows::new(Tree::open(place, MAIN, engine)?);
        Ok(Self {
            position: Position::read(&rows)?,
            observed_stream_time: read_number(&rows, OBSERVED)?.unwrap_or(-1),
            place: place.clone(),
            rows,
            history_ms,
            changes: Vec::new(),
        })
    }

    const fn first_kept(&self) -> i64 {
        self.observed_stream_time.saturating_sub(self.history_ms)
    }

    fn set(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<VersionPut, StreamsError> {
        if timestamp < self.first_kept() {
            return Ok(VersionPut::TooLate);
        }
        if timestamp > self.observed_stream_time {
            self.observed_stream_time = timestamp;
            self.expire()?;
        }
        self.rows.set(row_key(key, timestamp), encode(value));
        let next = match timestamp.checked_add(1) {
            Some(after) => self.versions(key, after, i64::MAX).next().transpose()?,
            None => None,
        };
        let next = next.map(|(valid_from, _)| valid_from);
        let ends_another = match timestamp.checked_sub(1) {
            Some(before) => self.last_version(key, before)?.is_some(),
            None => false,
        };
        let own_end = (value.is_none() || ends_another).then_some(timestamp);
        for end in own_end.into_iter().chain(next) {
            self.rows.set(end_key(end, key), Row::of(&[]));
        }
        Ok(next.map_or(VersionPut::Latest, VersionPut::ValidTo))
    }

    /// Removes the versions that ended before the history that is kept.
    fn expire(&mut self) -> Result<(), StreamsError> {
        let first_kept = self.first_kept();
        let first = first_version_end(i64::MIN);
        let after = first_version_end(first_kept.saturating_add(1));
        let ends = self
            .rows
            .range(Bound::Included(&first), Bound::Excluded(&after));
        let ends: Vec<_> = ends.collect::<Result<_, _>>()?;
        for (end, _) in ends {
            if let Some(key) = key_of_end(end.clone()) {
                self.forget(&key, first_kept)?;
            }
            self.rows.remove(Key::of(&[&end]), first_kept);
        }
        Ok(())
    }

    fn forget(&mut self, key: &[u8], first_kept: i64) -> Result<(), StreamsError> {
        let ended: Vec<_> = self
            .versions(key, i64::MIN, first_kept)
            .collect::<Result<_, _>>()?;
        let Some(((current, value), older)) = ended.split_last() else {
            return Ok(());
        };
        let removed = older.iter().map(|(valid_from, _)| *valid_from);
        // A removal that nothing older is left to hide.
        let removal = value.is_none().then_some(*current);
        for valid_from in removed.chain(removal) {
            self.rows.remove(row_key(key, valid_from), valid_from);
        }
        Ok(())
    }

    /// Versions of a key that begin within `from..=to`.
    fn versions<'a>(
        &'a self,
        key: &[u8],
        from: i64,
        to: i64,
    ) -> impl Iterator<Item = Result<(i64, Option<Bytes>), StreamsError>> + use<'a> {
        let (first, last) = (row_key(key, from), row_key(key, to));
        let rows = self
            .rows
            .range(Bound::Included(&first), Bound::Included(&last));
        rows.filter_map(|row| row.map(version).transpose())
    }

    /// The last version that begins at `to` or before.
    fn last_version(
        &self,
        key: &[u8],
        to: i64,
    ) -> Result<Option<(i64, Option<Bytes>)>, StreamsError> {
        let row = self.rows.last(&row_key(key, i64::MIN), &row_key(key, to))?;
        Ok(row.and_then(version))
    }
}

impl StateStore for DiskVersionedStore {
    /// Goes by the pending rows, because it depends on what is there already.
    fn restore(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        self.place.check_key(key)?;
        self.set(key, value, timestamp)?;
        if self.rows.pending_bytes() > RESTORE_BATCH {
            self.commit(None)?;
        }
        Ok(())
    }

    fn take_changes(&mut self) -> Result<Vec<ChangelogRecord>, StreamsError> {
        Ok(std::mem::take(&mut self.changes))
    }

    fn commit(&mut self, position: Option<i64>) -> Result<(), StreamsError> {
        write_number(&mut self.rows, OBSERVED, self.observed_stream_time);
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

impl VersionedStore for DiskVersionedStore {
    fn get(&self, key: &[u8]) -> Result<Option<VersionedValue>, StreamsError> {
        let latest = self.last_version(key, i64::MAX)?;
        Ok(latest.and_then(|(valid_from, value)| {
            Some(VersionedValue {
                value: value?,
                valid_from,
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
        self.place.check_key(key)?;
        self.changes.push(ChangelogRecord {
            key: Bytes::copy_from_slice(key),
            value: value.map(Bytes::copy_from_slice),
            timestamp,
        });
        self.set(key, value, timestamp)
    }

    fn history(&self, key: &[u8], from: i64, to: i64) -> Result<VersionIter<'_>, StreamsError> {
        let first_kept = self.first_kept();
        if from > to {
            return Ok(Box::new(std::iter::empty()));
        }
        let first = self.last_version(key, from)?;
        let first = first.map_or(from, |(valid_from, _)| valid_from);
        let mut versions = self.versions(key, first, i64::MAX).peekable();
        Ok(Box::new(std::iter::from_fn(move || {
            loop {
                let (valid_from, value) = match versions.next()? {
                    Ok(version) => version,
                    Err(error) => return Some(Err(error)),
                };
                if valid_from > to {
                    return None;
                }
                let valid_to = match versions.peek() {
                    Some(Ok((next, _))) => Some(*next),
                    // The error itself comes when the next version is asked for.
                    Some(Err(_)) | None => None,
                };
                let is_kept = valid_to
                    .is_none_or(|valid_to| valid_to > from.max(first_kept) && to >= first_kept);
                if let (Some(value), true) = (value, is_kept) {
                    return Some(Ok(VersionedValue {
                        value,
                        valid_from,
                        valid_to,
                    }));
                }
            }
        })))
    }

    /// Versions, and not only keys, are counted.
    fn approximate_len(&self) -> u64 {
        self.rows.approximate_len()
    }
}

fn key_of_end(row_key: Bytes) -> Option<Bytes> {
    let mut reader = RowKeyReader::new(row_key);
    reader.tag()?;
    reader.time()?;
    reader.key()
}

fn version((row_key, row): (Bytes, Bytes)) -> Option<(i64, Option<Bytes>)> {
    let mut reader = RowKeyReader::new(row_key);
    reader.tag()?;
    reader.key()?;
    let value = (*row.first()? == HAS_VALUE).then(|| row.slice(1..));
    Some((reader.time()?, value))
}

fn encode(value: Option<&[u8]>) -> Row {
    match value {
        Some(value) => Row::of(&[&[HAS_VALUE], value]),
        None => Row::of(&[&[REMOVED]]),
    }
}

const REMOVED: u8 = 0;
const HAS_VALUE: u8 = 1;
/// So much is put together before a restore makes it part of the tree.
const RESTORE_BATCH: usize = 4 * 1024 * 1024;
