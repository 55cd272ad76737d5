//! OffsetCommit v2–10 (key 8).
//!
//! Stores how far a group has read; answered when that is committed.
//! - v6: the leader epoch of the offset (KIP-320)
//! - v7: `group.instance.id` (KIP-345)
//! - v9: members of the new protocol commit with their epoch (KIP-848)
//! - v10: topics by id (KIP-848)
//!
//! Members commit with their generation; a group without members takes commits with generation -1.

use std::sync::Arc;

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use super::RequestContext;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let group = request.group_id.clone();
    let topics = request.topics.clone();
    let image = node.metadata.image();
    let answered = node
        .coordinators
        .call(&group, &context, |coordinator, caller, now_ms| {
            coordinator.offset_commit(caller, request, &image, now_ms)
        })
        .await
        .and_then(|response| {
            OffsetCommitResponse::try_from(response).map_err(|_| ErrorCode::UnknownServerError)
        });
    answered.unwrap_or_else(|code| failed(topics, code))
}

fn failed(topics: Vec<OffsetCommitRequestTopic>, code: ErrorCode) -> OffsetCommitResponse {
    let topics = topics.into_iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code.code(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    OffsetCommitResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}
