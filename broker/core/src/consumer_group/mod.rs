//! A consumer group of the new protocol (KIP-848) as a state machine.
//!
//! ```text
//!  heartbeat ─▶ description of the member ─▶ epoch of the group   grows when subscriptions or topics change
//!                                               │
//!                                               ▼ assignor
//!                                            target assignment    of that epoch, for all members
//!                                               │
//!                                               ▼ one member at a time, at its own pace
//!                                            what a member holds  see `reconcile`
//! ```
//!
//! Everything that must survive a restart changes only by a `GroupRecord`, through
//! `ConsumerGroup::apply`; a replay applies the same records and so builds the same group. A change
//! that cannot be made durable is taken back by the inverse records. Timers are not kept: after a
//! restart every member gets a whole session to show that it lives.
//!
//! Members of the classic protocol may belong to such a group while it is being migrated: `classic`.

pub(crate) mod assignor;
mod classic;
mod describe;
mod heartbeat;
mod leave;
mod member;
mod metadata_hash;
mod migrate;
mod owners;
mod partitions;
mod reconcile;
mod record;
mod record_values;
mod regex;
mod request;
pub(crate) mod settings;
mod subscription;
mod target;
mod timers;

use std::collections::BTreeMap;

use moldau_protocol::types::{KString, Uuid};

pub use self::assignor::Assignor;
pub(crate) use self::classic::ClassicJoin;
pub(crate) use self::describe::{
    Committer, describe_missing, describe_other_kind, not_a_consumer_group,
};
pub(crate) use self::heartbeat::Beat;
use self::member::{CurrentAssignment, Member};
use self::owners::Owners;
use self::partitions::Partitions;
pub(crate) use self::record::GroupRecord;
use self::record::{GroupEpoch, TargetEpoch};
use self::regex::ResolvedRegex;
pub use self::settings::{ConsumerGroupSettings, MigrationPolicy};
use self::timers::MemberTimers;
use crate::metadata::MetadataImage;

/// A consumer group and its members.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerGroup {
    group_id: KString,
    epoch: GroupEpoch,
    target_epoch: TargetEpoch,
    members: BTreeMap<KString, Member>,
    /// What members hold. A member without an entry has only just joined.
    current: BTreeMap<KString, CurrentAssignment>,
    targets: BTreeMap<KString, Partitions>,
    /// What the regular expressions that members subscribe to mean.
    regexes: BTreeMap<KString, ResolvedRegex>,
    /// Whether the log has a record that Kafka wrote before 4.1 and that is no longer kept up.
    legacy_partitions: bool,
    /// Member ids by group.instance.id. Invariant: these are exactly the static members.
    static_members: BTreeMap<KString, KString>,
    /// Who holds which partition, including those to be given up. Invariant: agrees with `current`.
    owners: Owners,
    timers: BTreeMap<KString, MemberTimers>,
    /// The version of the topics that epoch and expressions are up to date with.
    topics_version: Option<u64>,
}

/// What a group is told with each event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) image: &'a MetadataImage,
    /// Grows whenever the image's topics change.
    pub(crate) topics_version: u64,
    /// The settings of this group.
    pub(crate) settings: &'a ConsumerGroupSettings,
    pub(crate) now_ms: i64,
}

/// Changes of a group that are made, and how to take them back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    pub(crate) records: Vec<GroupRecord>,
    /// The inverse of each record. Invariant: as many as `records`.
    undo: Vec<GroupRecord>,
}

impl ConsumerGroup {
    /// A group without members.
    pub(crate) const fn new(group_id: KString) -> Self {
        Self {
            group_id,
            epoch: GroupEpoch {
                epoch: 0,
                metadata_hash: 0,
            },
            target_epoch: TargetEpoch {
                epoch: 0,
                timestamp_ms: 0,
            },
            members: BTreeMap::new(),
            current: BTreeMap::new(),
            targets: BTreeMap::new(),
            regexes: BTreeMap::new(),
            legacy_partitions: false,
            static_members: BTreeMap::new(),
            owners: Owners::new(),
            timers: BTreeMap::new(),
            topics_version: None,
        }
    }

    pub(crate) const fn group_id(&self) -> &KString {
        &self.group_id
    }

    pub(crate) fn member_count(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The epoch of the group.
    pub(crate) const fn epoch(&self) -> i32 {
        self.epoch.epoch
    }

    /// Whether no record of the group is left, so that the group is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.epoch.epoch == 0
            && self.members.is_empty()
            && self.current.is_empty()
            && self.targets.is_empty()
            && self.target_epoch.epoch == 0
    }

    /// Kafka's name of where the group stands.
    pub(crate) fn state(&self) -> &'static str {
        let target_epoch = self.target_epoch.epoch;
        let reconciled = |member_id: &KString| {
            self.current
                .get(member_id)
                .is_some_and(|current| current.is_reconciled_to(target_epoch))
        };
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch.epoch > target_epoch {
            "Assigning"
        } else if self.members.keys().all(reconciled) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// Applies a change to the group and keeps it to be written, unless it changes nothing.
    fn write(&mut self, record: GroupRecord, changes: &mut Changes) {
        let inverse = self.apply(record.clone());
        if inverse != record {
            changes.records.push(record);
            changes.undo.push(inverse);
        }
    }

    /// Takes back what could not be made durable.
    pub(crate) fn take_back(&mut self, changes: &Changes) {
        for inverse in changes.undo.iter().rev() {
            self.apply(inverse.clone());
        }
        // What the epoch was up to date with may have been taken back as well.
        self.topics_version = None;
    }

    /// Makes changes again that were taken back because an earlier one had to be.
    pub(crate) fn make_again(&mut self, changes: &mut Changes) {
        changes.undo.clear();
        for record in &changes.records {
            changes.undo.push(self.apply(record.clone()));
        }
    }

    /// Takes over what a record says; gives the record that says the opposite.
    pub(crate) fn apply(&mut self, record: GroupRecord) -> GroupRecord {
        match record {
            GroupRecord::Epoch(epoch) => {
                let before = std::mem::replace(&mut self.epoch, epoch.unwrap_or_default());
                GroupRecord::Epoch((before != GroupEpoch::default()).then_some(before))
            }
            GroupRecord::LegacyPartitions(there) => {
                GroupRecord::LegacyPartitions(std::mem::replace(&mut self.legacy_partitions, there))
            }
            GroupRecord::TargetEpoch(epoch) => {
                let before = std::mem::replace(&mut self.target_epoch, epoch.unwrap_or_default());
                GroupRecord::TargetEpoch((before != TargetEpoch::default()).then_some(before))
            }
            GroupRecord::Member(member_id, member) => {
                let before = self.put_member(&member_id, member.map(|member| *member));
                GroupRecord::Member(member_id, before.map(Box::new))
            }
            GroupRecord::Target(member_id, target) => {
                let before = put(&mut self.targets, &member_id, target);
                GroupRecord::Target(member_id, before)
            }
            GroupRecord::Current(member_id, current) => {
                let before = self.put_current(&member_id, current);
                GroupRecord::Current(member_id, before)
            }
            GroupRecord::Regex(regex, resolved) => {
                let before = put(&mut self.regexes, &regex, resolved);
                GroupRecord::Regex(regex, before)
            }
        }
    }

    fn put_member(&mut self, member_id: &KString, member: Option<Member>) -> Option<Member> {
        let instance = member
            .as_ref()
            .and_then(|member| member.instance_id.clone());
        let before = put(&mut self.members, member_id, member);
        if let Some(instance) = before
            .as_ref()
            .and_then(|before| before.instance_id.as_ref())
            && self.static_members.get(instance) == Some(member_id)
        {
            self.static_members.remove(instance);
        }
        if let Some(instance) = instance {
            self.static_members.insert(instance, member_id.clone());
        }
        before
    }

    fn put_current(
        &mut self,
        member_id: &KString,
        current: Option<CurrentAssignment>,
    ) -> Option<CurrentAssignment> {
        let before = put(&mut self.current, member_id, current);
        for (topic_id, partition) in before.iter().flat_map(held) {
            self.owners.remove(topic_id, partition, member_id);
        }
        for (topic_id, partition) in self.current.get(member_id).into_iter().flat_map(held) {
            self.owners.add(topic_id, partition, member_id);
        }
        before
    }

    /// What a member holds; nothing at epoch 0 if it has only just joined.
    fn current(&self, member_id: &KString) -> CurrentAssignment {
        self.current.get(member_id).cloned().unwrap_or_default()
    }
}

/// All that a member holds, also what it is to give up.
fn held(current: &CurrentAssignment) -> impl Iterator<Item = (Uuid, i32)> {
    let both = current
        .assigned
        .iter()
        .chain(current.pending_revocation.iter());
    both.map(|(topic_id, partition, _)| (topic_id, partition))
}

fn put<T>(map: &mut BTreeMap<KString, T>, key: &KString, value: Option<T>) -> Option<T> {
    match value {
        Some(value) => map.insert(key.clone(), value),
        None => map.remove(key),
    }
}

#[cfg(test)]
pub(crate) mod fixture;
