//! DeleteGroups v0–2 (key 42).
//!
//! Deletes groups without members, with their offsets.

use std::sync::Arc;

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};

use super::RequestContext;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let deleted = node
            .coordinators
            .call(&group_id, &context, |coordinator, caller, _| {
                coordinator.delete_group(caller, &group_id)
            })
            .await
            .and_then(|response| {
                DeleteGroupsResponse::try_from(response).map_err(|_| ErrorCode::UnknownServerError)
            });
        match deleted {
            Ok(response) => results.extend(response.results),
            Err(code) => {
                results.push(DeletableGroupResult {
                    group_id,
                    error_code: code.code(),
                    ..Default::default()
                });
            }
        }
    }
    DeleteGroupsResponse {
        results,
        ..Default::default()
    }
}
