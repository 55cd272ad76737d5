//! The conversations of a transactional producer with its coordinators: InitProducerId, AddPartitionsToTxn,
//! AddOffsetsToTxn, TxnOffsetCommit, EndTxn (KIP-98, KIP-360, KIP-447, KIP-890).

use std::time::Duration;

use moldau_protocol::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use moldau_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnTopic,
};
use moldau_protocol::messages::end_txn::EndTxnRequest;
use moldau_protocol::messages::init_producer_id::InitProducerIdRequest;
use moldau_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse,
};
use moldau_protocol::{ErrorCode, KString, Request};
use tokio::time::Instant;

use crate::backoff::Retry;
use crate::client::{Client, Target};
use crate::error::ClientError;
use crate::offsets::{GroupMetadata, by_topic, partitions_by_topic};
use crate::producer::batch::ProducerId;
use crate::producer::transaction::reaction::{Reaction, Step, reaction};
use crate::producer::transaction::state::Identity;
use crate::topic_partition::{OffsetAndMetadata, TopicPartition};

/// Asks on behalf of one transactional id.
#[derive(Clone, Debug)]
pub(crate) struct TransactionRequests {
    client: Client,
    transactional_id: KString,
    /// Limit of a whole call with all its retries.
    limit: Duration,
}

impl TransactionRequests {
    pub(crate) const fn new(client: Client, transactional_id: KString, limit: Duration) -> Self {
        Self {
            client,
            transactional_id,
            limit,
        }
    }

    /// Takes the transactional id over: fences whoever had it, and ends what that one left open.
    ///
    /// With `current`, only a new epoch for this same producer is asked for (KIP-360).
    pub(crate) async fn init(
        &self,
        timeout_ms: i32,
        current: Option<ProducerId>,
    ) -> Result<ProducerId, ClientError> {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.transactional_id.clone()),
            transaction_timeout_ms: timeout_ms,
            producer_id: current.map_or(-1, |producer| producer.id),
            producer_epoch: current.map_or(-1, |producer| producer.epoch),
            ..InitProducerIdRequest::default()
        };
        self
            .call(Step::Init, self.coordinator(), i16::MAX, &request, |response| {
                let hint = match ErrorCode::from_code(response.error_code) {
                    ErrorCode::InvalidTransactionTimeout => Some(
                        "`transaction_timeout_ms` is larger than the broker's `transaction.max.timeout.ms`",
                    ),
                    _ => None,
                };
                self.check(response.error_code, hint)?;
                Ok(ProducerId {
                    id: response.producer_id,
                    epoch: response.producer_epoch,
                })
            })
            .await
    }

    /// Whether the cluster has `transaction.version` 2.
    pub(crate) async fn is_version_2(&self) -> Result<bool, ClientError> {
        let mut retry = Retry::new(self.client.config(), self.limit);
        loop {
            let target = self.coordinator();
            match self.client.feature_at(&target, "transaction.version").await {
                Ok(level) => return Ok(level >= 2),
                Err(error) => retry.after(error).await?,
            }
        }
    }

    /// Makes partitions part of the transaction. One attempt.
    pub(crate) async fn add_partitions(
        &self,
        producer: ProducerId,
        partitions: &[TopicPartition],
    ) -> Result<(), ClientError> {
        let topics = by_topic(partitions.iter().map(|name| (&name.topic, name.partition)));
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.transactional_id.clone(),
            v3_and_below_producer_id: producer.id,
            v3_and_below_producer_epoch: producer.epoch,
            v3_and_below_topics: topics
                .into_iter()
                .map(|(name, partitions)| AddPartitionsToTxnTopic {
                    name,
                    partitions,
                    ..AddPartitionsToTxnTopic::default()
                })
                .collect(),
            ..AddPartitionsToTxnRequest::default()
        };
        let target = self.coordinator();
        // Versions from 4 on are spoken among brokers.
        let result = self.client.request_at_most(&target, request, 3).await;
        let result = result.and_then(|response| self.read_added(&response));
        if let Err(error) = &result {
            self.client.doubt(&target, error);
        }
        result
    }

    fn read_added(&self, response: &AddPartitionsToTxnResponse) -> Result<(), ClientError> {
        for topic in &response.results_by_topic_v3_and_below {
            for answer in &topic.results_by_partition {
                // Another partition of the request has the reason.
                if answer.partition_error_code == ErrorCode::OperationNotAttempted.code() {
                    continue;
                }
                ClientError::check(answer.partition_error_code, || {
                    format!(
                        "adding {}-{} to the transaction of \"{}\"",
                        topic.name, answer.partition_index, self.transactional_id
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Makes a group's positions part of the transaction (transaction version 1).
    pub(crate) async fn add_group(
        &self,
        producer: ProducerId,
        group_id: &KString,
    ) -> Result<(), ClientError> {
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.transactional_id.clone(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            group_id: group_id.clone(),
            ..AddOffsetsToTxnRequest::default()
        };
        let target = self.coordinator();
        self.call(Step::SendOffsets, target, i16::MAX, &request, |response| {
            self.check(response.error_code, None)
        })
        .await
    }

    /// Stores a group's positions as part of the transaction.
    pub(crate) async fn commit_offsets(
        &self,
        identity: Identity,
        group: &GroupMetadata,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
    ) -> Result<(), ClientError> {
        let request = TxnOffsetCommitRequest {
            transactional_id: self.transactional_id.clone(),
            group_id: group.group_id.clone(),
            producer_id: identity.producer.id,
            producer_epoch: identity.producer.epoch,
            generation_id: group.generation_id,
            member_id: group.member_id.clone(),
            group_instance_id: group.group_instance_id.clone(),
            topics: txn_offset_commit_topics(offsets),
            ..TxnOffsetCommitRequest::default()
        };
        let target = Target::GroupCoordinator(group.group_id.to_string());
        // From version 5 on the group's coordinator adds the group to the transaction itself.
        let most = if identity.is_version_2 { i16::MAX } else { 4 };
        self.call(Step::SendOffsets, target, most, &request, |response| {
            read_txn_commit(&response, group)
        })
        .await
    }

    /// Ends the transaction. Gives as whom the producer goes on.
    pub(crate) async fn end(
        &self,
        identity: Identity,
        committed: bool,
    ) -> Result<ProducerId, ClientError> {
        let request = EndTxnRequest {
            transactional_id: self.transactional_id.clone(),
            producer_id: identity.producer.id,
            producer_epoch: identity.producer.epoch,
            committed,
            ..EndTxnRequest::default()
        };
        // From version 5 on the answer has a new epoch.
        let most = if identity.is_version_2 { i16::MAX } else { 4 };
        self.call(Step::End, self.coordinator(), most, &request, |response| {
            let hint = match ErrorCode::from_code(response.error_code) {
                ErrorCode::InvalidTxnState => Some(
                    "the coordinator has ended the transaction already: it took longer than `transaction_timeout_ms`",
                ),
                _ => None,
            };
            self.check(response.error_code, hint)?;
            if response.producer_id < 0 {
                return Ok(identity.producer);
            }
            Ok(ProducerId {
                id: response.producer_id,
                epoch: response.producer_epoch,
            })
        })
        .await
    }

    /// Makes a request until it succeeds, fails in a way that no retry cures, or the time is up.
    async fn call<R: Request, T>(
        &self,
        step: Step,
        target: Target,
        most: i16,
        request: &R,
        mut read: impl FnMut(R::Response) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let deadline = Instant::now() + self.limit;
        let mut retry = Retry::new(self.client.config(), self.limit);
        loop {
            let result = self
                .client
                .request_at_most(&target, request.clone(), most)
                .await
                .and_then(&mut read);
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            self.client.doubt(&target, &error);
            if reaction(step, &error) != Reaction::Retry {
                return Err(error);
            }
            // The end of the transaction before is still being written; that takes a moment only.
            if error.code() == Some(ErrorCode::ConcurrentTransactions)
                && Instant::now() + CONCURRENT_WAIT < deadline
            {
                tokio::time::sleep(CONCURRENT_WAIT).await;
                continue;
            }
            retry.wait(error).await?;
        }
    }

    fn coordinator(&self) -> Target {
        Target::TransactionCoordinator(self.transactional_id.to_string())
    }

    fn check(&self, code: i16, hint: Option<&str>) -> Result<(), ClientError> {
        if code == 0 {
            return Ok(());
        }
        let object = format!("transactional id \"{}\"", self.transactional_id);
        Err(ClientError::broker(code, hint, object))
    }
}

fn txn_offset_commit_topics(
    offsets: &[(TopicPartition, OffsetAndMetadata)],
) -> Vec<TxnOffsetCommitRequestTopic> {
    partitions_by_topic(
        offsets,
        |partition_index, offset| TxnOffsetCommitRequestPartition {
            partition_index,
            committed_offset: offset.offset,
            committed_leader_epoch: offset.leader_epoch.unwrap_or(-1),
            committed_metadata: Some(offset.metadata.clone()),
            ..TxnOffsetCommitRequestPartition::default()
        },
        |name, partitions| TxnOffsetCommitRequestTopic {
            name,
            partitions,
            ..TxnOffsetCommitRequestTopic::default()
        },
    )
}

fn read_txn_commit(
    response: &TxnOffsetCommitResponse,
    group: &GroupMetadata,
) -> Result<(), ClientError> {
    for topic in &response.topics {
        for answer in &topic.partitions {
            let code = ErrorCode::from_code(answer.error_code);
            if group.is_fenced_by(code) {
                return Err(ClientError::Fenced {
                    object: group.to_string(),
                    code,
                });
            }
            ClientError::check(answer.error_code, || {
                format!(
                    "commit of {}-{} for group \"{}\"",
                    topic.name, answer.partition_index, group.group_id
                )
            })?;
        }
    }
    Ok(())
}

/// How long to wait while the coordinator still writes the end of the transaction before.
pub(crate) const CONCURRENT_WAIT: Duration = Duration::from_millis(20);
