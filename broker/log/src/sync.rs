//! Group commit: makes what was appended durable, off the writer's thread.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::checkpoint;
use crate::error::LogError;
use crate::leader_epochs::LeaderEpochs;
use crate::log::Shared;
use crate::storage::{FileStorage, Storage, StorageFile};

/// Makes a log durable from any thread, while its writer goes on.
///
/// The handle is cheap to clone. Several callers share one sync: those that come while one runs
/// wait for it, and one more covers them all.
#[derive(Debug)]
pub struct SyncHandle<S: Storage = FileStorage> {
    shared: Arc<Shared<S>>,
}

impl<S: Storage> Clone for SyncHandle<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S: Storage> SyncHandle<S> {
    pub(crate) const fn new(shared: Arc<Shared<S>>) -> Self {
        Self { shared }
    }

    /// First offset that is not known to be on the disk.
    #[must_use]
    pub fn durable_offset(&self) -> i64 {
        self.shared.sync.durable_offset()
    }

    /// Whether the log takes no appends because the disk refused.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.failure().is_some()
    }

    /// First offset that is not written yet.
    #[must_use]
    pub fn log_end_offset(&self) -> i64 {
        self.shared.snapshot.load().log_end_offset
    }

    /// Brings everything that was appended before the call to the disk, and returns the durable
    /// offset: all records below it survive a crash. Costs little if nothing was appended since
    /// the last one. A log whose records nobody waits for wants one now and then as well, as rolled
    /// segments stay open until then.
    ///
    /// # Errors
    /// - [`LogError::Failed`]: the disk refused, now or earlier; what of the last appends is on the
    ///   disk is unknown, and the log takes no more
    /// - [`LogError::DiskFull`]: there is no room for a checkpoint; try again later
    pub fn sync(&self) -> Result<i64, LogError> {
        let target = self.log_end_offset();
        let mut progress = self.shared.sync.lock_progress();
        self.shared.check()?;
        let snapshot = self.shared.snapshot.load_full();
        let unsynced = self.shared.sync.take_unsynced();
        let epochs_changed = !Arc::ptr_eq(&progress.epochs_on_disk, &snapshot.epochs);
        if self.shared.is_closed()
            || (unsynced.is_empty() && !epochs_changed && self.durable_offset() >= target)
        {
            return Ok(self.durable_offset());
        }
        for (path, file) in &unsynced.files {
            file.sync()
                .map_err(|error| self.shared.fail("sync", path, error))?;
        }
        for path in &unsynced.closed_files {
            sync_by_path(&self.shared.storage, path)
                .map_err(|error| self.shared.fail("sync", path, error))?;
        }
        if self.durable_offset() < snapshot.log_end_offset
            && let Some(active) = snapshot.segments.last()
        {
            let synced = active.file.get()?.sync();
            synced.map_err(|error| self.shared.fail("sync", active.file.path(), error))?;
        }
        for path in &unsynced.directories {
            let synced = self.shared.storage.sync_directory(path);
            synced.map_err(|error| self.shared.fail("sync directory", path, error))?;
        }
        if epochs_changed {
            let path = self.shared.directory.join(EPOCHS_FILE_NAME);
            checkpoint::write_epochs(&self.shared.storage, &path, snapshot.epochs.entries())?;
            progress.epochs_on_disk = Arc::clone(&snapshot.epochs);
        }
        self.shared
            .sync
            .durable
            .fetch_max(snapshot.log_end_offset, Ordering::AcqRel);
        Ok(self.durable_offset())
    }
}

/// Syncs a file that is not open; one that was removed needs none.
fn sync_by_path<S: Storage>(storage: &S, path: &Path) -> io::Result<()> {
    match storage.open(path) {
        Ok(file) => file.sync(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// What a log's syncs share with its writer.
#[derive(Debug)]
pub(crate) struct SyncState<F> {
    /// Held while a sync or a truncation runs.
    progress: Mutex<Progress>,
    durable: AtomicI64,
    /// Held for a moment only, so that the writer never waits for the disk.
    unsynced: Mutex<Unsynced<F>>,
}

/// What only one sync at a time may touch.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) epochs_on_disk: Arc<LeaderEpochs>,
}

/// Files and directories that changed, apart from the active segment's.
#[derive(Debug)]
pub(crate) struct Unsynced<F> {
    pub(crate) files: Vec<(PathBuf, F)>,
    /// Opened again to be synced, so that thousands of new logs do not keep two files open each.
    pub(crate) closed_files: Vec<PathBuf>,
    pub(crate) directories: Vec<PathBuf>,
}

impl<F> SyncState<F> {
    pub(crate) fn new(durable_offset: i64, epochs_on_disk: Arc<LeaderEpochs>) -> Self {
        Self {
            progress: Mutex::new(Progress { epochs_on_disk }),
            durable: AtomicI64::new(durable_offset),
            unsynced: Mutex::new(Unsynced::default()),
        }
    }

    pub(crate) fn durable_offset(&self) -> i64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Waits for a running sync; no other begins while the guard is held.
    pub(crate) fn lock_progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the log now ends at `log_end_offset`; the progress must be locked.
    pub(crate) fn truncate(&self, log_end_offset: i64, _locked: &MutexGuard<'_, Progress>) {
        self.durable.fetch_min(log_end_offset, Ordering::AcqRel);
    }

    /// Takes over what another state of the same log knows; the progress must be locked.
    pub(crate) fn take_over(&self, other: &Self, locked: &mut MutexGuard<'_, Progress>) {
        locked.epochs_on_disk = Arc::clone(&other.lock_progress().epochs_on_disk);
        let unsynced = other.take_unsynced();
        *self.lock_unsynced() = unsynced;
        self.durable
            .store(other.durable_offset(), Ordering::Release);
    }

    /// Notes that the log was emptied and begins at `offset`.
    pub(crate) fn reset(&self, offset: i64, _locked: &mut MutexGuard<'_, Progress>) {
        self.durable.store(offset, Ordering::Release);
    }

    pub(crate) fn add_files(&self, files: impl IntoIterator<Item = (PathBuf, F)>) {
        let mut unsynced = self.lock_unsynced();
        for (path, file) in files {
            unsynced.files.retain(|(other, _)| *other != path);
            unsynced.files.push((path, file));
        }
    }

    pub(crate) fn add_closed_files(&self, paths: impl IntoIterator<Item = PathBuf>) {
        self.lock_unsynced().closed_files.extend(paths);
    }

    pub(crate) fn add_directory(&self, directory: PathBuf) {
        let mut unsynced = self.lock_unsynced();
        if !unsynced.directories.contains(&directory) {
            unsynced.directories.push(directory);
        }
    }

    pub(crate) fn has_unsynced(&self) -> bool {
        !self.lock_unsynced().is_empty()
    }

    fn take_unsynced(&self) -> Unsynced<F> {
        std::mem::take(&mut *self.lock_unsynced())
    }

    fn lock_unsynced(&self) -> MutexGuard<'_, Unsynced<F>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Default for Unsynced<F> {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            closed_files: Vec::new(),
            directories: Vec::new(),
        }
    }
}

impl<F> Unsynced<F> {
    const fn is_empty(&self) -> bool {
        self.files.is_empty() && self.closed_files.is_empty() && self.directories.is_empty()
    }
}

/// Which leader epoch wrote which offsets; see `checkpoint` for the bytes.
pub(crate) const EPOCHS_FILE_NAME: &str = "leader-epoch-checkpoint";
