//! A tree with the changes that it does not have yet: those that are not committed, and those that
//! are, and wait in memory until there are enough of them for a file.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;

use super::compactor::Compaction;
use super::short::{Key, Row};
use super::tree::Tree;
use crate::runtime::error::StreamsError;

/// Rows as of now: those of the tree, changed by what is committed, changed by what is pending.
#[derive(Debug)]
pub(super) struct Rows {
    tree: Tree,
    /// Changes that are not committed.
    pending: BTreeMap<Key, Pending>,
    pending_bytes: usize,
    /// Committed rows that are not in the tree, `None` for removed ones.
    committed: BTreeMap<Key, Option<Row>>,
    committed_bytes: usize,
    /// What was committed since the tree was last written, rows that changed again once more each
    /// time: as much is to be replayed after a crash.
    replayed_bytes: usize,
    /// A restore has written files, and may have left more of them than are good.
    compacts_late: bool,
    is_abandoned: bool,
}

/// A changed row.
#[derive(Debug)]
struct Pending {
    row: Changed,
    /// Whether [`Rows::take_changes`] has told it.
    is_taken: bool,
}

/// What a row is now.
#[derive(Debug)]
pub(super) enum Changed {
    /// It has this value.
    Set(Row),
    /// It was removed, at this event time.
    Removed(i64),
}

impl Changed {
    const fn row(&self) -> Option<&Row> {
        match self {
            Self::Set(row) => Some(row),
            Self::Removed(_) => None,
        }
    }
}

impl Rows {
    pub(super) const fn new(tree: Tree) -> Self {
        Self {
            tree,
            pending: BTreeMap::new(),
            pending_bytes: 0,
            committed: BTreeMap::new(),
            committed_bytes: 0,
            replayed_bytes: 0,
            compacts_late: false,
            is_abandoned: false,
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StreamsError> {
        if let Some(pending) = self.pending.get(key) {
            return Ok(pending.row.row().map(|row| Bytes::copy_from_slice(row)));
        }
        match self.committed.get(key) {
            Some(row) => Ok(row.as_ref().map(|row| Bytes::copy_from_slice(row))),
            None => self.tree.get(key),
        }
    }

    pub(super) fn set(&mut self, key: Key, row: Row) {
        self.change(key, Changed::Set(row));
    }

    /// Removes a row; `timestamp` is for those who take the changes.
    pub(super) fn remove(&mut self, key: Key, timestamp: i64) {
        self.change(key, Changed::Removed(timestamp));
    }

    fn change(&mut self, key: Key, row: Changed) {
        let key_bytes = key.memory_apart() + ROW_MEMORY;
        let pending = Pending {
            row,
            is_taken: false,
        };
        let apart = |row: &Changed| row.row().map_or(0, Row::memory_apart);
        self.pending_bytes += apart(&pending.row);
        match self.pending.insert(key, pending) {
            Some(before) => self.pending_bytes -= apart(&before.row),
            None => self.pending_bytes += key_bytes,
        }
    }

    /// Shows the rows that have changed since the last call, in the order of their keys.
    pub(super) fn take_changes(&mut self, mut show: impl FnMut(&[u8], &Changed)) {
        for (key, pending) in &mut self.pending {
            if !std::mem::replace(&mut pending.is_taken, true) {
                show(key, &pending.row);
            }
        }
    }

    /// How many rows are not committed.
    pub(super) fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Sets a row that is committed already.
    pub(super) fn set_committed(&mut self, key: Key, row: Option<Row>) -> Result<(), StreamsError> {
        self.buffer(key, row);
        if self.is_full() {
            self.write(Compaction::Late)?;
            self.compacts_late = true;
        }
        Ok(())
    }

    fn buffer(&mut self, key: Key, row: Option<Row>) {
        let key_bytes = key.memory_apart() + ROW_MEMORY;
        let apart = |row: &Option<Row>| row.as_ref().map_or(0, Row::memory_apart);
        let mut added = apart(&row);
        self.replayed_bytes += key_bytes + added;
        let before = match self.committed.insert(key, row) {
            Some(before) => apart(&before),
            None => {
                added += key_bytes;
                0
            }
        };
        self.count(self.committed_bytes + added - before);
    }

    fn count(&mut self, committed_bytes: usize) {
        let before = std::mem::replace(&mut self.committed_bytes, committed_bytes);
        self.tree.engine().buffered(before, committed_bytes);
    }

    /// Rows between two keys, in order.
    pub(super) fn range(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> RowIter<'_> {
        self.merged(from, to, Ordering::Less)
    }

    /// The last row of `from..=to`.
    pub(super) fn last(
        &self,
        from: &[u8],
        to: &[u8],
    ) -> Result<Option<(Bytes, Bytes)>, StreamsError> {
        let (from, to) = (Bound::Included(from), Bound::Included(to));
        self.merged(from, to, Ordering::Greater).next().transpose()
    }

    /// Rows between two keys, those first whose keys compare as `first` to the others.
    fn merged(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, first: Ordering) -> RowIter<'_> {
        let mut layers = Vec::with_capacity(3);
        if is_empty_range(from, to) {
            return RowIter { layers, first };
        }
        let copy = |row: Option<&Row>| row.map(|row| Bytes::copy_from_slice(row));
        if !self.pending.is_empty() {
            let rows = self.pending.range::<[u8], _>((from, to));
            let rows = rows.map(move |(key, pending)| (key, copy(pending.row.row())));
            layers.push(layer(rows.map(in_memory), first));
        }
        if !self.committed.is_empty() {
            let rows = self.committed.range::<[u8], _>((from, to));
            let rows = rows.map(move |(key, row)| (key, copy(row.as_ref())));
            layers.push(layer(rows.map(in_memory), first));
        }
        let rows = self.tree.range(from, to);
        let rows = rows.map(|row| row.map(|(key, row)| (key, Some(row))));
        layers.push(layer(rows, first));
        RowIter { layers, first }
    }

    /// Makes the pending changes last, as far as memory does.
    pub(super) fn commit(&mut self) {
        if std::mem::take(&mut self.compacts_late) {
            self.tree.compact(Compaction::Soon);
        }
        self.pending_bytes = 0;
        for (key, pending) in std::mem::take(&mut self.pending) {
            let row = match pending.row {
                Changed::Set(row) => Some(row),
                Changed::Removed(_) => None,
            };
            self.buffer(key, row);
        }
    }

    /// Whether what is committed should be written to disk.
    pub(super) fn is_full(&self) -> bool {
        self.tree
            .engine()
            .must_write(self.committed_bytes, self.replayed_bytes)
    }

    /// Writes what is committed to disk, all of it or nothing.
    pub(super) fn flush(&mut self) -> Result<(), StreamsError> {
        self.write(Compaction::Soon)
    }

    fn write(&mut self, compaction: Compaction) -> Result<(), StreamsError> {
        if self.committed.is_empty() {
            return Ok(());
        }
        let rows = self.committed.iter();
        let rows = rows.map(|(key, row)| (&**key, row.as_deref()));
        self.tree.write(rows)?;
        self.tree.compact(compaction);
        self.committed = BTreeMap::new();
        self.replayed_bytes = 0;
        self.count(0);
        Ok(())
    }

    /// Forgets what is not on disk when it is dropped, as a crash would.
    pub(super) const fn abandon(&mut self) {
        self.is_abandoned = true;
    }

    pub(super) const fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    pub(super) const fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.tree.disk_bytes()
    }

    pub(super) fn approximate_len(&self) -> u64 {
        self.tree.approximate_len() + (self.committed.len() + self.pending.len()) as u64
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        if !self.is_abandoned
            && let Err(error) = self.flush()
        {
            tracing::warn!(%error, "a store was not written at its end, its changelog has the rest");
        }
        self.count(0);
    }
}

type Item = Result<(Bytes, Option<Bytes>), StreamsError>;
type Layer<'a> = Peekable<Box<dyn Iterator<Item = Item> + 'a>>;

fn in_memory((key, row): (&Key, Option<Bytes>)) -> Item {
    Ok((Bytes::copy_from_slice(key), row))
}

fn layer<'a>(rows: impl DoubleEndedIterator<Item = Item> + 'a, first: Ordering) -> Layer<'a> {
    let rows: Box<dyn Iterator<Item = Item> + 'a> = match first {
        Ordering::Greater => Box::new(rows.rev()),
        Ordering::Less | Ordering::Equal => Box::new(rows),
    };
    rows.peekable()
}

/// Rows of all layers merged; a layer wins over those behind it.
pub(super) struct RowIter<'a> {
    layers: Vec<Layer<'a>>,
    first: Ordering,
}

impl RowIter<'_> {
    /// The next key of any layer, and what the first layer that knows it says.
    fn next_of_any(&mut self) -> Option<Item> {
        let mut next: Option<Bytes> = None;
        for layer in &mut self.layers {
            match layer.peek() {
                None => {}
                Some(Err(_)) => return layer.next(),
                Some(Ok((key, _)))
                    if next.as_ref().is_none_or(|next| key.cmp(next) == self.first) =>
                {
                    next = Some(key.clone());
                }
                Some(Ok(_)) => {}
            }
        }
        let next = next?;
        let mut found = None;
        for layer in &mut self.layers {
            let item = layer.next_if(|item| matches!(item, Ok((key, _)) if *key == next));
            found = found.or(item);
        }
        found
    }
}

impl Iterator for RowIter<'_> {
    type Item = Result<(Bytes, Bytes), StreamsError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_of_any()? {
                Ok((key, Some(row))) => return Some(Ok((key, row))),
                Ok((_, None)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Bounds that an ordered map would panic at.
pub(in crate::runtime::store) fn is_empty_range(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
    }
}

/// A map entry with key and row in place, about: 64 bytes in nodes that are two thirds full.
const ROW_MEMORY: usize = 96;
