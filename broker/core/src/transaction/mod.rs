//! The coordinator of the transactions that live in one partition of `__transaction_state`
//! (KIP-98, KIP-890).
//!
//! A transactional id has one producer id and a rising epoch that fences older instances. Its
//! transaction gathers partitions, is decided by a record in the log, and ends with a marker in
//! every partition:
//!
//! ```text
//! Empty ──partitions──▶ Ongoing ──EndTxn──▶ PrepareCommit ──markers──▶ CompleteCommit
//!   ▲                      └──EndTxn, timeout, new instance──▶ PrepareAbort ──▶ CompleteAbort
//!   └──────────────────────────── InitProducerId ◀────────────────────────────────┘
//! ```
//!
//! As in [`crate::coordinator`], requests and timeouts give [`TransactionAction`]s: a change takes
//! effect, and its answer leaves, once the shell says that its record is committed. A new leader
//! builds the same state by replaying the records, and sends the markers of what was decided.
//!
//! Not done: two-phase commit (KIP-939).

mod add_partitions;
mod end_txn;
mod init_producer_id;
mod maintenance;
mod metadata;
mod pending;
mod queries;
mod records;
mod state;

use std::collections::{BTreeMap, BTreeSet};

use moldau_protocol::ResponseKind;
use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::types::KString;

pub use self::add_partitions::{AddedPartitions, add_partitions_response};
pub use self::metadata::{TransactionMetadata, TransactionPartition, is_exhausted};
use self::pending::Pending;
pub use self::queries::TransactionFilter;
pub use self::state::TransactionState;
use crate::coordinator::CoordinatorRecord;
pub use crate::coordinator::partition_for;
use crate::ids::{AppendId, ProducerEpoch, ProducerId, Token};

/// One partition of `__transaction_state` and its transactional ids.
#[derive(Debug)]
pub struct TransactionCoordinator {
    settings: TransactionSettings,
    /// Leader epoch of the partition; in every marker.
    coordinator_epoch: i32,
    ids: BTreeMap<KString, Entry>,
    /// Changes on their way.
    pending: BTreeMap<AppendId, Pending>,
    next_append: u64,
    /// When an id wants to be looked at, in milliseconds.
    deadlines: BTreeSet<(i64, KString)>,
    next_expiry_ms: Option<i64>,
}

/// The broker settings that transaction coordinators depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionSettings {
    /// `transaction.max.timeout.ms`
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`
    pub expiration_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub expiry_interval_ms: i64,
}

impl Default for TransactionSettings {
    fn default() -> Self {
        Self {
            max_timeout_ms: 900_000,
            expiration_ms: 604_800_000,
            expiry_interval_ms: 3_600_000,
        }
    }
}

/// A transactional id.
#[derive(Clone, Debug)]
struct Entry {
    metadata: TransactionMetadata,
    /// A change is on its way to the log; until then every other one must wait.
    in_transition: bool,
    /// Its place in `deadlines`.
    deadline_ms: Option<i64>,
}

/// What the shell is to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum TransactionAction {
    /// Answer a request. Every token is answered exactly once.
    Respond {
        /// The request.
        token: Token,
        /// Its answer.
        response: ResponseKind,
    },
    /// Append the records as one batch, after those of earlier appends; then call
    /// [`TransactionCoordinator::committed`] or [`TransactionCoordinator::append_failed`].
    Append {
        /// Names the append in that call.
        id: AppendId,
        /// Never empty.
        records: Vec<CoordinatorRecord>,
    },
    /// Write a marker to every partition, again and again until it is there or the partition is
    /// gone; then call [`TransactionCoordinator::markers_written`].
    WriteMarkers(Markers),
}

/// The end of a transaction, to be told to its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markers {
    /// Whose transaction it is.
    pub transactional_id: KString,
    /// The producer.
    pub producer_id: ProducerId,
    /// The epoch of the markers.
    pub producer_epoch: ProducerEpoch,
    /// Fences markers of older coordinators.
    pub coordinator_epoch: i32,
    /// Whether it is committed; else it is aborted.
    pub committed: bool,
    /// 2 where the epoch is above that of the records.
    pub transaction_version: i16,
    /// Never empty.
    pub partitions: Vec<TransactionPartition>,
}

impl TransactionCoordinator {
    /// A coordinator without transactions.
    #[must_use]
    pub const fn new(settings: TransactionSettings, coordinator_epoch: i32) -> Self {
        Self {
            settings,
            coordinator_epoch,
            ids: BTreeMap::new(),
            pending: BTreeMap::new(),
            next_append: 0,
            deadlines: BTreeSet::new(),
            next_expiry_ms: None,
        }
    }

    /// The last record was replayed: what was decided is told to the partitions.
    pub fn loaded(&mut self, now_ms: i64) -> Vec<TransactionAction> {
        self.next_expiry_ms = Some(now_ms.saturating_add(self.settings.expiry_interval_ms));
        let prepared = self.ids.iter();
        let prepared: Vec<KString> = prepared
            .filter(|(_, entry)| entry.metadata.state.is_prepared())
            .map(|(id, _)| id.clone())
            .collect();
        let mut actions = Vec::new();
        for transactional_id in prepared {
            self.tell_partitions(&transactional_id, now_ms, &mut actions);
        }
        actions
    }

    /// Gives the partition up: everyone who waits is answered with `error`, for example
    /// NOT_COORDINATOR, and later calls of `committed` do nothing.
    pub fn resign(&mut self, error: ErrorCode) -> Vec<TransactionAction> {
        self.ids.clear();
        self.deadlines.clear();
        self.next_expiry_ms = None;
        std::mem::take(&mut self.pending)
            .into_values()
            .filter_map(|pending| pending.refused(error))
            .collect()
    }

    /// Sets what is known of an id; `None` forgets it.
    fn put(&mut self, transactional_id: &KString, metadata: Option<TransactionMetadata>) {
        let Some(metadata) = metadata else {
            self.set_deadline(transactional_id, None);
            self.ids.remove(transactional_id);
            return;
        };
        let deadline = (metadata.state == TransactionState::Ongoing).then(|| {
            let timeout = i64::from(metadata.timeout_ms);
            metadata.start_timestamp_ms.saturating_add(timeout)
        });
        match self.ids.get_mut(transactional_id) {
            Some(entry) => {
                entry.metadata = metadata;
                entry.in_transition = false;
            }
            None => {
                let entry = Entry {
                    metadata,
                    in_transition: false,
                    deadline_ms: None,
                };
                self.ids.insert(transactional_id.clone(), entry);
            }
        }
        self.set_deadline(transactional_id, deadline);
    }

    fn set_deadline(&mut self, transactional_id: &KString, deadline_ms: Option<i64>) {
        let Some(entry) = self.ids.get_mut(transactional_id) else {
            return;
        };
        if let Some(before) = std::mem::replace(&mut entry.deadline_ms, deadline_ms) {
            self.deadlines.remove(&(before, transactional_id.clone()));
        }
        if let Some(deadline_ms) = deadline_ms {
            self.deadlines
                .insert((deadline_ms, transactional_id.clone()));
        }
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
