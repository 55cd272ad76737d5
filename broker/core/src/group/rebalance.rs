//! The rebalance: members join, one protocol and one leader are chosen, a generation begins.

use std::collections::BTreeMap;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::types::KString;

use super::join::join_error;
use super::outbox::Outbox;
use super::persist::{Persist, Then};
use super::sync::sync_error;
use super::{Group, GroupState};

/// When a rebalance goes on with those members that have joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JoinDeadline {
    pub(super) at_ms: i64,
    /// Set in the first rebalance of an empty group, which waits for company.
    initial: Option<InitialDelay>,
}

/// The first rebalance ends when nobody new has come for one delay, or its time is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InitialDelay {
    member_joined: bool,
    /// The delay that is running.
    delay_ms: i64,
    /// How much longer it may all take after that.
    remaining_ms: i64,
}

impl JoinDeadline {
    /// A member has joined while the deadline was running.
    pub(super) const fn member_joined(&mut self) {
        if let Some(initial) = &mut self.initial {
            initial.member_joined = true;
        }
    }
}

impl Group {
    /// Starts a rebalance, or ends the joining phase of the one that runs if all have joined.
    pub(super) fn rebalance_or_complete(&mut self, now_ms: i64, out: &mut Outbox) {
        if self.state == GroupState::PreparingRebalance {
            self.complete_if_all_joined(now_ms, out);
        } else {
            self.prepare_rebalance(now_ms, out);
        }
    }

    fn prepare_rebalance(&mut self, now_ms: i64, out: &mut Outbox) {
        // Whoever waits for an assignment must join again.
        self.fail_syncs(ErrorCode::RebalanceInProgress, now_ms, out);
        self.pending_syncs.clear();
        self.sync_deadline_ms = None;
        self.assignment_in_flight = false;
        let from_empty = self.state == GroupState::Empty;
        self.transition(GroupState::PreparingRebalance, now_ms);
        if from_empty {
            let delay_ms = i64::from(self.settings.initial_rebalance_delay_ms);
            let remaining_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
            let initial = Some(InitialDelay {
                member_joined: false,
                delay_ms,
                remaining_ms,
            });
            self.join_deadline = Some(JoinDeadline {
                at_ms: now_ms.saturating_add(delay_ms),
                initial,
            });
            if delay_ms <= 0 {
                self.join_phase_over(now_ms, out);
            }
            return;
        }
        self.wait_for_joins(now_ms);
        self.complete_if_all_joined(now_ms, out);
    }

    /// The joining phase has lasted as long as it may.
    pub(super) fn join_phase_over(&mut self, now_ms: i64, out: &mut Outbox) {
        let initial = self.join_deadline.and_then(|deadline| deadline.initial);
        match initial {
            Some(initial) if initial.member_joined && initial.remaining_ms > 0 => {
                let delay_ms =
                    i64::from(self.settings.initial_rebalance_delay_ms).min(initial.remaining_ms);
                let remaining_ms = (initial.remaining_ms - initial.delay_ms).max(0);
                let initial = Some(InitialDelay {
                    member_joined: false,
                    delay_ms,
                    remaining_ms,
                });
                self.join_deadline = Some(JoinDeadline {
                    at_ms: now_ms.saturating_add(delay_ms),
                    initial,
                });
            }
            _ => self.complete_join(now_ms, out),
        }
    }

    pub(super) fn complete_if_all_joined(&mut self, now_ms: i64, out: &mut Outbox) {
        let initial = self
            .join_deadline
            .is_some_and(|deadline| deadline.initial.is_some());
        let all_joined = self.pending_joins.is_empty()
            && self.members.values().all(|member| member.join.is_some());
        // The first rebalance waits for its delay, unless everyone has left it.
        if self.state == GroupState::PreparingRebalance
            && all_joined
            && (!initial || self.members.is_empty())
        {
            self.complete_join(now_ms, out);
        }
    }

    fn wait_for_joins(&mut self, now_ms: i64) {
        let at_ms = now_ms.saturating_add(self.rebalance_timeout_ms().max(MIN_JOIN_PHASE_MS));
        self.join_deadline = Some(JoinDeadline {
            at_ms,
            initial: None,
        });
    }

    /// Begins the next generation with the members that have joined.
    fn complete_join(&mut self, now_ms: i64, out: &mut Outbox) {
        self.leave_behind_dynamic_members(out);
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members are left and none of them has joined; until one does, or their
            // sessions end, there is nobody to answer.
            self.wait_for_joins(now_ms);
            return;
        }
        self.join_deadline = None;
        self.generation_id = self.generation_id.wrapping_add(1).max(0);
        self.pending_syncs.clear();
        if self.members.is_empty() {
            self.protocol_name = None;
            self.transition(GroupState::Empty, now_ms);
            out.persists.push(Persist {
                value: self.metadata_value(None),
                then: Then::Nothing,
            });
            return;
        }
        self.protocol_name = self.select_protocol();
        self.transition(GroupState::CompletingRebalance, now_ms);
        self.answer_joins(now_ms, out);
        self.sync_deadline_ms = Some(now_ms.saturating_add(self.rebalance_timeout_ms()));
    }

    fn leave_behind_dynamic_members(&mut self, out: &mut Outbox) {
        let late = self
            .members
            .values()
            .filter(|m| m.join.is_none() && m.group_instance_id.is_none());
        let late: Vec<KString> = late.map(|member| member.member_id.clone()).collect();
        for member_id in late {
            self.remove_member(&member_id, out);
        }
    }

    fn answer_joins(&mut self, now_ms: i64, out: &mut Outbox) {
        let member_ids: Vec<KString> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            let response = self.join_response(&member_id);
            if let Some(member) = self.members.get_mut(&member_id) {
                if let Some(token) = member.join.take() {
                    out.respond(token, response);
                    member.refresh_session(now_ms);
                }
                member.is_new = false;
                self.pending_syncs.insert(member_id);
            }
        }
    }

    /// Keeps the leader if it has joined, or else chooses one that has.
    fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |member_id: &KString| {
            self.members
                .get(member_id)
                .is_some_and(|m| m.join.is_some())
        };
        if self.leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        let joined = self.members.values().find(|member| member.join.is_some());
        let Some(leader) = joined.map(|member| member.member_id.clone()) else {
            return false;
        };
        self.leader = Some(leader);
        true
    }

    /// The protocol with the most votes; each member votes for the first it lists of those that
    /// all members speak. A tie goes to the one the leader likes better.
    pub(super) fn select_protocol(&self) -> Option<KString> {
        let by_all = |name: &KString| self.members.values().all(|member| member.supports(name));
        let mut votes: BTreeMap<&KString, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(choice) = member
                .protocols
                .iter()
                .map(|protocol| &protocol.name)
                .find(|name| by_all(name))
            {
                *votes.entry(choice).or_default() += 1;
            }
        }
        let leader = self
            .leader
            .as_ref()
            .and_then(|leader| self.members.get(leader));
        let rank = |name: &KString| {
            let liked =
                leader.and_then(|leader| leader.protocols.iter().position(|own| own.name == *name));
            std::cmp::Reverse(liked.unwrap_or(usize::MAX))
        };
        votes
            .into_iter()
            .max_by_key(|(name, votes)| (*votes, rank(name)))
            .map(|(name, _)| name.clone())
    }

    /// The longest time any member may take to join again.
    fn rebalance_timeout_ms(&self) -> i64 {
        self.members
            .values()
            .map(|member| i64::from(member.rebalance_timeout_ms))
            .max()
            .unwrap_or_default()
    }

    /// Takes a member out and answers what it waits for. The group's state stays as it is.
    pub(super) fn remove_member(&mut self, member_id: &KString, out: &mut Outbox) {
        let Some(member) = self.members.remove(member_id) else {
            return;
        };
        if let Some(token) = member.join {
            out.respond(
                token,
                join_error(&KString::EMPTY, ErrorCode::UnknownMemberId),
            );
        }
        if let Some(token) = member.sync {
            out.respond(token, sync_error(ErrorCode::UnknownMemberId));
        }
        if let Some(instance) = &member.group_instance_id {
            self.static_members.remove(instance);
        }
        self.pending_syncs.remove(member_id);
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Goes on after members were taken out.
    pub(super) fn members_left(&mut self, now_ms: i64, out: &mut Outbox) {
        match self.state {
            GroupState::Empty => {}
            GroupState::PreparingRebalance => self.complete_if_all_joined(now_ms, out),
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.prepare_rebalance(now_ms, out)
            }
        }
    }
}

/// Even with a rebalance timeout of zero, a group that waits for its static members does not spin.
const MIN_JOIN_PHASE_MS: i64 = 100;
