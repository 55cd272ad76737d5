//! OffsetFetch v1–10 (key 9).
//!
//! What a group committed.
//! - v2: no topics (null) mean all (KIP-88)
//! - v7: `require_stable`: UNSTABLE_OFFSET_COMMIT while a transaction with an offset is open (KIP-447)
//! - v8: several groups at once (KIP-709)
//! - v9: member id and epoch of members of the new protocol, which must be the current ones (KIP-848)
//! - v10: topics by id (KIP-848)

use std::sync::Arc;

use moldau_core::coordinator::{offset_fetch_error, offset_fetch_groups, offset_fetch_response};
use moldau_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};

use super::RequestContext;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let version = context.version;
    let image = node.metadata.image();
    let mut groups = Vec::new();
    for group in offset_fetch_groups(&request, version) {
        let fetched = node
            .coordinators
            .read(&group.group_id, |coordinator| {
                let fetched = coordinator.fetch_offsets(&group, version, &image);
                if request.require_stable {
                    coordinator.only_stable(fetched, &image)
                } else {
                    fetched
                }
            })
            .await;
        groups.push(fetched.unwrap_or_else(|code| offset_fetch_error(&group, code, version)));
    }
    offset_fetch_response(groups, version)
}
