//! What a log's writer shares with its readers and syncs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use tracing::error;

use crate::error::{Failure, LogError};
use crate::snapshot::LogSnapshot;
use crate::storage::Storage;
use crate::sync::SyncState;

/// What a log's writer shares with its readers and syncs.
#[derive(Debug)]
pub(crate) struct Shared<S: Storage> {
    pub(crate) storage: S,
    pub(crate) directory: PathBuf,
    /// Replaced by the writer at the end of each change.
    pub(crate) snapshot: ArcSwap<LogSnapshot<S>>,
    pub(crate) sync: SyncState<S::File>,
    /// The first error after which the state of the disk is unknown.
    failure: ArcSwapOption<Failure>,
    closed: AtomicBool,
}

impl<S: Storage> Shared<S> {
    pub(crate) fn new(
        storage: S,
        directory: PathBuf,
        snapshot: LogSnapshot<S>,
        sync: SyncState<S::File>,
    ) -> Self {
        Self {
            storage,
            directory,
            snapshot: ArcSwap::from_pointee(snapshot),
            sync,
            failure: ArcSwapOption::empty(),
            closed: AtomicBool::new(false),
        }
    }

    /// Fails if the log failed before.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        match &*self.failure.load() {
            None => Ok(()),
            Some(failure) => Err(self.failed(failure)),
        }
    }

    /// Puts the log into its failed state, until it is revived.
    pub(crate) fn fail(&self, action: &'static str, path: &Path, source: io::Error) -> LogError {
        let failure = Arc::new(Failure {
            action,
            path: path.to_path_buf(),
            source,
        });
        let before = self
            .failure
            .compare_and_swap(&None::<Arc<Failure>>, Some(Arc::clone(&failure)));
        match &*before {
            Some(first) => self.failed(first),
            None => {
                error!(log = %self.directory.display(), %failure, "log failed and takes no appends");
                self.failed(&failure)
            }
        }
    }

    pub(crate) fn failure(&self) -> Option<Arc<Failure>> {
        self.failure.load_full()
    }

    /// Takes the log out of its failed state.
    pub(crate) fn revive(&self) {
        self.failure.store(None);
    }

    /// Syncs do nothing from now on, as the files may be gone.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn failed(&self, failure: &Arc<Failure>) -> LogError {
        LogError::Failed {
            directory: self.directory.clone(),
            failure: Arc::clone(failure),
        }
    }
}
