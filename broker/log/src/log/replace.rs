//! Puts compacted segments in the place of those that they were made of.

use std::io;
use std::sync::Arc;

use tracing::debug;

use super::Log;
use crate::compact::CleanedSegment;
use crate::error::LogError;
use crate::segment::Segment;
use crate::storage::Storage;

impl<S: Storage> Log<S> {
    /// Puts a compacted segment in place; false if the segments that it was made of are no longer
    /// there, because they were deleted meanwhile. Waits for the disk.
    ///
    /// Readers of older snapshots go on with the files that they knew.
    ///
    /// # Errors
    /// - [`LogError::DiskFull`], [`LogError::Io`]: nothing has changed
    /// - [`LogError::Failed`]: the disk refused half way; a restart completes the replacement
    pub fn replace_segments(
        &mut self,
        cleaned: CleanedSegment<S>,
        now_ms: i64,
    ) -> Result<bool, LogError> {
        self.shared.check()?;
        let Some(at) = self.place_of(&cleaned.replaced) else {
            return Ok(false);
        };
        // A file that is opened by its name later would be the new one.
        for segment in &cleaned.replaced {
            segment.hold_open()?;
        }
        let CleanedSegment {
            replaced,
            segment,
            mut files,
        } = cleaned;
        if let Err((error, may_count)) = files.commit() {
            return Err(if may_count {
                self.shared.fail(
                    "replace segments of",
                    &self.directory,
                    io::Error::other(error),
                )
            } else {
                error
            });
        }
        let removable_at_ms = now_ms.saturating_add(self.config.file_delete_delay_ms);
        self.or_fail("replace segments of", |log| {
            for old in &replaced {
                log.delete_files(old.base_offset, removable_at_ms)?;
            }
            files.put_in_place()
        })?;
        let before: u64 = replaced.iter().map(|old| old.sealed_size).sum();
        debug!(log = %self.directory.display(), base_offset = segment.base_offset, segments = replaced.len(),
            bytes_before = before, bytes_after = segment.sealed_size, "replaced segments");
        self.sealed_bytes = self.sealed_bytes - before + segment.sealed_size;
        self.segments
            .splice(at..at + replaced.len(), [Arc::new(segment)]);
        self.shared.sync.add_directory(self.directory.clone());
        self.publish_segments();
        self.publish();
        Ok(true)
    }

    /// The index of the first of these segments, if all are there and sealed.
    fn place_of(&self, wanted: &[Arc<Segment<S>>]) -> Option<usize> {
        let base_offset = wanted.first()?.base_offset;
        let at = self
            .segments
            .binary_search_by_key(&base_offset, |segment| segment.base_offset)
            .ok()?;
        let sealed = &self.segments[..self.segments.len() - 1];
        let found = sealed.get(at..at + wanted.len())?;
        let same = |(found, wanted): (&Arc<_>, &Arc<_>)| Arc::ptr_eq(found, wanted);
        found.iter().zip(wanted).all(same).then_some(at)
    }
}
