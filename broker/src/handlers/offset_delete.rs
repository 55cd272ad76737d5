//! OffsetDelete v0 (key 47).
//!
//! Forgets offsets that a group committed for topics that no member reads (KIP-496).

use std::sync::Arc;

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::RequestContext;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let group = request.group_id.clone();
    let answered = node
        .coordinators
        .call(&group, &context, |coordinator, caller, _| {
            coordinator.offset_delete(caller, request)
        })
        .await
        .and_then(|response| {
            OffsetDeleteResponse::try_from(response).map_err(|_| ErrorCode::UnknownServerError)
        });
    answered.unwrap_or_else(|code| OffsetDeleteResponse {
        error_code: code.code(),
        ..Default::default()
    })
}
