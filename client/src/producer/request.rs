//! The produce request and what its answer says of each batch.

use bytes::Bytes;
use moldau_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData,
};
use moldau_protocol::{ErrorCode, KString, Records};

use crate::error::ClientError;
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
