//! SyncGroup v0–5 (key 14).
//!
//! The leader of a classic group hands over the assignment; every member gets its part.
//! - v3: `group.instance.id` (KIP-345)
//! - v5: protocol type and name are checked (KIP-559)

use std::sync::Arc;

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::RequestContext;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let group = request.group_id.clone();
    let answered = node
        .coordinators
        .call(&group, &context, |coordinator, caller, now_ms| {
            coordinator.sync_group(caller, request, now_ms)
        })
        .await
        .and_then(|response| {
            SyncGroupResponse::try_from(response).map_err(|_| ErrorCode::UnknownServerError)
        });
    answered.unwrap_or_else(|code| SyncGroupResponse {
        error_code: code.code(),
        ..Default::default()
    })
}
