//! The idempotent producers of one partition (KIP-98).
//!
//! A producer numbers its records. The leader keeps the last five batches of each producer, so a
//! batch that comes again is answered with its first offset, and one that leaves a gap is refused.
//! A producer that is not known, because its records are gone or it was silent for long, may
//! start with any number (KIP-360).
//!
//! A transactional producer's records stay undecided until a [`Marker`] ends the transaction; the
//! oldest of them holds back the last stable offset (KIP-98).

mod active;
mod entry;
mod snapshot;
mod transactions;

use std::collections::BTreeMap;

use moldau_protocol::error_code::ErrorCode;

pub use self::active::ActiveProducer;
pub use self::entry::AppendedBatch;
use self::entry::ProducerEntry;
use self::transactions::Transactions;
pub use self::transactions::{CompletedTransaction, Marker, VerificationGuard};
use crate::ids::{Offset, ProducerEpoch, ProducerId};
use crate::partition::{BatchSummary, add_to_sequence};
use crate::rejection::Rejection;

/// All producers known to a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerStates {
    producers: BTreeMap<ProducerId, ProducerEntry>,
    transactions: Transactions,
}

/// How a batch stands to what its producer wrote before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceCheck {
    /// It is the next one, or its producer is not idempotent.
    InOrder,
    /// It is in the log already.
    Duplicate(AppendedBatch),
}

/// A batch that its producer may not write now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// Another instance of the producer has taken over.
    #[error("producer id {producer_id}: epoch {epoch} is older than the latest, {latest}")]
    StaleEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's epoch.
        epoch: ProducerEpoch,
        /// The epoch in the log.
        latest: ProducerEpoch,
    },
    /// Records before this batch are missing, or it is an old one again.
    #[error("producer id {producer_id}: sequence number {sequence} does not follow {last}")]
    OutOfOrder {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's first sequence number.
        sequence: i32,
        /// The last sequence number in the log; -1 if there is none in this epoch.
        last: i32,
    },
    /// A marker of a coordinator whose partition another one has taken over.
    #[error(
        "producer id {producer_id}: coordinator epoch {epoch} of a marker is older than the latest, {latest}"
    )]
    StaleCoordinator {
        /// The producer.
        producer_id: ProducerId,
        /// The marker's coordinator epoch.
        epoch: i32,
        /// The coordinator epoch of the last marker in the log.
        latest: i32,
    },
    /// A plain batch in the middle of the producer's transaction.
    #[error("producer id {producer_id}: a batch without transaction while one is open")]
    NotTransactional {
        /// The producer.
        producer_id: ProducerId,
    },
    /// The batch would begin a transaction that the coordinator does not know, or that ended
    /// meanwhile.
    #[error("producer id {producer_id}: the partition is not part of an open transaction")]
    NotVerified {
        /// The producer.
        producer_id: ProducerId,
    },
}

impl ProducerError {
    /// The error code for the client.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::StaleEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::StaleCoordinator { .. } => ErrorCode::TransactionCoordinatorFenced,
            Self::NotTransactional { .. } | Self::NotVerified { .. } => ErrorCode::InvalidTxnState,
        }
    }
}

impl From<ProducerError> for Rejection {
    fn from(error: ProducerError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// What a producer was before a batch was recorded.
#[derive(Debug)]
pub(crate) struct Undo {
    producer_id: ProducerId,
    before: Option<ProducerEntry>,
    /// First offset of the transaction that the batch ended.
    completed: Option<Offset>,
}

/// What the recording of a batch changed.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// How to take it back; `None` if nothing changed.
    pub(crate) undo: Option<Undo>,
    /// The transaction that it ended.
    pub(crate) completed: Option<CompletedTransaction>,
}

impl ProducerStates {
    /// Whether a batch may be appended now. Nothing changes.
    ///
    /// # Errors
    /// The batch is from an older epoch or out of order, or does not fit the producer's transaction.
    pub fn check(&self, batch: &BatchSummary) -> Result<SequenceCheck, ProducerError> {
        if !batch.is_idempotent() {
            return Ok(SequenceCheck::InOrder);
        }
        let producer_id = batch.producer_id;
        let Some(entry) = self.producers.get(&producer_id) else {
            return if batch
                .guard
                .is_none_or(|guard| guard == VerificationGuard(0))
            {
                Ok(SequenceCheck::InOrder)
            } else {
                Err(ProducerError::NotVerified { producer_id })
            };
        };
        if batch.control {
            entry.check_marker(batch)?;
            return Ok(SequenceCheck::InOrder);
        }
        if batch.producer_epoch < entry.epoch {
            let (epoch, latest) = (batch.producer_epoch, entry.epoch);
            return Err(ProducerError::StaleEpoch {
                producer_id,
                epoch,
                latest,
            });
        }
        if let Some(original) = entry.duplicate_of(batch) {
            return Ok(SequenceCheck::Duplicate(original));
        }
        entry.check_transaction(batch)?;
        if batch.base_sequence == NO_SEQUENCE {
            // Offsets that a group coordinator writes in the producer's name.
            return Ok(SequenceCheck::InOrder);
        }
        // A new epoch starts at 0, so it follows -1 just as the first batch of an epoch does.
        let last = if batch.producer_epoch == entry.epoch {
            entry.last_sequence()
        } else {
            NO_SEQUENCE
        };
        let expected = if last == NO_SEQUENCE {
            0
        } else {
            add_to_sequence(last, 1)
        };
        if batch.base_sequence == expected {
            Ok(SequenceCheck::InOrder)
        } else {
            Err(ProducerError::OutOfOrder {
                producer_id,
                sequence: batch.base_sequence,
                last,
            })
        }
    }

    /// Remembers a batch with its final offsets; also used for the batches of a log that is opened.
    ///
    /// Gives back what to undo if the batch is not written after all.
    pub(crate) fn record(&mut self, batch: &BatchSummary, now_ms: i64) -> Recorded {
        if !batch.is_idempotent() {
            return Recorded::default();
        }
        let producer_id = batch.producer_id;
        let before = self.producers.get(&producer_id).copied();
        let mut entry = before.unwrap_or_else(|| ProducerEntry::new(batch.producer_epoch));
        let started = entry.transaction_start;
        entry.record(batch, now_ms);
        self.put(producer_id, Some(entry));
        let ended = started.filter(|_| batch.marker.is_some());
        let completed = ended.zip(batch.marker).map(|(first_offset, marker)| {
            self.transactions
                .completed(first_offset, batch.last_offset());
            CompletedTransaction {
                producer_id,
                first_offset,
                last_offset: batch.last_offset(),
                committed: marker.committed,
                last_stable_offset: self
                    .transactions
                    .first_open()
                    .unwrap_or_else(|| batch.end_offset()),
            }
        });
        let undo = Undo {
            producer_id,
            before,
            completed: ended,
        };
        Recorded {
            undo: Some(undo),
            completed,
        }
    }

    /// Remembers a batch that is in the log already; returns the transaction that it ended.
    pub fn replay(&mut self, batch: &BatchSummary, now_ms: i64) -> Option<CompletedTransaction> {
        self.record(batch, now_ms).completed
    }

    /// Takes back the latest [`Self::record`].
    pub(crate) fn undo(&mut self, undo: Undo) {
        if let Some(first_offset) = undo.completed {
            self.transactions.undo_completed(first_offset);
        }
        self.put(undo.producer_id, undo.before);
    }

    /// What a transactional batch of the producer must carry to be appended: whoever asks the
    /// coordinator whether the partition belongs to the transaction takes this first. The flag says
    /// that a transaction of this epoch is open here, so that there is no need to ask.
    #[must_use]
    pub fn verification_guard(
        &self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
    ) -> (VerificationGuard, bool) {
        match self.producers.get(&producer_id) {
            Some(entry) => (
                VerificationGuard(entry.markers),
                entry.is_in_transaction() && entry.epoch == epoch,
            ),
            None => (VerificationGuard(0), false),
        }
    }

    /// Every record below `high_watermark` is committed, so a marker there cannot be lost any more.
    pub fn committed_below(&mut self, high_watermark: Offset) {
        self.transactions.committed_below(high_watermark);
    }

    /// Forgets producers that were silent for `expiration_ms` (producer.id.expiration.ms).
    ///
    /// A producer with an open transaction stays. Silence is measured by the leader's clock, not
    /// by the records' timestamps, so a producer that writes old records is not forgotten at once.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.retain(|_, entry| {
            entry.is_in_transaction() || now_ms.saturating_sub(entry.last_seen_ms) < expiration_ms
        });
    }

    /// First offset of the oldest transaction that is open, or whose marker may still be lost.
    #[must_use]
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        self.transactions.first_unstable_offset()
    }

    /// How many producers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether no producer is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    fn put(&mut self, producer_id: ProducerId, entry: Option<ProducerEntry>) {
        let opened = entry.and_then(|entry| entry.transaction_start);
        let before = match entry {
            Some(entry) => self.producers.insert(producer_id, entry),
            None => self.producers.remove(&producer_id),
        };
        let closed = before.and_then(|entry| entry.transaction_start);
        self.transactions.change(producer_id, closed, opened);
    }
}

/// No record of the epoch has been written.
const NO_SEQUENCE: i32 = -1;

#[cfg(test)]
mod tests;
