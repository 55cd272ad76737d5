//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup and DeleteGroups: finds the group, checks what is
//! not the group's business, and turns what the group says into actions.

use moldau_protocol::ResponseKind;
use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::delete_groups::{DeletableGroupResult, DeleteGroupsResponse};
use moldau_protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use moldau_protocol::messages::join_group::JoinGroupRequest;
use moldau_protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use moldau_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use moldau_protocol::types::KString;

use super::pending::Pending;
use super::records::{group_record, group_tombstone, offset_record};
use super::{Action, Coordinator};
use crate::consumer_group::ConsumerGroup;
use crate::group::{
    Caller, Group, Join, Outbox, Then, leave_all_unknown, leave_response, leaving_members,
    refuse_join,
};
use crate::ids::Token;
use crate::offsets::OffsetChange;

impl Coordinator {
    /// JoinGroup v0–9. `fresh_id` is random; it becomes part of a new member's id.
    pub fn join_group(
        &mut self,
        caller: &Caller,
        request: JoinGroupRequest,
        fresh_id: u128,
        now_ms: i64,
    ) -> Vec<Action> {
        let mut out = Outbox::default();
        let mut actions = Vec::new();
        let settings = self.settings.group;
        let timeouts = settings.min_session_timeout_ms..=settings.max_session_timeout_ms;
        let refusal = if request.group_id.is_empty() {
            Some(ErrorCode::InvalidGroupId)
        } else if !timeouts.contains(&request.session_timeout_ms) {
            Some(ErrorCode::InvalidSessionTimeout)
        } else if self.has_consumers(&request.group_id) {
            return self.join_consumer_group(caller, &request, fresh_id, now_ms);
        } else if !request.member_id.is_empty() && !self.groups.contains_key(&request.group_id) {
            Some(ErrorCode::UnknownMemberId)
        } else {
            None
        };
        if let Some(code) = refusal {
            refuse_join(caller, &request.member_id, code, &mut out);
        } else {
            let join = Join {
                caller,
                request: &request,
                fresh_id,
                now_ms,
            };
            self.drop_empty_consumer_group(&request.group_id, &mut actions);
            self.group_or_new(&request.group_id).join(&join, &mut out);
        }
        self.after_group_event(&request.group_id, out, None, &mut actions);
        actions
    }

    /// SyncGroup v0–5.
    pub fn sync_group(
        &mut self,
        caller: &Caller,
        request: SyncGroupRequest,
        now_ms: i64,
    ) -> Vec<Action> {
        let mut out = Outbox::default();
        let mut actions = Vec::new();
        if self.consumer_groups.contains_key(&request.group_id) {
            return self.sync_consumer_group(caller, &request, now_ms);
        }
        match self.groups.get_mut(&request.group_id) {
            Some(group) => group.sync(caller, &request, now_ms, &mut out),
            None => {
                let error_code = missing_group(&request.group_id).code();
                out.respond(
                    caller.token,
                    SyncGroupResponse {
                        error_code,
                        ..Default::default()
                    },
                );
            }
        }
        self.after_group_event(&request.group_id, out, None, &mut actions);
        actions
    }

    /// Heartbeat v0–4.
    pub fn heartbeat(
        &mut self,
        caller: &Caller,
        request: HeartbeatRequest,
        now_ms: i64,
    ) -> Vec<Action> {
        if self.consumer_groups.contains_key(&request.group_id) {
            return self.heartbeat_consumer_group(caller, &request, now_ms);
        }
        let instance = request.group_instance_id.as_ref();
        let result = match self.groups.get_mut(&request.group_id) {
            Some(group) => {
                group.heartbeat(&request.member_id, instance, request.generation_id, now_ms)
            }
            None => Err(missing_group(&request.group_id)),
        };
        // The group's deadline can only move back, so its timer, which comes too early, stays.
        let error_code = result.err().unwrap_or(ErrorCode::None).code();
        let response = HeartbeatResponse {
            error_code,
            ..Default::default()
        };
        vec![Action::Respond {
            token: caller.token,
            response: response.into(),
        }]
    }

    /// LeaveGroup v0–5.
    pub fn leave_group(
        &mut self,
        caller: &Caller,
        request: LeaveGroupRequest,
        now_ms: i64,
    ) -> Vec<Action> {
        let mut out = Outbox::default();
        let mut actions = Vec::new();
        if request.group_id.is_empty() {
            let error_code = ErrorCode::InvalidGroupId.code();
            let response = LeaveGroupResponse {
                error_code,
                ..Default::default()
            };
            return vec![Action::Respond {
                token: caller.token,
                response: response.into(),
            }];
        }
        if self.consumer_groups.contains_key(&request.group_id) {
            return self.leave_consumer_group(caller, &request, now_ms);
        }
        let leaving = leaving_members(&request, caller.api_version);
        let answers = match self.groups.get_mut(&request.group_id) {
            Some(group) => group.leave(&leaving, now_ms, &mut out),
            None => leave_all_unknown(&leaving),
        };
        let response = leave_response(answers, caller.api_version).into();
        self.after_group_event(
            &request.group_id,
            out,
            Some((caller.token, response)),
            &mut actions,
        );
        actions
    }

    /// DeleteGroups v0–2, for one of its groups: it goes with all its offsets.
    pub fn delete_group(&mut self, caller: &Caller, group_id: &KString) -> Vec<Action> {
        let mut actions = Vec::new();
        let consumer = self.consumer_groups.get(group_id);
        let deletable = match self.groups.get(group_id) {
            None if consumer.is_some_and(ConsumerGroup::is_empty) => Ok(()),
            None if consumer.is_some() => Err(ErrorCode::NonEmptyGroup),
            None => Err(ErrorCode::GroupIdNotFound),
            Some(group) if !group.is_vacant() => Err(ErrorCode::NonEmptyGroup),
            Some(_) => Ok(()),
        };
        let error_code = deletable.err().unwrap_or(ErrorCode::None).code();
        let result = DeletableGroupResult {
            group_id: group_id.clone(),
            error_code,
            ..Default::default()
        };
        let response = DeleteGroupsResponse {
            results: vec![result],
            ..Default::default()
        }
        .into();
        let mut pending = Pending {
            response: Some((caller.token, response)),
            ..Pending::default()
        };
        let mut records = Vec::new();
        if deletable.is_ok() {
            let gone = |topic_partition| OffsetChange {
                group_id: group_id.clone(),
                topic_partition,
                committed: None,
            };
            pending.changes = self
                .known_partitions(group_id)
                .into_iter()
                .map(gone)
                .collect();
            // Ids come from requests and records, so they are short enough to be written.
            records.extend(
                pending
                    .changes
                    .iter()
                    .filter_map(|change| offset_record(change).ok()),
            );
            if self.consumer_groups.contains_key(group_id) {
                let response = pending.response.take_if(|_| records.is_empty());
                self.delete_consumer_group(group_id, response, &mut actions);
            } else {
                records.extend(group_tombstone(group_id));
            }
            pending.removed.extend(self.groups.remove(group_id));
            self.timers.set(group_id, None);
        }
        self.append(records, pending, &mut actions);
        actions
    }

    fn group_or_new(&mut self, group_id: &KString) -> &mut Group {
        let group_id = group_id.detached();
        self.groups
            .entry(group_id.clone())
            .or_insert_with(|| Group::new(group_id, self.settings.group))
    }

    /// Turns what a group said into actions. `response` leaves when its last write is committed.
    pub(super) fn after_group_event(
        &mut self,
        group_id: &KString,
        out: Outbox,
        mut response: Option<(Token, ResponseKind)>,
        actions: &mut Vec<Action>,
    ) {
        actions.extend(
            out.responses
                .into_iter()
                .map(|(token, response)| Action::Respond { token, response }),
        );
        let mut persists = out.persists.into_iter().peekable();
        while let Some(persist) = persists.next() {
            let last = persists.peek().is_none();
            let pending = Pending {
                group: Some((group_id.clone(), persist.then)),
                clean_up: self.is_unclean(group_id).then(|| group_id.clone()),
                response: if last { response.take() } else { None },
                ..Pending::default()
            };
            let mut records = Vec::new();
            let record = self.clean_first(group_id, &mut records);
            match record.and_then(|()| group_record(group_id, &persist.value)) {
                Ok(record) => {
                    records.push(record);
                    self.append(records, pending, actions);
                }
                Err(_) => self.cannot_encode(group_id, pending, actions),
            }
        }
        actions.extend(response.map(|(token, response)| Action::Respond { token, response }));
        if self.groups.contains_key(group_id) {
            self.set_timer(group_id);
        }
    }

    /// A group's state does not fit its record: a string longer than Kafka's format allows. Whoever
    /// waits is told; the group itself goes on as it would without a log.
    fn cannot_encode(&mut self, group_id: &KString, pending: Pending, actions: &mut Vec<Action>) {
        let mut out = Outbox::default();
        let reassigns = matches!(pending.group, Some((_, Then::Assign { .. })));
        pending.give_up(ErrorCode::UnknownServerError, &mut out, actions);
        if let Some(group) = self.groups.get_mut(group_id).filter(|_| reassigns) {
            group.fail_waiting(ErrorCode::UnknownServerError, &mut out);
        }
        actions.extend(
            out.responses
                .into_iter()
                .map(|(token, response)| Action::Respond { token, response }),
        );
    }
}

fn missing_group(group_id: &KString) -> ErrorCode {
    if group_id.is_empty() {
        ErrorCode::InvalidGroupId
    } else {
        ErrorCode::UnknownMemberId
    }
}
