//! Which group has something to do next.

use std::collections::{BTreeMap, BTreeSet};

use moldau_protocol::types::KString;

/// The deadlines of all groups.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// Invariant: the same pairs as in `by_group`.
    by_time: BTreeSet<(i64, KString)>,
    by_group: BTreeMap<KString, i64>,
    /// When expired offsets are looked for.
    pub(super) next_maintenance_ms: Option<i64>,
}

impl Timers {
    pub(super) fn set(&mut self, group_id: &KString, deadline_ms: Option<i64>) {
        if self.by_group.get(group_id).copied() == deadline_ms {
            return;
        }
        if let Some(before) = self.by_group.remove(group_id) {
            self.by_time.remove(&(before, group_id.clone()));
        }
        if let Some(deadline_ms) = deadline_ms {
            self.by_group.insert(group_id.clone(), deadline_ms);
            self.by_time.insert((deadline_ms, group_id.clone()));
        }
    }

    /// Makes sure that a group is looked at by then; it may be earlier.
    pub(super) fn not_later(&mut self, group_id: &KString, deadline_ms: i64) {
        if self
            .by_group
            .get(group_id)
            .is_none_or(|at_ms| *at_ms > deadline_ms)
        {
            self.set(group_id, Some(deadline_ms));
        }
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<i64> {
        let group = self.by_time.first().map(|(deadline_ms, _)| *deadline_ms);
        group.into_iter().chain(self.next_maintenance_ms).min()
    }

    /// The groups whose deadlines have come, which are thereby taken out.
    pub(super) fn due(&mut self, now_ms: i64) -> Vec<KString> {
        let mut due = Vec::new();
        while let Some((deadline_ms, _)) = self.by_time.first() {
            if *deadline_ms > now_ms {
                break;
            }
            if let Some((_, group_id)) = self.by_time.pop_first() {
                self.by_group.remove(&group_id);
                due.push(group_id);
            }
        }
        due
    }
}
