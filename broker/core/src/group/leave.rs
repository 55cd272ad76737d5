//! LeaveGroup v0–5: members leave, one by one or, from v3 on, several at once.

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse,
};

use super::Group;
use super::outbox::Outbox;

impl Group {
    /// Takes members out and goes on without them.
    pub(crate) fn leave(
        &mut self,
        leaving: &[MemberIdentity],
        now_ms: i64,
        out: &mut Outbox,
    ) -> Vec<MemberResponse> {
        let answers = leaving
            .iter()
            .map(|member| member_response(member, self.leave_one(member, out)))
            .collect();
        self.members_left(now_ms, out);
        answers
    }

    fn leave_one(&mut self, leaving: &MemberIdentity, out: &mut Outbox) -> Result<(), ErrorCode> {
        if leaving.member_id.is_empty() {
            // An admin removes a static member by its instance id.
            let instance = leaving
                .group_instance_id
                .as_ref()
                .ok_or(ErrorCode::UnknownMemberId)?;
            let member_id = self
                .static_members
                .get(instance)
                .cloned()
                .ok_or(ErrorCode::UnknownMemberId)?;
            self.remove_member(&member_id, out);
        } else if self.pending_joins.remove(&leaving.member_id).is_none() {
            self.validate_member(&leaving.member_id, leaving.group_instance_id.as_ref())?;
            self.remove_member(&leaving.member_id, out);
        }
        Ok(())
    }
}

/// The members that a request wants to leave, in whatever version.
pub(crate) fn leaving_members(
    request: &LeaveGroupRequest,
    api_version: i16,
) -> Vec<MemberIdentity> {
    if api_version >= BATCHED_FROM {
        return request.members.clone();
    }
    vec![MemberIdentity {
        member_id: request.member_id.clone(),
        ..Default::default()
    }]
}

/// The answer in the shape of its version.
pub(crate) fn leave_response(answers: Vec<MemberResponse>, api_version: i16) -> LeaveGroupResponse {
    if api_version >= BATCHED_FROM {
        return LeaveGroupResponse {
            members: answers,
            ..Default::default()
        };
    }
    let error_code = answers
        .first()
        .map_or(ErrorCode::None.code(), |answer| answer.error_code);
    LeaveGroupResponse {
        error_code,
        ..Default::default()
    }
}

/// What is answered where there is no such group.
pub(crate) fn leave_all_unknown(leaving: &[MemberIdentity]) -> Vec<MemberResponse> {
    leaving
        .iter()
        .map(|member| member_response(member, Err(ErrorCode::UnknownMemberId)))
        .collect()
}

fn member_response(member: &MemberIdentity, left: Result<(), ErrorCode>) -> MemberResponse {
    MemberResponse {
        member_id: member.member_id.clone(),
        group_instance_id: member.group_instance_id.clone(),
        error_code: left.err().unwrap_or(ErrorCode::None).code(),
        ..Default::default()
    }
}

const BATCHED_FROM: i16 = 3;
