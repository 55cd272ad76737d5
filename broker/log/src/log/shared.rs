//! What a log's writer shares with its readers and syncs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
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
    failure: OnceLock<Arc<Failure>>,
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
            failure: OnceLock::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// Fails if the log failed before.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        self.failure
            .get()
            .map_or(Ok(()), |failure| Err(self.failed(failure)))
    }

    /// Puts the log into its failed state for good.
    pub(crate) fn fail(&self, action: &'static str, path: &Path, source: io::Error) -> LogError {
        let failure = Arc::new(Failure {
            action,
            path: path.to_path_buf(),
            source,
        });
        let first = self.failure.get_or_init(|| {
            error!(log = %self.directory.display(), %failure, "log failed and takes no more appends");
            failure
        });
        self.failed(first)
    }

    pub(crate) fn failure(&self) -> Option<Arc<Failure>> {
        self.failure.get().cloned()
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
