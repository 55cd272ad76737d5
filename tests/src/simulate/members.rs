//! Simulated members of classic groups: they join, assign, heartbeat, leave and die.

use std::fmt;

use bytes::Bytes;
use moldau_protocol::messages::heartbeat::HeartbeatRequest;
use moldau_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use moldau_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use moldau_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use moldau_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use moldau_protocol::{ErrorCode, KString, RequestKind, ResponseKind};
use rand::RngExt;
use rand::rngs::SmallRng;

use super::network::FromMember;
use super::node::{GROUP_PARTITIONS, TOPIC};

/// One consumer in a group.
#[derive(Debug)]
pub(super) struct Member {
    group: usize,
    member: usize,
    /// `group.instance.id` of a static member.
    instance: Option<KString>,
    /// Empty until the coordinator gave one.
    member_id: KString,
    state: State,
    /// Counts the requests; an answer to an older one comes too late.
    attempt: u64,
    is_waiting: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Out,
    /// Knows its generation; the leader also knows the members.
    Joined {
        generation: i32,
        members: Vec<KString>,
    },
    Stable {
        generation: i32,
    },
}

impl Member {
    pub(super) fn new(group: usize, member: usize, is_static: bool) -> Self {
        Self {
            group,
            member,
            instance: is_static.then(|| KString::from(format!("instance-{member}"))),
            member_id: KString::EMPTY,
            state: State::Out,
            attempt: 0,
            is_waiting: false,
        }
    }

    pub(super) const fn group(&self) -> usize {
        self.group
    }

    /// The generation in which it has an assignment.
    pub(super) const fn stable_generation(&self) -> Option<i32> {
        match self.state {
            State::Stable { generation } => Some(generation),
            State::Out | State::Joined { .. } => None,
        }
    }

    /// What the member sends now, if anything. A `calm` one only wants to be in the group.
    pub(super) fn act(
        &mut self,
        calm: bool,
        random: &mut SmallRng,
    ) -> Option<(FromMember, RequestKind)> {
        if self.is_waiting {
            // Most answers take a while; to ask again means to lose the answer.
            if !random.random_bool(if calm { 0.02 } else { 0.1 }) {
                return None;
            }
            self.is_waiting = false;
        }
        let body: RequestKind = match (&self.state, random.random_range(0..40)) {
            (State::Stable { .. }, 0) if !calm => self.leave().into(),
            (State::Stable { .. }, 1) if !calm => {
                self.die();
                return None;
            }
            (State::Stable { .. }, 2) if !calm => self.join(random).into(),
            (State::Stable { generation }, _) => self.heartbeat(*generation).into(),
            (
                State::Joined {
                    generation,
                    members,
                },
                _,
            ) => self.sync(*generation, members, random).into(),
            (State::Out, _) => self.join(random).into(),
        };
        self.attempt += 1;
        self.is_waiting = true;
        let from = FromMember {
            group: self.group,
            member: self.member,
            attempt: self.attempt,
        };
        Some((from, body))
    }

    /// Commits an offset as a member of its generation, or as nobody while it is out.
    pub(super) fn commit(&self, offset: i64, partition: i32) -> (FromMember, RequestKind) {
        let (member_id, generation) = match self.stable_generation() {
            Some(generation) => (self.member_id.clone(), generation),
            None => (KString::EMPTY, -1),
        };
        let instance = self.instance.clone();
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
            generation_id_or_member_epoch: generation,
            group_instance_id: instance.filter(|_| generation >= 0),
            member_id,
            topics: vec![topic],
            ..Default::default()
        };
        let from = FromMember {
            group: self.group,
            member: self.member,
            // Nobody waits for this answer.
            attempt: 0,
        };
        (from, request.into())
    }

    /// An answer has come.
    pub(super) fn answered(&mut self, attempt: u64, body: &ResponseKind) {
        if attempt != self.attempt {
            return;
        }
        self.is_waiting = false;
        match body {
            ResponseKind::JoinGroup(response) => self.joined(response),
            ResponseKind::SyncGroup(response) => {
                let State::Joined { generation, .. } = self.state else {
                    return;
                };
                if !self.refused(response.error_code) {
                    self.state = State::Stable { generation };
                }
            }
            ResponseKind::Heartbeat(response) => {
                self.refused(response.error_code);
            }
            ResponseKind::LeaveGroup(_) => self.die(),
            other => panic!("a member gets {other:?}"),
        }
    }

    fn joined(&mut self, response: &JoinGroupResponse) {
        if ErrorCode::from_code(response.error_code) == ErrorCode::MemberIdRequired {
            self.member_id = response.member_id.detached();
        } else if !self.refused(response.error_code) {
            self.member_id = response.member_id.detached();
            let members = match response.skip_assignment {
                true => Vec::new(),
                false => {
                    let members = response.members.iter();
                    members.map(|member| member.member_id.detached()).collect()
                }
            };
            self.state = State::Joined {
                generation: response.generation_id,
                members,
            };
        }
    }

    /// Draws the consequence of an error; false if there is none.
    fn refused(&mut self, error_code: i16) -> bool {
        match ErrorCode::from_code(error_code) {
            ErrorCode::None => return false,
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => self.die(),
            ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => {
                self.state = State::Out;
            }
            // The coordinator cannot say: the member asks again.
            _ => {}
        }
        true
    }

    /// Forgets everything, as a process that starts again.
    fn die(&mut self) {
        self.member_id = KString::EMPTY;
        self.state = State::Out;
        self.is_waiting = false;
        self.attempt += 1;
    }

    fn join(&self, random: &mut SmallRng) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol {
            name: KString::from("range"),
            metadata: Bytes::copy_from_slice(&[random.random_range(0..3)]),
            ..Default::default()
        };
        JoinGroupRequest {
            group_id: group_id(self.group),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: KString::from("consumer"),
            protocols: vec![protocol],
            ..Default::default()
        }
    }

    /// The leader gives each partition to some member, differently each time.
    fn sync(
        &self,
        generation: i32,
        members: &[KString],
        random: &mut SmallRng,
    ) -> SyncGroupRequest {
        let mut shares = vec![Vec::new(); members.len()];
        if !members.is_empty() {
            for partition in 0..GROUP_PARTITIONS {
                let partition = u8::try_from(partition).expect("a few partitions");
                shares[random.random_range(0..members.len())].push(partition);
            }
        }
        let assignments = members.iter().zip(shares);
        let assignments = assignments.map(|(member_id, share)| SyncGroupRequestAssignment {
            member_id: member_id.clone(),
            assignment: Bytes::from(share),
            ..Default::default()
        });
        SyncGroupRequest {
            group_id: group_id(self.group),
            generation_id: generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: Some(KString::from("consumer")),
            protocol_name: Some(KString::from("range")),
            assignments: assignments.collect(),
            ..Default::default()
        }
    }

    fn heartbeat(&self, generation: i32) -> HeartbeatRequest {
        HeartbeatRequest {
            group_id: group_id(self.group),
            generation_id: generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
            ..Default::default()
        }
    }

    fn leave(&self) -> LeaveGroupRequest {
        let identity = MemberIdentity {
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
            ..Default::default()
        };
        LeaveGroupRequest {
            group_id: group_id(self.group),
            members: vec![identity],
            ..Default::default()
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, member, .. } = self;
        write!(f, "member {member} of group {group}: {:?}", self.state)
    }
}

pub(super) fn group_id(group: usize) -> KString {
    KString::from(format!("group-{group}"))
}

/// What a client remembers with an offset.
pub(super) fn metadata(offset: i64) -> KString {
    KString::from(format!("m{offset}"))
}

const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 20_000;
