//! Simulated members of a group of the new protocol (KIP-848): they hold what the coordinator gives
//! them, and give up what it takes away.

use std::collections::BTreeSet;
use std::fmt;

use moldau_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, RequestTopicPartitions,
};
use moldau_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use moldau_protocol::{ErrorCode, KString, RequestKind};
use rand::RngExt;
use rand::rngs::SmallRng;

use super::members::{group_id, metadata};
use super::network::FromMember;
use super::node::{GROUP_PARTITIONS, TOPIC, topic_id};

/// One consumer of the new protocol.
#[derive(Debug)]
pub(super) struct Consumer {
    group: usize,
    member: usize,
    /// `group.instance.id` of a static member.
    instance: Option<KString>,
    /// Counts its processes; each chooses its own member id.
    life: u32,
    /// 0 while it is not in the group.
    epoch: i32,
    owned: BTreeSet<i32>,
    /// Counts the requests; an answer to an older one comes too late.
    attempt: u64,
    is_waiting: bool,
}

impl Consumer {
    pub(super) fn new(group: usize, member: usize, is_static: bool) -> Self {
        Self {
            group,
            member,
            instance: is_static.then(|| KString::from(format!("consumer-{member}"))),
            life: 0,
            epoch: 0,
            owned: BTreeSet::new(),
            attempt: 0,
            is_waiting: false,
        }
    }

    pub(super) const fn epoch(&self) -> i32 {
        self.epoch
    }

    pub(super) const fn owned(&self) -> &BTreeSet<i32> {
        &self.owned
    }

    fn member_id(&self) -> KString {
        KString::from(format!("consumer-{}-{}", self.member, self.life))
    }

    /// What the consumer sends now, if anything. A `calm` one only wants to be in the group.
    pub(super) fn act(
        &mut self,
        calm: bool,
        random: &mut SmallRng,
    ) -> Option<(FromMember, RequestKind)> {
        if self.is_waiting && !random.random_bool(if calm { 0.02 } else { 0.1 }) {
            return None;
        }
        let request = match random.random_range(0..40) {
            0 if !calm && self.epoch > 0 => self.leave(random.random_bool(0.5)),
            1 if !calm => {
                self.die();
                return None;
            }
            _ => self.heartbeat(),
        };
        self.attempt += 1;
        self.is_waiting = true;
        Some((self.from(self.attempt), request.into()))
    }

    /// Commits an offset in its epoch, or as nobody while it is out.
    pub(super) fn commit(&self, offset: i64, partition: i32) -> (FromMember, RequestKind) {
        let (member_id, epoch) = match self.epoch {
            0 => (KString::EMPTY, -1),
            epoch => (self.member_id(), epoch),
        };
        let partition = OffsetCommitRequestPartition {
            partition_index: partition,
            committed_offset: offset,
            committed_metadata: Some(metadata(offset)),
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: KString::from(TOPIC),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: group_id(self.group),
            generation_id_or_member_epoch: epoch,
            member_id,
            topics: vec![topic],
            ..Default::default()
        };
        // Nobody waits for this answer.
        (self.from(0), request.into())
    }

    /// An answer has come.
    pub(super) fn answered(&mut self, attempt: u64, answer: &ConsumerGroupHeartbeatResponse) {
        if attempt != self.attempt {
            return;
        }
        self.is_waiting = false;
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None if answer.member_epoch < 0 => self.die(),
            ErrorCode::None => {
                self.epoch = answer.member_epoch;
                if answer.assignment.is_some() {
                    self.owned = assigned(answer);
                }
            }
            ErrorCode::UnknownMemberId
            | ErrorCode::FencedMemberEpoch
            | ErrorCode::StaleMemberEpoch => {
                self.epoch = 0;
                self.owned.clear();
            }
            ErrorCode::FencedInstanceId | ErrorCode::GroupIdNotFound => self.die(),
            // The coordinator cannot say, or its predecessor is not gone: it asks again.
            _ => {}
        }
    }

    /// Forgets everything, as a process that starts again.
    fn die(&mut self) {
        self.life += 1;
        self.epoch = 0;
        self.owned.clear();
        self.is_waiting = false;
        self.attempt += 1;
    }

    /// Says everything, so that it is told everything: the last answer may be lost.
    fn heartbeat(&self) -> ConsumerGroupHeartbeatRequest {
        let owned = RequestTopicPartitions {
            topic_id: topic_id(TOPIC),
            partitions: self.owned.iter().copied().collect(),
            ..Default::default()
        };
        ConsumerGroupHeartbeatRequest {
            group_id: group_id(self.group),
            member_id: self.member_id(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            rebalance_timeout_ms: REBALANCE_MS,
            subscribed_topic_names: Some(vec![KString::from(TOPIC)]),
            topic_partitions: Some(match self.owned.is_empty() {
                true => Vec::new(),
                false => vec![owned],
            }),
            ..Default::default()
        }
    }

    /// A static member may say that it comes back.
    fn leave(&self, comes_back: bool) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: group_id(self.group),
            member_id: self.member_id(),
            member_epoch: match self.instance {
                Some(_) if comes_back => -2,
                _ => -1,
            },
            instance_id: self.instance.clone(),
            ..Default::default()
        }
    }

    const fn from(&self, attempt: u64) -> FromMember {
        FromMember {
            group: self.group,
            member: self.member,
            attempt,
        }
    }
}

/// The partitions of the topic that an answer gives.
pub(super) fn assigned(answer: &ConsumerGroupHeartbeatResponse) -> BTreeSet<i32> {
    let assignment = answer.assignment.iter();
    let topics = assignment.flat_map(|assignment| &assignment.topic_partitions);
    topics.flat_map(|topic| topic.partitions.clone()).collect()
}

/// Whether all consumers are in one epoch and have divided all partitions.
pub(super) fn have_settled(consumers: &[Consumer]) -> bool {
    let mut epochs = consumers.iter().map(Consumer::epoch);
    let first = epochs.next();
    let owned = consumers.iter().map(|consumer| consumer.owned().len());
    let all: BTreeSet<i32> = consumers.iter().flat_map(|c| c.owned().clone()).collect();
    let count = usize::try_from(GROUP_PARTITIONS).expect("a few partitions");
    first.is_some_and(|epoch| epoch > 0 && epochs.all(|other| other == epoch))
        && all.len() == count
        && owned.sum::<usize>() == count
}

impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, owned, .. } = self;
        write!(f, "{} in epoch {epoch}: {owned:?}", self.member_id())
    }
}

const REBALANCE_MS: i32 = 20_000;
