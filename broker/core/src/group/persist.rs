//! What a group writes to the log, reads from it again, and does once a write is committed.

use std::collections::{BTreeMap, BTreeSet};

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::join_group::JoinGroupResponse;
use moldau_protocol::records::group_metadata_value::{GroupMetadataValue, MemberMetadata};
use moldau_protocol::types::KString;

use super::join::join_error;
use super::member::{Member, Protocol};
use super::outbox::Outbox;
use super::sync::Assignments;
use super::{Group, GroupSettings, GroupState};
use crate::ids::Token;

/// A state of the group on its way to the log.
#[derive(Debug)]
pub(crate) struct Persist {
    pub(crate) value: GroupMetadataValue,
    pub(crate) then: Then,
}

/// What waits for a state to be committed.
#[derive(Debug)]
pub(crate) enum Then {
    /// Nothing.
    Nothing,
    /// The members get their assignments.
    Assign {
        generation_id: i32,
        assignments: Assignments,
    },
    /// A static member is told that it has its old place; or it loses it again.
    ReplaceStaticMember {
        token: Token,
        response: Box<JoinGroupResponse>,
        replaced: Replaced,
        generation_id: i32,
    },
}

/// Static members whose places were taken, each with the id of the one who took it; oldest first.
#[derive(Debug, Default)]
pub(crate) struct Replaced(pub(super) Vec<(KString, Member)>);

impl Group {
    /// The state as the log keeps it, with new assignments or those that members have.
    pub(super) fn metadata_value(&self, assignments: Option<&Assignments>) -> GroupMetadataValue {
        let protocol = self.protocol_name.clone().unwrap_or_default();
        let assignment = |member: &Member| match assignments {
            Some(assignments) => assignments
                .get(&member.member_id)
                .cloned()
                .unwrap_or_default(),
            None => member.assignment.clone(),
        };
        let member = |member: &Member| MemberMetadata {
            member_id: member.member_id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(&protocol),
            assignment: assignment(member),
            ..Default::default()
        };
        GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation_id,
            protocol: self.protocol_name.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_since_ms.unwrap_or(NO_TIMESTAMP),
            members: self.members.values().map(member).collect(),
            ..Default::default()
        }
    }

    /// The group as the log describes it. Sessions begin with [`Self::loaded`].
    pub(crate) fn from_value(
        group_id: KString,
        value: &GroupMetadataValue,
        settings: GroupSettings,
    ) -> Self {
        let protocol = value.protocol.as_ref().map(KString::detached);
        let mut members = BTreeMap::new();
        let mut static_members = BTreeMap::new();
        for stored in &value.members {
            let member = loaded_member(stored, protocol.as_ref());
            if let Some(instance) = &member.group_instance_id {
                static_members.insert(instance.clone(), member.member_id.clone());
            }
            members.insert(member.member_id.clone(), member);
        }
        let leader = value
            .leader
            .as_ref()
            .filter(|leader| members.contains_key(*leader));
        let leader = leader
            .map(KString::detached)
            .or_else(|| members.keys().next().cloned());
        let since = value.current_state_timestamp;
        Self {
            state: if members.is_empty() {
                GroupState::Empty
            } else {
                GroupState::Stable
            },
            state_since_ms: (since != NO_TIMESTAMP).then_some(since),
            generation_id: value.generation,
            protocol_type: Some(value.protocol_type.detached())
                .filter(|protocol_type| !protocol_type.is_empty()),
            protocol_name: protocol,
            leader,
            members,
            static_members,
            pending_joins: BTreeMap::new(),
            pending_syncs: BTreeSet::new(),
            join_deadline: None,
            sync_deadline_ms: None,
            assignment_in_flight: false,
            ..Self::new(group_id, settings)
        }
    }

    /// Every member of the log gets a whole session to show that it lives.
    pub(crate) fn loaded(&mut self, now_ms: i64) {
        for member in self.members.values_mut() {
            member.refresh_session(now_ms);
        }
    }

    /// A state is committed, or could not be.
    pub(crate) fn persisted(
        &mut self,
        then: Then,
        result: Result<(), ErrorCode>,
        now_ms: i64,
        out: &mut Outbox,
    ) {
        match then {
            Then::Nothing => {}
            Then::Assign {
                generation_id,
                assignments,
            } => {
                // Someone may have joined or left meanwhile; then a later generation is assigned.
                if self.state != GroupState::CompletingRebalance
                    || generation_id != self.generation_id
                {
                    return;
                }
                match result {
                    Ok(()) => self.assign(assignments, now_ms, out),
                    Err(code) => {
                        self.assignment_in_flight = false;
                        self.fail_syncs(code, now_ms, out);
                        self.rebalance_or_complete(now_ms, out);
                    }
                }
            }
            Then::ReplaceStaticMember {
                token,
                response,
                replaced,
                generation_id,
            } => match result {
                Ok(()) => out.respond(token, *response),
                Err(code) => {
                    if self.state == GroupState::Stable && generation_id == self.generation_id {
                        for (member_id, before) in replaced.0.into_iter().rev() {
                            self.restore_static_member(before, &member_id, now_ms);
                        }
                    }
                    out.respond(token, join_error(&KString::EMPTY, code));
                }
            },
        }
    }

    /// Gives up all requests that wait; whoever owns the group next answers them again.
    pub(crate) fn fail_waiting(&mut self, code: ErrorCode, out: &mut Outbox) {
        for member in self.members.values_mut() {
            if let Some(token) = member.join.take() {
                out.respond(token, join_error(&member.member_id, code));
            }
            if let Some(token) = member.sync.take() {
                out.respond(token, super::sync::sync_error(code));
            }
        }
    }
}

impl Then {
    /// The append before this one failed. A state on its way tells of the places that were taken
    /// until then, so if it is committed they are taken, and if it fails too they all go back.
    ///
    /// False if this state tells of another generation, or nobody's place.
    pub(crate) fn inherit(&mut self, failed: &mut Self) -> bool {
        let (
            Self::ReplaceStaticMember {
                replaced: own,
                generation_id,
                ..
            },
            Self::ReplaceStaticMember {
                replaced: earlier,
                generation_id: earlier_generation_id,
                ..
            },
        ) = (self, failed)
        else {
            return false;
        };
        if generation_id != earlier_generation_id {
            return false;
        }
        own.0.splice(0..0, std::mem::take(&mut earlier.0));
        true
    }

    /// Answers whoever waits, when the group itself is gone.
    pub(crate) fn fail(self, code: ErrorCode, out: &mut Outbox) {
        if let Self::ReplaceStaticMember { token, .. } = self {
            out.respond(token, join_error(&KString::EMPTY, code));
        }
    }
}

fn loaded_member(stored: &MemberMetadata, protocol: Option<&KString>) -> Member {
    let metadata = bytes::Bytes::copy_from_slice(&stored.subscription);
    let no_rebalance_timeout = stored.rebalance_timeout < 0;
    Member {
        member_id: stored.member_id.detached(),
        group_instance_id: stored.group_instance_id.as_ref().map(KString::detached),
        client_id: stored.client_id.detached(),
        client_host: stored.client_host.detached(),
        rebalance_timeout_ms: if no_rebalance_timeout {
            stored.session_timeout
        } else {
            stored.rebalance_timeout
        },
        session_timeout_ms: stored.session_timeout,
        protocols: protocol
            .map(|name| Protocol {
                name: name.clone(),
                metadata,
            })
            .into_iter()
            .collect(),
        assignment: bytes::Bytes::copy_from_slice(&stored.assignment),
        session_deadline_ms: i64::MAX,
        is_new: false,
        join: None,
        sync: None,
    }
}

const NO_TIMESTAMP: i64 = -1;
