//! The next step of one member on its way from what it holds to its target.
//!
//! ```text
//!             must give some up                     gave them up
//!   Stable ──────────────────▶ UnrevokedPartitions ──────────────▶ next epoch
//!      ▲  └──────────────────▶ UnreleasedPartitions ─┐
//!      │   others still hold                         │ as they become free
//!      └─────────────────────────────────────────────┘
//! ```
//!
//! A partition is given to a member only once nobody else holds it, so no two members ever hold it
//! at the same time.

use std::collections::BTreeSet;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::types::Uuid;

use super::member::{CurrentAssignment, MemberState};
use super::partitions::{HeldPartitions, Partitions};
use crate::rejection::Rejection;

/// What decides on a member's next step.
pub(super) struct Reconciliation<'a> {
    pub(super) current: &'a CurrentAssignment,
    pub(super) target_epoch: i32,
    pub(super) target: &'a Partitions,
    /// Topics that the member subscribes to, and that exist.
    pub(super) subscribed: &'a BTreeSet<Uuid>,
    /// Whether partitions of other topics are taken away even if the epoch is the same.
    pub(super) subscription_changed: bool,
    /// What the member says it holds; `None` if it does not say.
    pub(super) owned: Option<&'a Partitions>,
    /// Whether another member holds a partition.
    pub(super) held_by_other: &'a dyn Fn(Uuid, i32) -> bool,
}

impl Reconciliation<'_> {
    /// The member's next state, which may be the one it has.
    ///
    /// # Errors
    /// FENCED_MEMBER_EPOCH: its state was written by a newer version; it must begin anew.
    pub(super) fn next(&self) -> Result<CurrentAssignment, Rejection> {
        let current = self.current;
        match current.state {
            MemberState::Stable if current.member_epoch != self.target_epoch => {
                Ok(self.toward_target(current.member_epoch))
            }
            MemberState::Stable => Ok(self.without_unsubscribed()),
            MemberState::UnrevokedPartitions if self.owns_any(&current.pending_revocation) => {
                Ok(self.without_unsubscribed())
            }
            MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => {
                Ok(self.toward_target(current.member_epoch))
            }
            MemberState::Unknown
                if self
                    .owned
                    .is_some_and(|owned| owned.iter().next().is_none()) =>
            {
                Ok(self.toward_target(self.target_epoch))
            }
            MemberState::Unknown => Err(Rejection::new(
                ErrorCode::FencedMemberEpoch,
                "the member's state is of a newer version; it must give up all partitions and join again",
            )),
        }
    }

    /// Whether the member still holds one of these. If it does not say, it may.
    fn owns_any(&self, partitions: &HeldPartitions) -> bool {
        self.owned.is_none_or(|owned| {
            partitions
                .iter()
                .any(|(topic_id, partition, _)| owned.contains(topic_id, partition))
        })
    }

    fn toward_target(&self, member_epoch: i32) -> CurrentAssignment {
        let current = self.current;
        let wanted = |topic_id: Uuid, partition: i32| {
            self.subscribed.contains(&topic_id) && self.target.contains(topic_id, partition)
        };
        let mut kept = HeldPartitions::default();
        let mut revoked = HeldPartitions::default();
        for (topic_id, partition, since) in current.assigned.iter() {
            let part = match wanted(topic_id, partition) {
                true => &mut kept,
                false => &mut revoked,
            };
            part.insert(topic_id, partition, since);
        }
        if !revoked.is_empty() && self.owns_any(&revoked) {
            return CurrentAssignment {
                member_epoch,
                previous_member_epoch: current.member_epoch,
                state: MemberState::UnrevokedPartitions,
                assigned: kept,
                pending_revocation: revoked,
            };
        }
        let mut state = MemberState::Stable;
        for (topic_id, partition) in self.target.iter() {
            if !self.subscribed.contains(&topic_id) || kept.contains(topic_id, partition) {
                continue;
            }
            if (self.held_by_other)(topic_id, partition) {
                state = MemberState::UnreleasedPartitions;
            } else {
                kept.insert(topic_id, partition, self.target_epoch);
            }
        }
        CurrentAssignment {
            member_epoch: self.target_epoch,
            previous_member_epoch: current.member_epoch,
            state,
            assigned: kept,
            pending_revocation: HeldPartitions::default(),
        }
    }

    /// Takes away what the member no longer subscribes to, without waiting for the next target.
    fn without_unsubscribed(&self) -> CurrentAssignment {
        let current = self.current;
        let subscribed = |topic_id: &Uuid| self.subscribed.contains(topic_id);
        if !self.subscription_changed || current.assigned.topics().all(|(id, _)| subscribed(&id)) {
            return current.clone();
        }
        let mut kept = HeldPartitions::default();
        let mut revoked = current.pending_revocation.clone();
        for (topic_id, partition, since) in current.assigned.iter() {
            let part = if subscribed(&topic_id) {
                &mut kept
            } else {
                &mut revoked
            };
            part.insert(topic_id, partition, since);
        }
        if self.owns_any(&revoked) {
            return CurrentAssignment {
                previous_member_epoch: current.member_epoch,
                state: MemberState::UnrevokedPartitions,
                assigned: kept,
                pending_revocation: revoked,
                ..current.clone()
            };
        }
        CurrentAssignment {
            previous_member_epoch: current.member_epoch,
            assigned: kept,
            ..current.clone()
        }
    }
}
