//! Heartbeat v0–4 (key 12).
//!
//! Keeps a member of a classic group alive, and tells it when to join again.
//! - v3: `group.instance.id` (KIP-345)

use std::sync::Arc;

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use super::RequestContext;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let group = request.group_id.clone();
    let answered = node
        .coordinators
        .call(&group, &context, |coordinator, caller, now_ms| {
            coordinator.heartbeat(caller, request, now_ms)
        })
        .await
        .and_then(|response| {
            HeartbeatResponse::try_from(response).map_err(|_| ErrorCode::UnknownServerError)
        });
    answered.unwrap_or_else(|code| HeartbeatResponse {
        error_code: code.code(),
        ..Default::default()
    })
}
