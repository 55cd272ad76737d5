//! A static member that comes back under a new member id (KIP-345, KIP-814).

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::join_group::JoinGroupResponse;
use moldau_protocol::messages::sync_group::SyncGroupResponse;
use moldau_protocol::types::KString;

use super::join::{Join, join_error};
use super::member::{Member, protocols};
use super::outbox::Outbox;
use super::persist::{Persist, Replaced, Then};
use super::{Group, GroupState};

impl Group {
    /// Gives the place of a static member to its new instance. The group rebalances only if it
    /// must: a restart within the session timeout then goes unnoticed by the others.
    pub(super) fn replace_static_member(
        &mut self,
        join: &Join<'_>,
        member_id: KString,
        out: &mut Outbox,
    ) {
        let leader_before = self.leader.clone().unwrap_or_default();
        let Some(replaced) = self.take_over(join, member_id.clone(), out) else {
            return;
        };
        let stays =
            self.state == GroupState::Stable && self.protocol_name == self.select_protocol();
        if !stays {
            if let Some(member) = self.members.get_mut(&member_id) {
                member.join = Some(join.caller.token);
            }
            self.rebalance_or_complete(join.now_ms, out);
            return;
        }
        let leads = self.is_leader(&member_id);
        let response = if join.caller.api_version >= SKIP_ASSIGNMENT_FROM {
            JoinGroupResponse {
                skip_assignment: leads,
                ..self.join_response(&member_id)
            }
        } else {
            // Told the id of its predecessor, a leader does not assign: the group is stable, so
            // nobody would ask for that assignment.
            JoinGroupResponse {
                leader: leader_before,
                members: Vec::new(),
                ..self.join_response(&member_id)
            }
        };
        let then = Then::ReplaceStaticMember {
            token: join.caller.token,
            response: Box::new(response),
            replaced: Replaced(vec![(member_id, replaced)]),
            generation_id: self.generation_id,
        };
        out.persists.push(Persist {
            value: self.metadata_value(None),
            then,
        });
    }

    /// Puts the new instance in the place of the old one, whose requests are fenced.
    fn take_over(
        &mut self,
        join: &Join<'_>,
        member_id: KString,
        out: &mut Outbox,
    ) -> Option<Member> {
        let instance = join.request.group_instance_id.as_ref()?;
        let old_id = self.static_members.get(instance)?.clone();
        let mut replaced = self.members.remove(&old_id)?;
        if let Some(token) = replaced.join.take() {
            out.respond(token, join_error(&old_id, ErrorCode::FencedInstanceId));
        }
        if let Some(token) = replaced.sync.take() {
            let error_code = ErrorCode::FencedInstanceId.code();
            out.respond(
                token,
                SyncGroupResponse {
                    error_code,
                    ..Default::default()
                },
            );
        }
        let mut member = Member {
            member_id: member_id.clone(),
            client_id: join.caller.client_id.detached(),
            client_host: join.caller.client_host.detached(),
            protocols: protocols(&join.request.protocols),
            session_timeout_ms: join.request.session_timeout_ms,
            rebalance_timeout_ms: super::join::rebalance_timeout_ms(join.request),
            // Its predecessor was known to live, so it does not count as new.
            is_new: false,
            ..replaced.clone()
        };
        member.refresh_session(join.now_ms);
        self.put_in_place(&old_id, member);
        Some(replaced)
    }

    /// Gives the place back to the old instance after the change could not be stored.
    pub(super) fn restore_static_member(
        &mut self,
        replaced: Member,
        member_id: &KString,
        now_ms: i64,
    ) {
        if self.members.remove(member_id).is_some() {
            let mut member = replaced;
            member.refresh_session(now_ms);
            self.put_in_place(member_id, member);
        }
    }

    fn put_in_place(&mut self, old_id: &KString, member: Member) {
        let member_id = member.member_id.clone();
        if self.is_leader(old_id) {
            self.leader = Some(member_id.clone());
        }
        if self.pending_syncs.remove(old_id) {
            self.pending_syncs.insert(member_id.clone());
        }
        if let Some(instance) = &member.group_instance_id {
            self.static_members
                .insert(instance.clone(), member_id.clone());
        }
        self.members.insert(member_id, member);
    }
}

const SKIP_ASSIGNMENT_FROM: i16 = 9;
