//! What all persistent stores of a process share: memory and the compacting thread.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lsm_tree::Cache;

use super::compactor::Compactor;
use crate::runtime::error::StreamsError;

/// What all persistent stores of a process share.
pub(in crate::runtime::store) struct Engine {
    /// `<state.dir>/<application id>`.
    pub(super) directory: PathBuf,
    /// Blocks read from disk, of all trees.
    pub(super) cache: Arc<Cache>,
    pub(super) compactor: Compactor,
    /// Memory for what trees have not written to disk yet, all together.
    write_buffer_bytes: usize,
    open_trees: AtomicUsize,
}

impl Engine {
    /// Stores below `directory` that take about `memory_bytes`, whatever their number is: half of
    /// it for blocks read from disk, half for what is to be written.
    pub(in crate::runtime::store) fn new(
        directory: PathBuf,
        memory_bytes: usize,
    ) -> Result<Self, StreamsError> {
        let half = memory_bytes / 2;
        Ok(Self {
            compactor: Compactor::start().map_err(|error| StreamsError::Config {
                setting: "state.dir",
                reason: format!("cannot start the thread that compacts stores: {error}"),
            })?,
            directory,
            cache: Arc::new(Cache::with_capacity_bytes(half as u64)),
            write_buffer_bytes: half,
            open_trees: AtomicUsize::new(0),
        })
    }

    pub(super) fn tree_opened(&self) {
        self.open_trees.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn tree_closed(&self) {
        self.open_trees.fetch_sub(1, Ordering::Relaxed);
    }

    /// How much one tree may have in memory before it writes it to disk: a fair share.
    pub(super) fn write_buffer_share(&self) -> usize {
        let trees = self.open_trees.load(Ordering::Relaxed).max(1);
        (self.write_buffer_bytes / trees).min(LARGEST_WRITE_BUFFER)
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

/// Larger ones would only make the replay after a crash longer.
const LARGEST_WRITE_BUFFER: usize = 16 * 1024 * 1024;
