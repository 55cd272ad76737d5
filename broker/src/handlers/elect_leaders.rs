//! ElectLeaders v0–2 (key 43).
//!
//! Gives partitions their preferred leader back (KIP-183), or a leader at all.
//! - v1: `election_type`, preferred or unclean (KIP-460)

use std::sync::Arc;

use moldau_protocol::messages::elect_leaders::{ElectLeadersRequest, ElectLeadersResponse};

use crate::node::Node;

pub(super) async fn handle(node: Arc<Node>, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let decided = node
        .metadata
        .decide(move |controller, _| controller.elect_leaders(&request))
        .await;
    decided.unwrap_or_else(|code| ElectLeadersResponse {
        error_code: code.code(),
        ..Default::default()
    })
}
