//! Transactions: listing, describing, ending those that hang, fencing their producers (KIP-664, KIP-98, KIP-360).

use std::collections::BTreeMap;

use moldau_protocol::messages::describe_producers::{
    DescribeProducersRequest, PartitionResponse, TopicRequest,
};
use moldau_protocol::messages::describe_transactions::{
    DescribeTransactionsRequest, TransactionState,
};
use moldau_protocol::messages::init_producer_id::InitProducerIdRequest;
use moldau_protocol::messages::list_transactions::ListTransactionsRequest;
use moldau_protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use moldau_protocol::{ErrorCode, KString};

use crate::admin::Admin;
use crate::client::Target;
use crate::error::ClientError;
use crate::topic_partition::TopicPartition;

/// Which transactions to list; the default is all.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TransactionFilter {
    /// Only those in one of these states, by Kafka's names, such as `Ongoing`; none is any.
    pub states: Vec<String>,
    /// Only those of these producers; none is any.
    pub producer_ids: Vec<i64>,
    /// Only those that have been open for longer than this, in milliseconds.
    pub open_for_ms: Option<i64>,
}

/// A transaction as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionListing {
    /// Transactional id.
    pub transactional_id: String,
    /// Id of its producer.
    pub producer_id: i64,
    /// `Empty`, `Ongoing`, `PrepareCommit`, `PrepareAbort`, `CompleteCommit`, `CompleteAbort`, …
    pub state: String,
    /// The broker that coordinates it.
    pub coordinator_id: i32,
}

/// A transaction as its coordinator knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    /// Transactional id.
    pub transactional_id: String,
    /// State, as in [`TransactionListing::state`].
    pub state: String,
    /// Longest time that it may stay open, in milliseconds.
    pub timeout_ms: i32,
    /// When it was begun, in milliseconds since 1970; `None` while none is open.
    pub started_at: Option<i64>,
    /// Id of its producer.
    pub producer_id: i64,
    /// Epoch of its producer.
    pub producer_epoch: i16,
    /// The partitions that are part of it.
    pub partitions: Vec<TopicPartition>,
}

/// A producer as the leader of a partition knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerDescription {
    /// Id.
    pub producer_id: i64,
    /// Epoch.
    pub producer_epoch: i32,
    /// Sequence number of its last record; -1 if none is remembered.
    pub last_sequence: i32,
    /// Timestamp of its last batch, in milliseconds; -1 if none is remembered.
    pub last_timestamp: i64,
    /// Epoch of the coordinator that wrote its last marker, if there is one.
    pub coordinator_epoch: Option<i32>,
    /// First offset of its open transaction, if there is one.
    pub transaction_start_offset: Option<i64>,
}

/// A transaction that hangs in one partition, as [`Admin::describe_producers`] shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HangingTransaction {
    /// The partition.
    pub partition: TopicPartition,
    /// Id of its producer.
    pub producer_id: i64,
    /// Epoch of its producer.
    pub producer_epoch: i16,
    /// Epoch of the coordinator that wrote the producer's last marker; -1 if there is none.
    pub coordinator_epoch: i32,
}

impl Admin {
    /// The transactions of all coordinators that `filter` lets through, by transactional id.
    ///
    /// # Errors
    ///
    /// A broker cannot be asked, or knows no state of a name in the filter.
    pub async fn list_transactions(
        &self,
        filter: &TransactionFilter,
    ) -> Result<Vec<TransactionListing>, ClientError> {
        let states = filter.states.iter();
        let request = ListTransactionsRequest {
            state_filters: states.map(|state| KString::copy_from(state)).collect(),
            producer_id_filters: filter.producer_ids.clone(),
            duration_filter: filter.open_for_ms.unwrap_or(-1),
            ..ListTransactionsRequest::default()
        };
        let mut transactions = BTreeMap::new();
        for broker in self.brokers().await? {
            let target = Target::Broker(broker);
            let listed = self
                .client
                .request_until(target, request.clone(), |response| {
                    ClientError::check(response.error_code, || {
                        format!("transactions of broker {broker}")
                    })?;
                    if let Some(state) = response.unknown_state_filters.first() {
                        return Err(ClientError::Config {
                            setting: "states",
                            reason: format!(
                                "broker {broker} knows no transaction state \"{state}\""
                            ),
                        });
                    }
                    Ok(response.transaction_states)
                })
                .await?;
            for transaction in listed {
                let listing = TransactionListing {
                    transactional_id: transaction.transactional_id.to_string(),
                    producer_id: transaction.producer_id,
                    state: transaction.transaction_state.to_string(),
                    coordinator_id: broker,
                };
                transactions.insert(listing.transactional_id.clone(), listing);
            }
        }
        Ok(transactions.into_values().collect())
    }

    /// What its coordinator knows of a transactional id.
    ///
    /// # Errors
    ///
    /// The coordinator cannot be asked, or knows no such id (`TRANSACTIONAL_ID_NOT_FOUND`).
    pub async fn describe_transaction(
        &self,
        transactional_id: &str,
    ) -> Result<TransactionDescription, ClientError> {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![KString::copy_from(transactional_id)],
            ..DescribeTransactionsRequest::default()
        };
        let target = Target::TransactionCoordinator(transactional_id.to_owned());
        self.client
            .request_until(target, request, |response| {
                let object = || format!("transactional id \"{transactional_id}\"");
                let Some(state) = response.transaction_states.first() else {
                    return Err(ClientError::protocol(
                        object(),
                        "the broker did not answer for it",
                    ));
                };
                ClientError::check(state.error_code, object)?;
                Ok(description(state))
            })
            .await
    }

    /// The producers that the leaders of partitions remember. A partition that has none has an empty list.
    ///
    /// # Errors
    ///
    /// A partition does not exist, or its leader cannot be asked.
    pub async fn describe_producers(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Vec<ProducerDescription>>, ClientError> {
        let mut producers = BTreeMap::new();
        for name in partitions {
            let request = DescribeProducersRequest {
                topics: vec![TopicRequest {
                    name: name.topic.clone(),
                    partition_indexes: vec![name.partition],
                    ..TopicRequest::default()
                }],
                ..DescribeProducersRequest::default()
            };
            let target = Target::Leader(name.clone());
            let found = self
                .client
                .request_until(target, request, |response| {
                    let mut answers = response.topics.iter().flat_map(|topic| &topic.partitions);
                    let Some(answer) = answers.next() else {
                        return Ok(Vec::new());
                    };
                    let object = format!("producers of {name}");
                    if answer.error_code != 0 {
                        let message = answer.error_message.as_deref();
                        return Err(ClientError::broker(answer.error_code, message, object));
                    }
                    Ok(producer_descriptions(answer))
                })
                .await?;
            producers.insert(name.clone(), found);
        }
        Ok(producers)
    }

    /// Ends a transaction that hangs in a partition by writing its abort marker there, past its coordinator.
    ///
    /// # Errors
    ///
    /// The partition's leader cannot be asked, or has no such producer and epoch.
    pub async fn abort_transaction(
        &self,
        transaction: &HangingTransaction,
    ) -> Result<(), ClientError> {
        let name = &transaction.partition;
        let request = WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id: transaction.producer_id,
                producer_epoch: transaction.producer_epoch,
                coordinator_epoch: transaction.coordinator_epoch,
                transaction_result: false,
                topics: vec![WritableTxnMarkerTopic {
                    name: name.topic.clone(),
                    partition_indexes: vec![name.partition],
                    ..WritableTxnMarkerTopic::default()
                }],
                ..WritableTxnMarker::default()
            }],
            ..WriteTxnMarkersRequest::default()
        };
        self.client
            .request_until(Target::Leader(name.clone()), request, |response| {
                let topics = response.markers.iter().flat_map(|marker| &marker.topics);
                let mut partitions = topics.flat_map(|topic| &topic.partitions);
                partitions.try_for_each(|answer| {
                    ClientError::check(answer.error_code, || {
                        format!(
                            "transaction of producer {} in {name}",
                            transaction.producer_id
                        )
                    })
                })
            })
            .await
    }

    /// Fences the producer of a transactional id, as starting another would, and aborts its open transaction.
    /// The next producer with this id starts anew.
    ///
    /// # Errors
    ///
    /// The coordinator cannot be asked, or refuses.
    pub async fn fence_producer(&self, transactional_id: &str) -> Result<(), ClientError> {
        let request = InitProducerIdRequest {
            transactional_id: Some(KString::copy_from(transactional_id)),
            transaction_timeout_ms: 1,
            ..InitProducerIdRequest::default()
        };
        let target = Target::TransactionCoordinator(transactional_id.to_owned());
        self.client
            .request_until(target, request, |response| {
                // Somebody else has just done the same.
                if response.error_code == ErrorCode::ProducerFenced.code() {
                    return Ok(());
                }
                ClientError::check(response.error_code, || {
                    format!("transactional id \"{transactional_id}\"")
                })
            })
            .await
    }
}

fn description(state: &TransactionState) -> TransactionDescription {
    let partitions = state.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|partition| TopicPartition::new(&topic.topic, *partition))
    });
    TransactionDescription {
        transactional_id: state.transactional_id.to_string(),
        state: state.transaction_state.to_string(),
        timeout_ms: state.transaction_timeout_ms,
        started_at: (state.transaction_start_time_ms >= 0)
            .then_some(state.transaction_start_time_ms),
        producer_id: state.producer_id,
        producer_epoch: state.producer_epoch,
        partitions: partitions.collect(),
    }
}

fn producer_descriptions(answer: &PartitionResponse) -> Vec<ProducerDescription> {
    let producers = answer.active_producers.iter();
    producers
        .map(|producer| ProducerDescription {
            producer_id: producer.producer_id,
            producer_epoch: producer.producer_epoch,
            last_sequence: producer.last_sequence,
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: (producer.coordinator_epoch >= 0)
                .then_some(producer.coordinator_epoch),
            transaction_start_offset: (producer.current_txn_start_offset >= 0)
                .then_some(producer.current_txn_start_offset),
        })
        .collect()
}
