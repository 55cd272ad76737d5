//! AddPartitionsToTxn v0–5 (key 24).
//!
//! Partitions take part in a transaction (KIP-98).
//! - v2: PRODUCER_FENCED; older clients get INVALID_PRODUCER_EPOCH (KIP-588)
//! - v4: several transactions at once, and `verify_only`; for brokers, which add partitions on behalf of producers
//!   (KIP-890)
//! - v5: TRANSACTION_ABORTABLE is understood (KIP-890)

use std::sync::Arc;

use moldau_core::transaction::{AddedPartitions, TransactionPartition, add_partitions_response};
use moldau_protocol::ErrorCode;
use moldau_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnTransaction,
};

use super::RequestContext;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if context.version < FIRST_BATCHED {
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            topics: request.v3_and_below_topics,
            ..Default::default()
        };
        return one(&node, &context, transaction).await;
    }
    let mut response = AddPartitionsToTxnResponse::default();
    for transaction in request.transactions {
        let added = one(&node, &context, transaction).await;
        response
            .results_by_transaction
            .extend(added.results_by_transaction);
    }
    response
}

async fn one(
    node: &Node,
    context: &RequestContext,
    transaction: AddPartitionsToTxnTransaction,
) -> AddPartitionsToTxnResponse {
    let unknown = |partition: &TransactionPartition| {
        node.partitions.find(&partition.0, partition.1).is_none()
    };
    let partitions = partitions_of(&transaction);
    if partitions.iter().any(unknown) {
        let result = |partition: TransactionPartition| {
            let code = if unknown(&partition) {
                ErrorCode::UnknownTopicOrPartition
            } else {
                ErrorCode::OperationNotAttempted
            };
            (partition, code)
        };
        let added = AddedPartitions {
            transactional_id: transaction.transactional_id,
            partitions: partitions.into_iter().map(result).collect(),
        };
        return add_partitions_response(&[added], context.version);
    }
    let id = transaction.transactional_id.clone();
    let answered = node
        .transactions
        .call(&id, context, |coordinator, caller, now_ms| {
            coordinator.add_partitions_to_txn(caller, &transaction, now_ms)
        })
        .await
        .and_then(|response| {
            AddPartitionsToTxnResponse::try_from(response)
                .map_err(|_| ErrorCode::UnknownServerError)
        });
    answered.unwrap_or_else(|code| {
        let partitions = partitions
            .into_iter()
            .map(|partition| (partition, code))
            .collect();
        let added = AddedPartitions {
            transactional_id: id,
            partitions,
        };
        add_partitions_response(&[added], context.version)
    })
}

fn partitions_of(transaction: &AddPartitionsToTxnTransaction) -> Vec<TransactionPartition> {
    let topics = transaction.topics.iter();
    let partitions = topics.flat_map(|topic| {
        let indexes = topic.partitions.iter();
        indexes.map(|index| (topic.name.clone(), *index))
    });
    partitions.collect()
}

const FIRST_BATCHED: i16 = 4;
