//! Look-ups by timestamp, exact to the record.

use moldau_protocol::batch::{Record, RecordBatch};

use crate::error::LogError;
use crate::segment::BatchAt;
use crate::snapshot::LogSnapshot;
use crate::storage::Storage;

/// A record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// In milliseconds.
    pub timestamp: i64,
    /// The record's offset.
    pub offset: i64,
    /// Epoch of the leader that wrote it, or -1.
    pub leader_epoch: i32,
}

impl<S: Storage> LogSnapshot<S> {
    /// The first record below `up_to_offset` whose timestamp is at or after `timestamp`.
    ///
    /// Only the batch that holds the record is decoded.
    ///
    /// # Errors
    /// A file cannot be read, or the batch cannot be decoded.
    pub fn offset_for_timestamp(
        &self,
        timestamp: i64,
        up_to_offset: i64,
    ) -> Result<Option<TimestampOffset>, LogError> {
        let up_to = up_to_offset.min(self.log_end_offset);
        for index in 0..self.segments.len() {
            if self.segment_end_offset(index) <= self.log_start_offset {
                continue;
            }
            if self.segments[index].base_offset >= up_to {
                return Ok(None);
            }
            match self.search_segment(index, timestamp, up_to) {
                Ok(Some(found)) => return Ok((found.offset < up_to).then_some(found)),
                Ok(None) => {}
                Err(error) if error.is_not_found() => {} // deleted meanwhile
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp, the first one if there are several.
    ///
    /// # Errors
    /// A file cannot be read, or the batch cannot be decoded.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>, LogError> {
        let mut largest = None;
        for index in 0..self.segments.len() {
            if self.segment_end_offset(index) <= self.log_start_offset {
                continue;
            }
            match self.largest_timestamp(index) {
                Ok(candidate) => largest = largest.max(candidate),
                Err(error) if error.is_not_found() => {} // deleted meanwhile
                Err(error) => return Err(error),
            }
        }
        match largest {
            Some(timestamp) => self.offset_for_timestamp(timestamp, i64::MAX),
            None => Ok(None),
        }
    }

    /// The largest timestamp of the records of a segment that can be read.
    fn largest_timestamp(&self, index: usize) -> Result<Option<i64>, LogError> {
        let segment = &self.segments[index];
        if segment.base_offset >= self.log_start_offset {
            let largest = self.segment_max_timestamp(index)?;
            return Ok(largest.map(|entry| entry.timestamp));
        }
        // What the index says may belong to a record below the log start offset.
        let (mut largest, size) = (None, self.segment_size(index));
        let first = segment.batch_at_or_after(self.log_start_offset, size)?;
        let mut walk = segment.walk(first.map_or(size, |first| first.position), size)?;
        while let Some(batch) = walk.next()? {
            let candidate = if batch.header.base_offset >= self.log_start_offset {
                Some(batch.header.max_timestamp)
            } else {
                let records = self.records(index, &batch)?.into_iter();
                let readable = records.filter(|record| record.offset >= self.log_start_offset);
                readable.map(|record| record.timestamp).max()
            };
            largest = largest.max(candidate);
        }
        Ok(largest)
    }

    fn search_segment(
        &self,
        index: usize,
        timestamp: i64,
        up_to: i64,
    ) -> Result<Option<TimestampOffset>, LogError> {
        let largest = self.segment_max_timestamp(index)?;
        if largest.is_none_or(|largest| largest.timestamp < timestamp) {
            return Ok(None);
        }
        let segment = &self.segments[index];
        // The entry's batch has a timestamp at or below the wanted one, all before it have
        // smaller ones.
        let floor = segment.usable(segment.time_index.floor_of_timestamp(timestamp));
        let from = floor
            .map_or(segment.base_offset, |entry| entry.offset)
            .max(self.log_start_offset);
        let size = self.segment_size(index);
        let Some(first) = segment.batch_at_or_after(from, size)? else {
            return Ok(None);
        };
        let mut walk = segment.walk(first.position, size)?;
        while let Some(batch) = walk.next()? {
            if batch.header.base_offset >= up_to {
                return Ok(None);
            }
            if batch.header.max_timestamp < timestamp {
                continue;
            }
            if let Some(found) = self.search_batch(index, &batch, timestamp)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn search_batch(
        &self,
        index: usize,
        batch: &BatchAt,
        timestamp: i64,
    ) -> Result<Option<TimestampOffset>, LogError> {
        let mut records = self.records(index, batch)?.into_iter();
        let found = records
            .find(|record| record.timestamp >= timestamp && record.offset >= self.log_start_offset);
        Ok(found.map(|record| TimestampOffset {
            timestamp: record.timestamp,
            offset: record.offset,
            leader_epoch: batch.header.partition_leader_epoch,
        }))
    }

    /// The records of a batch, decoded.
    fn records(&self, index: usize, batch: &BatchAt) -> Result<Vec<Record>, LogError> {
        let file = &self.segments[index].file;
        let bytes = batch.read(file.get()?, file.path())?;
        let records = RecordBatch::parse(bytes).and_then(|batch| batch.records()?.collect());
        records.map_err(|error| LogError::corrupt(file.path(), batch.position, error.to_string()))
    }
}
