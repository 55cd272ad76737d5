//! ListGroups v0–5 (key 16).
//!
//! Every group, with its state and type.
//! - v4: only groups in given states (KIP-518)
//! - v5: only groups of given types (KIP-848)

use std::sync::Arc;

use moldau_protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};

use crate::node::Node;

pub(super) async fn handle(node: Arc<Node>, request: ListGroupsRequest) -> ListGroupsResponse {
    match node
        .coordinators
        .read_all(|coordinator| coordinator.list_groups(&request))
        .await
    {
        Ok(groups) => ListGroupsResponse {
            groups: groups.into_iter().flatten().collect(),
            ..Default::default()
        },
        Err(code) => ListGroupsResponse {
            error_code: code.code(),
            ..Default::default()
        },
    }
}
