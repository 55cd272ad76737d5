//! What a consumer group writes to the log: one variant a record type, in Kafka's own formats.
//!
//! ```text
//! key type  what it keeps                          value
//!  3        epoch of the group                     epoch, hash of the topics subscribed to
//!  4        partitions of those topics             only ever removed: Kafka wrote it before 4.1
//!  5        a member's description
//!  6        epoch of the target assignment         epoch, when it was computed
//!  7        a member's target                      partitions by topic id
//!  8        what a member holds                    epochs, state, partitions by topic id
//! 16        topics that a regular expression means
//! ```

use bytes::Bytes;
use moldau_protocol::records::consumer_group_current_member_assignment_key::ConsumerGroupCurrentMemberAssignmentKey as CurrentKey;
use moldau_protocol::records::consumer_group_member_metadata_key::ConsumerGroupMemberMetadataKey as MemberKey;
use moldau_protocol::records::consumer_group_metadata_key::ConsumerGroupMetadataKey as EpochKey;
use moldau_protocol::records::consumer_group_metadata_value::ConsumerGroupMetadataValue as EpochValue;
use moldau_protocol::records::consumer_group_partition_metadata_key::ConsumerGroupPartitionMetadataKey as PartitionsKey;
use moldau_protocol::records::consumer_group_regular_expression_key::ConsumerGroupRegularExpressionKey as RegexKey;
use moldau_protocol::records::consumer_group_regular_expression_value::ConsumerGroupRegularExpressionValue as RegexValue;
use moldau_protocol::records::consumer_group_target_assignment_member_key::ConsumerGroupTargetAssignmentMemberKey as TargetKey;
use moldau_protocol::records::consumer_group_target_assignment_metadata_key::ConsumerGroupTargetAssignmentMetadataKey as TargetEpochKey;
use moldau_protocol::records::consumer_group_target_assignment_metadata_value::ConsumerGroupTargetAssignmentMetadataValue as TargetEpochValue;
use moldau_protocol::types::KString;
use moldau_protocol::{DecodeError, EncodeError, Message, RecordKey};

use super::member::{CurrentAssignment, Member};
use super::partitions::Partitions;
use super::record_values as values;
use super::regex::ResolvedRegex;
use crate::coordinator::CoordinatorRecord;

/// One change of a group. `None` as a value removes what the record is about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum GroupRecord {
    Epoch(Option<GroupEpoch>),
    /// Whether there is a record of the kind that newer versions do not write any more.
    LegacyPartitions(bool),
    Member(KString, Option<Box<Member>>),
    TargetEpoch(Option<TargetEpoch>),
    Target(KString, Option<Partitions>),
    Current(KString, Option<CurrentAssignment>),
    Regex(KString, Option<ResolvedRegex>),
}

/// The epoch of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupEpoch {
    /// Grows with every change of members, their subscriptions or the topics.
    pub(crate) epoch: i32,
    /// Tells whether the topics subscribed to have changed; 0 without any.
    pub(crate) metadata_hash: i64,
}

/// The epoch of the group that a target assignment was computed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TargetEpoch {
    pub(crate) epoch: i32,
    /// When that was; 0 if it is not known.
    pub(crate) timestamp_ms: i64,
}

impl GroupRecord {
    /// Whether the record says that something is not there.
    pub(crate) const fn removes(&self) -> bool {
        match self {
            Self::Epoch(value) => value.is_none(),
            Self::LegacyPartitions(there) => !*there,
            Self::Member(_, value) => value.is_none(),
            Self::TargetEpoch(value) => value.is_none(),
            Self::Target(_, value) => value.is_none(),
            Self::Current(_, value) => value.is_none(),
            Self::Regex(_, value) => value.is_none(),
        }
    }

    /// Whether both records are about the same thing, so that the later one replaces the other.
    pub(crate) fn is_about_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Epoch(_), Self::Epoch(_))
            | (Self::LegacyPartitions(_), Self::LegacyPartitions(_))
            | (Self::TargetEpoch(_), Self::TargetEpoch(_)) => true,
            (Self::Member(a, _), Self::Member(b, _))
            | (Self::Target(a, _), Self::Target(b, _))
            | (Self::Current(a, _), Self::Current(b, _))
            | (Self::Regex(a, _), Self::Regex(b, _)) => a == b,
            _ => false,
        }
    }

    /// The record as it is written.
    ///
    /// # Errors
    /// A string is longer than the format allows.
    pub(crate) fn encode(&self, group_id: &KString) -> Result<CoordinatorRecord, EncodeError> {
        let group = group_id.clone();
        let (key, value) = match self {
            Self::Epoch(value) => (
                EpochKey { group_id: group }.encode_key()?,
                value.map(encode_epoch).transpose()?,
            ),
            Self::LegacyPartitions(_) => (PartitionsKey { group_id: group }.encode_key()?, None),
            Self::Member(member_id, member) => (
                MemberKey {
                    group_id: group,
                    member_id: member_id.clone(),
                }
                .encode_key()?,
                encode(member.as_deref(), values::member_value)?,
            ),
            Self::TargetEpoch(value) => (
                TargetEpochKey { group_id: group }.encode_key()?,
                value.map(encode_target_epoch).transpose()?,
            ),
            Self::Target(member_id, target) => (
                TargetKey {
                    group_id: group,
                    member_id: member_id.clone(),
                }
                .encode_key()?,
                encode(target.as_ref(), values::target_value)?,
            ),
            Self::Current(member_id, current) => (
                CurrentKey {
                    group_id: group,
                    member_id: member_id.clone(),
                }
                .encode_key()?,
                encode(current.as_ref(), values::current_value)?,
            ),
            Self::Regex(regex, resolved) => (
                RegexKey {
                    group_id: group,
                    regular_expression: regex.clone(),
                }
                .encode_key()?,
                encode(resolved.as_ref(), values::regex_value)?,
            ),
        };
        Ok(CoordinatorRecord { key, value })
    }

    /// Reads a record: the group that it belongs to, and what it says. `None` if it is of another kind.
    ///
    /// # Errors
    /// The record is damaged.
    pub(crate) fn decode(
        record_type: i16,
        key: &Bytes,
        value: Option<&Bytes>,
    ) -> Result<Option<(KString, Self)>, DecodeError> {
        let key = key.clone();
        let value = value.cloned();
        let decoded = match record_type {
            EpochKey::RECORD_TYPE => {
                let key = EpochKey::decode_key(key)?;
                let value = value.map(EpochValue::decode_versioned).transpose()?;
                let epoch = value.map(|value| GroupEpoch {
                    epoch: value.epoch,
                    metadata_hash: value.metadata_hash,
                });
                (key.group_id, Self::Epoch(epoch))
            }
            PartitionsKey::RECORD_TYPE => {
                let key = PartitionsKey::decode_key(key)?;
                (key.group_id, Self::LegacyPartitions(value.is_some()))
            }
            MemberKey::RECORD_TYPE => {
                let key = MemberKey::decode_key(key)?;
                let member = value.map(values::read_member).transpose()?.map(Box::new);
                (key.group_id, Self::Member(key.member_id.detached(), member))
            }
            TargetEpochKey::RECORD_TYPE => {
                let key = TargetEpochKey::decode_key(key)?;
                let value = value.map(TargetEpochValue::decode_versioned).transpose()?;
                let epoch = value.map(|value| TargetEpoch {
                    epoch: value.assignment_epoch,
                    timestamp_ms: value.assignment_timestamp,
                });
                (key.group_id, Self::TargetEpoch(epoch))
            }
            TargetKey::RECORD_TYPE => {
                let key = TargetKey::decode_key(key)?;
                let target = value.map(values::read_target).transpose()?;
                (key.group_id, Self::Target(key.member_id.detached(), target))
            }
            CurrentKey::RECORD_TYPE => {
                let key = CurrentKey::decode_key(key)?;
                let current = value.map(values::read_current).transpose()?;
                let member_id = key.member_id.detached();
                (key.group_id, Self::Current(member_id, current))
            }
            RegexKey::RECORD_TYPE => {
                let key = RegexKey::decode_key(key)?;
                let resolved = value.map(RegexValue::decode_versioned).transpose()?;
                let regex = key.regular_expression.detached();
                let resolved = resolved.map(values::read_regex);
                (key.group_id, Self::Regex(regex, resolved))
            }
            _ => return Ok(None),
        };
        Ok(Some((decoded.0.detached(), decoded.1)))
    }
}

fn encode<T, M: Message>(
    value: Option<&T>,
    message: fn(&T) -> M,
) -> Result<Option<Bytes>, EncodeError> {
    value
        .map(|value| message(value).encode_versioned(VERSION))
        .transpose()
}

fn encode_epoch(value: GroupEpoch) -> Result<Bytes, EncodeError> {
    EpochValue {
        epoch: value.epoch,
        metadata_hash: value.metadata_hash,
        ..Default::default()
    }
    .encode_versioned(VERSION)
}

fn encode_target_epoch(value: TargetEpoch) -> Result<Bytes, EncodeError> {
    TargetEpochValue {
        assignment_epoch: value.epoch,
        assignment_timestamp: value.timestamp_ms,
        ..Default::default()
    }
    .encode_versioned(VERSION)
}

/// The only version that these records have.
const VERSION: i16 = 0;
