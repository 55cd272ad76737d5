//! Producers as the log's `.snapshot` file holds them.
//!
//! The log writes the file with its version and checksum; here the entries are filled and read.
//! The format has room for one batch in an entry, so a producer has an entry for each batch that is
//! kept, the newest last: all five are known again after a restart. Kafka, which writes one entry,
//! takes the last of several.

use moldau_protocol::records::producer_snapshot::{
    ProducerEntry as SnapshotEntry, ProducerSnapshot,
};

use super::entry::{KeptBatch, KeptBatches, ProducerEntry};
use super::{NO_SEQUENCE, ProducerStates};
use crate::ids::{Offset, ProducerEpoch, ProducerId};

impl ProducerStates {
    /// The content of a snapshot file; its checksum is left to the log.
    #[must_use]
    pub fn to_snapshot(&self) -> ProducerSnapshot {
        let producer_entries = self
            .producers
            .iter()
            .flat_map(|(id, entry)| snapshot_entries(*id, entry))
            .collect();
        ProducerSnapshot {
            producer_entries,
            ..ProducerSnapshot::default()
        }
    }

    /// The producers of a snapshot file. They count as heard of now, since the clock of the one
    /// who wrote the file is not known.
    #[must_use]
    pub fn from_snapshot(snapshot: &ProducerSnapshot, now_ms: i64) -> Self {
        let mut states = Self::default();
        for entry in &snapshot.producer_entries {
            let producer_id = ProducerId(entry.producer_id);
            let mut read = producer_entry(entry, now_ms);
            let earlier = states.producers.get(&producer_id);
            if let Some(earlier) = earlier.filter(|earlier| earlier.epoch == read.epoch) {
                let last = std::mem::replace(&mut read.batches, earlier.batches);
                last.as_slice()
                    .iter()
                    .for_each(|batch| read.batches.push(*batch));
            }
            states.put(producer_id, Some(read));
        }
        states
    }

    /// Takes from a snapshot file what is older than the log, from whose first batch on these states were found:
    /// producers without a batch in the log, and the earlier ones of the batches that are kept of the others.
    pub fn add_older(&mut self, snapshot: &ProducerSnapshot, now_ms: i64) {
        for (id, entry) in Self::from_snapshot(snapshot, now_ms).producers {
            let Some(known) = self.producers.get_mut(&id) else {
                self.put(id, Some(entry));
                continue;
            };
            if known.epoch != entry.epoch {
                continue;
            }
            let kept = known.batches.as_slice();
            let first = kept.first().map(|batch| batch.last_offset);
            let older = entry.batches.as_slice().iter();
            let older = older.filter(|batch| first.is_none_or(|first| batch.last_offset < first));
            let mut batches = KeptBatches::EMPTY;
            older.chain(kept).for_each(|batch| batches.push(*batch));
            known.batches = batches;
        }
    }
}

/// One entry for each kept batch, the newest last; one without a batch if there is none.
fn snapshot_entries(
    producer_id: ProducerId,
    entry: &ProducerEntry,
) -> impl Iterator<Item = SnapshotEntry> {
    let (before, last) = match entry.batches.as_slice() {
        [before @ .., last] => (before, Some(last)),
        [] => (&[][..], None),
    };
    let of = move |batch: Option<&KeptBatch>, timestamp| SnapshotEntry {
        producer_id: producer_id.0,
        epoch: entry.epoch.0,
        last_sequence: batch.map_or(NO_SEQUENCE, |batch| batch.last_sequence),
        last_offset: batch.map_or(NO_OFFSET, |batch| batch.last_offset.0),
        offset_delta: batch.map_or(0, |batch| batch.offset_delta),
        timestamp,
        coordinator_epoch: entry.coordinator_epoch,
        current_txn_first_offset: entry.transaction_start.map_or(NO_OFFSET, |offset| offset.0),
    };
    let before = before
        .iter()
        .map(move |batch| of(Some(batch), batch.timestamp));
    before.chain([of(last, entry.last_timestamp)])
}

fn producer_entry(entry: &SnapshotEntry, now_ms: i64) -> ProducerEntry {
    let last = KeptBatch {
        last_sequence: entry.last_sequence,
        last_offset: Offset(entry.last_offset),
        offset_delta: entry.offset_delta,
        timestamp: entry.timestamp,
    };
    let mut batches = KeptBatches::EMPTY;
    if entry.last_sequence >= 0 {
        batches.push(last);
    }
    ProducerEntry {
        epoch: ProducerEpoch(entry.epoch),
        batches,
        last_seen_ms: now_ms,
        last_timestamp: entry.timestamp,
        coordinator_epoch: entry.coordinator_epoch,
        transaction_start: (entry.current_txn_first_offset >= 0)
            .then_some(Offset(entry.current_txn_first_offset)),
        markers: 0,
    }
}

const NO_OFFSET: i64 = -1;
