//! What happens to members of a consumer group when nothing happens.

use std::collections::BTreeMap;

use moldau_protocol::types::KString;

use super::member::{JOIN_EPOCH, MemberState};
use super::{ConsumerGroup, ConsumerGroupSettings};

/// Until when a member must do something. A member that misses one is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MemberTimers {
    /// The next heartbeat.
    pub(super) session_ms: Option<i64>,
    /// Giving up partitions in this member epoch.
    pub(super) revocation: Option<(i32, i64)>,
    /// A member of the classic protocol: joining again.
    pub(super) join_ms: Option<i64>,
    /// A member of the classic protocol: asking for its assignment.
    pub(super) sync_ms: Option<i64>,
}

impl MemberTimers {
    fn next(&self) -> Option<i64> {
        let revocation = self.revocation.map(|(_, at_ms)| at_ms);
        let all = [self.session_ms, revocation, self.join_ms, self.sync_ms];
        all.into_iter().flatten().min()
    }
}

impl ConsumerGroup {
    /// When a member may have to be removed.
    pub(crate) fn poll_timeout(&self) -> Option<i64> {
        self.timers.values().filter_map(MemberTimers::next).min()
    }

    /// The members that have missed a deadline.
    pub(crate) fn overdue(&mut self, now_ms: i64) -> Vec<KString> {
        self.forget_timers_of_missing();
        let mut overdue = Vec::new();
        for (member_id, timers) in &mut self.timers {
            let epoch = self
                .current
                .get(member_id)
                .map_or(JOIN_EPOCH, |current| current.member_epoch);
            // It has left the epoch in which it was slow.
            if timers.revocation.is_some_and(|(of, _)| of != epoch) {
                timers.revocation = None;
            }
            if timers.next().is_some_and(|at_ms| at_ms <= now_ms) {
                overdue.push(member_id.clone());
            }
        }
        overdue
    }

    /// Every member of the log gets a whole session to show that it lives.
    pub(crate) fn loaded(&mut self, settings: &ConsumerGroupSettings, now_ms: i64) {
        let member_ids: Vec<KString> = self.members.keys().cloned().collect();
        for member_id in member_ids {
            self.refresh_session(&member_id, settings, now_ms);
            self.watch_revocation(&member_id, now_ms);
        }
    }

    /// Watches members that have no session although they are there.
    pub(crate) fn watch_returned(&mut self, settings: &ConsumerGroupSettings, now_ms: i64) {
        let watched = |id: &&KString| self.timers.get(*id).is_some_and(|t| t.session_ms.is_some());
        let unwatched: Vec<KString> = self
            .members
            .keys()
            .filter(|id| !watched(id))
            .cloned()
            .collect();
        for member_id in unwatched {
            self.refresh_session(&member_id, settings, now_ms);
            self.watch_revocation(&member_id, now_ms);
        }
    }

    pub(super) fn refresh_session(
        &mut self,
        member_id: &KString,
        settings: &ConsumerGroupSettings,
        now_ms: i64,
    ) {
        let Some(member) = self.members.get(member_id) else {
            return;
        };
        let classic = member.classic.as_ref();
        let timeout_ms = classic.map_or(settings.session_timeout_ms, |classic| {
            classic.session_timeout_ms
        });
        self.timers_of(member_id).session_ms = Some(after(now_ms, timeout_ms));
    }

    /// Starts or stops the time that a member has to give partitions up. Members of the classic
    /// protocol have their joins and syncs watched instead.
    pub(super) fn watch_revocation(&mut self, member_id: &KString, now_ms: i64) {
        let Some(member) = self.members.get(member_id) else {
            return;
        };
        let timeout_ms = member.rebalance_timeout_ms;
        let classic = member.classic.is_some();
        let current = self.current.get(member_id);
        let revokes = current
            .filter(|current| current.state == MemberState::UnrevokedPartitions && !classic)
            .map(|current| current.member_epoch);
        let timers = self.timers_of(member_id);
        timers.revocation = revokes.map(|epoch| (epoch, after(now_ms, timeout_ms)));
    }

    pub(super) fn timers_of(&mut self, member_id: &KString) -> &mut MemberTimers {
        self.timers.entry(member_id.clone()).or_default()
    }

    pub(super) fn forget_timers_of_missing(&mut self) {
        let timers = std::mem::take(&mut self.timers);
        let there = |(member_id, _): &(KString, _)| self.members.contains_key(member_id);
        self.timers = timers.into_iter().filter(there).collect::<BTreeMap<_, _>>();
    }
}

pub(super) fn after(now_ms: i64, timeout_ms: i32) -> i64 {
    now_ms.saturating_add(i64::from(timeout_ms))
}
