//! Groups as ConsumerGroupDescribe v0–1 and ListGroups v0–5 show them, and who may use their offsets.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::consumer_group_describe::{
    Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
};
use moldau_protocol::messages::list_groups::ListedGroup;
use moldau_protocol::types::{KString, Uuid};

use super::member::{CurrentAssignment, Member};
use super::partitions::Partitions;
use super::{ConsumerGroup, Context};
use crate::metadata::MetadataImage;
use crate::rejection::Rejection;

impl ConsumerGroup {
    pub(crate) fn describe(&self, context: &Context<'_>) -> DescribedGroup {
        let member = |(id, member)| self.describe_member_as_seen(id, member, context.image);
        DescribedGroup {
            group_id: self.group_id.clone(),
            group_state: self.state().into(),
            group_epoch: self.epoch.epoch,
            assignment_epoch: self.target_epoch.epoch,
            assignor_name: self.preferred_assignor(context).name().into(),
            members: self.members.iter().map(member).collect(),
            ..Default::default()
        }
    }

    fn describe_member_as_seen(
        &self,
        member_id: &KString,
        member: &Member,
        image: &MetadataImage,
    ) -> DescribedMember {
        let current = self.current(member_id);
        let nothing = Partitions::default();
        let target = self.targets.get(member_id).unwrap_or(&nothing);
        let is_classic = member.classic.is_some();
        DescribedMember {
            member_id: member_id.clone(),
            instance_id: member.instance_id.clone(),
            rack_id: member.rack_id.clone(),
            member_epoch: current.member_epoch,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names: member.topics.iter().cloned().collect(),
            subscribed_topic_regex: member.regex.clone(),
            assignment: described_partitions(&current.assigned.partitions(), image),
            target_assignment: described_partitions(target, image),
            member_type: if is_classic {
                CLASSIC_MEMBER
            } else {
                CONSUMER_MEMBER
            },
            ..Default::default()
        }
    }

    pub(crate) fn listed(&self) -> ListedGroup {
        ListedGroup {
            group_id: self.group_id.clone(),
            protocol_type: CONSUMER.into(),
            group_state: self.state().into(),
            group_type: CONSUMER.into(),
            ..Default::default()
        }
    }

    /// Checks who commits offsets, partition by partition: a member may be late by an epoch as long as
    /// it has held the partition since that epoch (KIP-1251).
    ///
    /// # Errors
    /// What the member is told for all partitions.
    pub(crate) fn committer(
        &self,
        member_id: &KString,
        member_epoch: i32,
        api_version: i16,
    ) -> Result<Committer, ErrorCode> {
        if member_epoch < 0 && self.members.is_empty() {
            return Ok(Committer::default());
        }
        let member = self
            .members
            .get(member_id)
            .ok_or(ErrorCode::UnknownMemberId)?;
        let classic = member.classic.is_some();
        if !classic && api_version < MEMBER_EPOCH_FROM {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let current = self.current(member_id);
        let error = stale(classic);
        match member_epoch.cmp(&current.member_epoch) {
            Ordering::Equal => Ok(Committer::default()),
            Ordering::Greater => Err(error),
            Ordering::Less => Ok(Committer {
                late: Some(Late {
                    current,
                    epoch: member_epoch,
                    error,
                }),
            }),
        }
    }

    /// Checks who commits offsets in a transaction: a member, or a producer that knows of no group and
    /// is fenced by its transaction alone.
    ///
    /// # Errors
    /// What the producer is told for all partitions.
    pub(crate) fn transactional_committer(
        &self,
        member_id: &KString,
        instance: Option<&KString>,
        member_epoch: i32,
    ) -> Result<Committer, ErrorCode> {
        if member_epoch == -1 && member_id.is_empty() && instance.is_none() {
            return Ok(Committer::default());
        }
        self.committer(member_id, member_epoch, ANY_VERSION)
    }

    /// Checks who reads offsets. Without a member id anyone may.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH, or ILLEGAL_GENERATION for members of the classic protocol.
    pub(crate) fn validate_fetch(
        &self,
        member_id: Option<&KString>,
        member_epoch: i32,
    ) -> Result<(), ErrorCode> {
        let Some(member_id) = member_id else {
            return match member_epoch {
                ..0 => Ok(()),
                _ => Err(ErrorCode::UnknownMemberId),
            };
        };
        let member = self
            .members
            .get(member_id)
            .ok_or(ErrorCode::UnknownMemberId)?;
        match self.current(member_id).member_epoch == member_epoch {
            true => Ok(()),
            false => Err(stale(member.classic.is_some())),
        }
    }
}

/// Someone who may commit offsets.
#[derive(Debug, Default)]
pub(crate) struct Committer {
    /// Set for a member that has not heard of its newest epoch.
    late: Option<Late>,
}

/// A member that commits with an epoch that is over.
#[derive(Debug)]
struct Late {
    current: CurrentAssignment,
    epoch: i32,
    error: ErrorCode,
}

impl Committer {
    /// Checks one partition.
    ///
    /// # Errors
    /// The member is late, and has not held the partition since the epoch that it knows.
    pub(crate) fn may_commit(&self, topic_id: Uuid, partition: i32) -> Result<(), ErrorCode> {
        let Some(late) = &self.late else {
            return Ok(());
        };
        let assigned = late.current.assigned.since(topic_id, partition);
        let since = assigned.or_else(|| late.current.pending_revocation.since(topic_id, partition));
        match since {
            Some(since) if since <= late.epoch => Ok(()),
            Some(_) | None => Err(late.error),
        }
    }
}

const fn stale(classic: bool) -> ErrorCode {
    if classic {
        ErrorCode::IllegalGeneration
    } else {
        ErrorCode::StaleMemberEpoch
    }
}

/// What is said of a group that is not there.
pub(crate) fn describe_missing(group_id: &KString) -> DescribedGroup {
    not_described(group_id, format!("there is no group \"{group_id}\""))
}

/// What is said of a group that is a classic one.
pub(crate) fn describe_other_kind(group_id: &KString) -> DescribedGroup {
    not_described(
        group_id,
        format!("group \"{group_id}\" is not a consumer group"),
    )
}

fn not_described(group_id: &KString, message: String) -> DescribedGroup {
    DescribedGroup {
        group_id: group_id.clone(),
        error_code: ErrorCode::GroupIdNotFound.code(),
        error_message: Some(message.into()),
        ..Default::default()
    }
}

pub(crate) fn not_a_consumer_group(group_id: &KString) -> Rejection {
    Rejection::new(
        ErrorCode::GroupIdNotFound,
        format!("group \"{group_id}\" is not a consumer group"),
    )
}

fn described_partitions(partitions: &Partitions, image: &MetadataImage) -> Assignment {
    let topic = |(topic_id, partitions): (Uuid, &BTreeSet<i32>)| {
        let topic_name = image.topic_by_id(topic_id)?.name.clone();
        Some(TopicPartitions {
            topic_id,
            topic_name,
            partitions: partitions.iter().copied().collect(),
            ..Default::default()
        })
    };
    Assignment {
        topic_partitions: partitions.topics().filter_map(topic).collect(),
        ..Default::default()
    }
}

const CONSUMER: &str = "consumer";
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;
/// Every version of TxnOffsetCommit may come from a member of the new protocol.
const ANY_VERSION: i16 = i16::MAX;
/// Before this version of OffsetCommit a member had no way to say its epoch.
const MEMBER_EPOCH_FROM: i16 = 9;
