//! What happens to a group when nothing happens.

use moldau_protocol::types::KString;

use super::outbox::Outbox;
use super::{Group, GroupState};

impl Group {
    /// When [`Self::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<i64> {
        let sessions = self
            .members
            .values()
            .filter_map(|member| member.expiry_ms());
        let pending = self.pending_joins.values().copied();
        let join = self.join_deadline.map(|deadline| deadline.at_ms);
        sessions
            .chain(pending)
            .chain(join)
            .chain(self.sync_deadline_ms)
            .min()
    }

    /// Removes who has been silent for too long, and ends phases whose time is up.
    pub(crate) fn handle_timeout(&mut self, now_ms: i64, out: &mut Outbox) {
        self.expire_pending_joins(now_ms, out);
        self.expire_sessions(now_ms, out);
        if self
            .join_deadline
            .is_some_and(|deadline| deadline.at_ms <= now_ms)
        {
            self.join_phase_over(now_ms, out);
        }
        if self
            .sync_deadline_ms
            .is_some_and(|deadline| deadline <= now_ms)
        {
            self.expire_pending_syncs(now_ms, out);
        }
    }

    fn expire_pending_joins(&mut self, now_ms: i64, out: &mut Outbox) {
        let before = self.pending_joins.len();
        self.pending_joins.retain(|_, deadline| *deadline > now_ms);
        if self.pending_joins.len() < before && self.state == GroupState::PreparingRebalance {
            self.complete_if_all_joined(now_ms, out);
        }
    }

    fn expire_sessions(&mut self, now_ms: i64, out: &mut Outbox) {
        let expired = |expiry: i64| expiry <= now_ms;
        let silent = self
            .members
            .values()
            .filter(|member| member.expiry_ms().is_some_and(expired));
        let silent: Vec<KString> = silent.map(|member| member.member_id.clone()).collect();
        for member_id in &silent {
            self.remove_member(member_id, out);
        }
        if !silent.is_empty() {
            self.members_left(now_ms, out);
        }
    }

    fn expire_pending_syncs(&mut self, now_ms: i64, out: &mut Outbox) {
        self.sync_deadline_ms = None;
        for member_id in std::mem::take(&mut self.pending_syncs) {
            self.remove_member(&member_id, out);
        }
        self.members_left(now_ms, out);
    }
}
