//! ConsumerGroupDescribe v0–1 (key 69).
//!
//! Epochs, members and assignments of groups of the new protocol (KIP-848).
//! Answered `UNSUPPORTED_VERSION` while the feature `group.version` is off.
//! - v1: whether a member speaks the classic protocol (KIP-1099)

use std::sync::Arc;

use moldau_core::coordinator::Coordinator;
use moldau_protocol::ErrorCode;
use moldau_protocol::messages::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup,
};

use super::operations::GROUP_OPERATIONS;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let serves = node.serves_consumer_groups();
    let mut groups = Vec::with_capacity(request.group_ids.len());
    for group_id in request.group_ids {
        let described = if serves {
            let describe =
                |coordinator: &Coordinator| coordinator.describe_consumer_group(&group_id);
            node.coordinators.read(&group_id, describe).await
        } else {
            Err(ErrorCode::UnsupportedVersion)
        };
        let mut group = described.unwrap_or_else(|code| DescribedGroup {
            error_code: code.code(),
            group_id: group_id.clone(),
            ..Default::default()
        });
        if request.include_authorized_operations && group.error_code == 0 {
            group.authorized_operations = GROUP_OPERATIONS;
        }
        groups.push(group);
    }
    ConsumerGroupDescribeResponse {
        groups,
        ..Default::default()
    }
}
