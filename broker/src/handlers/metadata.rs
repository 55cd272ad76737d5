//! Metadata v0–13 (key 3).
//!
//! Brokers, and topics with their partitions; creates topics that are named and missing.
//! - v0: no topic names mean all topics; v1: null means all, an empty list none
//! - v4: `allow_auto_topic_creation` (KIP-204); before, it is always allowed
//! - v8–10: operations on the cluster that the client may do (KIP-430); from v11 on DescribeCluster tells them
//! - v10: topic ids in the response (KIP-516); v12: topics may be asked for by id
//!
//! The address of this broker is the one that the client connected to, unless one is configured.

use std::sync::Arc;

use moldau_core::metadata::{MetadataImage, PartitionImage, TopicImage, validate_topic_name};
use moldau_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use moldau_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use moldau_protocol::{ErrorCode, KString};
use tracing::info;

use super::operations::{CLUSTER_OPERATIONS, TOPIC_OPERATIONS};
use super::{ClientInfo, RequestContext};
use crate::metadata::{CONSUMER_OFFSETS, offsets_topic};
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: MetadataRequest,
) -> MetadataResponse {
    let asked = match &request.topics {
        Some(topics) if !(context.version == 0 && topics.is_empty()) => Some(topics),
        _ => None,
    };
    if let Some(topics) = asked
        && request.allow_auto_topic_creation
        && node.config().auto_create_topics
    {
        create_missing(&node, topics).await;
    }
    let image = node.metadata.image();
    let mut topics: Vec<_> = match asked {
        None => image.topics().map(|topic| describe(topic)).collect(),
        Some(asked) => asked.iter().map(|topic| look_up(&image, topic)).collect(),
    };
    if request.include_topic_authorized_operations {
        for topic in &mut topics {
            topic.topic_authorized_operations = TOPIC_OPERATIONS;
        }
    }
    let mut response = MetadataResponse {
        brokers: brokers(&image, &context.client),
        cluster_id: Some(node.cluster_id.clone()),
        controller_id: node.config().node_id,
        topics,
        ..Default::default()
    };
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}

/// Creates the topics that are asked for by name and do not exist; failures show in the look-up that follows.
async fn create_missing(node: &Node, asked: &[MetadataRequestTopic]) {
    let image = node.metadata.image();
    let missing: Vec<&KString> = asked
        .iter()
        .filter_map(asked_name)
        .filter(|name| image.topic(name).is_none() && validate_topic_name(name).is_ok())
        .collect();
    for name in missing {
        let request = if &**name == CONSUMER_OFFSETS {
            offsets_topic(&node.config(), image.brokers().len())
        } else {
            with_defaults(name)
        };
        let created = node.create_topics(request).await;
        if created.is_ok_and(|response| response.topics.iter().all(|topic| topic.error_code == 0)) {
            info!(topic = %name, "created topic that a client asked for");
        }
    }
}

/// A topic with the broker's default number of partitions and replicas.
fn with_defaults(name: &KString) -> CreateTopicsRequest {
    let topic = CreatableTopic {
        name: name.clone(),
        num_partitions: BROKER_DEFAULT,
        replication_factor: -1,
        ..Default::default()
    };
    CreateTopicsRequest {
        topics: vec![topic],
        ..Default::default()
    }
}

/// The name, if the topic is not asked for by id; Java's consumer sends an empty name beside the id.
fn asked_name(asked: &MetadataRequestTopic) -> Option<&KString> {
    asked.name.as_ref().filter(|_| asked.topic_id.is_zero())
}

fn look_up(image: &MetadataImage, asked: &MetadataRequestTopic) -> MetadataResponseTopic {
    let name = asked_name(asked);
    let (found, missing) = match name {
        Some(name) if validate_topic_name(name).is_err() => {
            (None, ErrorCode::InvalidTopicException)
        }
        Some(name) => (image.topic(name), ErrorCode::UnknownTopicOrPartition),
        None => (image.topic_by_id(asked.topic_id), ErrorCode::UnknownTopicId),
    };
    if let Some(topic) = found {
        return describe(topic);
    }
    MetadataResponseTopic {
        error_code: missing.code(),
        name: name.cloned(),
        topic_id: asked.topic_id,
        ..Default::default()
    }
}

fn describe(topic: &TopicImage) -> MetadataResponseTopic {
    let partitions = (0_i32..)
        .zip(&topic.partitions)
        .map(|(index, partition)| describe_partition(index, partition));
    MetadataResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: partitions.collect(),
        ..Default::default()
    }
}

fn describe_partition(index: i32, partition: &PartitionImage) -> MetadataResponsePartition {
    MetadataResponsePartition {
        partition_index: index,
        leader_id: partition.leader,
        leader_epoch: partition.leader_epoch.0,
        replica_nodes: partition.replicas.clone(),
        isr_nodes: partition.isr.clone(),
        ..Default::default()
    }
}

fn brokers(image: &MetadataImage, client: &ClientInfo) -> Vec<MetadataResponseBroker> {
    image
        .brokers()
        .map(|broker| MetadataResponseBroker {
            node_id: broker.id,
            host: client.broker_host.clone(),
            port: client.broker_port,
            rack: broker.rack.clone(),
            ..Default::default()
        })
        .collect()
}

/// Lets the controller choose the number.
const BROKER_DEFAULT: i32 = -1;
