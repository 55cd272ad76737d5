//! OffsetForLeaderEpoch v2–4 (key 23).
//!
//! Where a leader epoch ended, so that a consumer notices that its log was cut (KIP-101, KIP-320).
//! - v3: `replica_id`

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};

use crate::node::Node;

pub(super) fn handle(
    node: &Node,
    request: &OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| OffsetForLeaderTopicResult {
            topic: topic.topic.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|asked| end_offset(node, &topic.topic, asked))
                .collect(),
            ..Default::default()
        })
        .collect();
    OffsetForLeaderEpochResponse {
        topics,
        ..Default::default()
    }
}

fn end_offset(node: &Node, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let mut result = EpochEndOffset {
        partition: asked.partition,
        ..Default::default()
    };
    let Some(partition) = node.partitions.find(topic, asked.partition) else {
        result.error_code = ErrorCode::UnknownTopicOrPartition.code();
        return result;
    };
    if let Err(code) = partition.check_leader_epoch(asked.current_leader_epoch) {
        result.error_code = code.code();
        return result;
    }
    let end = if asked.leader_epoch == partition.leader_epoch() {
        Some((asked.leader_epoch, partition.log_end_offset()))
    } else {
        partition.snapshot().map(|snapshot| {
            let end = snapshot
                .epochs()
                .end_offset_for(asked.leader_epoch, snapshot.log_end_offset());
            (end.epoch, end.end_offset)
        })
    };
    if let Some((epoch, end_offset)) = end {
        result.leader_epoch = epoch;
        result.end_offset = end_offset;
    }
    result
}
