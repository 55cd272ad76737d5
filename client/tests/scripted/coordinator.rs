//! The scripted broker's group coordinator: one group with one member at a time.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use moldau_protocol::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    ResponseTopicPartitions,
};
use moldau_protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use moldau_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember,
};
use moldau_protocol::messages::leave_group::LeaveGroupResponse;
use moldau_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};
use moldau_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use moldau_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use moldau_protocol::{ErrorCode, KString, Uuid};

#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    pub(crate) generation: i32,
    members_ever: u32,
    pub(crate) member: Option<KString>,
    pub(crate) committed: BTreeMap<(KString, i32), i64>,
    /// Codes for the next heartbeats, joins, syncs and commits; without one they succeed.
    pub(crate) heartbeats: VecDeque<ErrorCode>,
    pub(crate) joins: VecDeque<ErrorCode>,
    pub(crate) syncs: VecDeque<ErrorCode>,
    pub(crate) commits: VecDeque<ErrorCode>,
    /// By the new protocol: what the member is to read, if it was not told yet.
    pub(crate) target: Option<Vec<i32>>,
    /// By the new protocol: what the member says that it reads.
    pub(crate) owned: Vec<i32>,
}

impl Coordinator {
    pub(crate) fn join(&mut self, request: &JoinGroupRequest, version: i16) -> JoinGroupResponse {
        let refused = |code: ErrorCode, member_id: KString| JoinGroupResponse {
            error_code: code.code(),
            member_id,
            protocol_name: Some(KString::EMPTY),
            ..JoinGroupResponse::default()
        };
        if let Some(code) = self.joins.pop_front() {
            return refused(code, request.member_id.clone());
        }
        if request.member_id.is_empty() {
            self.members_ever += 1;
            let member_id = KString::from(format!("member-{}", self.members_ever));
            self.member = Some(member_id.clone());
            if version >= 4 && request.group_instance_id.is_none() {
                return refused(ErrorCode::MemberIdRequired, member_id);
            }
        } else if self.member.as_ref() != Some(&request.member_id) {
            return refused(ErrorCode::UnknownMemberId, request.member_id.clone());
        }
        let member_id = self.member.clone().unwrap();
        self.generation += 1;
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: Some(request.protocol_type.clone()),
            protocol_name: Some(request.protocols[0].name.clone()),
            leader: member_id.clone(),
            member_id: member_id.clone(),
            members: vec![JoinGroupResponseMember {
                member_id,
                metadata: request.protocols[0].metadata.clone(),
                ..JoinGroupResponseMember::default()
            }],
            ..JoinGroupResponse::default()
        }
    }

    pub(crate) fn sync(&mut self, request: &SyncGroupRequest) -> SyncGroupResponse {
        let code = self
            .syncs
            .pop_front()
            .or_else(|| self.stale(request.generation_id, &request.member_id));
        SyncGroupResponse {
            error_code: code.map_or(0, |code| code.code()),
            assignment: match (code, request.assignments.first()) {
                (None, Some(assignment)) => assignment.assignment.clone(),
                _ => Bytes::new(),
            },
            ..SyncGroupResponse::default()
        }
    }

    pub(crate) fn heartbeat(&mut self, request: &HeartbeatRequest) -> HeartbeatResponse {
        let code = self
            .heartbeats
            .pop_front()
            .or_else(|| self.stale(request.generation_id, &request.member_id));
        HeartbeatResponse {
            error_code: code.map_or(0, |code| code.code()),
            ..HeartbeatResponse::default()
        }
    }

    /// The new protocol (KIP-848), for a topic with `partitions` partitions.
    pub(crate) fn epoch_heartbeat(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        topic_id: Uuid,
        partitions: i32,
    ) -> ConsumerGroupHeartbeatResponse {
        let refused = |code: ErrorCode| ConsumerGroupHeartbeatResponse {
            error_code: code.code(),
            ..ConsumerGroupHeartbeatResponse::default()
        };
        if let Some(code) = self.heartbeats.pop_front() {
            return refused(code);
        }
        match request.member_epoch {
            ..0 => self.member = None,
            0 => {
                assert!(request.topic_partitions.as_ref().unwrap().is_empty());
                self.member = Some(request.member_id.clone());
                self.generation += 1;
                self.target = Some((0..partitions).collect());
            }
            epoch => match self.stale(epoch, &request.member_id) {
                Some(ErrorCode::IllegalGeneration) => return refused(ErrorCode::FencedMemberEpoch),
                Some(code) => return refused(code),
                None => {}
            },
        }
        if let Some(owned) = &request.topic_partitions {
            let topics = owned.iter();
            self.owned = topics.flat_map(|topic| topic.partitions.clone()).collect();
        }
        let assignment = self.target.take().map(|partitions| Assignment {
            topic_partitions: vec![ResponseTopicPartitions {
                topic_id,
                partitions,
                ..ResponseTopicPartitions::default()
            }],
            ..Assignment::default()
        });
        ConsumerGroupHeartbeatResponse {
            member_id: Some(request.member_id.clone()),
            member_epoch: if request.member_epoch < 0 {
                request.member_epoch
            } else {
                self.generation
            },
            heartbeat_interval_ms: 3_000,
            assignment,
            ..ConsumerGroupHeartbeatResponse::default()
        }
    }

    fn stale(&self, generation: i32, member: &KString) -> Option<ErrorCode> {
        if self.member.as_ref() != Some(member) {
            return Some(ErrorCode::UnknownMemberId);
        }
        (generation != self.generation).then_some(ErrorCode::IllegalGeneration)
    }

    pub(crate) fn leave(&mut self) -> LeaveGroupResponse {
        self.member = None;
        LeaveGroupResponse::default()
    }

    pub(crate) fn commit(&mut self, request: &OffsetCommitRequest) -> OffsetCommitResponse {
        let code = self.commits.pop_front().or_else(|| {
            let is_outsider = request.generation_id_or_member_epoch < 0;
            if is_outsider {
                return None;
            }
            self.stale(request.generation_id_or_member_epoch, &request.member_id)
        });
        let mut topics = Vec::new();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for partition in &topic.partitions {
                if code.is_none() {
                    let name = (topic.name.clone(), partition.partition_index);
                    self.committed.insert(name, partition.committed_offset);
                }
                partitions.push(OffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: code.map_or(0, |code| code.code()),
                    ..OffsetCommitResponsePartition::default()
                });
            }
            topics.push(OffsetCommitResponseTopic {
                name: topic.name.clone(),
                partitions,
                ..OffsetCommitResponseTopic::default()
            });
        }
        OffsetCommitResponse {
            topics,
            ..OffsetCommitResponse::default()
        }
    }

    pub(crate) fn fetch(&self, request: &OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
        let mut topics: BTreeMap<KString, Vec<(i32, i64)>> = BTreeMap::new();
        for ((topic, partition), offset) in &self.committed {
            let partitions = topics.entry(topic.clone()).or_default();
            partitions.push((*partition, *offset));
        }
        if version < 8 {
            return OffsetFetchResponse {
                topics: topics.into_iter().map(older_topic).collect(),
                ..OffsetFetchResponse::default()
            };
        }
        OffsetFetchResponse {
            groups: vec![OffsetFetchResponseGroup {
                group_id: request.groups[0].group_id.clone(),
                topics: topics.into_iter().map(newer_topic).collect(),
                ..OffsetFetchResponseGroup::default()
            }],
            ..OffsetFetchResponse::default()
        }
    }
}

fn older_topic((name, partitions): (KString, Vec<(i32, i64)>)) -> OffsetFetchResponseTopic {
    let partitions =
        partitions
            .into_iter()
            .map(|(partition, offset)| OffsetFetchResponsePartition {
                partition_index: partition,
                committed_offset: offset,
                metadata: Some(KString::EMPTY),
                ..OffsetFetchResponsePartition::default()
            });
    OffsetFetchResponseTopic {
        name,
        partitions: partitions.collect(),
        ..OffsetFetchResponseTopic::default()
    }
}

fn newer_topic((name, partitions): (KString, Vec<(i32, i64)>)) -> OffsetFetchResponseTopics {
    let partitions =
        partitions
            .into_iter()
            .map(|(partition, offset)| OffsetFetchResponsePartitions {
                partition_index: partition,
                committed_offset: offset,
                metadata: Some(KString::EMPTY),
                ..OffsetFetchResponsePartitions::default()
            });
    OffsetFetchResponseTopics {
        name,
        partitions: partitions.collect(),
        ..OffsetFetchResponseTopics::default()
    }
}
