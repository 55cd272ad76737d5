//! One classic consumer group as a state machine.
//!
//! ```text
//!            join                all joined, or time is up          the leader's assignment
//!   Empty ─────────▶ Preparing ───────────────────────▶ Completing ─────────────────────▶ Stable
//!     ▲              Rebalance ◀─────────────────────── Rebalance                            │
//!     │                │   ▲        join, leave, timeout                                     │
//!     └────────────────┘   └────────────────────────────────────────────────────────────────┘
//!        nobody is left                     join, leave, timeout
//! ```
//!
//! Requests that wait keep their token in their member; every token is answered exactly once, also
//! if its member is removed. What must outlive a restart is handed out to be appended to the log,
//! and takes effect when that is committed.

mod describe;
mod join;
mod leave;
mod member;
mod migrate;
mod outbox;
mod persist;
mod rebalance;
mod state;
mod static_member;
mod sync;
mod timeout;

use std::collections::{BTreeMap, BTreeSet};

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::types::KString;

pub(crate) use self::describe::{describe_missing, describe_not_classic, is_listed};
pub use self::join::Join;
pub(crate) use self::join::{join_error, new_member_id, refuse_join};
pub(crate) use self::leave::{leave_all_unknown, leave_response, leaving_members};
use self::member::Member;
pub(crate) use self::migrate::MigratingMember;
pub(crate) use self::outbox::Outbox;
pub(crate) use self::persist::Then;
use self::rebalance::JoinDeadline;
pub use self::state::GroupState;
use crate::ids::Token;

/// A classic consumer group and its members.
#[derive(Clone, Debug)]
pub struct Group {
    group_id: KString,
    state: GroupState,
    /// When the state was entered, if it is known.
    state_since_ms: Option<i64>,
    generation_id: i32,
    /// The kind of group, for example `consumer`; `None` if no member has ever joined.
    protocol_type: Option<KString>,
    /// The protocol, for example `range`, that the members of this generation speak.
    protocol_name: Option<KString>,
    /// The member that assigns; always one of the members, or `None` if there are none.
    leader: Option<KString>,
    members: BTreeMap<KString, Member>,
    /// Member ids by group.instance.id. Invariant: these are exactly the static members.
    static_members: BTreeMap<KString, KString>,
    /// Ids given out by MEMBER_ID_REQUIRED whose owners have not come back, and until when they may.
    pending_joins: BTreeMap<KString, i64>,
    /// Members of this generation that have not asked for their assignment.
    pending_syncs: BTreeSet<KString>,
    /// When the members that have not joined again are left behind.
    join_deadline: Option<JoinDeadline>,
    /// When the members in `pending_syncs` are left behind.
    sync_deadline_ms: Option<i64>,
    /// Whether the leader's assignment is on its way to the log.
    assignment_in_flight: bool,
    settings: GroupSettings,
}

/// The broker settings that groups depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`
    pub max_size: usize,
    /// How long a new member may wait in its first JoinGroup. It has no way to say that it lives,
    /// so it must ask again after this time.
    pub new_member_join_timeout_ms: i32,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            max_size: i32::MAX as usize,
            new_member_join_timeout_ms: 300_000,
        }
    }
}

/// Who sends a request, and where the answer goes.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Given back with the answer.
    pub token: Token,
    /// The version of the request.
    pub api_version: i16,
    /// The client's own name for itself.
    pub client_id: KString,
    /// The client's address as Kafka shows it, for example `/127.0.0.1`.
    pub client_host: KString,
}

impl Group {
    /// A group without members.
    #[must_use]
    pub const fn new(group_id: KString, settings: GroupSettings) -> Self {
        Self {
            group_id,
            state: GroupState::Empty,
            state_since_ms: None,
            generation_id: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_joins: BTreeMap::new(),
            pending_syncs: BTreeSet::new(),
            join_deadline: None,
            sync_deadline_ms: None,
            assignment_in_flight: false,
            settings,
        }
    }

    /// Takes over changed settings of the broker.
    pub(crate) const fn settings_changed(&mut self, settings: GroupSettings) {
        self.settings = settings;
    }

    /// The group's id.
    #[must_use]
    pub const fn group_id(&self) -> &KString {
        &self.group_id
    }

    /// Where the group stands.
    #[must_use]
    pub const fn state(&self) -> GroupState {
        self.state
    }

    /// Grows with every rebalance.
    #[must_use]
    pub const fn generation_id(&self) -> i32 {
        self.generation_id
    }

    /// The member that assigns.
    #[must_use]
    pub const fn leader(&self) -> Option<&KString> {
        self.leader.as_ref()
    }

    /// How many members the group has.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody is in the group or about to join it.
    #[must_use]
    pub fn is_vacant(&self) -> bool {
        self.state == GroupState::Empty && self.members.is_empty() && self.pending_joins.is_empty()
    }

    /// When the group became [`GroupState::Empty`], or entered any other state, if that is known.
    pub(crate) const fn state_since_ms(&self) -> Option<i64> {
        self.state_since_ms
    }

    /// Whether members have ever joined; without any, the group only stores offsets.
    pub(crate) fn is_simple(&self) -> bool {
        self.protocol_type
            .as_ref()
            .is_none_or(|protocol_type| protocol_type.is_empty())
    }

    /// Checks that a request comes from a member, and from the latest owner of its instance id.
    fn validate_member(
        &self,
        member_id: &KString,
        group_instance_id: Option<&KString>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance) = group_instance_id {
            match self.static_members.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(owner) if owner != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    /// Checks that a request comes from a member that knows the current generation.
    fn validate_generation(
        &self,
        member_id: &KString,
        group_instance_id: Option<&KString>,
        generation_id: i32,
    ) -> Result<(), ErrorCode> {
        self.validate_member(member_id, group_instance_id)?;
        if generation_id == self.generation_id {
            Ok(())
        } else {
            Err(ErrorCode::IllegalGeneration)
        }
    }

    /// Checks who commits offsets, and takes it as a sign of life.
    pub(crate) fn commit_offsets(
        &mut self,
        member_id: &KString,
        group_instance_id: Option<&KString>,
        generation_id: i32,
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        if generation_id < 0 && self.state == GroupState::Empty {
            // An admin tool, or a consumer that assigns partitions to itself.
            return Ok(());
        }
        if generation_id < 0 && member_id.is_empty() && group_instance_id.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.validate_generation(member_id, group_instance_id, generation_id)?;
        match self.state {
            // The member has its generation, but not yet its assignment: what it commits is stale.
            GroupState::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            _ => {
                self.refresh_session(member_id, now_ms);
                Ok(())
            }
        }
    }

    /// Checks who commits offsets in a transaction. Clients before KIP-447 do not say who they are.
    pub(crate) fn commit_offsets_in_transaction(
        &mut self,
        member_id: &KString,
        group_instance_id: Option<&KString>,
        generation_id: i32,
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        let is_anonymous = generation_id < 0 && member_id.is_empty() && group_instance_id.is_none();
        if is_anonymous || (generation_id < 0 && self.state == GroupState::Empty) {
            return Ok(());
        }
        self.validate_generation(member_id, group_instance_id, generation_id)?;
        self.refresh_session(member_id, now_ms);
        Ok(())
    }

    /// Takes a heartbeat, and tells the member to join again while the group rebalances.
    pub(crate) fn heartbeat(
        &mut self,
        member_id: &KString,
        group_instance_id: Option<&KString>,
        generation_id: i32,
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        self.validate_generation(member_id, group_instance_id, generation_id)?;
        self.refresh_session(member_id, now_ms);
        match self.state {
            GroupState::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            GroupState::Empty => Err(ErrorCode::UnknownMemberId),
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
        }
    }

    fn refresh_session(&mut self, member_id: &KString, now_ms: i64) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.refresh_session(now_ms);
        }
    }

    fn transition(&mut self, state: GroupState, now_ms: i64) {
        self.state = state;
        self.state_since_ms = Some(now_ms);
    }

    fn is_leader(&self, member_id: &KString) -> bool {
        self.leader.as_ref() == Some(member_id)
    }

    #[cfg(test)]
    pub(crate) fn assert_invariants(&self) {
        assert_eq!(
            self.leader.is_some(),
            !self.members.is_empty(),
            "one leader if there are members"
        );
        assert!(
            self.leader
                .iter()
                .all(|leader| self.members.contains_key(leader))
        );
        let with_instance = |member: &&Member| member.group_instance_id.is_some();
        assert_eq!(
            self.members.values().filter(with_instance).count(),
            self.static_members.len()
        );
        for (instance, member_id) in &self.static_members {
            let member = self
                .members
                .get(member_id)
                .expect("a static member is a member");
            assert_eq!(member.group_instance_id.as_ref(), Some(instance));
        }
        assert!(
            self.pending_joins
                .keys()
                .all(|id| !self.members.contains_key(id))
        );
        assert!(
            self.pending_syncs
                .iter()
                .all(|id| self.members.contains_key(id))
        );
        assert_eq!(
            self.join_deadline.is_some(),
            self.state == GroupState::PreparingRebalance
        );
        match self.state {
            GroupState::Empty => assert!(self.members.is_empty()),
            GroupState::PreparingRebalance => {
                assert!(self.members.values().all(|m| m.sync.is_none()))
            }
            GroupState::CompletingRebalance => {
                assert!(self.members.values().all(|m| m.join.is_none()))
            }
            GroupState::Stable => {
                assert!(
                    self.members
                        .values()
                        .all(|m| m.join.is_none() && m.sync.is_none() && !m.is_new)
                );
                assert!(!self.members.is_empty());
            }
        }
    }
}

#[cfg(test)]
mod static_tests;
#[cfg(test)]
mod tests;
