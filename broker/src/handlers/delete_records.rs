//! DeleteRecords v0–2 (key 21).
//!
//! Moves the log start of partitions forward; -1 means to the high watermark (KIP-107).

use std::sync::Arc;

use moldau_core::ids::Offset;
use moldau_protocol::ErrorCode;
use moldau_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use tracing::error;

use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let answered = tokio::task::spawn_blocking(move || answer(&node, &request)).await;
    answered.unwrap_or_default()
}

fn answer(node: &Node, request: &DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| DeleteRecordsTopicResult {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|asked| delete(node, &topic.name, asked))
                .collect(),
            ..Default::default()
        })
        .collect();
    DeleteRecordsResponse {
        topics,
        ..Default::default()
    }
}

fn delete(
    node: &Node,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> DeleteRecordsPartitionResult {
    let (low_watermark, code) = match advance(node, topic, asked) {
        Ok(low_watermark) => (low_watermark, ErrorCode::None),
        Err(code) => (NO_OFFSET, code),
    };
    DeleteRecordsPartitionResult {
        partition_index: asked.partition_index,
        low_watermark,
        error_code: code.code(),
        ..Default::default()
    }
}

fn advance(node: &Node, topic: &str, asked: &DeleteRecordsPartition) -> Result<i64, ErrorCode> {
    let partition = node
        .partitions
        .find(topic, asked.partition_index)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if !partition.rules.load().topic.cleanup.delete {
        return Err(ErrorCode::PolicyViolation);
    }
    let mut state = partition.lock();
    let offset = if asked.offset == TO_HIGH_WATERMARK {
        state.leader.high_watermark()
    } else {
        Offset(asked.offset)
    };
    state
        .leader
        .advance_log_start(offset)
        .map_err(|rejection| rejection.code)?;
    let start = state.leader.log_start_offset();
    if let Some(log) = &mut state.log {
        log.advance_log_start(start.0).map_err(|error| {
            error!(%topic, partition = asked.partition_index, %error, "cannot delete records");
            ErrorCode::KafkaStorageError
        })?;
    }
    partition.publish(&state);
    Ok(start.0)
}

const TO_HIGH_WATERMARK: i64 = -1;
const NO_OFFSET: i64 = -1;
