//! The scripted broker's transaction coordinator.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use moldau_protocol::messages::add_offsets_to_txn::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse,
};
use moldau_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    AddPartitionsToTxnTopicResult,
};
use moldau_protocol::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use moldau_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use moldau_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
};
use moldau_protocol::{ErrorCode, KString};

use crate::coordinator::Coordinator;
use crate::log::Log;

type Topics = BTreeMap<String, Vec<Log>>;

#[derive(Debug, Default)]
pub(crate) struct Transactions {
    /// Whether the cluster has transaction version 2.
    pub(crate) is_version_2: bool,
    /// What happens to the next requests; without one they succeed.
    pub(crate) script: VecDeque<TransactionFault>,
    by_id: BTreeMap<String, Transaction>,
}

/// What happens to a request to the coordinator.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TransactionFault {
    Succeed,
    Refuse(ErrorCode),
    /// The connection breaks before the request takes effect.
    LoseRequest,
    /// The connection breaks after the request has taken effect.
    LoseAnswer,
}

#[derive(Debug, Default)]
struct Transaction {
    producer_id: i64,
    epoch: i16,
    is_open: bool,
    /// How the last one ended.
    was_committed: Option<bool>,
    partitions: BTreeSet<(String, i32)>,
    has_group: bool,
    offsets: BTreeMap<(KString, i32), i64>,
}

impl Transactions {
    /// Whether a producer may write to a partition now.
    pub(crate) fn admit(
        &mut self,
        id: &str,
        producer_id: i64,
        epoch: i16,
        partition: (String, i32),
    ) -> Result<(), ErrorCode> {
        let is_version_2 = self.is_version_2;
        let transaction = self.current(id, producer_id, epoch)?;
        if is_version_2 {
            transaction.is_open = true;
            transaction.partitions.insert(partition);
            return Ok(());
        }
        if transaction.partitions.contains(&partition) {
            Ok(())
        } else {
            Err(ErrorCode::InvalidTxnState)
        }
    }

    fn current(
        &mut self,
        id: &str,
        producer_id: i64,
        epoch: i16,
    ) -> Result<&mut Transaction, ErrorCode> {
        let transaction = self.by_id.get_mut(id);
        let transaction = transaction.ok_or(ErrorCode::InvalidProducerIdMapping)?;
        if transaction.producer_id != producer_id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if transaction.epoch != epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        Ok(transaction)
    }

    pub(crate) fn init(
        &mut self,
        id: &str,
        request: &InitProducerIdRequest,
        new_id: i64,
        topics: &mut Topics,
    ) -> InitProducerIdResponse {
        let known = self.by_id.contains_key(id);
        let transaction = self.by_id.entry(id.to_owned()).or_insert(Transaction {
            producer_id: new_id,
            epoch: -1,
            ..Transaction::default()
        });
        let claims = request.producer_id >= 0;
        // The answer to the same request was lost.
        let is_repeat = claims && request.producer_epoch == transaction.epoch - 1;
        if claims && known && !is_repeat && request.producer_epoch != transaction.epoch {
            return InitProducerIdResponse {
                error_code: ErrorCode::ProducerFenced.code(),
                ..InitProducerIdResponse::default()
            };
        }
        if !is_repeat {
            transaction.epoch += 1;
            if transaction.is_open {
                transaction.end(false, topics);
            }
            transaction.was_committed = None;
        }
        InitProducerIdResponse {
            producer_id: transaction.producer_id,
            producer_epoch: transaction.epoch,
            ..InitProducerIdResponse::default()
        }
    }

    pub(crate) fn add_partitions(
        &mut self,
        request: &AddPartitionsToTxnRequest,
    ) -> AddPartitionsToTxnResponse {
        let id = &request.v3_and_below_transactional_id;
        let (producer, epoch) = (
            request.v3_and_below_producer_id,
            request.v3_and_below_producer_epoch,
        );
        let mut code = ErrorCode::None;
        let topics = &request.v3_and_below_topics;
        match self.current(id, producer, epoch) {
            Ok(transaction) => {
                transaction.is_open = true;
                for topic in topics {
                    for partition in &topic.partitions {
                        let partition = (topic.name.to_string(), *partition);
                        transaction.partitions.insert(partition);
                    }
                }
            }
            Err(error) => code = error,
        }
        added(request, code)
    }

    pub(crate) fn add_offsets(
        &mut self,
        request: &AddOffsetsToTxnRequest,
    ) -> AddOffsetsToTxnResponse {
        let (id, producer) = (&request.transactional_id, request.producer_id);
        let result = self.current(id, producer, request.producer_epoch);
        let code = result.map(|transaction| {
            transaction.is_open = true;
            transaction.has_group = true;
        });
        AddOffsetsToTxnResponse {
            error_code: code.err().map_or(0, |code| code.code()),
            ..AddOffsetsToTxnResponse::default()
        }
    }

    pub(crate) fn commit_offsets(
        &mut self,
        request: &TxnOffsetCommitRequest,
    ) -> TxnOffsetCommitResponse {
        let is_version_2 = self.is_version_2;
        let (id, producer) = (&request.transactional_id, request.producer_id);
        let code = match self.current(id, producer, request.producer_epoch) {
            Ok(transaction) if is_version_2 || transaction.has_group => {
                transaction.is_open = true;
                for topic in &request.topics {
                    for partition in &topic.partitions {
                        let name = (topic.name.clone(), partition.partition_index);
                        transaction.offsets.insert(name, partition.committed_offset);
                    }
                }
                ErrorCode::None
            }
            Ok(_) => ErrorCode::InvalidTxnState,
            Err(code) => code,
        };
        offsets_answered(request, code)
    }

    pub(crate) fn end(
        &mut self,
        request: &EndTxnRequest,
        topics: &mut Topics,
        groups: &mut Coordinator,
    ) -> EndTxnResponse {
        let refused = |code: ErrorCode| EndTxnResponse {
            error_code: code.code(),
            ..EndTxnResponse::default()
        };
        let is_version_2 = self.is_version_2;
        let Some(transaction) = self.by_id.get_mut(&*request.transactional_id) else {
            return refused(ErrorCode::InvalidProducerIdMapping);
        };
        let ours = transaction.epoch;
        let epoch_before = ours - i16::from(is_version_2);
        let is_repeat = request.producer_epoch == epoch_before
            && !transaction.is_open
            && transaction.was_committed.is_some();
        if is_repeat {
            if transaction.was_committed != Some(request.committed) {
                return refused(ErrorCode::InvalidTxnState);
            }
        } else if request.producer_epoch != ours {
            return refused(ErrorCode::ProducerFenced);
        } else if !transaction.is_open && request.committed {
            return refused(ErrorCode::InvalidTxnState);
        } else {
            transaction.epoch += i16::from(is_version_2);
            if request.committed {
                groups.committed.extend(transaction.offsets.clone());
            }
            transaction.end(request.committed, topics);
        }
        EndTxnResponse {
            producer_id: transaction.producer_id,
            producer_epoch: transaction.epoch,
            ..EndTxnResponse::default()
        }
    }
}

impl Transaction {
    /// Writes the markers, with the epoch that holds from now on.
    fn end(&mut self, committed: bool, topics: &mut Topics) {
        for (topic, partition) in std::mem::take(&mut self.partitions) {
            let log = &mut topics.get_mut(&topic).unwrap()[partition as usize];
            log.append_marker(self.producer_id, self.epoch, committed);
        }
        self.offsets.clear();
        self.is_open = false;
        self.has_group = false;
        self.was_committed = Some(committed);
    }
}

/// The answer to AddPartitionsToTxn with one code for all.
pub(crate) fn added(
    request: &AddPartitionsToTxnRequest,
    code: ErrorCode,
) -> AddPartitionsToTxnResponse {
    let topics = request.v3_and_below_topics.iter();
    let topics = topics.map(|topic| AddPartitionsToTxnTopicResult {
        name: topic.name.clone(),
        results_by_partition: topic
            .partitions
            .iter()
            .map(|partition| AddPartitionsToTxnPartitionResult {
                partition_index: *partition,
                partition_error_code: code.code(),
                ..AddPartitionsToTxnPartitionResult::default()
            })
            .collect(),
        ..AddPartitionsToTxnTopicResult::default()
    });
    AddPartitionsToTxnResponse {
        results_by_topic_v3_and_below: topics.collect(),
        ..AddPartitionsToTxnResponse::default()
    }
}

/// The answer to TxnOffsetCommit with one code for all.
pub(crate) fn offsets_answered(
    request: &TxnOffsetCommitRequest,
    code: ErrorCode,
) -> TxnOffsetCommitResponse {
    let topics = request.topics.iter();
    let topics = topics.map(|topic| TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code.code(),
                ..TxnOffsetCommitResponsePartition::default()
            })
            .collect(),
        ..TxnOffsetCommitResponseTopic::default()
    });
    TxnOffsetCommitResponse {
        topics: topics.collect(),
        ..TxnOffsetCommitResponse::default()
    }
}
