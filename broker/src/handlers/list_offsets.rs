//! ListOffsets v1–11 (key 2).
//!
//! Finds an offset by time, or one of the special offsets.
//! - -1: the end for the reader: the high watermark, or the last stable offset for read_committed (v2)
//! - -2: the log start; -4 (v8, KIP-405): the start of what is on this node, here the same
//! - -3 (v7, KIP-734): the record with the largest timestamp
//! - -5 (v9, KIP-1005): the last tiered offset; -6 (v11, KIP-1023): the first not yet tiered: there is no tiered storage
//!   here, so both are answered with -1, as Kafka does
//! - a timestamp: the first record that is not older, exact to the record
//! - v4: `current_leader_epoch` is checked, and the answer names the epoch (KIP-320)

use std::sync::Arc;

use moldau_log::TimestampOffset;
use moldau_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use moldau_protocol::{ErrorCode, KString};
use tracing::error;

use super::RequestContext;
use crate::node::Node;
use crate::runtime::Partition;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let names: Vec<_> = request
        .topics
        .iter()
        .map(|topic| (topic.name.clone(), topic.partitions.clone()))
        .collect();
    // Times are looked up in files.
    let found = tokio::task::spawn_blocking(move || answer(&node, &context, request)).await;
    found.unwrap_or_else(|_| ListOffsetsResponse {
        topics: names
            .into_iter()
            .map(|(name, partitions)| failed(name, &partitions))
            .collect(),
        ..Default::default()
    })
}

fn answer(
    node: &Node,
    context: &RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let read_committed = request.isolation_level == READ_COMMITTED;
    let topics = request
        .topics
        .into_iter()
        .map(|topic| ListOffsetsTopicResponse {
            partitions: topic
                .partitions
                .iter()
                .map(|asked| {
                    find(node, &topic.name, asked, read_committed, context.version)
                        .unwrap_or_else(|code| error_response(asked, code))
                })
                .collect(),
            name: topic.name,
            ..Default::default()
        })
        .collect();
    ListOffsetsResponse {
        topics,
        ..Default::default()
    }
}

fn find(
    node: &Node,
    topic: &KString,
    asked: &ListOffsetsPartition,
    read_committed: bool,
    version: i16,
) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
    let partition = node
        .partitions
        .find(topic, asked.partition_index)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    partition.check_leader_epoch(asked.current_leader_epoch)?;
    if first_version_of(asked.timestamp) > version {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let log_start = (NO_TIMESTAMP, partition.log_start_offset());
    let end = if read_committed {
        partition.last_stable_offset()
    } else {
        partition.high_watermark()
    };
    let (timestamp, offset) = match asked.timestamp {
        LATEST => (NO_TIMESTAMP, end),
        EARLIEST | EARLIEST_LOCAL => log_start,
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => (NO_TIMESTAMP, NO_OFFSET),
        MAX_TIMESTAMP => at(max_timestamp(&partition)?),
        timestamp => at(at_timestamp(&partition, timestamp, end)?),
    };
    let leader_epoch = if version < FIRST_WITH_EPOCH {
        NO_EPOCH
    } else {
        epoch_of(&partition, offset)
    };
    Ok(ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        timestamp,
        offset,
        leader_epoch,
        ..Default::default()
    })
}

fn at(found: Option<TimestampOffset>) -> (i64, i64) {
    found.map_or((NO_TIMESTAMP, NO_OFFSET), |found| {
        (found.timestamp, found.offset)
    })
}

fn max_timestamp(partition: &Partition) -> Result<Option<TimestampOffset>, ErrorCode> {
    let Some(snapshot) = partition.snapshot() else {
        return Ok(None);
    };
    snapshot
        .offset_of_max_timestamp()
        .map_err(|error| storage_error(partition, &error))
}

fn at_timestamp(
    partition: &Partition,
    timestamp: i64,
    end: i64,
) -> Result<Option<TimestampOffset>, ErrorCode> {
    if timestamp < 0 {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let Some(snapshot) = partition.snapshot() else {
        return Ok(None);
    };
    snapshot
        .offset_for_timestamp(timestamp, end)
        .map_err(|error| storage_error(partition, &error))
}

fn storage_error(partition: &Partition, error: &moldau_log::LogError) -> ErrorCode {
    error!(topic = %partition.topic, partition = partition.index, %error, "cannot look up offset");
    ErrorCode::KafkaStorageError
}

/// The epoch in which `offset` was, or will be, written.
fn epoch_of(partition: &Partition, offset: i64) -> i32 {
    if offset < 0 {
        return NO_EPOCH;
    }
    let known = partition
        .snapshot()
        .and_then(|snapshot| snapshot.epochs().epoch_for_offset(offset));
    known.unwrap_or_else(|| partition.leader_epoch())
}

fn first_version_of(timestamp: i64) -> i16 {
    match timestamp {
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => 1,
    }
}

fn failed(name: KString, partitions: &[ListOffsetsPartition]) -> ListOffsetsTopicResponse {
    let partitions = partitions
        .iter()
        .map(|asked| error_response(asked, ErrorCode::UnknownServerError))
        .collect();
    ListOffsetsTopicResponse {
        name,
        partitions,
        ..Default::default()
    }
}

fn error_response(asked: &ListOffsetsPartition, code: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        error_code: code.code(),
        timestamp: NO_TIMESTAMP,
        offset: NO_OFFSET,
        leader_epoch: NO_EPOCH,
        ..Default::default()
    }
}

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;
const READ_COMMITTED: i8 = 1;
const NO_TIMESTAMP: i64 = -1;
const NO_OFFSET: i64 = -1;
const NO_EPOCH: i32 = -1;
const FIRST_WITH_EPOCH: i16 = 4;
