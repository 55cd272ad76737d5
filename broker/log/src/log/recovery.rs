//! Loads the segments of a log, and after a crash checks those that may have been hit.
//!
//! Everything below the recovery point was synced, so only segments from there on are scanned:
//! each batch with its CRC, building the indexes anew. The first byte that is no valid batch ends
//! the log: what follows is cut off, segments behind it included, as it was never acknowledged. An
//! invalid byte below the recovery point is decay, not a crash, and refused.

use std::path::Path;
use std::sync::Arc;

use moldau_protocol::batch::BatchHeader;
use tracing::{info, warn};

use super::leftovers::LiveFiles;
use super::open::{LogStart, OnCorruption};
use super::{Active, segment_path};
use crate::config::LogConfig;
use crate::error::{IoContext, LogError};
use crate::index::{IndexFile, OFFSET_ENTRY_SIZE, TIME_ENTRY_SIZE, TRANSACTION_ENTRY_SIZE};
use crate::leader_epochs::EpochEntry;
use crate::names::{FileKind, file_name};
use crate::segment::{BatchWalk, Indexer, LazyFile, Segment, SyncedFiles};
use crate::storage::{Storage, StorageFile};

/// What opening a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// How many segments were scanned because the last shutdown was not clean.
    pub scanned_segments: usize,
    /// How many bytes that were.
    pub scanned_bytes: u64,
    /// How many sealed segments got new indexes because theirs were missing or damaged.
    pub rebuilt_indexes: usize,
    /// What was cut off at the end of the log.
    pub truncation: Option<Truncation>,
    /// Offset of the producer snapshot that was used.
    pub producer_snapshot: Option<i64>,
    /// How many batches after it were replayed.
    pub replayed_batches: u64,
}

/// What was cut off at the end of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// The file in which the log ends now.
    pub file: std::path::PathBuf,
    /// Its new size in bytes.
    pub position: u64,
    /// How many bytes were cut off it.
    pub dropped_bytes: u64,
    /// How many segments behind it were removed.
    pub dropped_segments: usize,
    /// What is wrong at the position.
    pub reason: String,
}

/// Segments as they were found.
pub(super) struct Loaded<S: Storage> {
    pub(super) segments: Vec<Arc<Segment<S>>>,
    pub(super) active: Active,
    pub(super) log_end_offset: i64,
    /// Epochs of the batches that were scanned.
    pub(super) epochs: Vec<EpochEntry>,
    /// Files that were written anew.
    pub(super) unsynced: SyncedFiles<S::File>,
    /// Segments from this base offset on need their aborted transactions found anew.
    pub(super) aborted_unknown_from: Option<i64>,
}

/// Loads the segments of one log.
pub(super) struct Recovery<'a, S: Storage> {
    storage: &'a S,
    directory: &'a Path,
    config: &'a LogConfig,
    start: &'a LogStart,
    files: &'a LiveFiles,
    report: &'a mut RecoveryReport,
    sealed: Vec<Arc<Segment<S>>>,
    epochs: Vec<EpochEntry>,
    unsynced: SyncedFiles<S::File>,
    aborted_unknown_from: Option<i64>,
    /// A scanned segment has control batches.
    has_markers: bool,
}

/// A segment after its scan.
struct Scan<S: Storage> {
    segment: Segment<S>,
    indexer: Indexer,
    valid_size: u64,
    end_offset: i64,
    /// Why the scan ended before the end of the file.
    problem: Option<String>,
}

impl<'a, S: Storage> Recovery<'a, S> {
    pub(super) fn new(
        storage: &'a S,
        directory: &'a Path,
        (config, start): (&'a LogConfig, &'a LogStart),
        files: &'a LiveFiles,
        report: &'a mut RecoveryReport,
    ) -> Self {
        let (sealed, epochs, unsynced, aborted_unknown_from) = <_>::default();
        Self {
            storage,
            directory,
            config,
            start,
            files,
            report,
            sealed,
            epochs,
            unsynced,
            aborted_unknown_from,
            has_markers: false,
        }
    }

    /// Loads all segments; there must be one.
    pub(super) fn load(mut self) -> Result<Loaded<S>, LogError> {
        let bases: Vec<i64> = self.files.logs.keys().copied().collect();
        let scan_from = if self.start.clean_shutdown {
            i64::MAX
        } else {
            // A segment that ends right at the recovery point may have been sealed after the last
            // sync, so that its indexes are not on the disk yet.
            let below = bases
                .iter()
                .rev()
                .find(|base| **base < self.start.recovery_point);
            below.copied().unwrap_or(i64::MIN)
        };
        for (index, base_offset) in bases.iter().copied().enumerate() {
            let behind = &bases[index + 1..];
            let last = if base_offset >= scan_from {
                self.scan_segment(base_offset, behind)?
            } else if behind.is_empty() {
                Some(self.load_active(base_offset)?)
            } else {
                self.load_sealed(base_offset)?;
                None
            };
            if let Some(last) = last {
                return Ok(self.finish(last));
            }
        }
        Err(LogError::corrupt(
            self.directory,
            0,
            "the directory has no segment",
        ))
    }

    fn finish(self, last: Scan<S>) -> Loaded<S> {
        let mut segments = self.sealed;
        segments.push(Arc::new(last.segment));
        Loaded {
            segments,
            active: Active {
                size: last.valid_size,
                indexer: last.indexer,
            },
            log_end_offset: last.end_offset,
            epochs: self.epochs,
            unsynced: self.unsynced,
            aborted_unknown_from: self.aborted_unknown_from.filter(|_| self.has_markers),
        }
    }

    /// Scans a segment and seals it, unless it is where the log ends: then it is returned.
    fn scan_segment(
        &mut self,
        base_offset: i64,
        behind: &[i64],
    ) -> Result<Option<Scan<S>>, LogError> {
        let next_base = behind.first().copied();
        let mut scan = self.scan(base_offset, next_base)?;
        let path = scan.segment.file.path().to_path_buf();
        if let Some(reason) = scan.problem.take() {
            self.check_recovery_point(&scan, &reason)?;
            self.cut(&scan, reason, behind)?;
            return Ok(Some(scan));
        }
        let file = scan.segment.file.get()?.clone();
        self.unsynced.push((path, file));
        if next_base.is_none() {
            return Ok(Some(scan));
        }
        scan.indexer.index_max_timestamp(&scan.segment);
        let (sealed, index_files) = scan.segment.seal(self.storage, scan.valid_size)?;
        self.unsynced.extend(index_files);
        self.sealed.push(Arc::new(sealed));
        Ok(None)
    }

    fn scan(&mut self, base_offset: i64, next_base: Option<i64>) -> Result<Scan<S>, LogError> {
        let size = self.files.logs[&base_offset];
        self.report.scanned_segments += 1;
        self.report.scanned_bytes += size;
        self.forget_aborted(base_offset)?;
        let segment = Segment::active(base_offset, self.lazy_file(base_offset));
        let indexer = Indexer::new(self.config.index_interval_bytes);
        let mut scan = Scan {
            segment,
            indexer,
            valid_size: 0,
            end_offset: base_offset,
            problem: None,
        };
        let file = scan.segment.file.get()?.clone();
        let path = scan.segment.file.path().to_path_buf();
        let mut walk = BatchWalk::checked(&file, &path, size, base_offset);
        let highest = next_base.unwrap_or(i64::MAX).min(
            base_offset
                .saturating_add(i64::from(i32::MAX))
                .saturating_add(1),
        );
        loop {
            match walk.next() {
                Ok(Some(batch)) if batch.header.next_offset() > highest => {
                    let last_offset = batch.header.last_offset();
                    scan.problem = Some(format!(
                        "offset {last_offset} does not belong to this segment"
                    ));
                    return Ok(scan);
                }
                Ok(Some(batch)) => {
                    self.has_markers |= batch.header.is_control();
                    scan.indexer
                        .note(&scan.segment, &batch.header, batch.position);
                    scan.valid_size = batch.end();
                    scan.end_offset = batch.header.next_offset();
                    self.note_epoch(&batch.header);
                }
                Ok(None) => break,
                Err(LogError::Corrupt { reason, .. }) => {
                    scan.problem = Some(reason);
                    return Ok(scan);
                }
                Err(error) => return Err(error),
            }
        }
        scan.problem = self.gap_behind(scan.end_offset, next_base);
        Ok(scan)
    }

    /// Segments follow each other without a gap, unless compaction emptied it, which was synced
    /// then, or an offset was too far away for the segment before.
    fn gap_behind(&self, end_offset: i64, next_base: Option<i64>) -> Option<String> {
        let next_base = next_base.filter(|next_base| {
            let gap = next_base - end_offset;
            *next_base > self.start.recovery_point && gap > 0 && gap < i64::from(i32::MAX)
        })?;
        Some(format!(
            "batches from offset {end_offset} to the next segment at {next_base} are missing"
        ))
    }

    /// Whether a scan may end where it did.
    fn check_recovery_point(&self, scan: &Scan<S>, reason: &str) -> Result<(), LogError> {
        let (end_offset, recovery_point) = (scan.end_offset, self.start.recovery_point);
        if end_offset >= recovery_point || self.start.on_corruption == OnCorruption::Cut {
            return Ok(());
        }
        let explained = format!(
            "{reason}; offsets {end_offset} to {recovery_point} were on the disk, so this is no \
             torn write: restore the file, or give up what follows"
        );
        Err(LogError::corrupt(
            scan.segment.file.path(),
            scan.valid_size,
            explained,
        ))
    }

    /// Lets the log end with the valid batches of a segment.
    ///
    /// What lies behind goes first, the newest segment before the others: a crash on the way leaves
    /// the same place to be found again, and nothing that was removed can come back behind it.
    fn cut(&mut self, scan: &Scan<S>, reason: String, behind: &[i64]) -> Result<(), LogError> {
        for base_offset in behind.iter().rev() {
            self.remove_segment(*base_offset)?;
        }
        self.storage
            .sync_directory(self.directory)
            .context("sync directory", self.directory)?;
        let (path, position) = (scan.segment.file.path(), scan.valid_size);
        let file = scan.segment.file.get()?;
        file.set_size(position).context("cut", path)?;
        file.sync().context("sync", path)?;
        let size = self.files.logs[&scan.segment.base_offset];
        let truncation = Truncation {
            file: path.to_path_buf(),
            position,
            dropped_bytes: size.saturating_sub(position),
            dropped_segments: behind.len(),
            reason,
        };
        warn!(file = %path.display(), position, dropped_bytes = truncation.dropped_bytes,
            dropped_segments = behind.len(), reason = %truncation.reason,
            "cut off what a crash left at the end of the log");
        self.report.truncation = Some(truncation);
        Ok(())
    }

    fn remove_segment(&self, base_offset: i64) -> Result<(), LogError> {
        for kind in FileKind::OF_SEGMENT {
            if kind == FileKind::Log || self.files.indexes.contains_key(&(base_offset, kind)) {
                let path = self.directory.join(file_name(base_offset, kind));
                self.storage.remove_file(&path).context("remove", &path)?;
            }
        }
        Ok(())
    }

    /// A sealed segment as its files describe it.
    fn load_sealed(&mut self, base_offset: i64) -> Result<(), LogError> {
        let size = self.files.logs[&base_offset];
        if self.aborted_unknown_from.is_some() || self.is_aborted_damaged(base_offset) {
            self.forget_aborted(base_offset)?;
            self.has_markers = true;
        }
        if let Some(sealed) = self.with_index_files(base_offset, size) {
            self.sealed.push(Arc::new(sealed));
            return Ok(());
        }
        self.report.rebuilt_indexes += 1;
        self.forget_aborted(base_offset)?;
        self.has_markers = true;
        let segment = Segment::active(base_offset, self.lazy_file(base_offset));
        info!(file = %segment.file.path().display(), "building missing indexes anew");
        let mut activated = segment.activate_by_walk(size, self.config.index_interval_bytes)?;
        activated.indexer.index_max_timestamp(&activated.segment);
        let (sealed, index_files) = activated.segment.seal(self.storage, size)?;
        self.unsynced.extend(index_files);
        self.sealed.push(Arc::new(sealed));
        Ok(())
    }

    /// The last segment after a clean shutdown, or if that is not true, after a scan.
    fn load_active(&mut self, base_offset: i64) -> Result<Scan<S>, LogError> {
        let size = self.files.logs[&base_offset];
        if self.aborted_unknown_from.is_some() || self.is_aborted_damaged(base_offset) {
            self.forget_aborted(base_offset)?;
            self.has_markers = true;
        }
        let found = self.with_index_files(base_offset, size);
        if found.is_none() && size > 0 {
            self.forget_aborted(base_offset)?;
            self.has_markers = true;
        }
        let segment =
            found.unwrap_or_else(|| Segment::active(base_offset, self.lazy_file(base_offset)));
        match segment.activate(size, i64::MAX, self.config.index_interval_bytes) {
            Ok(activated) => Ok(Scan {
                segment: activated.segment,
                indexer: activated.indexer,
                valid_size: size,
                end_offset: activated.end_offset,
                problem: None,
            }),
            Err(LogError::Corrupt { .. }) => {
                let scanned = self.scan_segment(base_offset, &[])?;
                scanned.ok_or_else(|| {
                    LogError::corrupt(segment.file.path(), 0, "the last segment cannot be read")
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Removes what is on disk of a segment's aborted transactions: they are found anew, together
    /// with those of all segments behind.
    fn forget_aborted(&mut self, base_offset: i64) -> Result<(), LogError> {
        let from = self.aborted_unknown_from.unwrap_or(base_offset);
        self.aborted_unknown_from = Some(from.min(base_offset));
        let kind = FileKind::TransactionIndex;
        if self.files.indexes.contains_key(&(base_offset, kind)) {
            let path = self.directory.join(file_name(base_offset, kind));
            match self.storage.remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).context("remove", &path);
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Whether a segment's file of aborted transactions has a size that none can have.
    fn is_aborted_damaged(&self, base_offset: i64) -> bool {
        let size = self
            .files
            .indexes
            .get(&(base_offset, FileKind::TransactionIndex));
        size.is_some_and(|size| size % TRANSACTION_ENTRY_SIZE as u64 != 0)
    }

    /// `None` if an index file is missing or has an impossible size.
    fn with_index_files(&self, base_offset: i64, size: u64) -> Option<Segment<S>> {
        let open = |kind, entry_size: usize| {
            let bytes = usize::try_from(*self.files.indexes.get(&(base_offset, kind))?).ok()?;
            let path = self.directory.join(file_name(base_offset, kind));
            (bytes % entry_size == 0)
                .then(|| IndexFile::new(LazyFile::new(self.storage.clone(), path), bytes))
        };
        let offset_index = open(FileKind::OffsetIndex, OFFSET_ENTRY_SIZE)?;
        let time_index = open(FileKind::TimeIndex, TIME_ENTRY_SIZE)?;
        let aborted = match self.aborted_unknown_from {
            Some(_) => None,
            None => open(FileKind::TransactionIndex, TRANSACTION_ENTRY_SIZE),
        };
        Some(Segment::sealed(
            base_offset,
            self.lazy_file(base_offset),
            size,
            [offset_index, time_index],
            aborted,
        ))
    }

    fn lazy_file(&self, base_offset: i64) -> LazyFile<S> {
        LazyFile::new(
            self.storage.clone(),
            segment_path(self.directory, base_offset),
        )
    }

    fn note_epoch(&mut self, header: &BatchHeader) {
        let epoch = header.partition_leader_epoch;
        if epoch >= 0 && self.epochs.last().is_none_or(|last| last.epoch < epoch) {
            self.epochs.push(EpochEntry {
                epoch,
                start_offset: header.base_offset,
            });
        }
    }
}
