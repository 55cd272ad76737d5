//! DescribeTopicPartitions v0 (key 75).
//!
//! Topics with their partitions, page by page (KIP-966).
//! - topics come in the order of their names; none named means all
//! - at most `response_partition_limit` partitions a page; the cursor names the first one of the next page

use std::sync::Arc;

use moldau_core::metadata::{MetadataImage, PartitionImage, TopicImage, validate_topic_name};
use moldau_protocol::messages::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic, ResponseCursor,
};
use moldau_protocol::{ErrorCode, KString};

use super::operations::TOPIC_OPERATIONS;
use crate::node::Node;

pub(super) fn handle(
    node: &Node,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = node.metadata.image();
    let limit = usize::try_from(request.response_partition_limit)
        .unwrap_or(1)
        .clamp(1, node.config().max_request_partition_size_limit.max(1));
    let mut page = Page {
        topics: Vec::new(),
        left: limit,
        next: None,
    };
    let cursor = request.cursor.as_ref();
    for (name, topic) in asked(&image, request) {
        if cursor.is_some_and(|cursor| *name < *cursor.topic_name) {
            continue;
        }
        let first = match cursor {
            Some(cursor) if cursor.topic_name == name => cursor.partition_index,
            _ => 0,
        };
        page.add(&name, topic, usize::try_from(first).unwrap_or(0));
        if page.next.is_some() {
            break;
        }
    }
    DescribeTopicPartitionsResponse {
        topics: page.topics,
        next_cursor: page.next,
        ..Default::default()
    }
}

/// The topics to describe, by name; those that do not exist as `None`.
fn asked<'a>(
    image: &'a MetadataImage,
    request: &DescribeTopicPartitionsRequest,
) -> Vec<(KString, Option<&'a Arc<TopicImage>>)> {
    if request.topics.is_empty() {
        return image
            .topics()
            .map(|topic| (topic.name.clone(), Some(topic)))
            .collect();
    }
    let mut names: Vec<KString> = request
        .topics
        .iter()
        .map(|topic| topic.name.clone())
        .collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|name| (name.clone(), image.topic(&name)))
        .collect()
}

struct Page {
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    /// Partitions that still fit.
    left: usize,
    next: Option<ResponseCursor>,
}

impl Page {
    fn add(&mut self, name: &KString, topic: Option<&Arc<TopicImage>>, first: usize) {
        let Some(topic) = topic else {
            let missing = match validate_topic_name(name) {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(_) => ErrorCode::InvalidTopicException,
            };
            self.topics.push(DescribeTopicPartitionsResponseTopic {
                error_code: missing.code(),
                name: Some(name.clone()),
                ..Default::default()
            });
            return;
        };
        if self.left == 0 {
            self.next = Some(cursor(name, first));
            return;
        }
        let rest = topic.partitions.len().saturating_sub(first);
        let taken = rest.min(self.left);
        let partitions = (0_i32..).zip(&topic.partitions).skip(first).take(taken);
        self.topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(name.clone()),
            topic_id: topic.id,
            is_internal: topic.is_internal(),
            partitions: partitions
                .map(|(index, partition)| describe(index, partition))
                .collect(),
            topic_authorized_operations: TOPIC_OPERATIONS,
            ..Default::default()
        });
        self.left -= taken;
        if taken < rest {
            self.next = Some(cursor(name, first + taken));
        }
    }
}

fn cursor(topic: &KString, partition: usize) -> ResponseCursor {
    ResponseCursor {
        topic_name: topic.clone(),
        partition_index: i32::try_from(partition).unwrap_or(i32::MAX),
        ..Default::default()
    }
}

fn describe(index: i32, partition: &PartitionImage) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition {
        partition_index: index,
        leader_id: partition.leader,
        leader_epoch: partition.leader_epoch.0,
        replica_nodes: partition.replicas.clone(),
        isr_nodes: partition.isr.clone(),
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        ..Default::default()
    }
}
