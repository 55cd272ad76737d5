//! What a classic group hands over when it becomes a consumer group, and takes over the other way.

use bytes::Bytes;
use moldau_protocol::records::group_metadata_value::GroupMetadataValue;
use moldau_protocol::types::KString;

use super::member::{Member, Protocol};
use super::outbox::Outbox;
use super::{Group, GroupSettings, GroupState};

/// A member on its way from one kind of group to the other.
#[derive(Clone, Debug)]
pub(crate) struct MigratingMember {
    pub(crate) member_id: KString,
    pub(crate) group_instance_id: Option<KString>,
    pub(crate) client_id: KString,
    pub(crate) client_host: KString,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    /// The protocols it speaks with its metadata for each, that of the group first.
    pub(crate) protocols: Vec<(KString, Bytes)>,
    pub(crate) assignment: Bytes,
}

impl Group {
    /// The members with what they hold.
    pub(crate) fn migrating_members(&self) -> Vec<MigratingMember> {
        let chosen = self
            .protocol_name
            .clone()
            .or_else(|| self.select_protocol());
        let of_member = |member: &Member| {
            let mut protocols: Vec<(KString, Bytes)> = member
                .protocols
                .iter()
                .map(|protocol| (protocol.name.clone(), protocol.metadata.clone()))
                .collect();
            protocols.sort_by_key(|(name, _)| Some(name) != chosen.as_ref());
            MigratingMember {
                member_id: member.member_id.clone(),
                group_instance_id: member.group_instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                protocols,
                assignment: member.assignment.clone(),
            }
        };
        self.members.values().map(of_member).collect()
    }

    /// A stable group of members that come from a consumer group.
    pub(crate) fn from_migration(
        group_id: KString,
        generation_id: i32,
        members: Vec<MigratingMember>,
        settings: GroupSettings,
        now_ms: i64,
    ) -> Self {
        let mut group = Self::new(group_id, settings);
        group.generation_id = generation_id;
        group.protocol_type = Some(KString::from_static("consumer"));
        for migrating in members {
            let member = member(migrating, now_ms);
            if let Some(instance) = &member.group_instance_id {
                let member_id = member.member_id.clone();
                group.static_members.insert(instance.clone(), member_id);
            }
            group.members.insert(member.member_id.clone(), member);
        }
        group.leader = group.members.keys().next().cloned();
        group.protocol_name = group.select_protocol();
        if !group.members.is_empty() {
            group.transition(GroupState::Stable, now_ms);
        }
        group
    }

    /// The group as the log keeps it, with what its members hold.
    pub(crate) fn migrated_value(&self) -> GroupMetadataValue {
        self.metadata_value(None)
    }

    /// Has the members join again, because one that spoke the other protocol has left.
    pub(crate) fn rebalance_after_migration(&mut self, now_ms: i64, out: &mut Outbox) {
        self.members_left(now_ms, out);
    }
}

fn member(migrating: MigratingMember, now_ms: i64) -> Member {
    let protocols = migrating.protocols.into_iter();
    let mut member = Member {
        member_id: migrating.member_id,
        group_instance_id: migrating.group_instance_id,
        client_id: migrating.client_id,
        client_host: migrating.client_host,
        rebalance_timeout_ms: migrating.rebalance_timeout_ms,
        session_timeout_ms: migrating.session_timeout_ms,
        protocols: protocols
            .map(|(name, metadata)| Protocol { name, metadata })
            .collect(),
        assignment: migrating.assignment,
        session_deadline_ms: now_ms,
        is_new: false,
        join: None,
        sync: None,
    };
    member.refresh_session(now_ms);
    member
}
