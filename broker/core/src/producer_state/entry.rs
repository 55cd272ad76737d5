//! What a partition remembers of one producer.

use super::{NO_SEQUENCE, ProducerError, VerificationGuard};
use crate::ids::{Offset, ProducerEpoch};
use crate::partition::{BatchSummary, add_to_sequence};

/// One idempotent producer.
///
/// It is copied before every batch, so that the batch can be undone; therefore it owns no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProducerEntry {
    pub(super) epoch: ProducerEpoch,
    /// The last batches of this epoch.
    pub(super) batches: KeptBatches,
    /// When the leader last heard of the producer.
    pub(super) last_seen_ms: i64,
    /// The timestamp of the last batch, for the snapshot.
    pub(super) last_timestamp: i64,
    /// The epoch of the transaction coordinator that wrote the last marker; -1 is none.
    pub(super) coordinator_epoch: i32,
    /// First offset of the open transaction.
    pub(super) transaction_start: Option<Offset>,
    /// How many markers came since the partition was opened; see [`VerificationGuard`].
    pub(super) markers: u32,
}

/// The sequence numbers and offsets of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeptBatch {
    pub(super) last_sequence: i32,
    pub(super) last_offset: Offset,
    /// The last offset, counted from the first; also for the sequence numbers.
    pub(super) offset_delta: i32,
    pub(super) timestamp: i64,
}

/// At most [`BATCHES_KEPT`] batches, oldest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptBatches {
    batches: [KeptBatch; BATCHES_KEPT],
    /// Invariant: at most `BATCHES_KEPT`; what lies beyond has no meaning.
    len: usize,
}

impl KeptBatches {
    pub(super) const EMPTY: Self = Self {
        batches: [KeptBatch::NONE; BATCHES_KEPT],
        len: 0,
    };

    /// Adds the newest; the oldest gives way.
    pub(super) fn push(&mut self, batch: KeptBatch) {
        if self.len == BATCHES_KEPT {
            self.batches.rotate_left(1);
            self.len -= 1;
        }
        if let Some(slot) = self.batches.get_mut(self.len) {
            *slot = batch;
            self.len += 1;
        }
    }

    pub(super) fn as_slice(&self) -> &[KeptBatch] {
        self.batches.get(..self.len).unwrap_or_default()
    }

    pub(super) fn last(&self) -> Option<&KeptBatch> {
        self.as_slice().last()
    }
}

impl PartialEq for KeptBatches {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for KeptBatches {}

/// Where a batch lies in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedBatch {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// The largest timestamp of its records; its log append time where the topic uses that.
    pub timestamp: i64,
}

impl ProducerEntry {
    pub(super) const fn new(epoch: ProducerEpoch) -> Self {
        Self {
            epoch,
            batches: KeptBatches::EMPTY,
            last_seen_ms: 0,
            last_timestamp: -1,
            coordinator_epoch: -1,
            transaction_start: None,
            markers: 0,
        }
    }

    /// Whether a marker comes from the coordinator and the instance of the producer that have the
    /// say. With transaction version 2 its epoch is above that of the records it ends; one with the
    /// same epoch is a repetition if it came already, and ends nothing.
    pub(super) fn check_marker(&self, batch: &BatchSummary) -> Result<(), ProducerError> {
        let (epoch, latest) = (batch.producer_epoch, self.epoch);
        let bumped = batch
            .marker
            .is_some_and(|marker| marker.transaction_version >= FIRST_WITH_EPOCH_BUMP);
        let producer_id = batch.producer_id;
        if epoch < latest || (bumped && epoch == latest && self.is_in_transaction()) {
            return Err(ProducerError::StaleEpoch {
                producer_id,
                epoch,
                latest,
            });
        }
        match batch.marker {
            Some(marker) if marker.coordinator_epoch < self.coordinator_epoch => {
                Err(ProducerError::StaleCoordinator {
                    producer_id,
                    epoch: marker.coordinator_epoch,
                    latest: self.coordinator_epoch,
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether a marker that ends nothing came before. With transaction version 2 its epoch is that
    /// of the next transaction then, whose guards it must leave valid.
    fn is_repeated_marker(&self, batch: &BatchSummary) -> bool {
        let version = batch.marker.map(|marker| marker.transaction_version);
        version.is_some_and(|version| version >= FIRST_WITH_EPOCH_BUMP)
            && batch.producer_epoch == self.epoch
            && self.markers > 0
            && !self.is_in_transaction()
    }

    /// Whether a batch of records may go on with, or begin, a transaction.
    pub(super) fn check_transaction(&self, batch: &BatchSummary) -> Result<(), ProducerError> {
        let producer_id = batch.producer_id;
        if self.is_in_transaction() {
            return if batch.transactional {
                Ok(())
            } else {
                Err(ProducerError::NotTransactional { producer_id })
            };
        }
        match batch.guard {
            Some(guard) if guard != VerificationGuard(self.markers) => {
                Err(ProducerError::NotVerified { producer_id })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn record(&mut self, batch: &BatchSummary, now_ms: i64) {
        let is_repeated = self.is_repeated_marker(batch);
        if batch.producer_epoch != self.epoch {
            self.epoch = batch.producer_epoch;
            self.batches = KeptBatches::EMPTY;
        }
        self.last_seen_ms = now_ms;
        self.last_timestamp = batch.max_timestamp;
        if batch.control {
            if let Some(marker) = batch.marker {
                self.transaction_start = None;
                self.coordinator_epoch = marker.coordinator_epoch;
                if !is_repeated {
                    self.markers = self.markers.wrapping_add(1);
                }
            }
            return;
        }
        if batch.transactional {
            self.transaction_start.get_or_insert(batch.base_offset);
        }
        if batch.base_sequence == NO_SEQUENCE {
            return;
        }
        self.batches.push(KeptBatch {
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
    }

    /// The kept batch with the very same sequence numbers.
    pub(super) fn duplicate_of(&self, batch: &BatchSummary) -> Option<AppendedBatch> {
        if batch.producer_epoch != self.epoch {
            return None;
        }
        if batch.base_sequence == NO_SEQUENCE {
            return None;
        }
        let kept = self.batches.as_slice().iter().find(|kept| {
            kept.first_sequence() == batch.base_sequence
                && kept.last_sequence == batch.last_sequence()
        })?;
        Some(AppendedBatch {
            base_offset: kept.last_offset + -i64::from(kept.offset_delta),
            last_offset: kept.last_offset,
            timestamp: kept.timestamp,
        })
    }

    pub(super) fn last_sequence(&self) -> i32 {
        self.batches
            .last()
            .map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    pub(super) const fn is_in_transaction(&self) -> bool {
        self.transaction_start.is_some()
    }
}

impl KeptBatch {
    const NONE: Self = Self {
        last_sequence: NO_SEQUENCE,
        last_offset: Offset(-1),
        offset_delta: 0,
        timestamp: -1,
    };

    const fn first_sequence(&self) -> i32 {
        add_to_sequence(self.last_sequence, self.offset_delta.wrapping_neg())
    }
}

/// The first transaction version in which every end of a transaction bumps the epoch.
const FIRST_WITH_EPOCH_BUMP: i16 = 2;

/// As many batches as a producer may have in flight with idempotence.
const BATCHES_KEPT: usize = 5;
