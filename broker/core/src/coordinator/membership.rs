//! Members of consumer groups that leave or are removed, and members of the classic protocol in them.

use moldau_protocol::ResponseKind;
use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use moldau_protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use moldau_protocol::messages::leave_group::{LeaveGroupRequest, MemberResponse};
use moldau_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use moldau_protocol::types::KString;

use super::consumer_groups::{ConsumerGroupWrite, Prior};
use super::records::group_record;
use super::{Action, Coordinator};
use crate::consumer_group::{
    Beat, Changes, ClassicJoin, ConsumerGroup, Context, not_a_consumer_group,
};
use crate::group::{
    Caller, Group, Outbox, join_error, leave_response, leaving_members, new_member_id,
};
use crate::ids::Token;
use crate::rejection::Rejection;

impl Coordinator {
    pub(super) fn leave_by_heartbeat(
        &mut self,
        group_id: &KString,
        beat: &Beat<'_>,
        context: &Context<'_>,
        actions: &mut Vec<Action>,
    ) -> Result<(), Rejection> {
        let group = self
            .consumer_groups
            .get_mut(group_id)
            .ok_or_else(|| not_a_consumer_group(group_id))?;
        let member_id = group.leaving_member(beat)?;
        let response = ConsumerGroup::left(beat, member_id.clone()).into();
        let response = Some((beat.caller.token, response));
        if beat.comes_back() {
            let mut changes = Changes::default();
            group.leave_for_a_while(&member_id, &mut changes);
            let write = ConsumerGroupWrite {
                response,
                ..ConsumerGroupWrite::new(group_id.clone(), changes)
            };
            self.write_consumer_group(write, actions);
        } else {
            self.remove_consumers(group_id, &[member_id], response, context, actions);
        }
        Ok(())
    }

    /// Removes members for good; if only members of the classic protocol stay, the group becomes a
    /// classic one.
    pub(super) fn remove_consumers(
        &mut self,
        group_id: &KString,
        member_ids: &[KString],
        response: Option<(Token, ResponseKind)>,
        context: &Context<'_>,
        actions: &mut Vec<Action>,
    ) {
        let Some(group) = self.consumer_groups.get_mut(group_id) else {
            return;
        };
        let prior = group.clone();
        let downgrades = group.downgrades_without(member_ids, context, &self.settings.group);
        let mut changes = Changes::default();
        if downgrades {
            // The epoch stays: it is the generation that the others know, who so lose nothing.
            group.remove_only(member_ids, &mut changes);
        } else {
            group.remove_members(member_ids, context, &mut changes);
        }
        let write = ConsumerGroupWrite {
            response,
            ..ConsumerGroupWrite::new(group_id.clone(), changes)
        };
        if !downgrades {
            self.write_consumer_group(write, actions);
            return self.set_timer(group_id);
        }
        let mut out = Outbox::default();
        if let Some(mut classic) = self.downgrade(write, prior, context, actions) {
            classic.rebalance_after_migration(context.now_ms, &mut out);
            self.groups.insert(group_id.clone(), classic);
        }
        self.after_group_event(group_id, out, None, actions);
    }

    /// Makes a group that has only members of the classic protocol a classic one, and gives it back
    /// for whatever is to happen to it next.
    fn downgrade(
        &mut self,
        mut write: ConsumerGroupWrite,
        prior: ConsumerGroup,
        context: &Context<'_>,
        actions: &mut Vec<Action>,
    ) -> Option<Group> {
        let group_id = write.change.group_id.clone();
        let mut group = self.consumer_groups.remove(&group_id)?;
        let classic = group.to_classic(self.settings.group, context);
        self.write_tombstones(&mut group, &mut write.change.changes);
        write.change.prior = Some(Prior::Consumer(Box::new(prior)));
        write.after = Some(group_record(&group_id, &classic.migrated_value()));
        self.write_consumer_group(write, actions);
        // Unless the change could not even be encoded and was taken back.
        (!self.consumer_groups.contains_key(&group_id)).then_some(classic)
    }

    /// Whether there is a consumer group with members.
    pub(super) fn has_consumers(&self, group_id: &KString) -> bool {
        let group = self.consumer_groups.get(group_id);
        group.is_some_and(|group| !group.is_empty())
    }

    /// A classic group takes the place of a consumer group without members.
    pub(super) fn drop_empty_consumer_group(
        &mut self,
        group_id: &KString,
        actions: &mut Vec<Action>,
    ) {
        if !self.has_consumers(group_id) {
            self.delete_consumer_group(group_id, None, actions);
        }
    }

    /// Removes a group with all its records.
    pub(super) fn delete_consumer_group(
        &mut self,
        group_id: &KString,
        response: Option<(Token, ResponseKind)>,
        actions: &mut Vec<Action>,
    ) {
        let Some(mut group) = self.consumer_groups.remove(group_id) else {
            return;
        };
        let prior = Prior::Consumer(Box::new(group.clone()));
        let mut changes = Changes::default();
        self.write_tombstones(&mut group, &mut changes);
        let mut write = ConsumerGroupWrite {
            response,
            ..ConsumerGroupWrite::new(group_id.clone(), changes)
        };
        write.change.prior = Some(prior);
        self.write_consumer_group(write, actions);
        self.set_timer(group_id);
    }

    /// Removes everything of a group from the log, whatever becomes of changes on their way there.
    pub(super) fn write_tombstones(&self, group: &mut ConsumerGroup, changes: &mut Changes) {
        let group_id = group.group_id().clone();
        let pending = self.pending.values();
        let earlier = pending.filter_map(|pending| pending.consumer_group.as_ref());
        for earlier in earlier.filter(|earlier| earlier.group_id == group_id) {
            group.repeat_tombstones(&earlier.changes, changes);
        }
        group.write_tombstones(changes);
    }

    /// JoinGroup to a consumer group that has members.
    pub(super) fn join_consumer_group(
        &mut self,
        caller: &Caller,
        request: &JoinGroupRequest,
        fresh_id: u128,
        now_ms: i64,
    ) -> Vec<Action> {
        let group_id = request.group_id.detached();
        let prefix = request
            .group_instance_id
            .as_ref()
            .unwrap_or(&caller.client_id);
        let member_id = match request.member_id.is_empty() {
            true => new_member_id(prefix, fresh_id),
            false => request.member_id.detached(),
        };
        let join = ClassicJoin {
            caller,
            request,
            member_id: &member_id,
        };
        let mut actions = Vec::new();
        let (image, settings) = self.context_of(&group_id);
        let context = self.context(&image, &settings, now_ms);
        if let Err(code) = self.join_or_downgrade(&group_id, &join, &context, &mut actions) {
            let told = match code {
                ErrorCode::MemberIdRequired => &member_id,
                _ => &request.member_id,
            };
            actions.push(Action::Respond {
                token: caller.token,
                response: join_error(told, code).into(),
            });
        }
        actions
    }

    fn join_or_downgrade(
        &mut self,
        group_id: &KString,
        join: &ClassicJoin<'_>,
        context: &Context<'_>,
        actions: &mut Vec<Action>,
    ) -> Result<(), ErrorCode> {
        let group = self
            .consumer_groups
            .get_mut(group_id)
            .ok_or(ErrorCode::UnknownMemberId)?;
        let instance = join.request.group_instance_id.as_ref();
        let downgrades = group.downgrades_by_replacing(instance, context, &self.settings.group);
        let prior = downgrades.then(|| group.clone());
        let mut changes = Changes::default();
        let joined = match group.join_classic(join, !downgrades, context, &mut changes) {
            Ok(joined) => joined,
            Err(rejection) => {
                group.take_back(&changes);
                return Err(rejection.code);
            }
        };
        let mut write = ConsumerGroupWrite::new(group_id.clone(), changes);
        let Some(prior) = prior else {
            write.response = Some((join.caller.token, joined.response.into()));
            self.write_consumer_group(write, actions);
            self.set_timer(group_id);
            return Ok(());
        };
        // Its generation is the epoch that the group has come to.
        let response = JoinGroupResponse {
            generation_id: group.epoch(),
            ..joined.response
        };
        write.response = Some((join.caller.token, response.into()));
        let mut out = Outbox::default();
        if let Some(mut classic) = self.downgrade(write, prior, context, actions) {
            if joined.subscription_changed {
                classic.rebalance_after_migration(context.now_ms, &mut out);
            }
            self.groups.insert(group_id.clone(), classic);
        }
        self.after_group_event(group_id, out, None, actions);
        Ok(())
    }

    /// SyncGroup of a member of the classic protocol.
    pub(super) fn sync_consumer_group(
        &mut self,
        caller: &Caller,
        request: &SyncGroupRequest,
        now_ms: i64,
    ) -> Vec<Action> {
        let (image, settings) = self.context_of(&request.group_id);
        let context = self.context(&image, &settings, now_ms);
        let group = self.consumer_groups.get_mut(&request.group_id);
        let synced = group.map(|group| group.sync_classic(request, &context));
        let response = match synced {
            Some(Ok(response)) => response,
            refused => SyncGroupResponse {
                error_code: code_of(refused.and_then(Result::err)).code(),
                ..Default::default()
            },
        };
        self.answer_member(&request.group_id, (caller.token, response.into()))
    }

    /// Heartbeat of a member of the classic protocol.
    pub(super) fn heartbeat_consumer_group(
        &mut self,
        caller: &Caller,
        request: &HeartbeatRequest,
        now_ms: i64,
    ) -> Vec<Action> {
        let (image, settings) = self.context_of(&request.group_id);
        let context = self.context(&image, &settings, now_ms);
        let group = self.consumer_groups.get_mut(&request.group_id);
        let error_code = match group.map(|group| group.heartbeat_classic(request, &context)) {
            Some(Ok(())) => ErrorCode::None,
            refused => code_of(refused.and_then(Result::err)),
        };
        let response = HeartbeatResponse {
            error_code: error_code.code(),
            ..Default::default()
        };
        self.answer_member(&request.group_id, (caller.token, response.into()))
    }

    /// LeaveGroup to a consumer group.
    pub(super) fn leave_consumer_group(
        &mut self,
        caller: &Caller,
        request: &LeaveGroupRequest,
        now_ms: i64,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(group) = self.consumer_groups.get(&request.group_id) else {
            return actions;
        };
        let mut removed: Vec<KString> = Vec::new();
        let mut answers = Vec::new();
        for leaving in leaving_members(request, caller.api_version) {
            let found = group
                .leaving_classic(&leaving)
                .map_err(|rejection| rejection.code);
            let found = match found {
                Ok(member_id) if removed.contains(&member_id) => Err(ErrorCode::UnknownMemberId),
                found => found,
            };
            answers.push(MemberResponse {
                member_id: found.clone().unwrap_or_else(|_| leaving.member_id.clone()),
                group_instance_id: leaving.group_instance_id.clone(),
                error_code: found.as_ref().err().map_or(0, |code| code.code()),
                ..Default::default()
            });
            removed.extend(found);
        }
        let response = leave_response(answers, caller.api_version).into();
        let response = (caller.token, response);
        if removed.is_empty() {
            return self.answer_member(&request.group_id, response);
        }
        let group_id = request.group_id.detached();
        let (image, settings) = self.context_of(&group_id);
        let context = self.context(&image, &settings, now_ms);
        self.remove_consumers(&group_id, &removed, Some(response), &context, &mut actions);
        actions
    }

    /// Removes the members of a consumer group that have been silent or slow for too long.
    pub(super) fn remove_overdue(
        &mut self,
        group_id: &KString,
        now_ms: i64,
        actions: &mut Vec<Action>,
    ) {
        let Some(group) = self.consumer_groups.get_mut(group_id) else {
            return;
        };
        let overdue = group.overdue(now_ms);
        if overdue.is_empty() {
            return self.set_timer(group_id);
        }
        let (image, settings) = self.context_of(group_id);
        let context = self.context(&image, &settings, now_ms);
        self.remove_consumers(group_id, &overdue, None, &context, actions);
    }

    fn answer_member(
        &mut self,
        group_id: &KString,
        response: (Token, ResponseKind),
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        self.respond_after_pending(group_id, Some(response), &mut actions);
        self.set_timer(group_id);
        actions
    }
}

fn code_of(rejection: Option<Rejection>) -> ErrorCode {
    rejection.map_or(ErrorCode::UnknownMemberId, |rejection| rejection.code)
}
