//! Brings a failed log back to work without a restart.
//!
//! After a failed write or sync nothing is known of what lies above the durable offset: the kernel
//! may show bytes that are not on the disk, and may never write them, as it takes them for clean.
//! So those segments are copied to new files, which are synced and take the place of the old ones;
//! then the log is opened anew, as after a crash.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::info;

use super::{Log, LogStart, OnCorruption, RecoveryObserver, RecoveryReport};
use crate::error::{IoContext, LogError};
use crate::storage::{Storage, StorageFile, TEMPORARY_SUFFIX, read_up_to, write_all_vectored};

impl<S: Storage> Log<S> {
    /// Brings a failed log back to work, if the disk allows; a log that did not fail is left alone.
    ///
    /// Nothing that was appended is lost by that. Handles and readers stay valid. The observer is
    /// told of the batches as in [`Log::open`]. Waits for the disk.
    ///
    /// # Errors
    /// The disk still refuses, or has lost what was appended: the log stays failed.
    pub fn revive(
        &mut self,
        observer: &mut dyn RecoveryObserver,
    ) -> Result<Option<RecoveryReport>, LogError> {
        if self.shared.failure().is_none() {
            return Ok(None);
        }
        let shared = Arc::clone(&self.shared);
        let mut progress = shared.sync.lock_progress();
        let durable_offset = shared.sync.durable_offset();
        self.rewrite_from(durable_offset)?;
        let start = LogStart {
            topic_id: self.topic_id,
            clean_shutdown: false,
            recovery_point: durable_offset,
            log_start_offset: self.log_start_offset,
            on_corruption: OnCorruption::Refuse,
        };
        let (storage, directory) = (self.storage.clone(), self.directory.clone());
        let (fresh, report) =
            Self::open(storage, directory, self.config.clone(), &start, observer)?;
        let (found, expected) = (fresh.log_end_offset, self.log_end_offset);
        if found != expected {
            let reason = format!(
                "the log ends at {found} instead of {expected}: restart to go on without the rest"
            );
            return Err(LogError::corrupt(&self.directory, 0, reason));
        }
        // What a look at the directory found must be all that this log goes by from now on.
        self.segments = fresh.segments;
        self.active = fresh.active;
        self.sealed_bytes = fresh.sealed_bytes;
        self.log_start_offset = fresh.log_start_offset;
        self.epochs = fresh.epochs;
        self.deleted_files.clear();
        self.publish_segments();
        shared.sync.take_over(&fresh.shared.sync, &mut progress);
        fresh.shared.close();
        self.publish();
        shared.revive();
        info!(log = %self.directory.display(), log_end_offset = expected, "log takes appends again");
        Ok(Some(report))
    }

    /// Copies every segment that ends above `offset` to a new file, and the active one if a failed
    /// write left more in it than was appended.
    fn rewrite_from(&self, offset: i64) -> Result<(), LogError> {
        let snapshot = self.current_snapshot();
        for (index, segment) in self.segments.iter().enumerate() {
            let (path, size) = (segment.file.path(), snapshot.segment_size(index));
            let found = self.storage.open(path).and_then(|file| file.size());
            let is_longer = found.context("open", path)? != size;
            if is_longer || snapshot.segment_end_offset(index) > offset {
                self.rewrite(path, size)?;
            }
        }
        self.storage
            .sync_directory(&self.directory)
            .context("sync directory", &self.directory)
    }

    fn rewrite(&self, path: &Path, size: u64) -> Result<(), LogError> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(TEMPORARY_SUFFIX);
        let temporary = PathBuf::from(temporary);
        let from = self.storage.open(path).context("open", path)?;
        let to = self
            .storage
            .create(&temporary)
            .context("create", &temporary)?;
        let (mut position, mut buffer) = (0, vec![0; COPY_SIZE]);
        while position < size {
            let wanted =
                usize::try_from(size - position).map_or(COPY_SIZE, |left| left.min(COPY_SIZE));
            let read = read_up_to(&from, &mut buffer[..wanted], position).context("read", path)?;
            if read < wanted {
                let reason = format!("only {} of {size} bytes are there", position + read as u64);
                return Err(LogError::corrupt(path, position, reason));
            }
            write_all_vectored(&to, &mut [IoSlice::new(&buffer[..read])])
                .context("write", &temporary)?;
            position += read as u64;
        }
        to.sync().context("sync", &temporary)?;
        self.storage
            .rename(&temporary, path)
            .context("rename", &temporary)
    }
}

/// How much is copied at once.
const COPY_SIZE: usize = 256 * 1024;
