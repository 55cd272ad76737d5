//! How dirty a log is, and up to where it may be compacted.

use crate::error::LogError;
use crate::snapshot::{LogReader, LogSnapshot};
use crate::storage::Storage;

/// What decides up to where a log may be compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanableRequest {
    /// Where the last compaction ended; the log start offset if that lies outside the log.
    pub first_dirty_offset: i64,
    /// Nothing at or above is touched: the high watermark, or the last stable offset if that is
    /// lower.
    ///
    /// If markers of transactions led to it, the log must be synced before the compaction begins:
    /// a crash must not take back a marker for whose sake older records fell out.
    pub up_to_offset: i64,
    /// `min.compaction.lag.ms`: younger records are not touched.
    pub min_lag_ms: i64,
    /// `max.compaction.lag.ms`: a log with an older dirty record is compacted however clean it is.
    pub max_lag_ms: i64,
    /// The time now, in milliseconds.
    pub now_ms: i64,
}

/// What of a log can be compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanable {
    /// First offset that was not compacted yet.
    pub first_dirty_offset: i64,
    /// First offset that stays as it is: where a segment begins.
    ///
    /// Exclusive end of the dirty section; not below the first dirty offset.
    pub first_uncleanable_offset: i64,
    /// Bytes of the segments that were compacted before.
    pub clean_bytes: u64,
    /// Bytes of the segments that can be compacted for the first time.
    pub dirty_bytes: u64,
    /// How long ago the oldest dirty record should have been compacted, in milliseconds; zero if
    /// its time is not over.
    pub overdue_ms: i64,
}

impl Cleanable {
    /// Share of the bytes that were never compacted: 0 to 1.
    #[must_use]
    pub fn dirty_ratio(&self) -> f64 {
        let total = self.clean_bytes + self.dirty_bytes;
        if total == 0 {
            return 0.0;
        }
        self.dirty_bytes as f64 / total as f64
    }

    /// Whether a compaction is worth its while: `min.cleanable.dirty.ratio` is passed, or
    /// `max.compaction.lag.ms`.
    #[must_use]
    pub fn is_due(&self, min_dirty_ratio: f64) -> bool {
        self.dirty_bytes > 0 && (self.overdue_ms > 0 || self.dirty_ratio() > min_dirty_ratio)
    }
}

impl<S: Storage> LogReader<S> {
    /// What of the log can be compacted now: whole sealed segments that are on the disk.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn cleanable(&self, request: &CleanableRequest) -> Result<Cleanable, LogError> {
        // A record must not fall out for the sake of one that a crash may take back.
        let up_to_offset = request.up_to_offset.min(self.durable_offset());
        let request = CleanableRequest {
            up_to_offset,
            ..*request
        };
        self.snapshot().cleanable(&request)
    }
}

impl<S: Storage> LogSnapshot<S> {
    fn cleanable(&self, request: &CleanableRequest) -> Result<Cleanable, LogError> {
        let within = self.log_start_offset..=self.log_end_offset;
        let first_dirty_offset = if within.contains(&request.first_dirty_offset) {
            request.first_dirty_offset
        } else {
            self.log_start_offset
        };
        let uncleanable = self.first_uncleanable_segment(first_dirty_offset, request)?;
        let first_uncleanable_offset = self.segments[uncleanable].base_offset;
        let (mut clean_bytes, mut dirty_bytes) = (0, 0);
        for index in 0..uncleanable {
            if self.segment_end_offset(index) <= first_dirty_offset {
                clean_bytes += self.segment_size(index);
            } else {
                dirty_bytes += self.segment_size(index);
            }
        }
        Ok(Cleanable {
            first_dirty_offset,
            first_uncleanable_offset: first_uncleanable_offset.max(first_dirty_offset),
            clean_bytes,
            dirty_bytes,
            overdue_ms: self.overdue_ms(first_dirty_offset, request)?,
        })
    }

    /// The active segment, or an earlier one that is too young or not all committed.
    fn first_uncleanable_segment(
        &self,
        first_dirty_offset: i64,
        request: &CleanableRequest,
    ) -> Result<usize, LogError> {
        let active = self.segments.len() - 1;
        let youngest = request.now_ms.saturating_sub(request.min_lag_ms.max(0));
        for index in 0..active {
            let end_offset = self.segment_end_offset(index);
            if end_offset > request.up_to_offset {
                return Ok(index);
            }
            if request.min_lag_ms > 0 && end_offset > first_dirty_offset {
                let largest = self.segment_max_timestamp(index)?;
                if largest.is_some_and(|largest| largest.timestamp > youngest) {
                    return Ok(index);
                }
            }
        }
        Ok(active)
    }

    fn overdue_ms(
        &self,
        first_dirty_offset: i64,
        request: &CleanableRequest,
    ) -> Result<i64, LogError> {
        if request.max_lag_ms == i64::MAX {
            return Ok(0);
        }
        let mut oldest = i64::MAX;
        for index in 0..self.segments.len() - 1 {
            if self.segment_end_offset(index) <= first_dirty_offset {
                continue;
            }
            let first = self.segments[index]
                .walk(0, self.segment_size(index))?
                .next()?;
            let timestamp = first.map(|batch| batch.header.max_timestamp);
            oldest = oldest.min(
                timestamp
                    .filter(|timestamp| *timestamp > 0)
                    .unwrap_or(i64::MAX),
            );
        }
        let latest = request.now_ms.saturating_sub(request.max_lag_ms.max(0));
        Ok(latest.saturating_sub(oldest).max(0))
    }
}
