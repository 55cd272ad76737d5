//! What a coordinator does by itself: timeouts of groups, offsets that expire or whose topic is
//! gone, and groups that nobody needs any more.

use std::collections::BTreeSet;

use moldau_protocol::types::KString;

use super::pending::Pending;
use super::records::{group_tombstone, offset_record};
use super::{Action, Coordinator, CoordinatorRecord};
use crate::group::Outbox;
use crate::offsets::{Expiry, OffsetChange};

impl Coordinator {
    /// When [`Self::handle_timeout`] has something to do, in absolute milliseconds.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<i64> {
        self.timers.next()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now_ms: i64) -> Vec<Action> {
        let mut actions = Vec::new();
        for group_id in self.timers.due(now_ms) {
            let mut out = Outbox::default();
            if let Some(group) = self.groups.get_mut(&group_id) {
                group.handle_timeout(now_ms, &mut out);
            }
            self.after_group_event(&group_id, out, None, &mut actions);
            self.remove_overdue(&group_id, now_ms, &mut actions);
            self.retry_clean_up(&group_id, now_ms, &mut actions);
            self.set_timer(&group_id);
        }
        if self
            .timers
            .next_maintenance_ms
            .is_some_and(|at_ms| at_ms <= now_ms)
        {
            let interval_ms = self.settings.offsets_retention_check_interval_ms.max(1);
            self.timers.next_maintenance_ms = Some(now_ms.saturating_add(interval_ms));
            self.expire_offsets(now_ms, &mut actions);
        }
        actions
    }

    /// Forgets the offsets of topics that were deleted.
    pub fn topics_deleted(&mut self, names: &[KString]) -> Vec<Action> {
        let mut removal = Removal::default();
        let changes = self.pending.values().flat_map(|pending| &pending.changes);
        let on_their_way = changes.map(|change| &change.group_id);
        let group_ids: BTreeSet<KString> = self
            .groups
            .keys()
            .chain(self.consumer_groups.keys())
            .chain(on_their_way)
            .cloned()
            .collect();
        for group_id in &group_ids {
            for at in self.known_partitions(group_id) {
                if names.contains(&at.topic) {
                    removal.forget(OffsetChange {
                        group_id: group_id.clone(),
                        topic_partition: at,
                        committed: None,
                    });
                }
            }
        }
        let mut actions = Vec::new();
        self.append_removal(removal, &mut actions);
        actions
    }

    fn expire_offsets(&mut self, now_ms: i64, actions: &mut Vec<Action>) {
        let busy = |group_id: &KString| {
            let changes = self.pending.values().flat_map(|pending| &pending.changes);
            changes
                .into_iter()
                .any(|change| change.group_id == *group_id)
                || self.has_pending_transactions(group_id)
        };
        let mut removal = Removal::default();
        let mut unused = Vec::new();
        let classic = self.groups.iter();
        let classic = classic.map(|(id, group)| (id, Expiry::of(group), group.is_vacant()));
        let consumer = self.consumer_groups.iter();
        let consumer =
            consumer.map(|(id, group)| (id, Expiry::of_consumers(group), group.is_empty()));
        for (group_id, expiry, vacant) in classic.chain(consumer) {
            // A commit on its way must not be overtaken by the tombstone of what it replaces.
            if busy(group_id) {
                continue;
            }
            let offsets = self.offsets.group(group_id);
            let mut kept = 0;
            for (at, committed) in offsets.into_iter().flatten() {
                if expiry.has_expired(at, committed, self.settings.offsets_retention_ms, now_ms) {
                    let topic_partition = at.clone();
                    removal.forget(OffsetChange {
                        group_id: group_id.clone(),
                        topic_partition,
                        committed: None,
                    });
                } else {
                    kept += 1;
                }
            }
            if kept == 0 && vacant {
                unused.push(group_id.clone());
            }
        }
        for group_id in unused {
            self.timers.set(&group_id, None);
            if let Some(group) = self.groups.remove(&group_id) {
                removal.records.extend(group_tombstone(&group_id));
                removal.pending.removed.push(group);
            } else {
                self.delete_consumer_group(&group_id, None, actions);
            }
        }
        self.append_removal(removal, actions);
    }

    fn append_removal(&mut self, removal: Removal, actions: &mut Vec<Action>) {
        self.append(removal.records, removal.pending, actions);
    }
}

/// Tombstones, and what they take away.
#[derive(Default)]
struct Removal {
    records: Vec<CoordinatorRecord>,
    pending: Pending,
}

impl Removal {
    fn forget(&mut self, change: OffsetChange) {
        self.records.extend(offset_record(&change));
        self.pending.changes.push(change);
    }
}
