//! AddOffsetsToTxn v0–4 (key 25).
//!
//! The offsets of a group take part in a transaction: the partition of `__consumer_offsets` that holds them is added
//! (KIP-98).
//! - v2: PRODUCER_FENCED; older clients get INVALID_PRODUCER_EPOCH (KIP-588)
//! - v4: TRANSACTION_ABORTABLE is understood (KIP-890)

use std::sync::Arc;

use moldau_protocol::messages::add_offsets_to_txn::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse,
};
use moldau_protocol::{ErrorCode, KString};

use super::RequestContext;
use crate::metadata::CONSUMER_OFFSETS;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let added = add(&node, &context, request).await;
    added.unwrap_or_else(|code| AddOffsetsToTxnResponse {
        error_code: code.code(),
        ..Default::default()
    })
}

async fn add(
    node: &Node,
    context: &RequestContext,
    request: AddOffsetsToTxnRequest,
) -> Result<AddOffsetsToTxnResponse, ErrorCode> {
    node.coordinators_ready().await?;
    let index = node.coordinators.partition_of(&request.group_id)?;
    let partition = (KString::from(CONSUMER_OFFSETS), index);
    let id = request.transactional_id.clone();
    let response = node
        .transactions
        .call(&id, context, |coordinator, caller, now_ms| {
            coordinator.add_offsets_to_txn(caller, &request, partition, now_ms)
        })
        .await?;
    AddOffsetsToTxnResponse::try_from(response).map_err(|_| ErrorCode::UnknownServerError)
}
