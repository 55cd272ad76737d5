//! The target assignment: who is to read what once everyone has followed.

use std::collections::{BTreeMap, BTreeSet};

use moldau_protocol::types::{KString, Uuid};

use super::assignor::{Assignor, Input, Subscriber};
use super::partitions::Partitions;
use super::record::{GroupRecord, TargetEpoch};
use super::{Changes, ConsumerGroup, Context};

impl ConsumerGroup {
    /// Computes a new target if the group has changed since the last, and that is long enough ago.
    pub(super) fn refresh_target(&mut self, context: &Context<'_>, changes: &mut Changes) {
        let interval_ms = i64::from(context.settings.assignment_interval_ms);
        let computed_ms = self.target_epoch.timestamp_ms;
        let too_soon = computed_ms != 0 && context.now_ms < computed_ms.saturating_add(interval_ms);
        if self.epoch.epoch <= self.target_epoch.epoch || too_soon {
            return;
        }
        let targets = self.assign(context);
        for (member_id, target) in targets {
            if self.targets.get(&member_id) != Some(&target) {
                self.write(GroupRecord::Target(member_id, Some(target)), changes);
            }
        }
        let epoch = TargetEpoch {
            epoch: self.epoch.epoch,
            timestamp_ms: context.now_ms,
        };
        self.write(GroupRecord::TargetEpoch(Some(epoch)), changes);
    }

    /// Whether the target of this epoch leaves a partition of these topics out, or gives it to two members, or is not
    /// what a member has that is said to have followed it.
    ///
    /// It may when an append failed and a later one did not: a target is written down as what changes of the one
    /// before, which then is not there; or the epoch that it is of is not.
    pub(super) fn has_broken_target(
        &self,
        names: &BTreeSet<KString>,
        context: &Context<'_>,
    ) -> bool {
        if self.epoch.epoch != self.target_epoch.epoch {
            return self.epoch.epoch < self.target_epoch.epoch;
        }
        let topics = names.iter().filter_map(|name| context.image.topic(name));
        let mut left: BTreeSet<(Uuid, i32)> = topics
            .flat_map(|topic| {
                (0..topic.partitions.len())
                    .filter_map(|index| Some((topic.id, i32::try_from(index).ok()?)))
            })
            .collect();
        let targets = self
            .members
            .keys()
            .filter_map(|member_id| self.targets.get(member_id));
        let given_once = targets
            .flat_map(Partitions::iter)
            .all(|partition| left.remove(&partition));
        let followed = self.members.keys().all(|member_id| {
            let current = self.current(member_id);
            let target = self.targets.get(member_id).cloned().unwrap_or_default();
            !current.is_reconciled_to(self.target_epoch.epoch)
                || current.assigned.partitions() == target
        });
        !given_once || !left.is_empty() || !followed
    }

    fn assign(&self, context: &Context<'_>) -> Vec<(KString, Partitions)> {
        let names: Vec<BTreeSet<KString>> = self
            .members
            .values()
            .map(|member| self.subscribed_names(member))
            .collect();
        let homogeneous = names.windows(2).all(|pair| pair.first() == pair.last());
        let mut partition_counts = BTreeMap::new();
        let mut members = Vec::with_capacity(self.members.len());
        for ((member_id, member), names) in self.members.iter().zip(&names) {
            let topics = names.iter().filter_map(|name| context.image.topic(name));
            let topics: BTreeSet<Uuid> = topics
                .map(|topic| {
                    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                    partition_counts.insert(topic.id, count);
                    topic.id
                })
                .collect();
            members.push(Subscriber {
                member_id,
                instance_id: member.instance_id.as_ref(),
                topics,
                target: self.targets.get(member_id),
            });
        }
        let input = Input {
            members,
            partition_counts,
            homogeneous,
        };
        let targets = self.preferred_assignor(context).assign(&input);
        self.members.keys().cloned().zip(targets).collect()
    }

    /// The assignor that most members name; on a tie the one that the broker prefers.
    pub(super) fn preferred_assignor(&self, context: &Context<'_>) -> Assignor {
        let named = self.members.values().filter_map(|member| {
            let name = member.server_assignor.as_ref()?;
            Assignor::from_name(name)
        });
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        for assignor in named {
            *votes.entry(assignor).or_default() += 1;
        }
        let offered = context.settings.assignors.iter().rev();
        let most = offered.max_by_key(|assignor| votes.get(assignor).copied().unwrap_or_default());
        match most {
            Some(assignor) if !votes.is_empty() => *assignor,
            _ => context.settings.default_assignor(),
        }
    }
}
