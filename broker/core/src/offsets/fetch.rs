//! OffsetFetch v1–10: one group up to v7, several from v8 on, topics by id from v10 on.

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use moldau_protocol::types::{KString, Uuid};

use super::{CommittedOffset, GroupOffsets, TopicPartition};
use crate::metadata::MetadataImage;

/// The groups that a request asks for, in the shape of v8 and later.
#[must_use]
pub fn offset_fetch_groups(
    request: &OffsetFetchRequest,
    api_version: i16,
) -> Vec<OffsetFetchRequestGroup> {
    if api_version >= BATCHED_FROM {
        return request.groups.clone();
    }
    let topic = |topic: &OffsetFetchRequestTopic| OffsetFetchRequestTopics {
        name: topic.name.clone(),
        partition_indexes: topic.partition_indexes.clone(),
        ..Default::default()
    };
    let topics = request
        .topics
        .as_ref()
        .map(|topics| topics.iter().map(topic).collect());
    vec![OffsetFetchRequestGroup {
        group_id: request.group_id.clone(),
        topics,
        ..Default::default()
    }]
}

/// The answers for all groups of a request, in the shape of its version.
#[must_use]
pub fn offset_fetch_response(
    groups: Vec<OffsetFetchResponseGroup>,
    api_version: i16,
) -> OffsetFetchResponse {
    if api_version >= BATCHED_FROM {
        return OffsetFetchResponse {
            groups,
            ..Default::default()
        };
    }
    let Some(group) = groups.into_iter().next() else {
        return OffsetFetchResponse::default();
    };
    let partition = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
        ..Default::default()
    };
    let topic = |topic: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..Default::default()
    };
    OffsetFetchResponse {
        topics: group.topics.into_iter().map(topic).collect(),
        error_code: group.error_code,
        ..Default::default()
    }
}

/// An answer for a group whose coordinator cannot be asked. Version 1 has room for an error only in
/// each partition, so they are all there.
#[must_use]
pub fn offset_fetch_error(
    group: &OffsetFetchRequestGroup,
    error: ErrorCode,
    api_version: i16,
) -> OffsetFetchResponseGroup {
    let topic = |topic: &OffsetFetchRequestTopics| OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partition_indexes
            .iter()
            .map(|index| without_offset(*index, error))
            .collect(),
        ..Default::default()
    };
    let in_partitions = api_version < GROUP_ERROR_FROM;
    let topics = group
        .topics
        .iter()
        .flatten()
        .filter(|_| in_partitions)
        .map(topic)
        .collect();
    OffsetFetchResponseGroup {
        group_id: group.group_id.clone(),
        topics,
        error_code: error.code(),
        ..Default::default()
    }
}

/// Reads the offsets of one group.
pub(crate) fn fetch(
    group: &OffsetFetchRequestGroup,
    offsets: Option<&GroupOffsets>,
    api_version: i16,
    image: &MetadataImage,
) -> OffsetFetchResponseGroup {
    let reader = Reader {
        offsets,
        by_id: api_version >= TOPIC_IDS_FROM,
        image,
    };
    let topics = match &group.topics {
        Some(topics) => topics.iter().map(|topic| reader.topic(topic)).collect(),
        None => reader.all(),
    };
    OffsetFetchResponseGroup {
        group_id: group.group_id.clone(),
        topics,
        ..Default::default()
    }
}

struct Reader<'a> {
    offsets: Option<&'a GroupOffsets>,
    by_id: bool,
    image: &'a MetadataImage,
}

impl Reader<'_> {
    fn topic(&self, topic: &OffsetFetchRequestTopics) -> OffsetFetchResponseTopics {
        let name = match self.by_id {
            true => self
                .image
                .topic_by_id(topic.topic_id)
                .map(|topic| topic.name.clone()),
            false => Some(topic.name.clone()),
        };
        let partition = |index: &i32| match &name {
            Some(name) => self.partition(name, *index),
            None => without_offset(*index, ErrorCode::UnknownTopicId),
        };
        OffsetFetchResponseTopics {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: topic.partition_indexes.iter().map(partition).collect(),
            ..Default::default()
        }
    }

    fn partition(&self, topic: &KString, index: i32) -> OffsetFetchResponsePartitions {
        let at = TopicPartition {
            topic: topic.clone(),
            partition: index,
        };
        match self.offsets.and_then(|offsets| offsets.get(&at)) {
            Some(committed) if self.is_current(topic, committed) => with_offset(index, committed),
            Some(_) | None => without_offset(index, ErrorCode::None),
        }
    }

    /// All topics with offsets; by id those only that still exist.
    fn all(&self) -> Vec<OffsetFetchResponseTopics> {
        let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
        for (at, committed) in self.offsets.into_iter().flatten() {
            if !self.is_current(&at.topic, committed) {
                continue;
            }
            let partition = with_offset(at.partition, committed);
            match topics.last_mut() {
                Some(topic) if topic.name == at.topic => topic.partitions.push(partition),
                _ => topics.push(OffsetFetchResponseTopics {
                    name: at.topic.clone(),
                    topic_id: self
                        .image
                        .topic(&at.topic)
                        .map_or(Uuid::ZERO, |topic| topic.id),
                    partitions: vec![partition],
                    ..Default::default()
                }),
            }
        }
        topics.retain(|topic| !self.by_id || !topic.topic_id.is_zero());
        topics
    }

    /// An offset of a topic that was deleted is not one of its namesake.
    fn is_current(&self, topic: &KString, committed: &CommittedOffset) -> bool {
        let id = self.image.topic(topic).map(|topic| topic.id);
        committed.topic_id.is_zero() || id.is_none_or(|id| id == committed.topic_id)
    }
}

fn with_offset(partition_index: i32, committed: &CommittedOffset) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: committed.offset,
        committed_leader_epoch: committed.leader_epoch,
        metadata: Some(committed.metadata.clone()),
        ..Default::default()
    }
}

fn without_offset(partition_index: i32, error: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: NO_OFFSET,
        committed_leader_epoch: NO_LEADER_EPOCH,
        metadata: Some(KString::EMPTY),
        error_code: error.code(),
        ..Default::default()
    }
}

const NO_OFFSET: i64 = -1;
const NO_LEADER_EPOCH: i32 = -1;
const GROUP_ERROR_FROM: i16 = 2;
const BATCHED_FROM: i16 = 8;
const TOPIC_IDS_FROM: i16 = 10;
