//! Decides what is left of a batch, and writes it anew when records fall out.

use std::collections::BTreeMap;

use bytes::Bytes;
use moldau_protocol::batch::{
    BatchError, BatchHeader, Compression, RecordBatch, RecordBatchBuilder, RecordRef, TimestampType,
};

use super::LastRecord;
use super::offset_map::OffsetMap;

/// What compaction keeps.
pub(super) struct Filter<'a> {
    pub(super) map: &'a OffsetMap,
    /// Records from here on are kept: the map does not know them.
    pub(super) mapped_up_to: i64,
    pub(super) last_records: &'a BTreeMap<i64, LastRecord>,
    pub(super) now_ms: i64,
    pub(super) delete_retention_ms: i64,
}

/// What is known of a batch beside its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fate {
    /// It stays even without records, so that offsets and sequence numbers stay known.
    pub(super) is_anchor: bool,
    /// Its transaction was aborted, or it is the marker of a transaction of which nothing is left.
    pub(super) is_obsolete: bool,
}

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is written as it is.
    Kept,
    /// These bytes take its place.
    Replaced(Bytes),
    /// Nothing of it is left.
    Dropped,
}

impl Filter<'_> {
    /// Whether the batch is the last one that a live producer wrote, whose sequence numbers must
    /// stay known.
    pub(super) fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        let last = self.last_records.get(&header.producer_id);
        header.has_producer()
            && last.is_some_and(|last| match last.offset {
                Some(offset) => header.last_offset() == offset,
                None => header.is_control() && header.producer_epoch == last.producer_epoch,
            })
    }

    /// What becomes of a batch.
    pub(super) fn apply(&self, batch: &RecordBatch, fate: Fate) -> Result<Outcome, BatchError> {
        let header = batch.header();
        let horizon = header.delete_horizon();
        let expired = horizon.is_some_and(|horizon| horizon <= self.now_ms);
        if header.is_control() {
            return self.apply_to_marker(batch, fate, expired);
        }
        if fate.is_obsolete {
            return self.without_records(batch, fate);
        }
        let (mut kept, mut has_tombstones) = (Vec::new(), false);
        for record in batch.records()?.borrowed() {
            let record = record?;
            let keep = self.keeps(&record, expired);
            has_tombstones |= keep && record.value.is_none();
            kept.push(keep);
        }
        if !kept.contains(&true) {
            return self.without_records(batch, fate);
        }
        if has_tombstones && horizon.is_none() {
            return rebuild(batch, &kept, Some(self.new_horizon()));
        }
        if kept.contains(&false) {
            return rebuild(batch, &kept, horizon);
        }
        Ok(Outcome::Kept)
    }

    /// A marker goes some time after the last record of its transaction, as a tombstone does.
    fn apply_to_marker(
        &self,
        batch: &RecordBatch,
        fate: Fate,
        expired: bool,
    ) -> Result<Outcome, BatchError> {
        if batch.record_count() == 0 || (fate.is_obsolete && expired) {
            return self.without_records(batch, fate);
        }
        if !fate.is_obsolete || batch.header().delete_horizon().is_some() {
            return Ok(Outcome::Kept);
        }
        let all = vec![true; usize::try_from(batch.record_count()).unwrap_or_default()];
        rebuild(batch, &all, Some(self.new_horizon()))
    }

    /// The last record of a key stays; a tombstone only until its time is over.
    fn keeps(&self, record: &RecordRef<'_>, expired: bool) -> bool {
        if record.offset >= self.mapped_up_to {
            return true;
        }
        let Some(key) = record.key else {
            return false; // nothing can ever replace it, and no reader of the topic's state wants it
        };
        let superseded = self
            .map
            .last_offset(key)
            .is_some_and(|last| last > record.offset);
        !superseded && (record.value.is_some() || !expired)
    }

    fn without_records(&self, batch: &RecordBatch, fate: Fate) -> Result<Outcome, BatchError> {
        Ok(match (fate.is_anchor, batch.record_count()) {
            (false, _) => Outcome::Dropped,
            (true, 0) => Outcome::Kept,
            (true, _) => Outcome::Replaced(emptied(batch.header())),
        })
    }

    const fn new_horizon(&self) -> i64 {
        self.now_ms.saturating_add(self.delete_retention_ms)
    }
}

/// The batch with the records for which `kept` says so, at their offsets; base and last offset stay.
fn rebuild(
    batch: &RecordBatch,
    kept: &[bool],
    horizon: Option<i64>,
) -> Result<Outcome, BatchError> {
    let header = batch.header();
    let mut builder = RecordBatchBuilder::new(batch.compression()?)
        .base_offset(header.base_offset)
        .leader_epoch(header.partition_leader_epoch)
        .producer(
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        )
        .transactional(header.is_transactional())
        .control(header.is_control());
    if header.timestamp_type() == TimestampType::LogAppendTime {
        builder = builder.log_append_time(header.max_timestamp);
    }
    if let Some(horizon) = horizon {
        builder = builder.delete_horizon(horizon);
    }
    for (record, _) in batch.records()?.zip(kept).filter(|(_, kept)| **kept) {
        let record = record?;
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.append_at(record.offset, record.timestamp, key, value, &record.headers)?;
    }
    builder.extend_to(header.last_offset());
    Ok(Outcome::Replaced(builder.build()))
}

/// The batch's header alone, with its offsets, sequence numbers and largest timestamp.
fn emptied(header: &BatchHeader) -> Bytes {
    let mut batch = RecordBatchBuilder::new(Compression::None)
        .base_offset(header.base_offset)
        .leader_epoch(header.partition_leader_epoch)
        .producer(
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        )
        .transactional(header.is_transactional())
        .control(header.is_control())
        .timestamp_type(header.timestamp_type())
        .max_timestamp(header.max_timestamp);
    batch.extend_to(header.last_offset());
    batch.build()
}
