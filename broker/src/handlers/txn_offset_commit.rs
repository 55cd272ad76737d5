//! TxnOffsetCommit v0–5 (key 28).
//!
//! Stores how far a group has read as part of a transaction: it counts when the transaction is committed (KIP-98).
//! - v2: the leader epoch of the offset (KIP-320)
//! - v3: the consumer's generation, member id and instance id are checked (KIP-447)
//! - v4: TRANSACTION_ABORTABLE is understood (KIP-890)
//! - v5: the broker adds the group's partition to the transaction; no AddOffsetsToTxn before (KIP-890)

use std::sync::Arc;

use moldau_core::ids::{ProducerEpoch, ProducerId};
use moldau_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestTopic, TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use moldau_protocol::{ErrorCode, KString};

use super::RequestContext;
use super::transaction_check::{ClientKind, TransactionCheck};
use crate::metadata::CONSUMER_OFFSETS;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let topics = request.topics.clone();
    let committed = commit(&node, &context, request).await;
    committed.unwrap_or_else(|code| failed(topics, code))
}

async fn commit(
    node: &Node,
    context: &RequestContext,
    request: TxnOffsetCommitRequest,
) -> Result<TxnOffsetCommitResponse, ErrorCode> {
    let index = node.coordinators.partition_of(&request.group_id)?;
    let partition = node
        .partitions
        .find(CONSUMER_OFFSETS, index)
        .ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let check = TransactionCheck {
        transactional_id: &request.transactional_id,
        producer_id: ProducerId(request.producer_id),
        producer_epoch: ProducerEpoch(request.producer_epoch),
        client: match context.version {
            ..FIRST_WITH_ABORTABLE => ClientKind::Old,
            FIRST_WITH_ABORTABLE => ClientKind::KnowsAbortable,
            _ => ClientKind::LeavesAdding,
        },
    };
    let guarded = check.guard_all(node, context, &[partition]).await;
    let guard = guarded.into_iter().next().unwrap_or(Ok(None));
    let guard = guard.map_err(|code| match code {
        ErrorCode::NotEnoughReplicas => ErrorCode::CoordinatorNotAvailable,
        code => code,
    })?;
    let image = node.metadata.image();
    let group = request.group_id.clone();
    let response = node
        .coordinators
        .call(&group, context, |coordinator, caller, now_ms| {
            coordinator.txn_offset_commit(caller, &request, guard, &image, now_ms)
        })
        .await?;
    TxnOffsetCommitResponse::try_from(response).map_err(|_| ErrorCode::UnknownServerError)
}

fn failed(topics: Vec<TxnOffsetCommitRequestTopic>, code: ErrorCode) -> TxnOffsetCommitResponse {
    let topics = topics
        .into_iter()
        .map(|topic| TxnOffsetCommitResponseTopic {
            name: KString::clone(&topic.name),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| TxnOffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: code.code(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
    TxnOffsetCommitResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

const FIRST_WITH_ABORTABLE: i16 = 4;
