//! The log of one partition, as its writer sees it.

mod append;
mod leftovers;
mod open;
mod recovery;
mod replace;
mod retention;
mod revive;
mod shared;
mod truncate;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use moldau_protocol::Uuid;
use moldau_protocol::records::producer_snapshot::ProducerSnapshot;

pub use append::{AppendBatch, AppendedAt};
pub use open::{LogStart, OnCorruption, RecoveryObserver};
pub use recovery::{RecoveryReport, Truncation};
pub use retention::Retention;
pub(crate) use shared::Shared;

use crate::config::LogConfig;
use crate::error::{Failure, IoContext, LogError};
use crate::leader_epochs::{EpochEntry, LeaderEpochs};
use crate::names::{DELETE_DIRECTORY_SUFFIX, FileKind, file_name};
use crate::producer_snapshot;
use crate::segment::{Indexer, LazyFile, Segment};
use crate::snapshot::{LogReader, LogSnapshot};
use crate::storage::{FileStorage, Storage};
use crate::sync::SyncHandle;

/// The log of one partition; owned by the partition's one writer.
///
/// Methods that change the log take `&mut self` and never wait for the disk to sync, unless they
/// say so. What readers and syncs need is shared through [`Log::reader`] and [`Log::sync_handle`].
#[derive(Debug)]
pub struct Log<S: Storage = FileStorage> {
    storage: S,
    directory: PathBuf,
    config: LogConfig,
    topic_id: Option<Uuid>,
    shared: Arc<Shared<S>>,
    /// All segments, the oldest first; the last one is active.
    ///
    /// Invariant: never empty, and base offsets rise strictly.
    segments: Vec<Arc<Segment<S>>>,
    /// The same as the readers have them.
    published_segments: Arc<[Arc<Segment<S>>]>,
    sealed_bytes: u64,
    active: Active,
    /// Invariant: `log_start_offset <= log_end_offset`.
    log_start_offset: i64,
    log_end_offset: i64,
    epochs: Arc<LeaderEpochs>,
    deleted_files: Vec<DeletedFile>,
    /// What a clean shutdown left, if that was opened: while readers still have this very snapshot, the files are as
    /// they were then.
    as_closed: Option<Arc<LogSnapshot<S>>>,
}

/// What the writer knows of the active segment beside what is in [`Segment`].
#[derive(Debug)]
struct Active {
    /// In bytes.
    size: u64,
    indexer: Indexer,
}

/// A file that has the suffix `.deleted` already.
#[derive(Debug)]
struct DeletedFile {
    path: PathBuf,
    removable_at_ms: i64,
}

impl<S: Storage> Log<S> {
    /// First offset that can be read.
    #[must_use]
    pub const fn log_start_offset(&self) -> i64 {
        self.log_start_offset
    }

    /// The offset that the next record gets.
    #[must_use]
    pub const fn log_end_offset(&self) -> i64 {
        self.log_end_offset
    }

    /// First offset that is not known to be on the disk: the recovery point.
    #[must_use]
    pub fn durable_offset(&self) -> i64 {
        self.shared.sync.durable_offset()
    }

    /// Bytes of all segments, without their indexes.
    #[must_use]
    pub const fn size_in_bytes(&self) -> u64 {
        self.sealed_bytes + self.active.size
    }

    /// How many segments there are, at least one.
    #[must_use]
    pub const fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// The directory with the log's files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The id of the topic, if it was given or is on disk.
    #[must_use]
    pub const fn topic_id(&self) -> Option<Uuid> {
        self.topic_id
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Changes the settings, from the next append on.
    pub const fn set_config(&mut self, config: LogConfig) {
        self.active
            .indexer
            .set_interval(config.index_interval_bytes);
        self.config = config;
    }

    /// Which leader epoch wrote which offsets.
    #[must_use]
    pub fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// The error since which the log takes no more appends.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<Failure>> {
        self.shared.failure()
    }

    /// Gives other threads the newest snapshot.
    #[must_use]
    pub fn reader(&self) -> LogReader<S> {
        LogReader::new(Arc::clone(&self.shared))
    }

    /// The log as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<LogSnapshot<S>> {
        self.shared.snapshot.load_full()
    }

    /// Lets another thread make the log durable.
    #[must_use]
    pub fn sync_handle(&self) -> SyncHandle<S> {
        SyncHandle::new(Arc::clone(&self.shared))
    }

    /// Notes that a leader writes from `start_offset` on. Appends do so by themselves.
    pub fn assign_leader_epoch(&mut self, epoch: i32, start_offset: i64) {
        self.note_epoch(EpochEntry {
            epoch,
            start_offset,
        });
        self.publish();
    }

    /// Writes the state of the idempotent producers below `offset`, and removes older snapshots
    /// that no recovery needs. Syncs a small file.
    ///
    /// # Errors
    /// The file cannot be written; the log is as it was.
    pub fn write_producer_snapshot(
        &self,
        offset: i64,
        snapshot: &ProducerSnapshot,
    ) -> Result<(), LogError> {
        producer_snapshot::write(&self.storage, &self.directory, offset, snapshot)?;
        // Truncation goes back to the beginning of a segment at most, before it loses one.
        let needed = |other| {
            other >= offset
                || self
                    .segments
                    .iter()
                    .any(|segment| segment.base_offset == other)
        };
        producer_snapshot::remove_where(&self.storage, &self.directory, |other| !needed(other))
            .map(|_| ())
    }

    /// Whether the log was opened after a clean shutdown and has not changed since, so that there is nothing to write
    /// before the next one.
    #[must_use]
    pub fn is_as_closed(&self) -> bool {
        let current = self.shared.snapshot.load();
        self.as_closed
            .as_ref()
            .is_some_and(|closed| Arc::ptr_eq(closed, &current))
            && !self.shared.sync.has_unsynced()
    }

    /// Writes the indexes and syncs all files, for a clean shutdown. Costs nothing if [`Log::is_as_closed`].
    ///
    /// # Errors
    /// A file cannot be written or synced; the next start must recover.
    pub fn close(mut self) -> Result<(), LogError> {
        self.shared.check()?;
        if self.is_as_closed() {
            self.shared.close();
            return Ok(());
        }
        let active = Arc::clone(self.active_segment());
        self.seal(&active)?;
        self.shared.sync.add_directory(self.directory.clone());
        self.sync_handle().sync()?;
        self.shared.close();
        Ok(())
    }

    /// Removes the log with its directory.
    ///
    /// The directory gets another name first, so that a crash leaves no half of a log.
    ///
    /// # Errors
    /// The file system refuses; what is left under the other name is removed at the next start.
    pub fn destroy(self) -> Result<(), LogError> {
        self.shared.close();
        let name = self
            .directory
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let id = self
            .topic_id
            .unwrap_or_default()
            .0
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        let renamed = self
            .directory
            .with_file_name(format!("{name}.{id}{DELETE_DIRECTORY_SUFFIX}"));
        self.storage
            .rename(&self.directory, &renamed)
            .context("rename", &self.directory)?;
        if let Some(parent) = renamed.parent() {
            self.storage
                .sync_directory(parent)
                .context("sync directory", parent)?;
        }
        self.storage
            .remove_directory(&renamed)
            .context("remove", &renamed)
    }

    /// Seals the active segment and begins another one, unless it is empty.
    ///
    /// # Errors
    /// A file cannot be written; the log is as it was.
    pub fn roll(&mut self) -> Result<(), LogError> {
        self.shared.check()?;
        if self.active.size > 0 {
            self.roll_to(self.log_end_offset)?;
            self.publish();
        }
        Ok(())
    }

    /// Begins a segment at `base_offset`; not yet visible to readers.
    ///
    /// An active segment that is empty is replaced, as no offset of its own would be left to it.
    fn roll_to(&mut self, base_offset: i64) -> Result<(), LogError> {
        let path = segment_path(&self.directory, base_offset);
        let active = Arc::clone(self.active_segment());
        let sealed = if self.active.size > 0 {
            Some(self.seal(&active)?)
        } else {
            None
        };
        let file = self.storage.create(&path).context("create", &path)?;
        self.shared.sync.add_directory(self.directory.clone());
        if sealed.is_none() && active.file.path() != path {
            self.storage
                .remove_file(active.file.path())
                .context("remove", active.file.path())?;
        }
        self.segments.pop();
        self.segments.extend(sealed.map(Arc::new));
        self.sealed_bytes += self.active.size;
        self.begin_active(
            base_offset,
            LazyFile::opened(self.storage.clone(), path, file),
        );
        Ok(())
    }

    /// Writes the indexes of the active segment, and leaves it to the next sync with them.
    fn seal(&mut self, active: &Segment<S>) -> Result<Segment<S>, LogError> {
        self.active.indexer.index_max_timestamp(active);
        let (sealed, index_files) = active.seal(&self.storage, self.active.size)?;
        self.shared.sync.add_files(index_files);
        self.shared
            .sync
            .add_files([(active.file.path().to_path_buf(), active.file.get()?.clone())]);
        Ok(sealed)
    }

    /// Adds an empty active segment.
    fn begin_active(&mut self, base_offset: i64, file: LazyFile<S>) {
        self.segments
            .push(Arc::new(Segment::active(base_offset, file)));
        self.active = Active {
            size: 0,
            indexer: Indexer::new(self.config.index_interval_bytes),
        };
        self.publish_segments();
    }

    fn active_segment(&self) -> &Arc<Segment<S>> {
        self.segments.last().expect("a log has an active segment")
    }

    fn note_epoch(&mut self, entry: EpochEntry) {
        if self.epochs.latest().is_none_or(|latest| {
            latest.epoch != entry.epoch || entry.start_offset < latest.start_offset
        }) {
            Arc::make_mut(&mut self.epochs).assign(entry);
        }
    }

    /// Must follow each change of the list of segments.
    fn publish_segments(&mut self) {
        self.published_segments = self.segments.as_slice().into();
    }

    /// Makes the state visible to readers and syncs.
    fn publish(&self) {
        self.shared
            .snapshot
            .store(Arc::new(self.current_snapshot()));
    }

    fn current_snapshot(&self) -> LogSnapshot<S> {
        LogSnapshot {
            segments: Arc::clone(&self.published_segments),
            active_size: self.active.size,
            active_max_timestamp: self.active.indexer.max_timestamp,
            sealed_bytes: self.sealed_bytes,
            log_start_offset: self.log_start_offset,
            log_end_offset: self.log_end_offset,
            epochs: Arc::clone(&self.epochs),
        }
    }
}

fn segment_path(directory: &Path, base_offset: i64) -> PathBuf {
    directory.join(file_name(base_offset, FileKind::Log))
}
