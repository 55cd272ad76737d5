//! InitProducerId v0–5 of a transactional id.
//!
//! - v3: the producer says which id and epoch it believes to have (KIP-360)
//! - v4: PRODUCER_FENCED; older clients get INVALID_PRODUCER_EPOCH (KIP-588)

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use moldau_protocol::types::KString;

use super::pending::Pending;
use super::{
    TransactionAction, TransactionCoordinator, TransactionMetadata, TransactionState, is_exhausted,
};
use crate::group::Caller;
use crate::ids::{ProducerEpoch, ProducerId};

impl TransactionCoordinator {
    /// Whether the next InitProducerId or EndTxn of this id needs a producer id that nobody had.
    #[must_use]
    pub fn wants_producer_id(&self, transactional_id: &str) -> bool {
        let entry = self.ids.get(transactional_id);
        entry.is_none_or(|entry| entry.metadata.is_epoch_exhausted())
    }

    /// InitProducerId v0–5 with a transactional id: fences older instances, and aborts what they
    /// left open; then the client is to come again. `fresh` is a producer id that nobody had, where
    /// [`Self::wants_producer_id`] asked for one.
    pub fn init_producer_id(
        &mut self,
        caller: &Caller,
        request: &InitProducerIdRequest,
        fresh: Option<ProducerId>,
        now_ms: i64,
    ) -> Vec<TransactionAction> {
        let transactional_id = request
            .transactional_id
            .as_ref()
            .map(KString::detached)
            .unwrap_or_default();
        let init = Init {
            timeout_ms: request.transaction_timeout_ms,
            expected: (request.producer_epoch >= 0 || request.producer_id >= 0).then_some((
                ProducerId(request.producer_id),
                ProducerEpoch(request.producer_epoch),
            )),
            fresh,
            now_ms,
        };
        let refusal = if transactional_id.is_empty() {
            Some(ErrorCode::InvalidRequest)
        } else if request.enable2_pc || request.keep_prepared_txn {
            Some(ErrorCode::UnsupportedVersion)
        } else if !(1..=self.settings.max_timeout_ms).contains(&request.transaction_timeout_ms) {
            Some(ErrorCode::InvalidTransactionTimeout)
        } else {
            None
        };
        let next = match refusal {
            Some(code) => Err(code),
            None => self.begin(&transactional_id, &init),
        };
        match next {
            Ok(next) => {
                let response = if next.state == TransactionState::PrepareAbort {
                    refused(caller, ErrorCode::ConcurrentTransactions)
                } else {
                    InitProducerIdResponse {
                        producer_id: next.producer_id.0,
                        producer_epoch: next.producer_epoch.0,
                        ..Default::default()
                    }
                };
                self.append(Pending {
                    transactional_id,
                    next: Some(next),
                    response: Some((caller.token, response.into())),
                })
            }
            Err(code) => vec![TransactionAction::Respond {
                token: caller.token,
                response: refused(caller, code).into(),
            }],
        }
    }

    fn begin(
        &mut self,
        transactional_id: &KString,
        init: &Init,
    ) -> Result<TransactionMetadata, ErrorCode> {
        if !self.ids.contains_key(transactional_id) {
            let fresh = init.fresh.ok_or(ErrorCode::CoordinatorNotAvailable)?;
            let metadata = TransactionMetadata::new(fresh, init.timeout_ms, init.now_ms);
            self.put(transactional_id, Some(metadata));
        }
        let entry = self
            .ids
            .get(transactional_id)
            .ok_or(ErrorCode::UnknownServerError)?;
        let metadata = &entry.metadata;
        if entry.in_transition {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        if !init.is_known_to(metadata) {
            return Err(ErrorCode::ProducerFenced);
        }
        match metadata.state {
            TransactionState::PrepareCommit | TransactionState::PrepareAbort => {
                Err(ErrorCode::ConcurrentTransactions)
            }
            TransactionState::Ongoing => Ok(metadata.fenced(init.now_ms)),
            _ => init.next(metadata),
        }
    }
}

/// What a producer asks for.
struct Init {
    timeout_ms: i32,
    /// The id and epoch that it believes to have.
    expected: Option<(ProducerId, ProducerEpoch)>,
    fresh: Option<ProducerId>,
    now_ms: i64,
}

impl Init {
    /// Whether the producer has the id that it should; the epoch is checked when it is bumped.
    fn is_known_to(&self, metadata: &TransactionMetadata) -> bool {
        let Some((producer_id, epoch)) = self.expected else {
            return true;
        };
        metadata.producer_epoch == ProducerEpoch::NONE
            || producer_id == metadata.producer_id
            // A repetition after a change of id whose answer was lost.
            || (producer_id == metadata.previous_producer_id && is_exhausted(epoch))
    }

    fn next(&self, metadata: &TransactionMetadata) -> Result<TransactionMetadata, ErrorCode> {
        let epoch = self.expected.map(|(_, epoch)| epoch);
        let is_current = epoch.is_none_or(|epoch| epoch == metadata.producer_epoch);
        if metadata.is_epoch_exhausted() && is_current {
            let fresh = self.fresh.ok_or(ErrorCode::CoordinatorNotAvailable)?;
            let keep_last_epoch = epoch.is_some();
            return Ok(metadata.with_producer_id(
                fresh,
                keep_last_epoch,
                self.timeout_ms,
                self.now_ms,
            ));
        }
        metadata.with_next_epoch(epoch, self.timeout_ms, self.now_ms)
    }
}

fn refused(caller: &Caller, code: ErrorCode) -> InitProducerIdResponse {
    let code = match code {
        ErrorCode::ProducerFenced if caller.api_version < FENCED_FROM => {
            ErrorCode::InvalidProducerEpoch
        }
        code => code,
    };
    InitProducerIdResponse {
        error_code: code.code(),
        producer_id: ProducerId::NONE.0,
        producer_epoch: ProducerEpoch::NONE.0,
        ..Default::default()
    }
}

const FENCED_FROM: i16 = 4;
