//! DescribeProducers v0 (key 61).
//!
//! The idempotent and transactional producers that a partition knows, to find transactions that hang (KIP-664).

use moldau_protocol::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState,
    TopicResponse,
};
use moldau_protocol::{ErrorCode, KString};

use crate::node::Node;

pub(super) fn handle(node: &Node, request: &DescribeProducersRequest) -> DescribeProducersResponse {
    let topics = request.topics.iter().map(|topic| TopicResponse {
        name: topic.name.clone(),
        partitions: topic
            .partition_indexes
            .iter()
            .map(|index| describe(node, &topic.name, *index))
            .collect(),
        ..Default::default()
    });
    DescribeProducersResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

fn describe(node: &Node, topic: &KString, partition_index: i32) -> PartitionResponse {
    let Some(partition) = node.partitions.find(topic, partition_index) else {
        return PartitionResponse {
            partition_index,
            error_code: ErrorCode::UnknownTopicOrPartition.code(),
            ..Default::default()
        };
    };
    let state = partition.lock();
    let producers = state.leader.producers().active();
    let active_producers = producers.map(|producer| ProducerState {
        producer_id: producer.producer_id.0,
        producer_epoch: i32::from(producer.epoch.0),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer
            .transaction_start
            .map_or(NO_OFFSET, |start| start.0),
        ..Default::default()
    });
    PartitionResponse {
        partition_index,
        active_producers: active_producers.collect(),
        ..Default::default()
    }
}

const NO_OFFSET: i64 = -1;
