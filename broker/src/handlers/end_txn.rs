//! EndTxn v0–5 (key 26).
//!
//! Commits or aborts a transaction; answered when the decision is in the log. The markers follow by themselves (KIP-98).
//! - v2: PRODUCER_FENCED; older clients get INVALID_PRODUCER_EPOCH (KIP-588)
//! - v4: TRANSACTION_ABORTABLE is understood (KIP-890)
//! - v5: transaction version 2: the epoch is bumped, and the answer tells what the producer goes on with (KIP-890)

use std::sync::Arc;

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::end_txn::{EndTxnRequest, EndTxnResponse};

use super::RequestContext;
use super::init_producer_id::fresh_producer_id;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: EndTxnRequest,
) -> EndTxnResponse {
    let ended = end(&node, &context, request).await;
    ended.unwrap_or_else(|code| EndTxnResponse {
        error_code: code.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    })
}

async fn end(
    node: &Node,
    context: &RequestContext,
    request: EndTxnRequest,
) -> Result<EndTxnResponse, ErrorCode> {
    let id = request.transactional_id.clone();
    let known = node
        .transactions
        .read(&id, |coordinator| coordinator.metadata(&id).is_some())
        .await?;
    let fresh = if known {
        fresh_producer_id(node, &id).await?
    } else {
        None
    };
    let response = node
        .transactions
        .call(&id, context, |coordinator, caller, now_ms| {
            coordinator.end_txn(caller, &request, fresh, now_ms)
        })
        .await?;
    EndTxnResponse::try_from(response).map_err(|_| ErrorCode::UnknownServerError)
}
