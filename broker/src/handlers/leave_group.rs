//! LeaveGroup v0–5 (key 13).
//!
//! Removes members from a classic group.
//! - v3: several members at once, also by `group.instance.id` (KIP-345)
//! - v5: the reason (KIP-800)

use std::sync::Arc;

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse};

use super::RequestContext;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let group = request.group_id.clone();
    let answered = node
        .coordinators
        .call(&group, &context, |coordinator, caller, now_ms| {
            coordinator.leave_group(caller, request, now_ms)
        })
        .await
        .and_then(|response| {
            LeaveGroupResponse::try_from(response).map_err(|_| ErrorCode::UnknownServerError)
        });
    answered.unwrap_or_else(|code| LeaveGroupResponse {
        error_code: code.code(),
        ..Default::default()
    })
}
