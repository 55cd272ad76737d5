//! A tree with the changes that are not committed yet.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;

use super::tree::{Tree, TreeIter};
use crate::runtime::error::StreamsError;

/// Rows as of now: those of the tree, changed by what is pending.
#[derive(Debug)]
pub(super) struct Rows {
    tree: Tree,
    /// Changed rows that are not committed, `None` for removed ones.
    pending: BTreeMap<Bytes, Option<Bytes>>,
    pending_bytes: usize,
}

impl Rows {
    pub(super) const fn new(tree: Tree) -> Self {
        Self {
            tree,
            pending: BTreeMap::new(),
            pending_bytes: 0,
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StreamsError> {
        match self.pending.get(key) {
            Some(row) => Ok(row.clone()),
            None => self.tree.get(key),
        }
    }

    pub(super) fn set(&mut self, key: Bytes, row: Option<Bytes>) {
        let row_bytes = |row: &Option<Bytes>| row.as_ref().map_or(0, Bytes::len);
        let key_bytes = key.len() + PENDING_OVERHEAD;
        let added = row_bytes(&row);
        match self.pending.insert(key, row) {
            Some(before) => self.pending_bytes -= row_bytes(&before),
            None => self.pending_bytes += key_bytes,
        }
        self.pending_bytes += added;
    }

    /// Sets a row that is committed already.
    pub(super) fn set_committed(
        &mut self,
        key: Bytes,
        row: Option<Bytes>,
    ) -> Result<(), StreamsError> {
        self.tree.write(std::iter::once((key, row)));
        if self.tree.is_full() {
            self.tree.flush()?;
        }
        Ok(())
    }

    /// Rows between two keys, in order.
    pub(super) fn range(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> RowIter<'_> {
        if is_empty_range(from, to) {
            return RowIter {
                pending: (Box::new(std::iter::empty()) as PendingIter<'_>).peekable(),
                tree: (Box::new(std::iter::empty()) as TreeIter<'_>).peekable(),
            };
        }
        let pending: PendingIter<'_> = Box::new(self.pending.range::<[u8], _>((from, to)));
        RowIter {
            pending: pending.peekable(),
            tree: self.tree.range(from, to).peekable(),
        }
    }

    /// The last row of `from..=to`.
    pub(super) fn last(
        &self,
        from: &[u8],
        to: &[u8],
    ) -> Result<Option<(Bytes, Bytes)>, StreamsError> {
        if from > to {
            return Ok(None);
        }
        let bounds = (Bound::Included(from), Bound::Included(to));
        let mut pending = self.pending.range::<[u8], _>(bounds).rev().peekable();
        let mut tree = self.tree.range(bounds.0, bounds.1).rev();
        let mut stored = tree.next().transpose()?;
        loop {
            let is_pending = match (pending.peek(), &stored) {
                (None, None) => return Ok(None),
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some((pending, _)), Some((stored, _))) => *pending >= stored,
            };
            if !is_pending {
                return Ok(stored);
            }
            let Some((key, row)) = pending.next() else {
                return Ok(stored);
            };
            if let Some(row) = row {
                return Ok(Some((key.clone(), row.clone())));
            }
            if stored.as_ref().is_some_and(|(stored, _)| stored == key) {
                stored = tree.next().transpose()?;
            }
        }
    }

    /// Makes the pending changes part of the tree.
    pub(super) fn commit(&mut self) -> Result<(), StreamsError> {
        if !self.pending.is_empty() {
            self.tree
                .write(std::mem::take(&mut self.pending).into_iter());
            self.pending_bytes = 0;
        }
        Ok(())
    }

    /// Whether the tree should be written to disk.
    pub(super) fn is_full(&self) -> bool {
        self.tree.is_full()
    }

    pub(super) fn flush(&mut self) -> Result<(), StreamsError> {
        self.tree.flush()
    }

    pub(super) const fn abandon(&mut self) {
        self.tree.abandon();
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
        self.tree.approximate_len() + self.pending.len() as u64
    }
}

type PendingIter<'a> = Box<dyn Iterator<Item = (&'a Bytes, &'a Option<Bytes>)> + 'a>;

/// Rows of the tree merged with what is pending, which wins.
pub(super) struct RowIter<'a> {
    pending: Peekable<PendingIter<'a>>,
    tree: Peekable<TreeIter<'a>>,
}

impl Iterator for RowIter<'_> {
    type Item = Result<(Bytes, Bytes), StreamsError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.pending.peek(), self.tree.peek()) {
                (None, _) | (_, Some(Err(_))) => return self.tree.next(),
                (Some(_), None) => std::cmp::Ordering::Less,
                (Some((pending, _)), Some(Ok((stored, _)))) => (*pending).cmp(stored),
            };
            if order.is_gt() {
                return self.tree.next();
            }
            if order.is_eq() {
                self.tree.next();
            }
            if let Some((key, Some(row))) = self.pending.next() {
                return Some(Ok((key.clone(), row.clone())));
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

/// A map entry and the heads of two byte strings, about.
const PENDING_OVERHEAD: usize = 96;
