//! What is known of one transactional id, and how it changes.

use std::collections::BTreeSet;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::types::KString;

use super::TransactionState;
use crate::ids::{ProducerEpoch, ProducerId};

/// A partition that takes part in a transaction.
pub type TransactionPartition = (KString, i32);

/// A transactional id as its record in `__transaction_state` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionMetadata {
    /// The producer id now.
    pub producer_id: ProducerId,
    /// The producer id before the last change of it; for retries over that change.
    pub previous_producer_id: ProducerId,
    /// The producer id after the markers, where the epoch of the present one is used up.
    pub next_producer_id: ProducerId,
    /// The epoch now; older ones are fenced. [`ProducerEpoch::NONE`] before the first one.
    pub producer_epoch: ProducerEpoch,
    /// The epoch before it, if the producer itself asked for the present one. Not in the record.
    pub last_producer_epoch: ProducerEpoch,
    /// How long a transaction may take, in milliseconds.
    pub timeout_ms: i32,
    /// Where it stands.
    pub state: TransactionState,
    /// The partitions of the transaction.
    pub partitions: BTreeSet<TransactionPartition>,
    /// When the transaction began, in milliseconds; -1 if there was none.
    pub start_timestamp_ms: i64,
    /// When the record was written.
    pub last_update_timestamp_ms: i64,
    /// 2 if the producer that has the transaction follows KIP-890, else 0.
    pub client_version: i16,
}

impl TransactionMetadata {
    /// An id that nobody used yet.
    #[must_use]
    pub const fn new(producer_id: ProducerId, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            producer_id,
            previous_producer_id: ProducerId::NONE,
            next_producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            last_producer_epoch: ProducerEpoch::NONE,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            start_timestamp_ms: NO_TIMESTAMP,
            last_update_timestamp_ms: now_ms,
            client_version: 0,
        }
    }

    /// Whether no producer can get a higher epoch: the last one is left to fence it.
    #[must_use]
    pub const fn is_epoch_exhausted(&self) -> bool {
        is_exhausted(self.producer_epoch)
    }

    /// Whether the transaction belongs to a producer for which every end bumps the epoch.
    #[must_use]
    pub const fn bumps_epoch(&self) -> bool {
        self.client_version >= VERSION_WITH_EPOCH_BUMP
    }

    /// The producer begins with the next epoch. `expected` is the one it believes to have (KIP-360).
    ///
    /// # Errors
    /// PRODUCER_FENCED: it believes wrongly.
    pub fn with_next_epoch(
        &self,
        expected: Option<ProducerEpoch>,
        timeout_ms: i32,
        now_ms: i64,
    ) -> Result<Self, ErrorCode> {
        let bumped = ProducerEpoch(self.producer_epoch.0.saturating_add(1));
        let (producer_epoch, last_producer_epoch) = match expected {
            None => (bumped, ProducerEpoch::NONE),
            Some(epoch)
                if self.producer_epoch == ProducerEpoch::NONE || epoch == self.producer_epoch =>
            {
                (bumped, self.producer_epoch)
            }
            // It asks again, as it did not get the answer.
            Some(epoch) if epoch == self.last_producer_epoch => {
                (self.producer_epoch, self.last_producer_epoch)
            }
            Some(_) => return Err(ErrorCode::ProducerFenced),
        };
        Ok(Self {
            producer_epoch,
            last_producer_epoch,
            ..self.begun_anew(timeout_ms, now_ms)
        })
    }

    /// The producer begins with another id, as the epochs of the present one are used up.
    #[must_use]
    pub fn with_producer_id(
        &self,
        producer_id: ProducerId,
        keep_last_epoch: bool,
        timeout_ms: i32,
        now_ms: i64,
    ) -> Self {
        Self {
            producer_id,
            previous_producer_id: self.producer_id,
            producer_epoch: ProducerEpoch(0),
            last_producer_epoch: if keep_last_epoch {
                self.producer_epoch
            } else {
                ProducerEpoch::NONE
            },
            ..self.begun_anew(timeout_ms, now_ms)
        }
    }

    /// Partitions take part, and the transaction begins if it has not.
    #[must_use]
    pub fn with_partitions(
        &self,
        added: impl IntoIterator<Item = TransactionPartition>,
        client_version: i16,
        now_ms: i64,
    ) -> Self {
        let mut next = self.clone();
        next.partitions.extend(added);
        if self.state != TransactionState::Ongoing {
            next.start_timestamp_ms = now_ms;
        }
        next.state = TransactionState::Ongoing;
        next.client_version = client_version;
        next.last_update_timestamp_ms = now_ms;
        next
    }

    /// The end of the transaction is decided. With transaction version 2 the epoch is bumped, and
    /// `next_producer_id` follows when that was the last one.
    #[must_use]
    pub fn prepared(
        &self,
        committed: bool,
        client_version: i16,
        next_producer_id: ProducerId,
        now_ms: i64,
    ) -> Self {
        let mut next = self.clone();
        if client_version >= VERSION_WITH_EPOCH_BUMP {
            next.producer_epoch = ProducerEpoch(self.producer_epoch.0.saturating_add(1));
            next.last_producer_epoch = self.producer_epoch;
        }
        next.state = if committed {
            TransactionState::PrepareCommit
        } else {
            TransactionState::PrepareAbort
        };
        if self.state != TransactionState::Ongoing {
            // An abort without any partition, which version 2 allows.
            next.start_timestamp_ms = now_ms;
            next.partitions.clear();
        }
        next.client_version = client_version;
        next.next_producer_id = next_producer_id;
        next.last_update_timestamp_ms = now_ms;
        next
    }

    /// The coordinator aborts the transaction and fences its producer.
    #[must_use]
    pub fn fenced(&self, now_ms: i64) -> Self {
        Self {
            producer_epoch: ProducerEpoch(self.producer_epoch.0.saturating_add(1)),
            last_producer_epoch: ProducerEpoch::NONE,
            state: TransactionState::PrepareAbort,
            next_producer_id: ProducerId::NONE,
            last_update_timestamp_ms: now_ms,
            ..self.clone()
        }
    }

    /// All markers are written.
    #[must_use]
    pub fn completed(&self, now_ms: i64) -> Self {
        let mut next = self.clone();
        next.state = if self.state == TransactionState::PrepareCommit {
            TransactionState::CompleteCommit
        } else {
            TransactionState::CompleteAbort
        };
        next.partitions.clear();
        if self.next_producer_id != ProducerId::NONE {
            next.producer_id = self.next_producer_id;
            next.previous_producer_id = self.producer_id;
            next.next_producer_id = ProducerId::NONE;
            next.producer_epoch = ProducerEpoch(0);
        }
        next.last_update_timestamp_ms = now_ms;
        next
    }

    /// Whether the producer goes on with this id once the markers are written.
    #[must_use]
    pub fn awaits(&self, producer_id: ProducerId) -> bool {
        self.next_producer_id != ProducerId::NONE && self.next_producer_id == producer_id
    }

    /// What the producer goes on with after a transaction that ended by [`Self::prepared`].
    #[must_use]
    pub fn after_end(&self) -> (ProducerId, ProducerEpoch) {
        if self.next_producer_id == ProducerId::NONE {
            (self.producer_id, self.producer_epoch)
        } else {
            (self.next_producer_id, ProducerEpoch(0))
        }
    }

    fn begun_anew(&self, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            next_producer_id: ProducerId::NONE,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            start_timestamp_ms: NO_TIMESTAMP,
            last_update_timestamp_ms: now_ms,
            ..self.clone()
        }
    }
}

/// Whether an epoch is the last one that a producer can have; the one above only fences it.
#[must_use]
pub const fn is_exhausted(epoch: ProducerEpoch) -> bool {
    epoch.0 >= i16::MAX - 1
}

/// The first transaction version in which every end of a transaction bumps the epoch.
pub(super) const VERSION_WITH_EPOCH_BUMP: i16 = 2;
pub(super) const NO_TIMESTAMP: i64 = -1;
