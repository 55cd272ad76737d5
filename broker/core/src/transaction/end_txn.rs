//! EndTxn v0–5.
//!
//! - v2: PRODUCER_FENCED; older clients get INVALID_PRODUCER_EPOCH (KIP-588)
//! - v5: transaction version 2 (KIP-890): every end bumps the epoch, and the answer tells what the
//!   producer goes on with. A repetition is recognised by the older epoch.

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use moldau_protocol::types::KString;

use super::metadata::VERSION_WITH_EPOCH_BUMP;
use super::pending::Pending;
use super::{
    Entry, TransactionAction, TransactionCoordinator, TransactionMetadata, TransactionState,
};
use crate::group::Caller;
use crate::ids::{ProducerEpoch, ProducerId};

impl TransactionCoordinator {
    /// EndTxn v0–5: decides the transaction; answered when the decision is in the log. `fresh` is a
    /// producer id that nobody had, where [`Self::wants_producer_id`] asked for one.
    pub fn end_txn(
        &mut self,
        caller: &Caller,
        request: &EndTxnRequest,
        fresh: Option<ProducerId>,
        now_ms: i64,
    ) -> Vec<TransactionAction> {
        let transactional_id = request.transactional_id.detached();
        let end = End {
            producer_id: ProducerId(request.producer_id),
            producer_epoch: ProducerEpoch(request.producer_epoch),
            committed: request.committed,
            bumps_epoch: caller.api_version >= EPOCH_BUMP_FROM,
            fresh,
            now_ms,
        };
        let outcome = self.entry_of(&transactional_id).and_then(|entry| {
            if end.bumps_epoch {
                end.decide_with_bump(entry)
            } else {
                end.decide(entry)
            }
        });
        match outcome {
            Ok(Outcome::Change(next)) => {
                let response = end.answer(next.after_end());
                self.append(Pending {
                    transactional_id,
                    next: Some(*next),
                    response: Some((caller.token, response.into())),
                })
            }
            Ok(Outcome::Done(producer)) => vec![TransactionAction::Respond {
                token: caller.token,
                response: end.answer(producer).into(),
            }],
            Err(code) => vec![TransactionAction::Respond {
                token: caller.token,
                response: refused(caller, code).into(),
            }],
        }
    }

    fn entry_of(&self, transactional_id: &KString) -> Result<&Entry, ErrorCode> {
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        self.ids
            .get(transactional_id)
            .ok_or(ErrorCode::InvalidProducerIdMapping)
    }
}

/// What a producer asks for.
struct End {
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    committed: bool,
    bumps_epoch: bool,
    fresh: Option<ProducerId>,
    now_ms: i64,
}

enum Outcome {
    /// It is decided now.
    Change(Box<TransactionMetadata>),
    /// It was decided so before; the producer goes on with this.
    Done((ProducerId, ProducerEpoch)),
}

impl End {
    /// Transaction versions 0 and 1.
    fn decide(&self, entry: &Entry) -> Result<Outcome, ErrorCode> {
        let metadata = &entry.metadata;
        if metadata.producer_id != self.producer_id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if metadata.producer_epoch != self.producer_epoch {
            return Err(ErrorCode::ProducerFenced);
        }
        if entry.in_transition {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        match (metadata.state, self.committed) {
            (TransactionState::Ongoing, _) => Ok(self.change(metadata, 0, ProducerId::NONE)),
            (TransactionState::PrepareCommit, true) | (TransactionState::PrepareAbort, false) => {
                Err(ErrorCode::ConcurrentTransactions)
            }
            (TransactionState::CompleteCommit, true) | (TransactionState::CompleteAbort, false) => {
                Ok(Outcome::Done((self.producer_id, self.producer_epoch)))
            }
            _ => Err(ErrorCode::InvalidTxnState),
        }
    }

    /// Transaction version 2: the epoch tells whether this is the next end or the last one again.
    fn decide_with_bump(&self, entry: &Entry) -> Result<Outcome, ErrorCode> {
        let metadata = &entry.metadata;
        // First of all, as the change may be that of the producer id.
        if entry.in_transition {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        if metadata.awaits(self.producer_id) {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        let is_again_over_id = metadata.previous_producer_id == self.producer_id
            && self.producer_epoch.0 == i16::MAX - 1
            && metadata.producer_epoch == ProducerEpoch(0);
        if metadata.producer_id != self.producer_id && !is_again_over_id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        let is_again = is_again_over_id
            || self.producer_epoch.0.checked_add(1) == Some(metadata.producer_epoch.0);
        if metadata.producer_epoch != self.producer_epoch && !is_again {
            return Err(ErrorCode::ProducerFenced);
        }
        match (metadata.state, self.committed) {
            (TransactionState::Ongoing, _) if !is_again => self.change_with_bump(metadata),
            // A transaction without any partition may be aborted.
            (
                TransactionState::Empty
                | TransactionState::CompleteCommit
                | TransactionState::CompleteAbort,
                false,
            ) if !is_again => self.change_with_bump(metadata),
            (TransactionState::CompleteCommit, true) | (TransactionState::CompleteAbort, false)
                if is_again =>
            {
                Ok(Outcome::Done((
                    metadata.producer_id,
                    metadata.producer_epoch,
                )))
            }
            (TransactionState::PrepareCommit, true) | (TransactionState::PrepareAbort, false) => {
                Err(ErrorCode::ConcurrentTransactions)
            }
            // The next transaction, without any partition, ends before the markers of the last one
            // are written.
            (TransactionState::PrepareCommit | TransactionState::PrepareAbort, _) if !is_again => {
                Err(ErrorCode::ConcurrentTransactions)
            }
            // An older instance, as its transaction was aborted and another one is open.
            (TransactionState::Ongoing, _) => Err(ErrorCode::ProducerFenced),
            _ => Err(ErrorCode::InvalidTxnState),
        }
    }

    fn change_with_bump(&self, metadata: &TransactionMetadata) -> Result<Outcome, ErrorCode> {
        let next_producer_id = if metadata.is_epoch_exhausted() {
            self.fresh.ok_or(ErrorCode::CoordinatorNotAvailable)?
        } else {
            ProducerId::NONE
        };
        Ok(self.change(metadata, VERSION_WITH_EPOCH_BUMP, next_producer_id))
    }

    fn change(&self, metadata: &TransactionMetadata, version: i16, next: ProducerId) -> Outcome {
        Outcome::Change(Box::new(metadata.prepared(
            self.committed,
            version,
            next,
            self.now_ms,
        )))
    }

    fn answer(&self, (producer_id, epoch): (ProducerId, ProducerEpoch)) -> EndTxnResponse {
        let (producer_id, producer_epoch) = if self.bumps_epoch {
            (producer_id.0, epoch.0)
        } else {
            (ProducerId::NONE.0, ProducerEpoch::NONE.0)
        };
        EndTxnResponse {
            producer_id,
            producer_epoch,
            ..Default::default()
        }
    }
}

fn refused(caller: &Caller, code: ErrorCode) -> EndTxnResponse {
    let code = match code {
        ErrorCode::ProducerFenced if caller.api_version < FENCED_FROM => {
            ErrorCode::InvalidProducerEpoch
        }
        code => code,
    };
    EndTxnResponse {
        error_code: code.code(),
        producer_id: ProducerId::NONE.0,
        producer_epoch: ProducerEpoch::NONE.0,
        ..Default::default()
    }
}

const EPOCH_BUMP_FROM: i16 = 5;
const FENCED_FROM: i16 = 2;
