//! Opens the log of one partition.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use moldau_protocol::Uuid;
use moldau_protocol::batch::{BatchHeader, RecordBatch};
use moldau_protocol::records::producer_snapshot::ProducerSnapshot;
use tracing::{debug, warn};

use super::leftovers;
use super::recovery::{Loaded, Recovery};
use super::{Log, RecoveryReport, Shared, segment_path};
use crate::checkpoint;
use crate::config::LogConfig;
use crate::error::{IoContext, LogError};
use crate::index::AbortedTransaction;
use crate::leader_epochs::{EpochEntry, LeaderEpochs};
use crate::names::{FileKind, file_name};
use crate::partition_metadata;
use crate::producer_snapshot;
use crate::segment::{Segment, SyncedFiles};
use crate::snapshot::LogSnapshot;
use crate::storage::{Storage, StorageFile};
use crate::sync::{EPOCHS_FILE_NAME, SyncState};

/// What is known of a log before it is opened. The default is a new log that begins at offset zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStart {
    /// Checked against the one on disk, and written if there is none.
    pub topic_id: Option<Uuid>,
    /// Whether the log was closed, so that nothing needs to be scanned.
    pub clean_shutdown: bool,
    /// Everything below this offset was synced.
    pub recovery_point: i64,
    /// First offset that can be read; the first segment's if that is higher.
    pub log_start_offset: i64,
    /// What to do about damage below the recovery point.
    pub on_corruption: OnCorruption,
}

/// What to do about damage below the recovery point, which no crash can explain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCorruption {
    /// The log is not opened: what was acknowledged must not vanish silently.
    #[default]
    Refuse,
    /// The log ends there: a replica fetches the rest from its leader.
    Cut,
}

/// Is told what the idempotent producers had written when a log is opened.
pub trait RecoveryObserver {
    /// The newest snapshot that can be read; called at most once, before the batches.
    fn producer_snapshot(&mut self, offset: i64, snapshot: &ProducerSnapshot) {
        let _ = (offset, snapshot);
    }

    /// A batch after the snapshot, in order; all batches if there is none.
    fn batch(&mut self, header: &BatchHeader) {
        let _ = header;
    }

    /// A control batch after the snapshot, in order with the others. Returns the transaction that it
    /// aborts, if there is one: the log may need it for its index.
    fn control_batch(&mut self, batch: &RecordBatch) -> Option<AbortedTransaction> {
        let _ = batch;
        None
    }

    /// A snapshot that is newer than the first of the batches, called after all of them: it alone knows the producers
    /// whose batches are all deleted. Called only where batches from before the newest snapshot had to be told.
    fn newer_producer_snapshot(&mut self, snapshot: &ProducerSnapshot) {
        let _ = snapshot;
    }
}

/// Nobody is told.
impl RecoveryObserver for () {}

impl<S: Storage> Log<S> {
    /// Opens the log in a directory, which is created if it is missing, and recovers it if it was
    /// not closed. Waits for the disk; many logs may be opened at a time.
    ///
    /// # Errors
    /// - [`LogError::Corrupt`]: there is damage that no crash explains
    /// - [`LogError::InconsistentTopicId`]: the directory belongs to another topic
    /// - [`LogError::Io`], [`LogError::DiskFull`]: the file system refuses
    pub fn open(
        storage: S,
        directory: impl Into<PathBuf>,
        config: LogConfig,
        start: &LogStart,
        observer: &mut dyn RecoveryObserver,
    ) -> Result<(Self, RecoveryReport), LogError> {
        let directory = directory.into();
        let is_new = create_if_missing(&storage, &directory)?;
        let mut unsynced = Vec::new();
        let topic_id = check_topic_id(&storage, &directory, start.topic_id, &mut unsynced)?;
        let mut files = leftovers::clear(&storage, &directory)?;
        if files.logs.is_empty() {
            let base_offset = start.log_start_offset.max(0);
            let path = segment_path(&directory, base_offset);
            storage.create(&path).context("create", &path)?;
            files.logs.insert(base_offset, 0);
        }
        let mut report = RecoveryReport::default();
        let recovery = Recovery::new(&storage, &directory, (&config, start), &files, &mut report);
        let loaded = recovery.load()?;
        unsynced.extend(loaded.unsynced.iter().cloned());
        let aborted_unknown_from = loaded.aborted_unknown_from;
        let mut log = Self::assemble(storage, directory, config, (topic_id, start), loaded)?;
        if log.log_end_offset < start.log_start_offset {
            let (end, offset) = (log.log_end_offset, start.log_start_offset);
            warn!(log = %log.directory.display(), end, offset, "log ends below its start offset, beginning anew there");
            log.reset_to(offset)?;
        }
        let is_clean = start.clean_shutdown && !is_new;
        let is_as_closed = is_clean && unsynced.is_empty() && report.scanned_segments == 0;
        log.settle(unsynced, is_clean)?;
        log.replay(observer, &mut report, aborted_unknown_from)?;
        if report.scanned_bytes > 0 {
            debug!(log = %log.directory.display(), log_end_offset = log.log_end_offset,
                scanned_bytes = report.scanned_bytes, "recovered log");
        }
        log.as_closed = is_as_closed.then(|| log.snapshot());
        Ok((log, report))
    }

    fn assemble(
        storage: S,
        directory: PathBuf,
        config: LogConfig,
        (topic_id, start): (Option<Uuid>, &LogStart),
        loaded: Loaded<S>,
    ) -> Result<Self, LogError> {
        let Loaded {
            segments,
            active,
            log_end_offset,
            epochs: scanned,
            ..
        } = loaded;
        let log_start_offset = start
            .log_start_offset
            .max(segments[0].base_offset)
            .min(log_end_offset);
        let published_segments: Arc<[_]> = segments.as_slice().into();
        let sealed_bytes = segments.iter().map(|segment| segment.sealed_size).sum();
        let mut snapshot = LogSnapshot {
            segments: Arc::clone(&published_segments),
            active_size: active.size,
            active_max_timestamp: active.indexer.max_timestamp,
            sealed_bytes,
            log_start_offset,
            log_end_offset,
            epochs: Arc::default(),
        };
        let on_disk = read_epochs(&storage, &directory)?;
        let mut epochs = match &on_disk {
            Some(epochs) => epochs.clone(),
            None => epochs_of_batches(&snapshot)?,
        };
        for entry in scanned {
            if epochs
                .latest()
                .is_none_or(|latest| latest.epoch < entry.epoch)
            {
                epochs.assign(entry);
            }
        }
        epochs.truncate_from_end(log_end_offset);
        epochs.truncate_from_start(log_start_offset);
        let epochs = Arc::new(epochs);
        let unchanged = on_disk.as_ref().is_some_and(|on_disk| *on_disk == *epochs);
        let epochs_on_disk = if unchanged {
            Arc::clone(&epochs)
        } else {
            Arc::default()
        };
        snapshot.epochs = Arc::clone(&epochs);
        let sync = SyncState::new(log_end_offset, epochs_on_disk);
        let shared = Arc::new(Shared::new(
            storage.clone(),
            directory.clone(),
            snapshot,
            sync,
        ));
        Ok(Self {
            storage,
            directory,
            config,
            topic_id,
            shared,
            segments,
            published_segments,
            sealed_bytes,
            active,
            log_start_offset,
            log_end_offset,
            epochs,
            deleted_files: Vec::new(),
            as_closed: None,
        })
    }

    /// Makes durable what recovery kept, as the durable offset says so from now on. An empty log
    /// may wait for its first sync, which brings its names as well: an earlier attempt to create it
    /// may have failed half-way.
    fn settle(&self, unsynced: SyncedFiles<S::File>, is_clean: bool) -> Result<(), LogError> {
        let is_empty = self.size_in_bytes() == 0;
        let names = if !is_clean || is_empty {
            [Some(self.directory.as_path()), self.directory.parent()]
        } else {
            [None, None]
        };
        let names = names.into_iter().flatten();
        if is_empty {
            let paths = unsynced.into_iter().map(|(path, _)| path);
            self.shared.sync.add_closed_files(paths);
            names.for_each(|directory| self.shared.sync.add_directory(directory.to_path_buf()));
            return Ok(());
        }
        for (path, file) in unsynced {
            file.sync().context("sync", &path)?;
        }
        for directory in names {
            self.storage
                .sync_directory(directory)
                .context("sync directory", directory)?;
        }
        Ok(())
    }

    /// Tells the observer of the producers: the newest snapshot and the batches after it.
    ///
    /// Where aborted transactions must be found anew, the batches begin before those segments, at an older snapshot or
    /// at the log's first batch; the newest snapshot then comes last, for what is older than the log.
    fn replay(
        &self,
        observer: &mut dyn RecoveryObserver,
        report: &mut RecoveryReport,
        aborted_unknown_from: Option<i64>,
    ) -> Result<(), LogError> {
        producer_snapshot::remove_above(&self.storage, &self.directory, self.log_end_offset)?;
        let first_offset = self.segments[0].base_offset;
        // Also below the log start: deleted records are no reason to forget who wrote them.
        let mut from = first_offset;
        let usable = aborted_unknown_from.unwrap_or(i64::MAX);
        let mut newest = self.newest_producer_snapshot(i64::MAX)?;
        let newer = newest.take_if(|(offset, _)| *offset > usable);
        let older = match &newer {
            // One from before the log's first batch would bring back what deleted batches changed since.
            Some(_) => self
                .newest_producer_snapshot(usable)?
                .filter(|(offset, _)| *offset >= first_offset),
            None => newest,
        };
        if let Some((offset, snapshot)) = older {
            observer.producer_snapshot(offset, &snapshot);
            report.producer_snapshot = Some(offset);
            from = from.max(offset);
        }
        self.replay_batches(from, observer, report, usable)?;
        if let Some((_, snapshot)) = newer {
            observer.newer_producer_snapshot(&snapshot);
        }
        Ok(())
    }

    /// The newest snapshot up to an offset that can be read; those that cannot are removed.
    fn newest_producer_snapshot(
        &self,
        up_to: i64,
    ) -> Result<Option<(i64, ProducerSnapshot)>, LogError> {
        let (storage, directory) = (&self.storage, &self.directory);
        let offsets = producer_snapshot::list(storage, directory)?;
        for offset in offsets.into_iter().rev().filter(|offset| *offset <= up_to) {
            match producer_snapshot::read(storage, directory, offset) {
                Ok(snapshot) => return Ok(Some((offset, snapshot))),
                Err(LogError::Corrupt { file, reason, .. }) => {
                    warn!(file = %file.display(), %reason, "removing an unreadable producer snapshot");
                    storage.remove_file(&file).context("remove", &file)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn replay_batches(
        &self,
        from: i64,
        observer: &mut dyn RecoveryObserver,
        report: &mut RecoveryReport,
        rebuild_from: i64,
    ) -> Result<(), LogError> {
        let snapshot = self.snapshot();
        if from >= self.log_end_offset {
            return Ok(());
        }
        let Some((first_index, first)) = snapshot.batch_at_or_after(from)? else {
            return Ok(());
        };
        for index in first_index..snapshot.segments.len() {
            let segment = &snapshot.segments[index];
            let position = if index == first_index {
                first.position
            } else {
                0
            };
            let mut walk = segment.walk(position, snapshot.segment_size(index))?;
            while let Some(batch) = walk.next()? {
                report.replayed_batches += 1;
                if batch.header.is_control() {
                    let path = segment.file.path();
                    let control = RecordBatch::parse(batch.read(segment.file.get()?, path)?);
                    let control = control.map_err(|error| {
                        LogError::corrupt(path, batch.position, error.to_string())
                    })?;
                    let aborted = observer.control_batch(&control);
                    if let Some(aborted) = aborted.filter(|_| segment.base_offset >= rebuild_from) {
                        segment.transaction_index.push(&aborted);
                    }
                } else {
                    observer.batch(&batch.header);
                }
            }
            if segment.base_offset >= rebuild_from && index + 1 < snapshot.segments.len() {
                self.write_aborted(segment)?;
            }
        }
        Ok(())
    }

    /// Writes the aborted transactions of a sealed segment that were found anew. Waits for the disk,
    /// as the recovery point is behind the segment from now on.
    fn write_aborted(&self, segment: &Segment<S>) -> Result<(), LogError> {
        if segment.transaction_index.len() == 0 {
            return Ok(());
        }
        let name = file_name(segment.base_offset, FileKind::TransactionIndex);
        let path = self.directory.join(name);
        let file = self.storage.create(&path).context("create", &path)?;
        segment
            .transaction_index
            .write_to(&file)
            .and_then(|_| file.sync())
            .context("write", &path)?;
        self.storage
            .sync_directory(&self.directory)
            .context("sync directory", &self.directory)
    }
}

/// Returns whether the directory is new.
fn create_if_missing<S: Storage>(storage: &S, directory: &Path) -> Result<bool, LogError> {
    match storage.list(directory) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            storage
                .create_directory(directory)
                .context("create directory", directory)?;
            Ok(true)
        }
        Err(error) => Err(error).context("list", directory),
    }
}

fn check_topic_id<S: Storage>(
    storage: &S,
    directory: &Path,
    expected: Option<Uuid>,
    unsynced: &mut SyncedFiles<S::File>,
) -> Result<Option<Uuid>, LogError> {
    let found = match (partition_metadata::read(storage, directory), expected) {
        // A crash before the first sync may have left half of the file.
        (Err(LogError::Corrupt { .. }), Some(_)) => None,
        (found, _) => found?,
    };
    match (found, expected) {
        (Some(found), Some(expected)) if found != expected => Err(LogError::InconsistentTopicId {
            directory: directory.to_path_buf(),
            expected: expected.to_string(),
            found: found.to_string(),
        }),
        (None, Some(expected)) => {
            unsynced.push(partition_metadata::write(storage, directory, expected)?);
            Ok(Some(expected))
        }
        (found, _) => Ok(found),
    }
}

/// `None` if the file is missing, or damaged: then the batches tell.
fn read_epochs<S: Storage>(
    storage: &S,
    directory: &Path,
) -> Result<Option<LeaderEpochs>, LogError> {
    match checkpoint::read_epochs(storage, &directory.join(EPOCHS_FILE_NAME)) {
        Ok(entries) => Ok(entries.map(LeaderEpochs::from)),
        Err(LogError::Corrupt { file, reason, .. }) => {
            warn!(file = %file.display(), %reason, "building leader epochs anew from the batches");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn epochs_of_batches<S: Storage>(snapshot: &LogSnapshot<S>) -> Result<LeaderEpochs, LogError> {
    let mut epochs = LeaderEpochs::default();
    for (index, segment) in snapshot.segments.iter().enumerate() {
        let segment: &Segment<S> = segment;
        let mut walk = segment.walk(0, snapshot.segment_size(index))?;
        while let Some(batch) = walk.next()? {
            let (epoch, start_offset) = (
                batch.header.partition_leader_epoch,
                batch.header.base_offset,
            );
            if epochs.latest().is_none_or(|latest| latest.epoch < epoch) {
                epochs.assign(EpochEntry {
                    epoch,
                    start_offset,
                });
            }
        }
    }
    Ok(epochs)
}
