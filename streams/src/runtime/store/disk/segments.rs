//! Rows in segments by event time, so that old ones go away by deleting files.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use bytes::Bytes;

use super::engine::Engine;
use super::place::Place;
use super::row_key::about;
use super::rows::Rows;
use super::short::{Key, Row};
use super::tree::Tree;
use crate::runtime::error::StreamsError;

/// Rows of a store by segment. A segment holds the rows of one interval of event time: half of
/// the retention time, at least a minute, as in Kafka Streams.
#[derive(Debug)]
pub(super) struct Segments {
    place: Place,
    engine: Arc<Engine>,
    about: Rows,
    position: Position,
    retention_ms: i64,
    /// Largest time seen; retention counts back from here.
    observed_stream_time: i64,
    open: BTreeMap<i64, Rows>,
    /// Whether rows are kept as long as their segment, and not only for the retention time.
    keeps_whole: bool,
}

impl Segments {
    pub(super) fn open(
        place: &Place,
        retention_ms: i64,
        engine: &Arc<Engine>,
    ) -> Result<Self, StreamsError> {
        let about = Rows::new(Tree::open(place, MAIN, engine)?);
        let mut segments = Self {
            position: Position::read(&about)?,
            observed_stream_time: read_number(&about, OBSERVED)?.unwrap_or(-1),
            place: place.clone(),
            engine: Arc::clone(engine),
            about,
            retention_ms,
            open: BTreeMap::new(),
            keeps_whole: false,
        };
        let failed = |error| place.io("list the segments", &error);
        for entry in fs::read_dir(place.directory()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.ends_with(DELETED) {
                fs::remove_dir_all(entry.path()).map_err(failed)?;
            } else if let Some(id) = name.strip_prefix(SEGMENT)
                && let Ok(id) = id.parse()
            {
                segments.rows_of(id)?;
            }
        }
        Ok(segments)
    }

    /// Takes note of a row's time, and says whether rows of this time are still kept.
    pub(super) fn observe(&mut self, time: i64) -> bool {
        self.observed_stream_time = self.observed_stream_time.max(time);
        time >= self.first_live()
    }

    /// First time whose rows are kept.
    pub(super) fn first_live(&self) -> i64 {
        let expired = self.observed_stream_time.saturating_sub(self.retention_ms);
        if self.keeps_whole {
            return self.id_of(expired).saturating_mul(self.interval_ms());
        }
        expired.saturating_add(1)
    }

    /// Keeps rows as long as their segment.
    pub(super) const fn keep_whole(&mut self) {
        self.keeps_whole = true;
    }

    pub(super) const fn is_past_retention(&self, time: i64) -> bool {
        time <= self.observed_stream_time.saturating_sub(self.retention_ms)
    }

    pub(super) fn get(&self, time: i64, key: &[u8]) -> Result<Option<Bytes>, StreamsError> {
        if time < self.first_live() {
            return Ok(None);
        }
        self.stored(time, key)
    }

    /// As [`get`](Self::get), but also what has become too old since the last commit.
    pub(super) fn stored(&self, time: i64, key: &[u8]) -> Result<Option<Bytes>, StreamsError> {
        let rows = self.open.get(&self.id_of(time));
        rows.map_or(Ok(None), |rows| rows.get(key))
    }

    pub(super) fn set(
        &mut self,
        time: i64,
        key: Key,
        row: Option<Row>,
    ) -> Result<(), StreamsError> {
        let id = self.id_of(time);
        let rows = self.rows_of(id)?;
        match row {
            Some(row) => rows.set(key, row),
            None => rows.remove(key, time),
        }
        Ok(())
    }

    /// Removes a row and takes note of its time.
    pub(super) fn remove(&mut self, time: i64, key: Key) -> Result<(), StreamsError> {
        if self.observe(time) || self.stored(time, &key)?.is_some() {
            self.set(time, key, None)?;
        }
        Ok(())
    }

    /// Sets a row that is committed already, unless it is too old.
    pub(super) fn restore(
        &mut self,
        time: i64,
        key: Key,
        row: Option<Row>,
    ) -> Result<(), StreamsError> {
        if self.observe(time) {
            let id = self.id_of(time);
            return self.rows_of(id)?.set_committed(key, row);
        }
        Ok(())
    }

    /// The segments that may have rows of `from..=to`, oldest first, and the first time whose
    /// rows count.
    pub(super) fn between(&self, from: i64, to: i64) -> (i64, impl Iterator<Item = &Rows>) {
        let from = from.max(self.first_live());
        let ids = self.id_of(from)..=self.id_of(to.max(from));
        let rows = self.open.range(ids).map(|(_, rows)| rows);
        (from, rows.filter(move |_| from <= to))
    }

    /// Makes the pending changes permanent and deletes the segments that are too old.
    pub(super) fn commit(
        &mut self,
        position: Option<i64>,
        numbers: &[(&'static str, i64)],
    ) -> Result<(), StreamsError> {
        for rows in self.open.values_mut() {
            rows.commit();
        }
        let observed = (OBSERVED, self.observed_stream_time);
        for (name, number) in numbers.iter().copied().chain([observed]) {
            write_number(&mut self.about, name, number);
        }
        self.position.set(&mut self.about, position);
        self.about.commit();
        if self.about.is_full() || self.open.values().any(Rows::is_full) {
            self.flush()?;
        }
        self.delete_expired()
    }

    pub(super) const fn position(&self) -> Option<i64> {
        self.position.offset()
    }

    pub(super) fn number(&self, name: &'static str) -> Result<Option<i64>, StreamsError> {
        read_number(&self.about, name)
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.open.values().map(Rows::pending_bytes).sum()
    }

    pub(super) fn abandon(&mut self) {
        self.about.abandon();
        self.open.values_mut().for_each(Rows::abandon);
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        let rows = self.open.values().map(Rows::disk_bytes);
        rows.sum::<u64>() + self.about.disk_bytes()
    }

    pub(super) fn approximate_len(&self) -> u64 {
        self.open.values().map(Rows::approximate_len).sum()
    }

    /// All of it, the rows before the offset up to which they are complete.
    fn flush(&mut self) -> Result<(), StreamsError> {
        for rows in self.open.values_mut() {
            rows.flush()?;
        }
        self.about.flush()
    }

    fn delete_expired(&mut self) -> Result<(), StreamsError> {
        let first_live = self.id_of(self.first_live());
        while let Some(oldest) = self.open.first_entry() {
            if *oldest.key() >= first_live {
                break;
            }
            let mut rows = oldest.remove();
            let path = rows.tree().path().to_owned();
            rows.abandon();
            drop(rows);
            // First the name: a half deleted tree would not open again.
            let mut deleted = path.clone().into_os_string();
            deleted.push(DELETED);
            fs::rename(&path, &deleted)
                .and_then(|()| fs::remove_dir_all(&deleted))
                .map_err(|error| self.place.io("delete an old segment", &error))?;
        }
        Ok(())
    }

    fn rows_of(&mut self, id: i64) -> Result<&mut Rows, StreamsError> {
        match self.open.entry(id) {
            std::collections::btree_map::Entry::Occupied(rows) => Ok(rows.into_mut()),
            std::collections::btree_map::Entry::Vacant(place) => {
                let name = format!("{SEGMENT}{id}");
                let tree = Tree::open(&self.place, &name, &self.engine)?;
                Ok(place.insert(Rows::new(tree)))
            }
        }
    }

    fn id_of(&self, time: i64) -> i64 {
        time.div_euclid(self.interval_ms())
    }

    fn interval_ms(&self) -> i64 {
        segment_interval_ms(self.retention_ms)
    }
}

/// The time that one segment holds.
pub(super) fn segment_interval_ms(retention_ms: i64) -> i64 {
    (retention_ms / 2).max(MIN_INTERVAL_MS)
}

impl Drop for Segments {
    fn drop(&mut self) {
        // Segments before the offset; a tree that is dropped writes itself, but in any order.
        self.open.clear();
    }
}

/// Offset of the first changelog record that a store does not have, kept with its rows.
#[derive(Debug)]
pub(super) struct Position(Option<i64>);

impl Position {
    pub(super) fn read(rows: &Rows) -> Result<Self, StreamsError> {
        Ok(Self(read_number(rows, POSITION)?))
    }

    /// `None` leaves it as it is: more would be replayed than is needed, which changes nothing.
    pub(super) fn set(&mut self, rows: &mut Rows, offset: Option<i64>) {
        if offset.is_some() && offset != self.0 {
            self.0 = offset;
            write_number(rows, POSITION, offset.unwrap_or_default());
        }
    }

    pub(super) const fn offset(&self) -> Option<i64> {
        self.0
    }
}

pub(super) fn read_number(rows: &Rows, name: &'static str) -> Result<Option<i64>, StreamsError> {
    let row = rows.get(&about(name))?;
    Ok(row.and_then(|row| Some(i64::from_be_bytes(*row.first_chunk::<8>()?))))
}

pub(super) fn write_number(rows: &mut Rows, name: &'static str, number: i64) {
    rows.set(about(name), Row::of(&[&number.to_be_bytes()]));
}

/// The tree that every store has.
pub(super) const MAIN: &str = "main";
/// Row of the largest time seen.
pub(super) const OBSERVED: &str = "observed stream time";
const POSITION: &str = "changelog position";
const SEGMENT: &str = "segment-";
const DELETED: &str = ".deleted";
const MIN_INTERVAL_MS: i64 = 60_000;
