//! DescribeGroups v0–6 (key 15).
//!
//! State, protocol and members of classic groups; to others it is as if there were no such group.
//! - v3: operations that the client may do (KIP-430)
//! - v4: `group.instance.id` (KIP-345)
//! - v6: an unknown group is `GROUP_ID_NOT_FOUND`, not a dead one (KIP-1043)

use std::sync::Arc;

use moldau_protocol::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup,
};

use super::RequestContext;
use super::operations::GROUP_OPERATIONS;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let mut groups = Vec::with_capacity(request.groups.len());
    for group_id in request.groups {
        let described = node
            .coordinators
            .read(&group_id, |coordinator| {
                coordinator.describe_group(&group_id, context.version)
            })
            .await;
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
    DescribeGroupsResponse {
        groups,
        ..Default::default()
    }
}
