//! Takes offsets back: after a change of leader, or after an append that failed half way.

use std::sync::Arc;

use super::{Active, DeletedFile, Log, segment_path};
use crate::error::{IoContext, LogError};
use crate::leader_epochs::LeaderEpochs;
use crate::names::{DELETED_SUFFIX, FileKind, file_name};
use crate::producer_snapshot;
use crate::segment::{LazyFile, Segment};
use crate::storage::{Storage, StorageFile};

impl<S: Storage> Log<S> {
    /// Removes all batches that end at or after `offset`; the log ends at most there then.
    ///
    /// A batch that holds `offset` in its middle goes as a whole. Waits for the disk. The
    /// recovery point falls: write its checkpoint before the next append.
    ///
    /// # Errors
    /// [`LogError::Failed`]: the disk refused, now or earlier.
    pub fn truncate_to(&mut self, offset: i64) -> Result<(), LogError> {
        self.shared.check()?;
        if offset >= self.log_end_offset {
            return Ok(());
        }
        if offset < self.segments[0].base_offset {
            return self.reset_to(offset);
        }
        self.cut_to(offset)
    }

    /// Removes everything and lets the log begin, empty, at `offset`. Waits for the disk.
    ///
    /// The recovery point moves there: write its checkpoint before the next append.
    ///
    /// # Errors
    /// [`LogError::Failed`]: the disk refused, now or earlier.
    pub fn reset_to(&mut self, offset: i64) -> Result<(), LogError> {
        self.shared.check()?;
        self.or_fail("truncate", |log| log.reset(offset))
    }

    /// Removes all batches that end at or after `offset`, and the segments behind it.
    pub(super) fn cut_to(&mut self, offset: i64) -> Result<(), LogError> {
        self.or_fail("truncate", |log| log.cut(offset))
    }

    /// A change that stops half way leaves the log in a state that only a restart puts right.
    pub(super) fn or_fail(
        &mut self,
        action: &'static str,
        change: impl FnOnce(&mut Self) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        change(self).map_err(|error| match error {
            LogError::Failed { .. } => error,
            error => self
                .shared
                .fail(action, &self.directory, std::io::Error::other(error)),
        })
    }

    fn cut(&mut self, offset: i64) -> Result<(), LogError> {
        let shared = Arc::clone(&self.shared);
        let locked = shared.sync.lock_progress();
        let keep = self
            .segments
            .partition_point(|segment| segment.base_offset <= offset)
            .max(1);
        let mut size = if keep == self.segments.len() {
            self.active.size
        } else {
            self.segments[keep - 1].sealed_size
        };
        while self.segments.len() > keep {
            let base_offset = self.segments[self.segments.len() - 1].base_offset;
            self.delete_files(base_offset, i64::MIN)?;
            self.segments.pop();
        }
        // Otherwise a crash could leave a gap before a segment that was to go.
        self.storage
            .sync_directory(&self.directory)
            .context("sync directory", &self.directory)?;
        let segment = Arc::clone(self.active_segment());
        let mut end_offset = offset;
        if let Some(batch) = segment.batch_at_or_after(offset, size)? {
            size = batch.position;
            end_offset = offset.min(batch.header.base_offset);
        }
        let (file, path) = (segment.file.get()?, segment.file.path());
        file.set_size(size).context("cut", path)?;
        file.sync().context("sync", path)?;
        let activated = segment.activate(size, end_offset, self.config.index_interval_bytes)?;
        self.remove_aborted(segment.base_offset)?;
        let last = self.segments.len() - 1;
        self.segments[last] = Arc::new(activated.segment);
        self.active = Active {
            size,
            indexer: activated.indexer,
        };
        self.end_at(end_offset)?;
        shared.sync.truncate(end_offset, &locked);
        Ok(())
    }

    /// Removes the file of a segment that is active again: its aborted transactions are in memory,
    /// and a file with too many of them must not outlive that.
    fn remove_aborted(&self, base_offset: i64) -> Result<(), LogError> {
        let name = file_name(base_offset, FileKind::TransactionIndex);
        let path = self.directory.join(name);
        match self.storage.remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("remove", &path)
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn reset(&mut self, offset: i64) -> Result<(), LogError> {
        let shared = Arc::clone(&self.shared);
        let mut locked = shared.sync.lock_progress();
        while let Some(segment) = self.segments.last() {
            let base_offset = segment.base_offset;
            self.delete_files(base_offset, i64::MIN)?;
            self.segments.pop();
        }
        let path = segment_path(&self.directory, offset);
        let file = self.storage.create(&path).context("create", &path)?;
        self.storage
            .sync_directory(&self.directory)
            .context("sync directory", &self.directory)?;
        let file = LazyFile::opened(self.storage.clone(), path, file);
        self.segments.push(Arc::new(Segment::active(offset, file)));
        self.active = Active {
            size: 0,
            indexer: crate::segment::Indexer::new(self.config.index_interval_bytes),
        };
        self.log_start_offset = offset;
        self.epochs = Arc::new(LeaderEpochs::default());
        self.end_at(offset)?;
        shared.sync.reset(offset, &mut locked);
        Ok(())
    }

    /// Brings everything beside the segments in line with a new log end offset.
    fn end_at(&mut self, end_offset: i64) -> Result<(), LogError> {
        self.log_end_offset = end_offset;
        self.log_start_offset = self.log_start_offset.min(end_offset);
        self.sealed_bytes = self
            .segments
            .iter()
            .map(|segment| segment.sealed_size)
            .sum();
        if self
            .epochs
            .latest()
            .is_some_and(|latest| latest.start_offset >= end_offset)
        {
            Arc::make_mut(&mut self.epochs).truncate_from_end(end_offset);
        }
        producer_snapshot::remove_above(&self.storage, &self.directory, end_offset)?;
        self.publish_segments();
        self.publish();
        Ok(())
    }

    /// Gives the files of a segment the suffix `.deleted`, the log first.
    ///
    /// Readers that hold an open file go on; one that comes later finds the offset out of range.
    pub(super) fn delete_files(
        &mut self,
        base_offset: i64,
        removable_at_ms: i64,
    ) -> Result<(), LogError> {
        for kind in FileKind::OF_SEGMENT {
            let name = file_name(base_offset, kind);
            let from = self.directory.join(&name);
            let to = self.directory.join(name + DELETED_SUFFIX);
            match self.storage.rename(&from, &to) {
                Ok(()) => self.deleted_files.push(DeletedFile {
                    path: to,
                    removable_at_ms,
                }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).context("rename", &from),
            }
        }
        Ok(())
    }
}
