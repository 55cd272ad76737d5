//! One LSM tree: ordered rows of bytes on disk.
//!
//! Its own memory is not used: rows wait in [`Rows`](super::rows::Rows), sorted and counted, and
//! become a file as a whole.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lsm_tree::config::PinningPolicy;
use lsm_tree::{
    AbstractTree, AnyTree, Config, Guard, InternalValue, SequenceNumberCounter, ValueType,
};

use super::compactor::{Closable, Compaction};
use super::engine::Engine;
use super::place::Place;
use crate::runtime::error::StreamsError;

/// Rows of a tree, in the order of their keys, from either end.
pub(super) type TreeIter<'a> =
    Box<dyn DoubleEndedIterator<Item = Result<(Bytes, Bytes), StreamsError>> + 'a>;

/// One tree.
pub(super) struct Tree {
    place: Place,
    path: PathBuf,
    engine: Arc<Engine>,
    tree: AnyTree,
    closable: Closable,
    sequence: SequenceNumberCounter,
    visible: SequenceNumberCounter,
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
        // Indexes and filters of all but the newest, small files are read piece by piece through
        // the cache that all trees share, so that memory does not grow with the rows.
        let tree = Config::new(&path, sequence.clone(), visible.clone())
            .use_cache(Arc::clone(&engine.cache))
            .use_descriptor_table(Some(Arc::clone(&engine.files)))
            .index_block_partitioning_policy(PinningPolicy::new([false, true]))
            .filter_block_partitioning_policy(PinningPolicy::new([false, true]))
            .index_block_pinning_policy(PinningPolicy::new([true, false]))
            .filter_block_pinning_policy(PinningPolicy::new([true, false]))
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
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
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

    /// Sets and removes rows on disk, all of them or none. They must come in the order of their
    /// keys, and no key twice.
    pub(super) fn write<'a>(
        &mut self,
        rows: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), StreamsError> {
        let watermark = self.visible.get();
        let sequence = self.sequence.next();
        let rows = rows.map(|(key, row)| {
            Ok(match row {
                Some(row) => InternalValue::from_components(key, row, sequence, ValueType::Value),
                None => InternalValue::new_tombstone(key, sequence),
            })
        });
        let lock = self.tree.get_flush_lock();
        let written = self.tree.flush_to_tables(rows).and_then(|written| {
            let Some((tables, blobs)) = written else {
                return Ok(());
            };
            let tree = &self.tree;
            tree.register_tables(&tables, blobs.as_deref(), None, &[], watermark)
        });
        drop(lock);
        written.map_err(|error| self.place.tree("write", &error))?;
        self.visible.fetch_max(sequence + 1);
        Ok(())
    }

    /// Has the tree compacted in the background if it has more sorted runs than are good now.
    pub(super) fn compact(&self, compaction: Compaction) {
        if self.tree.l0_run_count() >= compaction.runs() {
            let watermark = self.visible.get();
            self.engine.compactor.request(&self.closable, watermark);
        }
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
