//! SyncGroup v0–5: the leader hands in the assignment, every member gets its part.
//!
//! The assignment goes to the log first; only then is anyone told.

use std::collections::BTreeMap;

use bytes::Bytes;
use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use moldau_protocol::types::KString;

use super::outbox::Outbox;
use super::persist::{Persist, Then};
use super::{Caller, Group, GroupState};

/// What each member is to do, by member id.
pub(crate) type Assignments = BTreeMap<KString, Bytes>;

impl Group {
    /// Takes the leader's assignment, or lets a member wait for its part of it.
    pub(crate) fn sync(
        &mut self,
        caller: &Caller,
        request: &SyncGroupRequest,
        now_ms: i64,
        out: &mut Outbox,
    ) {
        if let Err(code) = self.validate_sync(request) {
            return out.respond(caller.token, sync_error(code));
        }
        self.pending_syncs.remove(&request.member_id);
        if self.pending_syncs.is_empty() {
            self.sync_deadline_ms = None;
        }
        if self.state == GroupState::Stable {
            let response = self.sync_response(&request.member_id);
            self.refresh_session(&request.member_id, now_ms);
            return out.respond(caller.token, response);
        }
        if let Some(member) = self.members.get_mut(&request.member_id)
            && let Some(earlier) = member.sync.replace(caller.token)
        {
            out.respond(earlier, sync_error(ErrorCode::RebalanceInProgress));
        }
        if self.is_leader(&request.member_id) && !self.assignment_in_flight {
            self.assignment_in_flight = true;
            let assignments = self.assignments(request);
            let value = self.metadata_value(Some(&assignments));
            let then = Then::Assign {
                generation_id: self.generation_id,
                assignments,
            };
            out.persists.push(Persist { value, then });
        }
    }

    fn validate_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        let instance = request.group_instance_id.as_ref();
        self.validate_generation(&request.member_id, instance, request.generation_id)?;
        let differs =
            |asked: &Option<KString>, ours: &Option<KString>| asked.is_some() && asked != ours;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            GroupState::Empty => Err(ErrorCode::UnknownMemberId),
            GroupState::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
        }
    }

    /// The leader's assignment of all members; those it forgot get nothing.
    fn assignments(&self, request: &SyncGroupRequest) -> Assignments {
        let mut assignments: Assignments = self
            .members
            .keys()
            .map(|id| (id.clone(), Bytes::new()))
            .collect();
        for given in &request.assignments {
            if let Some(assignment) = assignments.get_mut(&given.member_id) {
                *assignment = Bytes::copy_from_slice(&given.assignment);
            }
        }
        assignments
    }

    /// The assignment is in the log: everyone who waits gets its part, the group is stable.
    pub(super) fn assign(&mut self, mut assignments: Assignments, now_ms: i64, out: &mut Outbox) {
        self.assignment_in_flight = false;
        self.transition(GroupState::Stable, now_ms);
        for (member_id, member) in &mut self.members {
            member.assignment = assignments.remove(member_id).unwrap_or_default();
        }
        let member_ids: Vec<KString> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            let response = self.sync_response(&member_id);
            if let Some(member) = self.members.get_mut(&member_id)
                && let Some(token) = member.sync.take()
            {
                out.respond(token, response);
                member.refresh_session(now_ms);
            }
        }
    }

    /// Takes all assignments back and answers everyone who waits for one.
    pub(super) fn fail_syncs(&mut self, code: ErrorCode, now_ms: i64, out: &mut Outbox) {
        for member in self.members.values_mut() {
            if let Some(token) = member.sync.take() {
                out.respond(token, sync_error(code));
                member.refresh_session(now_ms);
            }
        }
    }

    fn sync_response(&self, member_id: &KString) -> SyncGroupResponse {
        SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: self
                .members
                .get(member_id)
                .map(|member| member.assignment.clone())
                .unwrap_or_default(),
            ..Default::default()
        }
    }
}

pub(super) fn sync_error(code: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: code.code(),
        ..Default::default()
    }
}
