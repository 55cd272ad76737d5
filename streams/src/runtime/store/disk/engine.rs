//! What all persistent stores of a process share: memory and the compacting thread.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lsm_tree::{Cache, DescriptorTable};

use super::compactor::Compactor;
use crate::runtime::error::StreamsError;

/// What all persistent stores of a process share.
pub(in crate::runtime::store) struct Engine {
    /// `<state.dir>/<application id>`.
    pub(super) directory: PathBuf,
    /// Blocks read from disk, of all trees.
    pub(super) cache: Arc<Cache>,
    /// Open files, of all trees.
    pub(super) files: Arc<DescriptorTable>,
    pub(super) compactor: Compactor,
    /// Memory for what is committed and not written to disk yet, of all trees together.
    write_buffer_bytes: usize,
    buffered_bytes: AtomicUsize,
    open_trees: AtomicUsize,
}

impl Engine {
    /// Stores below `directory` that take about `memory_bytes`, whatever their number is: half of
    /// it for blocks read from disk, a quarter for what is to be written. The last quarter is for
    /// what is not committed, which tasks count.
    pub(in crate::runtime::store) fn new(
        directory: PathBuf,
        memory_bytes: usize,
    ) -> Result<Self, StreamsError> {
        Ok(Self {
            compactor: Compactor::start().map_err(|error| StreamsError::Config {
                setting: "state.dir",
                reason: format!("cannot start the thread that compacts stores: {error}"),
            })?,
            directory,
            cache: Arc::new(Cache::with_capacity_bytes(memory_bytes as u64 / 2)),
            files: Arc::new(DescriptorTable::new(MAX_OPEN_FILES)),
            write_buffer_bytes: memory_bytes / 4,
            buffered_bytes: AtomicUsize::new(0),
            open_trees: AtomicUsize::new(0),
        })
    }

    pub(super) fn tree_opened(&self) {
        self.open_trees.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn tree_closed(&self) {
        self.open_trees.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts what a tree has in memory: so much now, where it was so much before.
    pub(super) fn buffered(&self, before: usize, now: usize) {
        if now >= before {
            self.buffered_bytes
                .fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.buffered_bytes
                .fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    /// Whether a tree that has so much in memory should write it to disk: if all together have too
    /// much, and it has its fair share, so that files are as large as memory allows; or if a crash
    /// would cost the replay of too much.
    pub(super) fn must_write(&self, own_bytes: usize, replayed_bytes: usize) -> bool {
        let trees = self.open_trees.load(Ordering::Relaxed).max(1);
        let is_exceeded = self.buffered_bytes.load(Ordering::Relaxed) > self.write_buffer_bytes;
        replayed_bytes > (2 * self.write_buffer_bytes / trees).min(LARGEST_REPLAY)
            || is_exceeded && own_bytes > self.write_buffer_bytes / trees
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Engine")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// More is not left to be replayed after a crash, of each tree.
const LARGEST_REPLAY: usize = 16 * 1024 * 1024;
const MAX_OPEN_FILES: usize = 256;
