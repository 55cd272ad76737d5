//! JoinGroup v0–9 (key 11).
//!
//! Adds a member to a classic group and starts a rebalance; answered when the rebalance is over. In a consumer group
//! that is being migrated, it is answered at once with the member's epoch as the generation (KIP-848).
//! - v4: the first join is answered `MEMBER_ID_REQUIRED` with an id (KIP-394)
//! - v5: `group.instance.id`, static members (KIP-345)
//! - v7: the response names the protocol type
//! - v9: `skip_assignment` for a static leader that came back (KIP-814)

use std::sync::Arc;

use moldau_protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use moldau_protocol::{ErrorCode, KString};

use super::RequestContext;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let group = request.group_id.clone();
    let member_id = request.member_id.clone();
    let fresh_id = rand::random();
    let answered = node
        .coordinators
        .call(&group, &context, |coordinator, caller, now_ms| {
            coordinator.join_group(caller, request, fresh_id, now_ms)
        })
        .await
        .and_then(|response| {
            JoinGroupResponse::try_from(response).map_err(|_| ErrorCode::UnknownServerError)
        });
    answered.unwrap_or_else(|code| JoinGroupResponse {
        error_code: code.code(),
        // May be null from v7 on only.
        protocol_name: (context.version < 7).then(KString::default),
        member_id,
        ..Default::default()
    })
}
