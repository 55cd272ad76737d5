//! Changes on their way to the log: what they change, and who waits for them.

use moldau_protocol::ResponseKind;
use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::types::KString;

use super::records::record;
use super::{
    Markers, TransactionAction, TransactionCoordinator, TransactionMetadata, TransactionState,
};
use crate::ids::{AppendId, ProducerEpoch, ProducerId, Token};

/// What happens when an append is committed, or fails.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) transactional_id: KString,
    /// What is known of the id then; `None` if it expired.
    pub(super) next: Option<TransactionMetadata>,
    /// The answer that waits.
    pub(super) response: Option<(Token, ResponseKind)>,
}

impl Pending {
    /// The answer when the change does not come about.
    pub(super) fn refused(self, error: ErrorCode) -> Option<TransactionAction> {
        let (token, response) = self.response?;
        Some(TransactionAction::Respond {
            token,
            response: with_error(response, error),
        })
    }
}

impl TransactionCoordinator {
    /// Hands a change to the shell.
    pub(super) fn append(&mut self, pending: Pending) -> Vec<TransactionAction> {
        let record = record(&pending.transactional_id, pending.next.as_ref());
        let Ok(record) = record else {
            // Ids come from requests, so they are short enough to be written.
            return Vec::from_iter(pending.refused(ErrorCode::UnknownServerError));
        };
        if let Some(entry) = self.ids.get_mut(&pending.transactional_id) {
            entry.in_transition = true;
        }
        let id = AppendId(self.next_append);
        self.next_append += 1;
        self.pending.insert(id, pending);
        vec![TransactionAction::Append {
            id,
            records: vec![record],
        }]
    }

    /// The records of an append are committed: they take effect, and whoever waits is answered.
    pub fn committed(&mut self, id: AppendId, now_ms: i64) -> Vec<TransactionAction> {
        let Some(pending) = self.pending.remove(&id) else {
            return Vec::new();
        };
        let mut actions = Vec::new();
        let is_prepared = pending
            .next
            .as_ref()
            .is_some_and(|next| next.state.is_prepared());
        self.put(&pending.transactional_id, pending.next);
        if let Some((token, response)) = pending.response {
            actions.push(TransactionAction::Respond { token, response });
        }
        if is_prepared {
            self.tell_partitions(&pending.transactional_id, now_ms, &mut actions);
        }
        actions
    }

    /// The records of an append are not in the log, and never will be.
    pub fn append_failed(
        &mut self,
        id: AppendId,
        error: ErrorCode,
        now_ms: i64,
    ) -> Vec<TransactionAction> {
        let Some(pending) = self.pending.remove(&id) else {
            return Vec::new();
        };
        if let Some(entry) = self.ids.get_mut(&pending.transactional_id) {
            entry.in_transition = false;
            let state = entry.metadata.state;
            if entry.metadata.producer_epoch == ProducerEpoch::NONE {
                self.put(&pending.transactional_id, None);
            } else if state.is_prepared() || state == TransactionState::Ongoing {
                // A decision that nobody asks for again: a timeout, or that all markers are written.
                let again = now_ms.saturating_add(RETRY_MS);
                let deadline = entry.deadline_ms.map_or(again, |due| due.max(again));
                self.set_deadline(&pending.transactional_id, Some(deadline));
            }
        }
        Vec::from_iter(pending.refused(as_coordinator_error(error)))
    }

    /// Tells the partitions of a transaction how it ended.
    pub(super) fn tell_partitions(
        &mut self,
        transactional_id: &KString,
        now_ms: i64,
        actions: &mut Vec<TransactionAction>,
    ) {
        let Some(entry) = self.ids.get(transactional_id) else {
            return;
        };
        let metadata = &entry.metadata;
        if metadata.partitions.is_empty() {
            actions.extend(self.complete(transactional_id, now_ms));
            return;
        }
        actions.push(TransactionAction::WriteMarkers(Markers {
            transactional_id: transactional_id.clone(),
            producer_id: metadata.producer_id,
            producer_epoch: metadata.producer_epoch,
            coordinator_epoch: self.coordinator_epoch,
            committed: metadata.state == TransactionState::PrepareCommit,
            transaction_version: metadata.client_version,
            partitions: metadata.partitions.iter().cloned().collect(),
        }));
    }

    /// The markers of a transaction are in all of its partitions.
    pub fn markers_written(
        &mut self,
        transactional_id: &KString,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        now_ms: i64,
    ) -> Vec<TransactionAction> {
        let Some(entry) = self.ids.get_mut(transactional_id) else {
            return Vec::new();
        };
        let metadata = &mut entry.metadata;
        let is_same =
            (metadata.producer_id, metadata.producer_epoch) == (producer_id, producer_epoch);
        if !is_same || !metadata.state.is_prepared() || entry.in_transition {
            return Vec::new();
        }
        // So that a repetition does not write markers again.
        metadata.partitions.clear();
        self.complete(transactional_id, now_ms)
    }

    /// Writes down that all markers are written.
    pub(super) fn complete(
        &mut self,
        transactional_id: &KString,
        now_ms: i64,
    ) -> Vec<TransactionAction> {
        let Some(entry) = self.ids.get(transactional_id) else {
            return Vec::new();
        };
        let next = entry.metadata.completed(now_ms);
        self.append(Pending {
            transactional_id: transactional_id.clone(),
            next: Some(next),
            response: None,
        })
    }
}

/// What a client is told when the log of its transactions cannot be written.
const fn as_coordinator_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => ErrorCode::UnknownServerError,
        _ => ErrorCode::CoordinatorNotAvailable,
    }
}

/// Turns a good answer into one that tells of an error.
fn with_error(mut response: ResponseKind, error: ErrorCode) -> ResponseKind {
    let code = error.code();
    match &mut response {
        ResponseKind::InitProducerId(response) => {
            response.error_code = code;
            response.producer_id = ProducerId::NONE.0;
            response.producer_epoch = ProducerEpoch::NONE.0;
        }
        ResponseKind::AddPartitionsToTxn(response) => {
            let topics = response.results_by_topic_v3_and_below.iter_mut();
            let batched = response.results_by_transaction.iter_mut();
            let topics = topics.chain(batched.flat_map(|result| &mut result.topic_results));
            for partition in topics.flat_map(|topic| &mut topic.results_by_partition) {
                partition.partition_error_code = code;
            }
        }
        ResponseKind::AddOffsetsToTxn(response) => response.error_code = code,
        ResponseKind::EndTxn(response) => {
            response.error_code = code;
            response.producer_id = ProducerId::NONE.0;
            response.producer_epoch = ProducerEpoch::NONE.0;
        }
        _ => debug_assert!(false, "no other answer waits for an append"),
    }
    response
}

/// How long after a failure the coordinator tries again by itself.
const RETRY_MS: i64 = 500;
