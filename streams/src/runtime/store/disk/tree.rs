//! One LSM tree: ordered rows of bytes, written to disk as a whole from time to time.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lsm_tree::{AbstractTree, AnyTree, Config, Guard, SequenceNumberCounter};

use super::compactor::{Closable, L0_RUNS};
use super::engine::Engine;
use super::place::Place;
use crate::runtime::error::StreamsError;

/// Rows of a tree, in the order of their keys, from either end.
pub(super) type TreeIter<'a> =
    Box<dyn DoubleEndedIterator<Item = Result<(Bytes, Bytes), StreamsError>> + 'a>;

/// One tree. What is written and not flushed is flushed when it is dropped.
pub(super) struct Tree {
    place: Place,
    path: PathBuf,
    engine: Arc<Engine>,
    tree: AnyTree,
    closable: Closable,
    sequence: SequenceNumberCounter,
    visible: SequenceNumberCounter,
    /// Bytes in memory that are not on disk.
    buffered_bytes: usize,
    is_abandoned: bool,
}

impl Tree {
    pub(super) fn open(
        place: &Place,
        name: &str,
        engine: &Arc<Engine>,
    ) -> Result<Self, StreamsError> {
        let path = place.directory().join(name);
        let (sequence, visible) = (
            SequenceNumberCounter::default(),
            SequenceNumberCounter::default(),
        );
        let tree = Config::new(&path, sequence.clone(), visible.clone())
            .use_cache(Arc::clone(&engine.cache))
            .open()
            .map_err(|error| place.tree("open the store", &error))?;
        let next = tree.get_highest_seqno().map_or(0, |highest| highest + 1);
        sequence.set(next);
        visible.set(next);
        engine.tree_opened();
        Ok(Self {
            closable: Closable::new(tree.clone()),
            place: place.clone(),
            path,
            engine: Arc::clone(engine),
            tree,
            sequence,
            visible,
            buffered_bytes: 0,
            is_abandoned: false,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StreamsError> {
        let row = self.tree.get(key, self.visible.get());
        let row = row.map_err(|error| self.place.tree("read", &error))?;
        Ok(row.map(Bytes::from))
    }

    /// Rows between two keys. The bounds must be in order.
    pub(super) fn range(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> TreeIter<'_> {
        let rows = self
            .tree
            .range::<&[u8], _>((from, to), self.visible.get(), None);
        Box::new(rows.map(|row| {
            let (key, value) = row
                .into_inner()
                .map_err(|error| self.place.tree("read", &error))?;
            Ok((Bytes::from(key), Bytes::from(value)))
        }))
    }

    /// Sets and removes rows, all at once as far as readers and the disk see. No key may be there
    /// twice.
    pub(super) fn write(&mut self, rows: impl Iterator<Item = (Bytes, Option<Bytes>)>) {
        let sequence = self.sequence.next();
        let mut memory = None;
        for (key, value) in rows {
            let (_, bytes) = match value {
                Some(value) => self.tree.insert(key, value, sequence),
                None => self.tree.remove(key, sequence),
            };
            memory = Some(bytes);
        }
        if let Some(bytes) = memory {
            self.buffered_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        self.visible.fetch_max(sequence + 1);
    }

    /// Whether more is in memory than this tree's share of it.
    pub(super) fn is_full(&self) -> bool {
        self.buffered_bytes > self.engine.write_buffer_share()
    }

    /// Writes what is in memory to disk, all of it or nothing.
    pub(super) fn flush(&mut self) -> Result<(), StreamsError> {
        if self.buffered_bytes == 0 {
            return Ok(());
        }
        let watermark = self.visible.get();
        let lock = self.tree.get_flush_lock();
        self.tree.rotate_memtable();
        let flushed = self.tree.flush(&lock, watermark);
        drop(lock);
        flushed.map_err(|error| self.place.tree("write", &error))?;
        self.buffered_bytes = 0;
        if self.tree.l0_run_count() >= L0_RUNS {
            self.engine.compactor.request(&self.closable, watermark);
        }
        Ok(())
    }

    /// Forgets what is not on disk when it is dropped, as a crash would.
    pub(super) const fn abandon(&mut self) {
        self.is_abandoned = true;
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.tree.disk_space()
    }

    pub(super) fn approximate_len(&self) -> u64 {
        self.tree.approximate_len() as u64
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if !self.is_abandoned
            && let Err(error) = self.flush()
        {
            tracing::warn!(%error, "a store was not written at its end, its changelog has the rest");
        }
        self.closable.close();
        self.engine.tree_closed();
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tree")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
