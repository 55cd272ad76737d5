//! ListPartitionReassignments v0 (key 46).
//!
//! Partitions that are being moved between brokers (KIP-455). With one broker there are none.

use moldau_protocol::messages::list_partition_reassignments::ListPartitionReassignmentsResponse;

pub(super) fn handle() -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default()
}
