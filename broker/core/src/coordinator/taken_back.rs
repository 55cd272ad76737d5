//! Consumer groups: changes that cannot be made durable are taken back.
//!
//! A change may fail while later ones are on their way, which then stand on what was before it, as a
//! replay of the log would have it. One of them may remove the group, and others begin the next one
//! of its name: what failed is then taken back from what the removal keeps, not from that next one.
//! What stands on a removal or a change of protocol that failed is refused, and removed from the log.

use std::collections::BTreeMap;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::types::KString;

use super::consumer_groups::{ConsumerGroupChange, Prior, respond};
use super::pending::{Pending, respond_with_error};
use super::{Action, Coordinator};
use crate::consumer_group::{Changes, ConsumerGroup};
use crate::group::Outbox;
use crate::ids::AppendId;

/// What is on its way after a change that failed.
struct Later<'a> {
    /// Changes of the same group.
    changes: Vec<&'a mut Changes>,
    /// What the change after them removes or replaces, if there is one that does.
    prior: Option<&'a mut Prior>,
}

impl Coordinator {
    /// Undoes a change that did not become durable. Later changes of the group are made again on top
    /// of what was before, as a replay of the log would.
    pub(super) fn take_back(
        &mut self,
        id: AppendId,
        change: ConsumerGroupChange,
        error: ErrorCode,
        actions: &mut Vec<Action>,
    ) {
        let group_id = change.group_id;
        match change.prior {
            Some(prior) => self.bring_back(id, &group_id, prior, error, actions),
            None => self.take_back_from_group(id, &group_id, &change.changes),
        }
        if let Some(group) = self.consumer_groups.get(&group_id)
            && group.is_gone()
        {
            self.consumer_groups.remove(&group_id);
            if self.offsets.group(&group_id).is_some() {
                // They were committed while the group was not yet known to fail.
                self.keep_group(&group_id);
            }
        }
        self.set_timer(&group_id);
    }

    fn take_back_from_group(&mut self, id: AppendId, group_id: &KString, changes: &Changes) {
        let later = later(&mut self.pending, id, group_id);
        let group = match later.prior {
            None => self.consumer_groups.get_mut(group_id),
            Some(Prior::Consumer(group)) => Some(&mut **group),
            Some(Prior::Classic(_)) => None,
        };
        let Some(group) = group else {
            return;
        };
        for later in later.changes.iter().rev() {
            group.take_back(later);
        }
        group.take_back(changes);
        make_again(group, later.changes);
    }

    /// A group is not removed, or not replaced by one of the other kind.
    fn bring_back(
        &mut self,
        id: AppendId,
        group_id: &KString,
        prior: Prior,
        error: ErrorCode,
        actions: &mut Vec<Action>,
    ) {
        let later = later(&mut self.pending, id, group_id);
        if later.prior.is_none() && later.changes.is_empty() {
            return self.restore(group_id, prior, error, actions);
        }
        self.bring_back_alone(id, group_id, prior, error, actions);
    }

    /// A group does not change its protocol or stays after all, while changes are on their way that
    /// stand on the other or the next group. Alone they would make half a group, and in this one
    /// they would give partitions away that others have: whoever waits for them is refused, and
    /// what of them gets into the log is removed there.
    fn bring_back_alone(
        &mut self,
        id: AppendId,
        group_id: &KString,
        prior: Prior,
        error: ErrorCode,
        actions: &mut Vec<Action>,
    ) {
        let mut touched = Vec::new();
        let mut out = Outbox::default();
        for (_, later) in self.pending.range_mut(id..) {
            if !later.is_about(group_id) {
                continue;
            }
            let change = later.consumer_group.take();
            touched.extend(change.into_iter().flat_map(|change| change.changes.records));
            if let Some((_, then)) = later.group.take() {
                then.fail(error, &mut out);
            }
            later.removed.retain(|group| group.group_id() != group_id);
            let waiting = std::mem::take(&mut later.later_responses);
            respond_with_error(later.response.take(), waiting, error, actions);
        }
        respond(out, actions);
        self.restore(group_id, prior, error, actions);
        self.clean_up(group_id, touched, actions);
    }

    fn restore(
        &mut self,
        group_id: &KString,
        prior: Prior,
        error: ErrorCode,
        actions: &mut Vec<Action>,
    ) {
        self.consumer_groups.remove(group_id);
        if let Some(mut successor) = self.groups.remove(group_id) {
            let mut out = Outbox::default();
            successor.fail_waiting(error, &mut out);
            respond(out, actions);
        }
        match prior {
            Prior::Classic(group) => drop(self.groups.insert(group_id.clone(), *group)),
            Prior::Consumer(group) => drop(self.consumer_groups.insert(group_id.clone(), *group)),
        }
    }
}

fn later<'a>(
    pending: &'a mut BTreeMap<AppendId, Pending>,
    id: AppendId,
    group_id: &KString,
) -> Later<'a> {
    let mut changes = Vec::new();
    for (_, pending) in pending.range_mut(id..) {
        let Some(later) = &mut pending.consumer_group else {
            continue;
        };
        if later.group_id != *group_id {
            continue;
        }
        if let Some(prior) = &mut later.prior {
            return Later {
                changes,
                prior: Some(prior),
            };
        }
        changes.push(&mut later.changes);
    }
    Later {
        changes,
        prior: None,
    }
}

fn make_again(group: &mut ConsumerGroup, changes: Vec<&mut Changes>) {
    for changes in changes {
        group.make_again(changes);
    }
}
