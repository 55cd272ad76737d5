//! DescribeQuorum v0–2 (key 55).
//!
//! Who leads and votes on the metadata log (KIP-595): this node, alone.
//! - v1: when each replica was last heard of (KIP-836)
//! - v2: directory ids and addresses (KIP-853)

use moldau_protocol::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node as QuorumNode, ReplicaState,
    RequestPartitionData, RequestTopicData, ResponsePartitionData, ResponseTopicData,
};
use moldau_protocol::{ErrorCode, KString};

use super::RequestContext;
use crate::metadata::metadata_partition;
use crate::node::Node;
use crate::runtime::now_ms;

pub(super) fn handle(
    node: &Node,
    context: &RequestContext,
    request: &DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let topics = request.topics.iter().map(|topic| describe(node, topic));
    let listener = Listener {
        name: KString::from("PLAINTEXT"),
        host: context.client.broker_host.clone(),
        port: u16::try_from(context.client.broker_port).unwrap_or(0),
        ..Default::default()
    };
    let this = QuorumNode {
        node_id: node.config().node_id,
        listeners: vec![listener],
        ..Default::default()
    };
    DescribeQuorumResponse {
        topics: topics.collect(),
        nodes: if context.version >= 2 {
            vec![this]
        } else {
            Vec::new()
        },
        ..Default::default()
    }
}

/// Only the metadata log has a quorum.
fn describe(node: &Node, asked: &RequestTopicData) -> ResponseTopicData {
    let metadata = metadata_partition();
    let partitions = asked.partitions.iter().map(|partition| {
        let index = partition.partition_index;
        if *asked.topic_name == *metadata.topic && index == metadata.partition {
            quorum(node, partition)
        } else {
            let message = format!(
                "partition {index} of topic \"{}\" has no quorum; only {metadata} has",
                asked.topic_name
            );
            ResponsePartitionData {
                partition_index: index,
                error_code: ErrorCode::UnknownTopicOrPartition.code(),
                error_message: Some(KString::from(message)),
                ..Default::default()
            }
        }
    });
    ResponseTopicData {
        topic_name: asked.topic_name.clone(),
        partitions: partitions.collect(),
        ..Default::default()
    }
}

fn quorum(node: &Node, asked: &RequestPartitionData) -> ResponsePartitionData {
    let (node_id, end, now) = (node.config().node_id, node.metadata.version(), now_ms());
    let this = ReplicaState {
        replica_id: node_id,
        replica_directory_id: node.directory_id,
        log_end_offset: end,
        last_fetch_timestamp: now,
        last_caught_up_timestamp: now,
        ..Default::default()
    };
    ResponsePartitionData {
        partition_index: asked.partition_index,
        leader_id: node_id,
        // The one voter has led from the start.
        leader_epoch: 0,
        high_watermark: end,
        current_voters: vec![this],
        ..Default::default()
    }
}
