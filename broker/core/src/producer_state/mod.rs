//! The idempotent producers of one partition (KIP-98).
//!
//! A producer numbers its records. The leader keeps the last five batches of each producer, so a
//! batch that comes again is answered with its first offset, and one that leaves a gap is refused.
//! A producer that is not known, because its records are gone or it was silent for long, may
//! start with any number (KIP-360).

mod entry;
mod snapshot;

use std::collections::BTreeMap;

use moldau_protocol::error_code::ErrorCode;

pub use self::entry::AppendedBatch;
use self::entry::ProducerEntry;
use crate::ids::{Offset, ProducerEpoch, ProducerId};
use crate::partition::{BatchSummary, add_to_sequence};
use crate::rejection::Rejection;

/// All producers known to a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerStates {
    producers: BTreeMap<ProducerId, ProducerEntry>,
    /// First offsets of transactions that are neither committed nor aborted.
    open_transactions: BTreeMap<Offset, ProducerId>,
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
}

impl ProducerError {
    /// The error code for the client.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::StaleEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
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
}

impl ProducerStates {
    /// Whether a batch may be appended now. Nothing changes.
    ///
    /// # Errors
    /// The batch is from an older epoch or out of order.
    pub fn check(&self, batch: &BatchSummary) -> Result<SequenceCheck, ProducerError> {
        if !batch.is_idempotent() {
            return Ok(SequenceCheck::InOrder);
        }
        let Some(entry) = self.producers.get(&batch.producer_id) else {
            return Ok(SequenceCheck::InOrder);
        };
        let producer_id = batch.producer_id;
        if batch.producer_epoch < entry.epoch {
            let (epoch, latest) = (batch.producer_epoch, entry.epoch);
            return Err(ProducerError::StaleEpoch {
                producer_id,
                epoch,
                latest,
            });
        }
        if batch.control {
            return Ok(SequenceCheck::InOrder);
        }
        if let Some(original) = entry.duplicate_of(batch) {
            return Ok(SequenceCheck::Duplicate(original));
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
    /// Gives back what to undo if the batch is not written after all; `None` if nothing changed.
    pub(crate) fn record(&mut self, batch: &BatchSummary, now_ms: i64) -> Option<Undo> {
        if !batch.is_idempotent() {
            return None;
        }
        let producer_id = batch.producer_id;
        let before = self.producers.get(&producer_id).copied();
        let mut entry = before.unwrap_or_else(|| ProducerEntry::new(batch.producer_epoch));
        entry.record(batch, now_ms);
        self.put(producer_id, Some(entry));
        Some(Undo {
            producer_id,
            before,
        })
    }

    /// Remembers a batch that is in the log already.
    pub fn replay(&mut self, batch: &BatchSummary, now_ms: i64) {
        self.record(batch, now_ms);
    }

    /// Takes back the latest [`Self::record`].
    pub(crate) fn undo(&mut self, undo: Undo) {
        self.put(undo.producer_id, undo.before);
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

    /// First offset of the oldest open transaction.
    #[must_use]
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        self.open_transactions.keys().next().copied()
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
        if closed == opened {
            return;
        }
        if let Some(offset) = closed {
            self.open_transactions.remove(&offset);
        }
        if let Some(offset) = opened {
            self.open_transactions.insert(offset, producer_id);
        }
    }
}

/// No record of the epoch has been written.
const NO_SEQUENCE: i32 = -1;

#[cfg(test)]
mod tests;
