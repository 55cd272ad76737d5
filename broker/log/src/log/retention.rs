//! Deletes what is too old, too much, or below the log start offset.

use std::io;
use std::sync::Arc;

use tracing::info;

use super::Log;
use crate::error::{IoContext, LogError};
use crate::index::TimeEntry;
use crate::producer_snapshot;
use crate::storage::Storage;

/// What retention did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// How many segments were deleted.
    pub deleted_segments: usize,
    /// How many bytes they had, without indexes.
    pub deleted_bytes: u64,
    /// First offset that can be read now.
    pub log_start_offset: i64,
    /// Base offset of a segment that was begun because the active one was deleted as well.
    pub rolled_at: Option<i64>,
}

impl<S: Storage> Log<S> {
    /// Lets the log begin at `offset` (DeleteRecords); segments below go with the next retention.
    ///
    /// The caller sees to it that `offset` is not above the high watermark, and writes the
    /// checkpoint of log start offsets. An offset below the log start offset changes nothing.
    ///
    /// # Errors
    /// [`LogError::OffsetOutOfRange`]: the log ends before `offset`.
    pub fn advance_log_start(&mut self, offset: i64) -> Result<(), LogError> {
        if offset > self.log_end_offset {
            let (log_start_offset, log_end_offset) = (self.log_start_offset, self.log_end_offset);
            return Err(LogError::OffsetOutOfRange {
                offset,
                log_start_offset,
                log_end_offset,
            });
        }
        if offset > self.log_start_offset {
            self.start_at(offset);
            self.publish();
        }
        Ok(())
    }

    /// Whether [`Log::apply_retention`] would delete something now. What the deleted batches say of
    /// their producers is gone then, so a durable producer snapshot at the log end comes first.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn has_deletable(&self, now_ms: i64, high_watermark: i64) -> Result<bool, LogError> {
        Ok(self.count_deletable(now_ms, high_watermark)? > 0)
    }

    /// Deletes the oldest segments as the settings ask for, none of which ends above
    /// `high_watermark`.
    ///
    /// Their files get the suffix `.deleted`; [`Log::remove_deleted`] removes them later.
    ///
    /// # Errors
    /// The file system refuses; segments that were deleted before that stay deleted.
    pub fn apply_retention(
        &mut self,
        now_ms: i64,
        high_watermark: i64,
    ) -> Result<Retention, LogError> {
        self.shared.check()?;
        let count = self.count_deletable(now_ms, high_watermark)?;
        let mut retention = Retention {
            log_start_offset: self.log_start_offset,
            ..Retention::default()
        };
        if count == 0 {
            return Ok(retention);
        }
        if count == self.segments.len() {
            self.roll_to(self.log_end_offset)?;
            retention.rolled_at = Some(self.log_end_offset);
        }
        let removable_at_ms = now_ms.saturating_add(self.config.file_delete_delay_ms);
        let deleted = self.delete_oldest(count, removable_at_ms, &mut retention);
        let first_offset = self.segments[0].base_offset;
        if first_offset > self.log_start_offset {
            self.start_at(first_offset);
        }
        retention.log_start_offset = self.log_start_offset;
        self.publish_segments();
        self.publish();
        deleted.and_then(|()| self.prune_producer_snapshots(first_offset))?;
        let Retention {
            deleted_segments,
            deleted_bytes,
            log_start_offset,
            ..
        } = retention;
        info!(log = %self.directory.display(), deleted_segments, deleted_bytes, log_start_offset, "deleted segments");
        Ok(retention)
    }

    /// Removes the files that were deleted at least `file.delete.delay.ms` ago; returns how many.
    ///
    /// # Errors
    /// The file system refuses; the other files are removed another time.
    pub fn remove_deleted(&mut self, now_ms: i64) -> Result<usize, LogError> {
        let mut removed = 0;
        while let Some(index) = self
            .deleted_files
            .iter()
            .position(|file| file.removable_at_ms <= now_ms)
        {
            let path = self.deleted_files.swap_remove(index).path;
            match self.storage.remove_file(&path) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // replaced by a later one of that name
                Err(error) => return Err(error).context("remove", &path),
            }
        }
        Ok(removed)
    }

    /// How many of the oldest segments may go.
    fn count_deletable(&self, now_ms: i64, high_watermark: i64) -> Result<usize, LogError> {
        let snapshot = self.current_snapshot();
        let mut excess = match u64::try_from(self.config.retention_bytes) {
            Ok(kept) => self.size_in_bytes().saturating_sub(kept),
            Err(_) => 0, // -1 keeps all
        };
        for index in 0..self.segments.len() {
            let (size, end_offset) = (
                snapshot.segment_size(index),
                snapshot.segment_end_offset(index),
            );
            let is_empty_active = size == 0 && index + 1 == self.segments.len();
            if is_empty_active || end_offset > high_watermark {
                return Ok(index);
            }
            let too_much = excess > 0 && excess >= size;
            if end_offset <= self.log_start_offset
                || too_much
                || self.is_too_old(snapshot.segment_max_timestamp(index)?, now_ms)
            {
                excess = excess.saturating_sub(size);
            } else {
                return Ok(index);
            }
        }
        Ok(self.segments.len())
    }

    /// A segment without any timestamp is kept, as its age is unknown.
    fn is_too_old(&self, largest: Option<TimeEntry>, now_ms: i64) -> bool {
        let retention_ms = self.config.retention_ms;
        retention_ms >= 0
            && largest
                .is_some_and(|largest| now_ms.saturating_sub(largest.timestamp) > retention_ms)
    }

    fn delete_oldest(
        &mut self,
        count: usize,
        removable_at_ms: i64,
        retention: &mut Retention,
    ) -> Result<(), LogError> {
        for _ in 0..count {
            let (base_offset, size) = (self.segments[0].base_offset, self.segments[0].sealed_size);
            self.delete_files(base_offset, removable_at_ms)?;
            self.segments.remove(0);
            self.sealed_bytes -= size;
            retention.deleted_segments += 1;
            retention.deleted_bytes += size;
        }
        self.shared.sync.add_directory(self.directory.clone());
        Ok(())
    }

    fn start_at(&mut self, offset: i64) {
        self.log_start_offset = offset;
        if self
            .epochs
            .entries()
            .first()
            .is_some_and(|first| first.start_offset < offset)
        {
            Arc::make_mut(&mut self.epochs).truncate_from_start(offset);
        }
    }

    /// Removes snapshots below the first segment, apart from the newest one.
    fn prune_producer_snapshots(&self, first_offset: i64) -> Result<(), LogError> {
        let newest = producer_snapshot::list(&self.storage, &self.directory)?
            .last()
            .copied();
        producer_snapshot::remove_where(&self.storage, &self.directory, |offset| {
            offset < first_offset && Some(offset) != newest
        })
        .map(|_| ())
    }
}
