//! The produce request and what its answer says of each batch.

use bytes::Bytes;
use moldau_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData,
};
use moldau_protocol::{ErrorCode, KString, Records, Uuid};

use crate::error::ClientError;
use crate::metadata::{BrokerEndpoint, ClusterMetadata, NewLeader};
use crate::producer::delivery::Stored;
use crate::topic_partition::TopicPartition;

/// Collects batches of several partitions into one request.
#[derive(Debug, Default)]
pub(crate) struct RequestBuilder {
    topics: Vec<TopicProduceData>,
    size: usize,
}

impl RequestBuilder {
    pub(crate) fn push(&mut self, topic_partition: &TopicPartition, bytes: Bytes) {
        self.size += bytes.len();
        let data = PartitionProduceData {
            index: topic_partition.partition,
            records: Some(Records::from(bytes)),
            ..PartitionProduceData::default()
        };
        let known = self
            .topics
            .iter_mut()
            .find(|topic| topic.name == topic_partition.topic);
        match known {
            Some(topic) => topic.partition_data.push(data),
            None => self.topics.push(TopicProduceData {
                name: topic_partition.topic.clone(),
                partition_data: vec![data],
                ..TopicProduceData::default()
            }),
        }
    }

    /// Names the topics by their ids too. Gives false, and changes nothing, if one has none.
    pub(crate) fn add_topic_ids(&mut self, cluster: &ClusterMetadata) -> bool {
        let ids: Option<Vec<_>> = self
            .topics
            .iter()
            .map(|topic| cluster.topic_id(&topic.name))
            .collect();
        let Some(ids) = ids else {
            return false;
        };
        for (topic, id) in self.topics.iter_mut().zip(ids) {
            topic.topic_id = id;
        }
        true
    }

    /// The topics with their ids, to read the answer by.
    pub(crate) fn topic_ids(&self) -> Vec<(Uuid, KString)> {
        let topics = self.topics.iter();
        topics
            .map(|topic| (topic.topic_id, topic.name.clone()))
            .collect()
    }

    /// Bytes of all batches so far.
    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn build(
        self,
        acks: i16,
        timeout_ms: i32,
        transactional_id: Option<KString>,
    ) -> ProduceRequest {
        ProduceRequest {
            transactional_id,
            acks,
            timeout_ms,
            topic_data: self.topics,
            ..ProduceRequest::default()
        }
    }
}

/// Gives the topics of an answer their names, where it has ids only.
pub(crate) fn name_topics(response: &mut ProduceResponse, ids: &[(Uuid, KString)]) {
    for answer in &mut response.responses {
        if let Some((_, name)) = ids
            .iter()
            .find(|(id, _)| answer.name.is_empty() && *id == answer.topic_id)
        {
            answer.name = name.clone();
        }
    }
}

/// The leaders that an answer names for partitions that moved, and their addresses (KIP-951).
pub(crate) fn new_leaders(response: &ProduceResponse) -> (Vec<NewLeader>, Vec<BrokerEndpoint>) {
    let partitions = response.responses.iter().flat_map(|topic| {
        let answers = topic.partition_responses.iter();
        answers.map(move |answer| (&topic.name, answer))
    });
    let leaders = partitions
        .filter(|(_, answer)| answer.current_leader.leader_id >= 0)
        .map(|(topic, answer)| NewLeader {
            name: TopicPartition {
                topic: topic.clone(),
                partition: answer.index,
            },
            leader: answer.current_leader.leader_id,
            leader_epoch: answer.current_leader.leader_epoch,
        });
    let endpoints = response.node_endpoints.iter().map(|node| BrokerEndpoint {
        id: node.node_id,
        host: node.host.to_string(),
        port: node.port,
        rack: node.rack.as_ref().map(ToString::to_string),
    });
    (leaders.collect(), endpoints.collect())
}

/// What an answer says of one partition's batch.
pub(crate) fn outcome(
    response: &ProduceResponse,
    topic_partition: &TopicPartition,
    batch_size_hint: usize,
) -> Result<Stored, ClientError> {
    let TopicPartition { topic, partition } = topic_partition;
    let Some(answer) = find(response, topic, *partition) else {
        return Err(ClientError::protocol(
            "produce response",
            format!("it does not name {topic_partition}"),
        ));
    };
    if answer.error_code == 0 {
        return Ok(Stored {
            base_offset: (answer.base_offset >= 0).then_some(answer.base_offset),
            log_append_time: (answer.log_append_time_ms >= 0).then_some(answer.log_append_time_ms),
        });
    }
    let code = ErrorCode::from_code(answer.error_code);
    if code == ErrorCode::MessageTooLarge {
        return Err(ClientError::Broker {
            code,
            message: Some(format!(
                "a batch of {batch_size_hint} bytes is larger than the topic's `max.message.bytes`; \
                 lower `batch_size` or raise that setting"
            )),
            object: format!("topic \"{topic}\" partition {partition}"),
        });
    }
    Err(ClientError::broker(
        answer.error_code,
        message(answer).as_deref(),
        format!("topic \"{topic}\" partition {partition}"),
    ))
}

fn find<'a>(
    response: &'a ProduceResponse,
    topic: &KString,
    partition: i32,
) -> Option<&'a PartitionProduceResponse> {
    response
        .responses
        .iter()
        .filter(|answer| answer.name == *topic)
        .flat_map(|answer| &answer.partition_responses)
        .find(|answer| answer.index == partition)
}

fn message(answer: &PartitionProduceResponse) -> Option<String> {
    let whole = answer.error_message.as_ref().map(ToString::to_string);
    let record = answer.record_errors.first().and_then(|record| {
        let text = record.batch_index_error_message.as_ref()?;
        Some(format!(
            "record {} of the batch: {text}",
            record.batch_index
        ))
    });
    record.or(whole)
}
