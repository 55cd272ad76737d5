//! ConsumerGroupHeartbeat v0–1 (key 68).
//!
//! Joins a group of the new protocol, keeps a member alive, and tells it what to hold (KIP-848).
//! Answered `UNSUPPORTED_VERSION` while the feature `group.version` is off.
//! - v1: subscription by regular expression; members choose their ids themselves (KIP-1082)

use std::sync::Arc;

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};

use super::RequestContext;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    if !node.serves_consumer_groups() {
        return error_response(ErrorCode::UnsupportedVersion);
    }
    let fresh_id = rand::random();
    let answered = node
        .coordinators
        .call(
            &request.group_id,
            &context,
            |coordinator, caller, now_ms| {
                coordinator.consumer_group_heartbeat(caller, &request, fresh_id, now_ms)
            },
        )
        .await
        .and_then(|response| {
            ConsumerGroupHeartbeatResponse::try_from(response)
                .map_err(|_| ErrorCode::UnknownServerError)
        });
    answered.unwrap_or_else(error_response)
}

fn error_response(code: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: code.code(),
        ..Default::default()
    }
}
