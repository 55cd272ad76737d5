//! AddPartitionsToTxn v0–5 for one transaction, and AddOffsetsToTxn v0–4.
//!
//! - v2: PRODUCER_FENCED; older clients get INVALID_PRODUCER_EPOCH (KIP-588)
//! - AddPartitionsToTxn v4: from brokers only, also to ask without adding (KIP-890); adding on behalf
//!   of a producer means that it follows transaction version 2

use std::collections::BTreeMap;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::add_offsets_to_txn::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse,
};
use moldau_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction,
};
use moldau_protocol::types::KString;

use super::metadata::VERSION_WITH_EPOCH_BUMP;
use super::pending::Pending;
use super::{
    TransactionAction, TransactionCoordinator, TransactionMetadata, TransactionPartition,
    TransactionState,
};
use crate::group::Caller;
use crate::ids::{ProducerEpoch, ProducerId};

/// What became of the partitions of one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddedPartitions {
    /// Whose transaction it is.
    pub transactional_id: KString,
    /// By topic and index.
    pub partitions: Vec<(TransactionPartition, ErrorCode)>,
}

/// The answer of AddPartitionsToTxn in the shape of its version.
#[must_use]
pub fn add_partitions_response(
    results: &[AddedPartitions],
    api_version: i16,
) -> AddPartitionsToTxnResponse {
    let topics = |added: &AddedPartitions| {
        let mut topics: BTreeMap<KString, Vec<_>> = BTreeMap::new();
        for ((topic, partition_index), code) in &added.partitions {
            let partition_error_code = match code {
                ErrorCode::ProducerFenced if api_version < FENCED_FROM => {
                    ErrorCode::InvalidProducerEpoch
                }
                code => *code,
            }
            .code();
            let result = AddPartitionsToTxnPartitionResult {
                partition_index: *partition_index,
                partition_error_code,
                ..Default::default()
            };
            topics.entry(topic.clone()).or_default().push(result);
        }
        let topics = topics.into_iter();
        let topics = topics.map(
            |(name, results_by_partition)| AddPartitionsToTxnTopicResult {
                name,
                results_by_partition,
                ..Default::default()
            },
        );
        topics.collect::<Vec<_>>()
    };
    if api_version < BATCHED_FROM {
        return AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: results.first().map(topics).unwrap_or_default(),
            ..Default::default()
        };
    }
    let results = results.iter().map(|added| AddPartitionsToTxnResult {
        transactional_id: added.transactional_id.clone(),
        topic_results: topics(added),
        ..Default::default()
    });
    AddPartitionsToTxnResponse {
        results_by_transaction: results.collect(),
        ..Default::default()
    }
}

impl TransactionCoordinator {
    /// AddPartitionsToTxn v0–5 for one transaction: adds partitions, or with `verify_only` says
    /// whether they were added.
    pub fn add_partitions_to_txn(
        &mut self,
        caller: &Caller,
        request: &AddPartitionsToTxnTransaction,
        now_ms: i64,
    ) -> Vec<TransactionAction> {
        let topics = request.topics.iter();
        let partitions = topics.flat_map(|topic| {
            let name = topic.name.detached();
            topic
                .partitions
                .iter()
                .map(move |index| (name.clone(), *index))
        });
        let add = Add {
            transactional_id: request.transactional_id.detached(),
            producer_id: ProducerId(request.producer_id),
            producer_epoch: ProducerEpoch(request.producer_epoch),
            partitions: partitions.collect(),
            client_version: if caller.api_version < BATCHED_FROM {
                0
            } else {
                VERSION_WITH_EPOCH_BUMP
            },
        };
        let respond = |code: &dyn Fn(&TransactionPartition) -> ErrorCode| {
            let partitions = add.partitions.iter();
            let added = AddedPartitions {
                transactional_id: add.transactional_id.clone(),
                partitions: partitions
                    .map(|partition| (partition.clone(), code(partition)))
                    .collect(),
            };
            add_partitions_response(&[added], caller.api_version)
        };
        if request.verify_only {
            let response = match self.owned(&add) {
                Ok(metadata) => respond(&|partition| {
                    if metadata.partitions.contains(partition) {
                        ErrorCode::None
                    } else {
                        ErrorCode::TransactionAbortable
                    }
                }),
                Err(code) => respond(&|_| code),
            };
            return respond_now(caller, response);
        }
        match self.added(&add, now_ms) {
            Ok(Some(next)) => {
                let response = respond(&|_| ErrorCode::None);
                self.append(Pending {
                    transactional_id: add.transactional_id,
                    next: Some(next),
                    response: Some((caller.token, response.into())),
                })
            }
            Ok(None) => respond_now(caller, respond(&|_| ErrorCode::None)),
            Err(code) => respond_now(caller, respond(&|_| code)),
        }
    }

    /// AddOffsetsToTxn v0–4: the offsets of a group take part, which lie in `offsets_partition`.
    pub fn add_offsets_to_txn(
        &mut self,
        caller: &Caller,
        request: &AddOffsetsToTxnRequest,
        offsets_partition: TransactionPartition,
        now_ms: i64,
    ) -> Vec<TransactionAction> {
        let add = Add {
            transactional_id: request.transactional_id.detached(),
            producer_id: ProducerId(request.producer_id),
            producer_epoch: ProducerEpoch(request.producer_epoch),
            partitions: vec![offsets_partition],
            client_version: 0,
        };
        let added = self.added(&add, now_ms);
        let code = match added {
            Ok(_) => ErrorCode::None,
            Err(ErrorCode::ProducerFenced) if caller.api_version < FENCED_FROM => {
                ErrorCode::InvalidProducerEpoch
            }
            Err(code) => code,
        };
        let response = AddOffsetsToTxnResponse {
            error_code: code.code(),
            ..Default::default()
        };
        match added {
            Ok(Some(next)) => self.append(Pending {
                transactional_id: add.transactional_id,
                next: Some(next),
                response: Some((caller.token, response.into())),
            }),
            _ => respond_now(caller, response),
        }
    }

    /// What the id becomes; `None` if all partitions take part already.
    fn added(&self, add: &Add, now_ms: i64) -> Result<Option<TransactionMetadata>, ErrorCode> {
        let metadata = self.owned(add)?;
        let mut partitions = add.partitions.iter();
        if metadata.state == TransactionState::Ongoing
            && partitions.all(|partition| metadata.partitions.contains(partition))
        {
            return Ok(None);
        }
        let added = add.partitions.iter().cloned();
        Ok(Some(metadata.with_partitions(
            added,
            add.client_version,
            now_ms,
        )))
    }

    /// The transaction of this very producer, unless its end is on the way.
    fn owned(&self, add: &Add) -> Result<&TransactionMetadata, ErrorCode> {
        if add.transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let entry = self
            .ids
            .get(&add.transactional_id)
            .ok_or(ErrorCode::InvalidProducerIdMapping)?;
        let metadata = &entry.metadata;
        // First of all, as with transaction version 2 the change may be that of the producer id.
        if entry.in_transition || metadata.awaits(add.producer_id) {
            Err(ErrorCode::ConcurrentTransactions)
        } else if metadata.producer_id != add.producer_id {
            Err(ErrorCode::InvalidProducerIdMapping)
        } else if metadata.producer_epoch != add.producer_epoch {
            Err(ErrorCode::ProducerFenced)
        } else if metadata.state.is_prepared() {
            Err(ErrorCode::ConcurrentTransactions)
        } else {
            Ok(metadata)
        }
    }
}

/// Partitions that are to take part in a transaction.
struct Add {
    transactional_id: KString,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    partitions: Vec<TransactionPartition>,
    client_version: i16,
}

fn respond_now(
    caller: &Caller,
    response: impl Into<moldau_protocol::ResponseKind>,
) -> Vec<TransactionAction> {
    vec![TransactionAction::Respond {
        token: caller.token,
        response: response.into(),
    }]
}

const BATCHED_FROM: i16 = 4;
const FENCED_FROM: i16 = 2;
