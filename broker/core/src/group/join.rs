//! JoinGroup v0–9: a new member, or one that joins again.
//!
//! - v4: a new dynamic member first gets an id and MEMBER_ID_REQUIRED (KIP-394)
//! - v5: static members keep their place by `group.instance.id` (KIP-345)
//! - v9: a static leader that comes back learns that it need not assign (KIP-814)

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember,
};
use moldau_protocol::types::KString;

use super::member::{Member, protocols};
use super::outbox::Outbox;
use super::{Caller, Group, GroupState};

/// A JoinGroup request with all that decides its outcome.
#[derive(Clone, Copy, Debug)]
pub struct Join<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// What is asked.
    pub request: &'a JoinGroupRequest,
    /// Random bits, for the id of a new member.
    pub fresh_id: u128,
    /// Now.
    pub now_ms: i64,
}

impl Group {
    /// Adds a member or lets it join again, which usually starts a rebalance.
    pub(crate) fn join(&mut self, join: &Join<'_>, out: &mut Outbox) {
        let member_id = &join.request.member_id;
        let pending_joins_full =
            member_id.is_empty() && self.pending_joins.len() >= MAX_PENDING_JOINS;
        if pending_joins_full || !self.has_room_for(member_id) {
            self.pending_joins.remove(member_id);
            if self.members.contains_key(member_id) {
                self.remove_member(member_id, out);
                self.members_left(join.now_ms, out);
            }
            return refuse_join(
                join.caller,
                &KString::EMPTY,
                ErrorCode::GroupMaxSizeReached,
                out,
            );
        }
        let joined = if !self.supports_protocols(join.request) {
            Err(ErrorCode::InconsistentGroupProtocol)
        } else if member_id.is_empty() {
            self.join_new(join, out);
            Ok(())
        } else {
            self.join_known(join, out)
        };
        if let Err(code) = joined {
            refuse_join(join.caller, member_id, code, out);
        }
    }

    fn join_new(&mut self, join: &Join<'_>, out: &mut Outbox) {
        let request = join.request;
        let prefix = request
            .group_instance_id
            .as_ref()
            .unwrap_or(&join.caller.client_id);
        let member_id = new_member_id(prefix, join.fresh_id);
        match &request.group_instance_id {
            Some(instance) if self.static_members.contains_key(instance) => {
                self.replace_static_member(join, member_id, out);
            }
            None if join.caller.api_version >= MEMBER_ID_REQUIRED_FROM => {
                // Not a member yet: a client that gives up here leaves nothing behind for long.
                let deadline = join
                    .now_ms
                    .saturating_add(i64::from(request.session_timeout_ms));
                self.pending_joins.insert(member_id.clone(), deadline);
                refuse_join(join.caller, &member_id, ErrorCode::MemberIdRequired, out);
            }
            _ => self.add_member(join, member_id, out),
        }
    }

    fn join_known(&mut self, join: &Join<'_>, out: &mut Outbox) -> Result<(), ErrorCode> {
        let request = join.request;
        if request.group_instance_id.is_none()
            && self.pending_joins.contains_key(&request.member_id)
        {
            self.add_member(join, request.member_id.detached(), out);
            return Ok(());
        }
        self.validate_member(&request.member_id, request.group_instance_id.as_ref())?;
        let member = self
            .members
            .get(&request.member_id)
            .ok_or(ErrorCode::UnknownMemberId)?;
        let unchanged = member.protocols == protocols(&request.protocols);
        let answer_now = match self.state {
            GroupState::Empty => return Err(ErrorCode::UnknownMemberId),
            GroupState::PreparingRebalance => false,
            // It did not get the answer to its first JoinGroup.
            GroupState::CompletingRebalance => unchanged,
            // The leader joins again to have partitions assigned anew, also if its metadata is the
            // same; for others that means that they missed an answer.
            GroupState::Stable => unchanged && !self.is_leader(&request.member_id),
        };
        if answer_now {
            let response = self.join_response(&request.member_id);
            out.respond(join.caller.token, response);
            self.refresh_session(&request.member_id, join.now_ms);
        } else {
            self.update_member(join, out);
            self.rebalance_or_complete(join.now_ms, out);
        }
        Ok(())
    }

    fn add_member(&mut self, join: &Join<'_>, member_id: KString, out: &mut Outbox) {
        let request = join.request;
        let timeout_ms = i64::from(self.settings.new_member_join_timeout_ms);
        let member = Member {
            member_id: member_id.clone(),
            group_instance_id: request.group_instance_id.as_ref().map(KString::detached),
            client_id: join.caller.client_id.detached(),
            client_host: join.caller.client_host.detached(),
            rebalance_timeout_ms: rebalance_timeout_ms(request),
            session_timeout_ms: request.session_timeout_ms,
            protocols: protocols(&request.protocols),
            assignment: bytes::Bytes::new(),
            session_deadline_ms: join.now_ms.saturating_add(timeout_ms),
            is_new: true,
            join: Some(join.caller.token),
            sync: None,
        };
        self.pending_joins.remove(&member_id);
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.detached());
        }
        self.leader.get_or_insert_with(|| member_id.clone());
        if let Some(instance) = &member.group_instance_id {
            self.static_members
                .insert(instance.clone(), member_id.clone());
        }
        self.members.insert(member_id, member);
        if let Some(deadline) = &mut self.join_deadline {
            deadline.member_joined();
        }
        self.rebalance_or_complete(join.now_ms, out);
    }

    /// Takes over what the request says and lets it wait for the rebalance.
    pub(super) fn update_member(&mut self, join: &Join<'_>, out: &mut Outbox) {
        let request = join.request;
        let Some(member) = self.members.get_mut(&request.member_id) else {
            return;
        };
        member.protocols = protocols(&request.protocols);
        member.rebalance_timeout_ms = rebalance_timeout_ms(request);
        member.session_timeout_ms = request.session_timeout_ms;
        if let Some(earlier) = member.join.replace(join.caller.token) {
            out.respond(
                earlier,
                join_error(&request.member_id, ErrorCode::RebalanceInProgress),
            );
        }
    }

    fn has_room_for(&self, member_id: &KString) -> bool {
        let member = self.members.get(member_id);
        match self.state {
            GroupState::Empty => true,
            GroupState::PreparingRebalance => {
                let waiting = self
                    .members
                    .values()
                    .filter(|member| member.join.is_some())
                    .count();
                member.is_some_and(|member| member.join.is_some())
                    || waiting < self.settings.max_size
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                member.is_some() || self.members.len() < self.settings.max_size
            }
        }
    }

    /// Whether all members could go on with one of the protocols asked for.
    fn supports_protocols(&self, request: &JoinGroupRequest) -> bool {
        if self.members.is_empty() {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        let by_all = |name: &str| self.members.values().all(|member| member.supports(name));
        self.protocol_type.as_ref() == Some(&request.protocol_type)
            && request
                .protocols
                .iter()
                .any(|protocol| by_all(&protocol.name))
    }

    /// What a member of this generation is told; the leader also gets everyone's metadata.
    pub(super) fn join_response(&self, member_id: &KString) -> JoinGroupResponse {
        JoinGroupResponse {
            generation_id: self.generation_id,
            protocol_type: self.protocol_type.clone(),
            protocol_name: Some(self.protocol_name.clone().unwrap_or_default()),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: member_id.clone(),
            members: if self.is_leader(member_id) {
                self.members_for_leader()
            } else {
                Vec::new()
            },
            ..Default::default()
        }
    }

    pub(super) fn members_for_leader(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol_name.clone().unwrap_or_default();
        let member = |member: &Member| JoinGroupResponseMember {
            member_id: member.member_id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            metadata: member.metadata(&protocol),
            ..Default::default()
        };
        self.members.values().map(member).collect()
    }
}

/// Answers a JoinGroup with an error.
pub(crate) fn refuse_join(caller: &Caller, member_id: &KString, code: ErrorCode, out: &mut Outbox) {
    out.respond(caller.token, join_error(member_id, code));
}

pub(crate) fn join_error(member_id: &KString, code: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: code.code(),
        protocol_name: Some(KString::EMPTY),
        member_id: member_id.clone(),
        ..Default::default()
    }
}

/// Version 0 had no such field: a member may then take as long as its session lasts.
pub(super) fn rebalance_timeout_ms(request: &JoinGroupRequest) -> i32 {
    if request.rebalance_timeout_ms < 0 {
        request.session_timeout_ms
    } else {
        request.rebalance_timeout_ms
    }
}

/// The client's name and a random id, as people know them from Kafka's tools.
pub(crate) fn new_member_id(prefix: &str, fresh_id: u128) -> KString {
    let hex = format!("{:032x}", with_uuid_version(fresh_id));
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    let parts = [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ];
    KString::from(format!("{prefix}-{}", parts.join("-")))
}

/// Marks random bits as a UUID of version 4.
const fn with_uuid_version(bits: u128) -> u128 {
    let version = 0xf << 76;
    let variant = 0b11 << 62;
    (bits & !version & !variant) | (0x4 << 76) | (0b10 << 62)
}

const MEMBER_ID_REQUIRED_FROM: i16 = 4;

/// Ids that may be given out to clients that have not come back with them.
const MAX_PENDING_JOINS: usize = 10_000;
