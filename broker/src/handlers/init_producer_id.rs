//! InitProducerId v0–5 (key 22).
//!
//! Gives an idempotent producer its id.
//! - v3: a producer that has an id already gives it with its epoch (KIP-360); idempotent producers get a new id
//!
//! Not done: transactions. A transactional id is answered with `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`, which
//! clients report at once instead of trying again.

use std::sync::Arc;

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    if request.transactional_id.is_some() {
        return error_response(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    match node.producer_ids.next(&node.metadata).await {
        Ok(producer_id) => InitProducerIdResponse {
            producer_id,
            producer_epoch: 0,
            ..Default::default()
        },
        Err(code) => error_response(code),
    }
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
