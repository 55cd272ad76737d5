//! A group changes its protocol while it has members.
//!
//! - to `consumer`, when the first member that speaks the new protocol joins a classic group
//! - to `classic`, when the last such member leaves and others stay
//!
//! Nobody loses a partition by it: what members held or were to hold is taken over.

use moldau_protocol::Message;
use moldau_protocol::messages::consumer_protocol_assignment::ConsumerProtocolAssignment;
use moldau_protocol::types::KString;

use super::classic::embedded_assignment;
use super::member::{ClassicMember, ClassicProtocol, CurrentAssignment, Member, MemberState};
use super::partitions::{HeldPartitions, Partitions};
use super::record::{GroupEpoch, GroupRecord, TargetEpoch};
use super::{Changes, ConsumerGroup, Context};
use crate::group::{Group, GroupSettings, MigratingMember};
use crate::metadata::MetadataImage;

impl ConsumerGroup {
    /// A classic group as a consumer group. `None` if its members' subscriptions or assignments are
    /// not of the form that consumers use.
    pub(crate) fn from_classic(
        group: &Group,
        context: &Context<'_>,
        changes: &mut Changes,
    ) -> Option<Self> {
        let mut consumer = Self::new(group.group_id().clone());
        let epoch = group.generation_id();
        let mut taken = Partitions::default();
        let mut held = Vec::new();
        for migrating in group.migrating_members() {
            let mut assigned = Partitions::default();
            for (topic_id, partition) in read_assignment(&migrating, context.image)?.iter() {
                // A client's assignor may give a partition to two; here nobody may.
                if !taken.contains(topic_id, partition) {
                    taken.insert(topic_id, partition);
                    assigned.insert(topic_id, partition);
                }
            }
            let member_id = migrating.member_id.clone();
            let member = described(migrating)?;
            let record = GroupRecord::Member(member_id.clone(), Some(Box::new(member)));
            consumer.write(record, changes);
            held.push((member_id, assigned));
        }
        let group_epoch = GroupEpoch {
            epoch,
            metadata_hash: 0,
        };
        consumer.write(GroupRecord::Epoch(Some(group_epoch)), changes);
        for (member_id, assigned) in &held {
            let target = GroupRecord::Target(member_id.clone(), Some(assigned.clone()));
            consumer.write(target, changes);
        }
        let target_epoch = TargetEpoch {
            epoch,
            timestamp_ms: 0,
        };
        consumer.write(GroupRecord::TargetEpoch(Some(target_epoch)), changes);
        for (member_id, assigned) in held {
            let current = CurrentAssignment {
                member_epoch: epoch,
                previous_member_epoch: epoch,
                state: MemberState::Stable,
                assigned: HeldPartitions::all_since(&assigned, epoch),
                pending_revocation: HeldPartitions::default(),
            };
            consumer.write(GroupRecord::Current(member_id, Some(current)), changes);
        }
        consumer.loaded(context.settings, context.now_ms);
        Some(consumer)
    }

    /// Whether the group becomes a classic one when these members leave it.
    pub(crate) fn downgrades_without(
        &self,
        leaving: &[KString],
        context: &Context<'_>,
        classic: &GroupSettings,
    ) -> bool {
        let speaks_classic = |id: &KString| {
            self.members
                .get(id)
                .is_some_and(|member| member.classic.is_some())
        };
        let stay = |id: &&KString| !leaving.contains(id);
        let staying = self.members.keys().filter(stay).count();
        staying > 0
            && staying <= classic.max_size
            && context.settings.migration_policy.allows_downgrade()
            && self.members.keys().filter(stay).all(speaks_classic)
            && !leaving.iter().all(speaks_classic)
    }

    /// Whether the group becomes a classic one when a classic member takes the place of the static
    /// member with this instance id.
    pub(crate) fn downgrades_by_replacing(
        &self,
        instance: Option<&KString>,
        context: &Context<'_>,
        classic: &GroupSettings,
    ) -> bool {
        let holder = instance.and_then(|instance| self.static_members.get(instance));
        holder.is_some_and(|holder| {
            let others_classic = self
                .members
                .iter()
                .all(|(id, member)| (id == holder) != member.classic.is_some());
            others_classic
                && context.settings.migration_policy.allows_downgrade()
                && self.members.len() <= classic.max_size
        })
    }

    /// Its members of the classic protocol as a classic group, all with their targets.
    pub(crate) fn to_classic(&self, settings: GroupSettings, context: &Context<'_>) -> Group {
        let members = self.members.iter().filter_map(|(member_id, member)| {
            let classic = member.classic.as_ref()?;
            let nothing = Partitions::default();
            let target = self.targets.get(member_id).unwrap_or(&nothing);
            let assignment = embedded_assignment(target, classic.embedded_version(), context.image);
            let protocols = classic.protocols.iter();
            Some(MigratingMember {
                member_id: member_id.clone(),
                group_instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: classic.session_timeout_ms,
                protocols: protocols
                    .map(|protocol| (protocol.name.clone(), protocol.metadata.clone()))
                    .collect(),
                assignment,
            })
        });
        let members = members.collect();
        let group_id = self.group_id.clone();
        Group::from_migration(
            group_id,
            self.epoch.epoch,
            members,
            settings,
            context.now_ms,
        )
    }
}

fn described(migrating: MigratingMember) -> Option<Member> {
    let protocols = migrating.protocols.into_iter();
    let classic = ClassicMember {
        session_timeout_ms: migrating.session_timeout_ms,
        protocols: protocols
            .map(|(name, metadata)| ClassicProtocol { name, metadata })
            .collect(),
    };
    let subscription = classic.subscription()?;
    let rack = subscription.rack_id.as_ref().map(KString::detached);
    Some(Member {
        instance_id: migrating.group_instance_id,
        rack_id: rack.filter(|rack| !rack.is_empty()),
        client_id: migrating.client_id,
        client_host: migrating.client_host,
        topics: subscription.topics.iter().map(KString::detached).collect(),
        regex: None,
        rebalance_timeout_ms: migrating.rebalance_timeout_ms,
        server_assignor: None,
        classic: Some(classic),
    })
}

/// What a classic member was told to read; nothing if it has not been told yet.
fn read_assignment(migrating: &MigratingMember, image: &MetadataImage) -> Option<Partitions> {
    let mut partitions = Partitions::default();
    if migrating.assignment.is_empty() {
        return Some(partitions);
    }
    let bytes = migrating.assignment.clone();
    let assignment = ConsumerProtocolAssignment::decode_versioned_or_newer(bytes).ok()?;
    for topic in &assignment.assigned_partitions {
        if let Some(id) = image.topic(&topic.topic).map(|topic| topic.id) {
            topic
                .partitions
                .iter()
                .for_each(|index| partitions.insert(id, *index));
        }
    }
    Some(partitions)
}
