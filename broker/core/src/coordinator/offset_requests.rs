//! OffsetCommit v2–10 and OffsetDelete v0.
//!
//! - v2–4: the client may say how long its offsets are kept
//! - v6: the leader epoch is kept with the offset (KIP-320)
//! - v7: static members (KIP-345)
//! - v10: topics by id (KIP-848)

use std::collections::BTreeSet;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use moldau_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};
use moldau_protocol::types::{KString, Uuid};

use super::pending::Pending;
use super::records::offset_record;
use super::{Action, Coordinator};
use crate::consumer_group::Committer;
use crate::group::{Caller, Group, GroupState};
use crate::metadata::{MetadataImage, TopicImage};
use crate::offsets::{CommittedOffset, OffsetChange, TopicPartition};

impl Coordinator {
    /// OffsetCommit v2–10. The image tells which topics there are, and their ids.
    pub fn offset_commit(
        &mut self,
        caller: &Caller,
        request: OffsetCommitRequest,
        image: &MetadataImage,
        now_ms: i64,
    ) -> Vec<Action> {
        let metadata_max_bytes = self.settings.offset_metadata_max_bytes;
        let mut commit = Commit {
            group_id: request.group_id.detached(),
            allowed: self.may_commit(caller, &request, now_ms),
            by_id: caller.api_version >= TOPIC_IDS_FROM,
            metadata_max_bytes,
            expire_timestamp_ms: expire_timestamp_ms(caller, &request, now_ms),
            now_ms,
            changes: Vec::new(),
            records: Vec::new(),
        };
        let topics = request
            .topics
            .iter()
            .map(|topic| commit.topic(topic, image))
            .collect();
        let response = OffsetCommitResponse {
            topics,
            ..Default::default()
        };
        let response = Some((caller.token, response.into()));
        let pending = Pending {
            response,
            ..Pending::changes(commit.changes)
        };
        let mut actions = Vec::new();
        self.append(commit.records, pending, &mut actions);
        actions
    }

    fn may_commit(
        &mut self,
        caller: &Caller,
        request: &OffsetCommitRequest,
        now_ms: i64,
    ) -> Result<Option<Committer>, ErrorCode> {
        let (instance, generation_id) = (
            request.group_instance_id.as_ref(),
            request.generation_id_or_member_epoch,
        );
        if let Some(group) = self.consumer_groups.get(&request.group_id) {
            let version = caller.api_version;
            return group
                .committer(&request.member_id, generation_id, version)
                .map(Some);
        }
        match self.groups.get_mut(&request.group_id) {
            Some(group) => group
                .commit_offsets(&request.member_id, instance, generation_id, now_ms)
                .map(|()| None),
            // Nobody is a member: an admin tool, or a consumer that assigns partitions to itself.
            None if generation_id < 0 => Ok(None),
            None if caller.api_version >= NOT_FOUND_FROM => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
        }
    }

    /// OffsetDelete v0: forgets offsets of topics that no member reads.
    pub fn offset_delete(&mut self, caller: &Caller, request: OffsetDeleteRequest) -> Vec<Action> {
        let group_id = &request.group_id;
        let mut actions = Vec::new();
        let subscribed = match self.topics_in_use(&request) {
            Ok(subscribed) => subscribed,
            Err(code) => {
                let response = OffsetDeleteResponse {
                    error_code: code.code(),
                    ..Default::default()
                };
                return vec![Action::Respond {
                    token: caller.token,
                    response: response.into(),
                }];
            }
        };
        let known = self.known_partitions(group_id);
        let mut changes = Vec::new();
        let mut topics = Vec::new();
        for topic in &request.topics {
            let in_use = subscribed.contains(&topic.name);
            let code = if in_use {
                ErrorCode::GroupSubscribedToTopic
            } else {
                ErrorCode::None
            }
            .code();
            let mut answer = OffsetDeleteResponseTopic {
                name: topic.name.clone(),
                ..Default::default()
            };
            for partition in &topic.partitions {
                let partition_index = partition.partition_index;
                let at = TopicPartition {
                    topic: topic.name.detached(),
                    partition: partition_index,
                };
                if !in_use && known.contains(&at) {
                    changes.push(OffsetChange {
                        group_id: group_id.detached(),
                        topic_partition: at,
                        committed: None,
                    });
                }
                let partition = OffsetDeleteResponsePartition {
                    partition_index,
                    error_code: code,
                };
                answer.partitions.push(partition);
            }
            topics.push(answer);
        }
        let records = changes
            .iter()
            .filter_map(|change| offset_record(change).ok())
            .collect();
        let response = OffsetDeleteResponse {
            topics,
            ..Default::default()
        };
        let pending = Pending {
            response: Some((caller.token, response.into())),
            ..Pending::changes(changes)
        };
        self.append(records, pending, &mut actions);
        actions
    }

    /// The topics whose offsets a group still needs, at least of those that the request names.
    fn topics_in_use(&self, request: &OffsetDeleteRequest) -> Result<BTreeSet<KString>, ErrorCode> {
        if let Some(consumers) = self.consumer_groups.get(&request.group_id) {
            let names = request.topics.iter().map(|topic| topic.name.clone());
            return Ok(names
                .filter(|name| consumers.is_subscribed_to(name))
                .collect());
        }
        let group = self.groups.get(&request.group_id);
        deletable_offsets(group.ok_or(ErrorCode::GroupIdNotFound)?)
    }

    /// All partitions for which a group has an offset, or will have one when pending appends are
    /// committed or open transactions end.
    pub(super) fn known_partitions(&self, group_id: &KString) -> BTreeSet<TopicPartition> {
        let committed = self
            .offsets
            .group(group_id)
            .into_iter()
            .flatten()
            .map(|(at, _)| at.clone());
        let changes = self.pending.values().flat_map(|pending| &pending.changes);
        let pending = changes.filter(|change| change.group_id == *group_id);
        committed
            .chain(pending.map(|change| change.topic_partition.clone()))
            .chain(self.transactions.of_group(group_id).cloned())
            .collect()
    }
}

/// A commit while its partitions are gone through.
struct Commit {
    group_id: KString,
    /// Who commits; `None` if that may commit whatever it likes.
    allowed: Result<Option<Committer>, ErrorCode>,
    by_id: bool,
    metadata_max_bytes: usize,
    expire_timestamp_ms: Option<i64>,
    now_ms: i64,
    changes: Vec<OffsetChange>,
    records: Vec<super::CoordinatorRecord>,
}

impl Commit {
    fn topic(
        &mut self,
        topic: &OffsetCommitRequestTopic,
        image: &MetadataImage,
    ) -> OffsetCommitResponseTopic {
        let found = if self.by_id {
            image
                .topic_by_id(topic.topic_id)
                .ok_or(ErrorCode::UnknownTopicId)
        } else {
            image
                .topic(&topic.name)
                .ok_or(ErrorCode::UnknownTopicOrPartition)
        };
        let allowed = self.allowed.as_ref().map(drop).map_err(|code| *code);
        let found = found.and_then(|topic| allowed.map(|()| topic));
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let accepted = found.and_then(|topic| self.partition(topic, partition));
            partitions.push(OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: accepted.err().unwrap_or(ErrorCode::None).code(),
                ..Default::default()
            });
        }
        OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions,
            ..Default::default()
        }
    }

    fn partition(
        &mut self,
        topic: &TopicImage,
        partition: &OffsetCommitRequestPartition,
    ) -> Result<(), ErrorCode> {
        let metadata = partition.committed_metadata.as_ref();
        if metadata.is_some_and(|metadata| metadata.len() > self.metadata_max_bytes) {
            return Err(ErrorCode::OffsetMetadataTooLarge);
        }
        if let Ok(Some(committer)) = &self.allowed {
            committer.may_commit(topic.id, partition.partition_index)?;
        }
        let change = OffsetChange {
            group_id: self.group_id.clone(),
            topic_partition: TopicPartition {
                topic: topic.name.clone(),
                partition: partition.partition_index,
            },
            committed: Some(CommittedOffset {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: metadata.map(KString::detached).unwrap_or_default(),
                commit_timestamp_ms: self.now_ms,
                expire_timestamp_ms: self.expire_timestamp_ms,
                topic_id: if self.expire_timestamp_ms.is_some() {
                    Uuid::ZERO
                } else {
                    topic.id
                },
            }),
        };
        self.records
            .push(offset_record(&change).map_err(|_| ErrorCode::UnknownServerError)?);
        self.changes.push(change);
        Ok(())
    }
}

/// Old clients may say themselves how long their offsets are kept.
fn expire_timestamp_ms(caller: &Caller, request: &OffsetCommitRequest, now_ms: i64) -> Option<i64> {
    let asked = caller.api_version <= RETENTION_TIME_UNTIL && request.retention_time_ms >= 0;
    asked.then(|| now_ms.saturating_add(request.retention_time_ms))
}

/// The topics whose offsets a group still needs, or why none of them can be deleted.
fn deletable_offsets(group: &Group) -> Result<BTreeSet<KString>, ErrorCode> {
    match group.state() {
        GroupState::Empty => Ok(BTreeSet::new()),
        _ if !group.is_consumer_group() => Err(ErrorCode::NonEmptyGroup),
        _ => group.subscribed_topics().ok_or(ErrorCode::NonEmptyGroup),
    }
}

const RETENTION_TIME_UNTIL: i16 = 4;
const NOT_FOUND_FROM: i16 = 9;
const TOPIC_IDS_FROM: i16 = 10;
