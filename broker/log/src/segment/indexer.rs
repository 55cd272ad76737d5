//! Decides which batches get index entries.

use moldau_protocol::batch::BatchHeader;

use super::Segment;
use crate::index::{OffsetEntry, TimeEntry};
use crate::storage::Storage;

/// Decides which batches of the active segment get index entries, and keeps its largest timestamp.
#[derive(Clone, Debug)]
pub(crate) struct Indexer {
    interval_bytes: u64,
    bytes_since_entry: u64,
    /// The largest timestamp so far; `None` while there is none above -1.
    pub(crate) max_timestamp: Option<TimeEntry>,
    /// The largest timestamp of the first batch, from which `segment.ms` counts.
    pub(crate) first_timestamp: Option<i64>,
    /// The largest timestamp that the time index has.
    indexed_timestamp: Option<i64>,
}

impl Indexer {
    /// For a segment without batches.
    pub(crate) fn new(interval_bytes: u32) -> Self {
        Self::resume(interval_bytes, None, None)
    }

    /// For a segment whose indexes are complete up to the batch of the last offset entry,
    /// exclusive.
    pub(crate) fn resume(
        interval_bytes: u32,
        max_timestamp: Option<TimeEntry>,
        first_timestamp: Option<i64>,
    ) -> Self {
        Self {
            interval_bytes: interval_bytes.into(),
            bytes_since_entry: 0,
            max_timestamp,
            first_timestamp,
            indexed_timestamp: max_timestamp.map(|entry| entry.timestamp),
        }
    }

    /// Notes a batch that was appended at `position`.
    pub(crate) fn note<S: Storage>(
        &mut self,
        segment: &Segment<S>,
        header: &BatchHeader,
        position: u64,
    ) {
        self.first_timestamp.get_or_insert(header.max_timestamp);
        let largest = self
            .max_timestamp
            .map_or(NO_TIMESTAMP, |entry| entry.timestamp);
        // A batch that compaction left without records has no record with its largest timestamp.
        if header.max_timestamp > largest && header.record_count > 0 {
            self.max_timestamp = Some(TimeEntry {
                timestamp: header.max_timestamp,
                offset: header.last_offset(),
            });
        }
        if self.bytes_since_entry > self.interval_bytes {
            segment.offset_index.push(OffsetEntry {
                offset: header.last_offset(),
                position,
            });
            self.index_max_timestamp(segment);
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += header.size_in_bytes() as u64;
    }

    /// Brings the largest timestamp into the time index, if it is not there yet.
    pub(crate) fn index_max_timestamp<S: Storage>(&mut self, segment: &Segment<S>) {
        if let Some(entry) = self.max_timestamp
            && self
                .indexed_timestamp
                .is_none_or(|indexed| entry.timestamp > indexed)
        {
            segment.time_index.push(entry);
            self.indexed_timestamp = Some(entry.timestamp);
        }
    }

    pub(crate) const fn set_interval(&mut self, interval_bytes: u32) {
        self.interval_bytes = interval_bytes as u64;
    }
}

const NO_TIMESTAMP: i64 = -1;
