//! AlterPartitionReassignments v0–1 (key 45).
//!
//! Moves partitions to other brokers, or gives a move up (KIP-455).
//! - v1: `allow_replication_factor_change` (KIP-860)
//!
//! Not done: moves; with one broker a partition stays where it is.

use std::sync::Arc;

use moldau_protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
};

use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let decided = node
        .metadata
        .decide(move |controller, _| controller.alter_partition_reassignments(&request))
        .await;
    decided.unwrap_or_else(|code| AlterPartitionReassignmentsResponse {
        error_code: code.code(),
        ..Default::default()
    })
}
