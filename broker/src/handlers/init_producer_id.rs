//! InitProducerId v0–5 (key 22).
//!
//! Gives an idempotent or transactional producer its id and epoch. With a transactional id, older instances are
//! fenced, and what they left open is aborted: then the client is told to come again (KIP-98).
//! - v3: a producer that has an id already gives it with its epoch (KIP-360); idempotent producers get a new id
//! - v4: PRODUCER_FENCED; older clients get INVALID_PRODUCER_EPOCH (KIP-588)
//! - v5: TRANSACTION_ABORTABLE is understood (KIP-890)
//!
//! Not done: v6 two-phase commit (KIP-939).

use std::sync::Arc;

use moldau_core::ids::ProducerId;
use moldau_protocol::ErrorCode;
use moldau_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use super::RequestContext;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let answered = match &request.transactional_id {
        Some(_) => transactional(&node, &context, request).await,
        None => idempotent(&node).await,
    };
    answered.unwrap_or_else(error_response)
}

async fn idempotent(node: &Node) -> Result<InitProducerIdResponse, ErrorCode> {
    let producer_id = node.producer_ids.next(&node.metadata).await?;
    Ok(InitProducerIdResponse {
        producer_id,
        producer_epoch: 0,
        ..Default::default()
    })
}

async fn transactional(
    node: &Node,
    context: &RequestContext,
    request: InitProducerIdRequest,
) -> Result<InitProducerIdResponse, ErrorCode> {
    let transactional_id = request.transactional_id.clone().unwrap_or_default();
    if transactional_id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    node.transactions_ready().await?;
    let fresh = fresh_producer_id(node, &transactional_id).await?;
    let response = node
        .transactions
        .call(&transactional_id, context, |coordinator, caller, now_ms| {
            coordinator.init_producer_id(caller, &request, fresh, now_ms)
        })
        .await?;
    InitProducerIdResponse::try_from(response).map_err(|_| ErrorCode::UnknownServerError)
}

/// A producer id that nobody had, if the coordinator of the transactional id needs one now.
pub(super) async fn fresh_producer_id(
    node: &Node,
    transactional_id: &str,
) -> Result<Option<ProducerId>, ErrorCode> {
    let wanted = node
        .transactions
        .read(transactional_id, |coordinator| {
            coordinator.wants_producer_id(transactional_id)
        })
        .await?;
    if !wanted {
        return Ok(None);
    }
    let fresh = node.producer_ids.next(&node.metadata).await?;
    Ok(Some(ProducerId(fresh)))
}

fn error_response(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: code.code(),
        producer_id: NO_PRODUCER,
        producer_epoch: -1,
        ..Default::default()
    }
}

const NO_PRODUCER: i64 = -1;
