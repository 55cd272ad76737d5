//! Producers as the log's `.snapshot` file holds them.
//!
//! The log writes the file with its version and checksum; here the entries are filled and read.
//! The format has room for the last batch of each producer. Earlier ones are known again only if
//! they lie after the snapshot's offset, where the log replays every header.

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
            .map(|(id, entry)| snapshot_entry(*id, entry))
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
            states.put(
                ProducerId(entry.producer_id),
                Some(producer_entry(entry, now_ms)),
            );
        }
        states
    }
}

fn snapshot_entry(producer_id: ProducerId, entry: &ProducerEntry) -> SnapshotEntry {
    let last = entry.batches.last();
    SnapshotEntry {
        producer_id: producer_id.0,
        epoch: entry.epoch.0,
        last_sequence: last.map_or(NO_SEQUENCE, |batch| batch.last_sequence),
        last_offset: last.map_or(NO_OFFSET, |batch| batch.last_offset.0),
        offset_delta: last.map_or(0, |batch| batch.offset_delta),
        timestamp: entry.last_timestamp,
        coordinator_epoch: entry.coordinator_epoch,
        current_txn_first_offset: entry.transaction_start.map_or(NO_OFFSET, |offset| offset.0),
    }
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
