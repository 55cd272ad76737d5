//! The thread that compacts trees, so that processing does not wait for it.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use lsm_tree::compaction::Leveled;
use lsm_tree::{AbstractTree, AnyTree, SeqNo};

/// A tree that can be closed while others still know it. The lock is held while it is compacted,
/// so that whoever closes it knows that nobody touches its files any more.
#[derive(Clone)]
pub(super) struct Closable(Arc<Mutex<Option<AnyTree>>>);

impl Closable {
    pub(super) fn new(tree: AnyTree) -> Self {
        Self(Arc::new(Mutex::new(Some(tree))))
    }

    /// Waits until nobody works on the tree, and keeps others from beginning.
    pub(super) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn compact(&self, watermark: SeqNo) -> lsm_tree::Result<()> {
        for _ in 0..MAX_ROUNDS {
            let tree = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(tree) = tree.as_ref() else {
                return Ok(());
            };
            if tree.l0_run_count() < L0_RUNS {
                return Ok(());
            }
            let strategy = Leveled::default().with_table_target_size(TABLE_BYTES);
            tree.compact(Arc::new(strategy), watermark)?;
        }
        Ok(())
    }
}

/// How soon a tree is compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compaction {
    /// So that look-ups have few files to search.
    Soon,
    /// During a restore, which looks nothing up: rows are merged less often, and so restored
    /// sooner.
    Late,
}

impl Compaction {
    /// So many sorted runs at the top are worth a compaction.
    pub(super) const fn runs(self) -> usize {
        match self {
            Self::Soon => L0_RUNS,
            Self::Late => 16 * L0_RUNS,
        }
    }
}

struct Job {
    tree: Closable,
    /// Versions of rows below this number are seen by nobody any more.
    watermark: SeqNo,
}

/// Hands trees to the compacting thread, which ends with the last of its senders.
pub(super) struct Compactor {
    jobs: SyncSender<Job>,
}

impl Compactor {
    pub(super) fn start() -> std::io::Result<Self> {
        let (jobs, receiver) = sync_channel(MAX_JOBS);
        let thread = std::thread::Builder::new().name("streams-compact".to_owned());
        thread.spawn(move || work(&receiver))?;
        Ok(Self { jobs })
    }

    /// Asks for a compaction. If too many wait, the tree asks again when it next writes.
    pub(super) fn request(&self, tree: &Closable, watermark: SeqNo) {
        let job = Job {
            tree: tree.clone(),
            watermark,
        };
        let _ = self.jobs.try_send(job);
    }
}

fn work(jobs: &Receiver<Job>) {
    for job in jobs {
        if let Err(error) = job.tree.compact(job.watermark) {
            // Nothing is lost, only slower; if the disk is full, the next write tells so.
            tracing::warn!(%error, "a store could not be compacted");
        }
    }
}

const MAX_JOBS: usize = 1_024;
const MAX_ROUNDS: usize = 8;
/// Size of files; what is kept of a file while it is written grows with it.
const TABLE_BYTES: u64 = 16 * 1024 * 1024;
const L0_RUNS: usize = 4;
