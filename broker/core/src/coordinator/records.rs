//! The records of `__consumer_offsets`: made here, and read again when a partition is loaded.
//!
//! ```text
//! key    type i16, fields      1 = a committed offset, 2 = a classic group, others = see `consumer_group`
//! value  version i16, fields   or nothing: the offset or the group is gone
//! ```

use bytes::Bytes;
use moldau_protocol::records::group_metadata_key::GroupMetadataKey;
use moldau_protocol::records::group_metadata_value::GroupMetadataValue;
use moldau_protocol::records::legacy_offset_commit_key::LegacyOffsetCommitKey;
use moldau_protocol::records::legacy_offset_commit_value::LegacyOffsetCommitValue;
use moldau_protocol::records::offset_commit_key::OffsetCommitKey;
use moldau_protocol::records::offset_commit_value::OffsetCommitValue;
use moldau_protocol::types::{KString, Uuid};
use moldau_protocol::{DecodeError, EncodeError, Message, RecordKey, record_type};

use super::Coordinator;
use crate::consumer_group::GroupRecord;
use crate::group::Group;
use crate::offsets::{CommittedOffset, OffsetChange, TopicPartition};

/// One record of `__consumer_offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorRecord {
    /// What it is about.
    pub key: Bytes,
    /// The new state; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// A record that cannot be understood.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("coordinator record with a key of type {record_type} is damaged")]
pub struct ReplayError {
    /// The first number of the key; -1 if the key is too short.
    pub record_type: i16,
    /// What is wrong with it.
    #[source]
    pub source: DecodeError,
}

impl Coordinator {
    /// Takes over one record of the partition. Types that are not known are skipped, as they
    /// belong to groups of protocols that are not known either.
    ///
    /// # Errors
    /// The record is damaged. It changes nothing, so the caller may go on with the next.
    pub fn replay(&mut self, key: &Bytes, value: Option<&Bytes>) -> Result<(), ReplayError> {
        let record_type = record_type(key).unwrap_or(-1);
        let replayed = match record_type {
            LegacyOffsetCommitKey::RECORD_TYPE => self.replay_legacy_offset(key, value),
            OffsetCommitKey::RECORD_TYPE => self.replay_offset(key, value),
            GroupMetadataKey::RECORD_TYPE => self.replay_group(key, value),
            _ => self.replay_consumer_group(record_type, key, value),
        };
        replayed.map_err(|source| ReplayError {
            record_type,
            source,
        })
    }

    fn replay_offset(&mut self, key: &Bytes, value: Option<&Bytes>) -> Result<(), DecodeError> {
        self.apply_change(offset_of(key, value)?);
        Ok(())
    }

    fn replay_legacy_offset(
        &mut self,
        key: &Bytes,
        value: Option<&Bytes>,
    ) -> Result<(), DecodeError> {
        let key = LegacyOffsetCommitKey::decode_key(key.clone())?;
        let value = value
            .map(|value| LegacyOffsetCommitValue::decode_versioned(value.clone()))
            .transpose()?;
        let committed = value.map(|value| CommittedOffset {
            offset: value.offset,
            leader_epoch: -1,
            metadata: value.metadata.detached(),
            commit_timestamp_ms: value.commit_timestamp,
            expire_timestamp_ms: None,
            topic_id: Uuid::ZERO,
        });
        self.apply_offset(&key.group, &key.topic, key.partition, committed);
        Ok(())
    }

    fn apply_offset(
        &mut self,
        group: &KString,
        topic: &KString,
        partition: i32,
        committed: Option<CommittedOffset>,
    ) {
        let topic_partition = TopicPartition {
            topic: topic.detached(),
            partition,
        };
        self.apply_change(OffsetChange {
            group_id: group.detached(),
            topic_partition,
            committed,
        });
    }

    /// Applies a committed change that belongs to no transaction.
    pub(super) fn apply_change(&mut self, change: OffsetChange) {
        self.transactions.overtaken_by(&change);
        self.set_offset(change);
    }

    /// Sets an offset; a group that only stores offsets comes into being with them.
    pub(super) fn set_offset(&mut self, change: OffsetChange) {
        if change.committed.is_some() {
            self.keep_group(&change.group_id);
        }
        self.offsets.apply(change);
    }

    /// Makes sure that there is a group of this name, of whichever kind.
    pub(super) fn keep_group(&mut self, group_id: &KString) {
        if !self.groups.contains_key(group_id) && !self.consumer_groups.contains_key(group_id) {
            let group = Group::new(group_id.clone(), self.settings.group);
            self.groups.insert(group_id.clone(), group);
        }
    }

    fn replay_group(&mut self, key: &Bytes, value: Option<&Bytes>) -> Result<(), DecodeError> {
        let group_id = GroupMetadataKey::decode_key(key.clone())?.group.detached();
        let Some(value) = value else {
            self.groups.remove(&group_id);
            return Ok(());
        };
        let value = GroupMetadataValue::decode_versioned(value.clone())?;
        let group = Group::from_value(group_id.clone(), &value, self.settings.group);
        self.groups.insert(group_id, group);
        Ok(())
    }

    fn replay_consumer_group(
        &mut self,
        record_type: i16,
        key: &Bytes,
        value: Option<&Bytes>,
    ) -> Result<(), DecodeError> {
        if let Some((group_id, record)) = GroupRecord::decode(record_type, key, value)? {
            self.apply_to_consumer_group(&group_id, record, value.is_some());
        }
        Ok(())
    }
}

/// Reads the record of a committed offset; `None` if it is another record.
pub(super) fn read_offset(
    key: &Bytes,
    value: Option<&Bytes>,
) -> Result<Option<OffsetChange>, ReplayError> {
    let record_type = record_type(key).unwrap_or(-1);
    if record_type != OffsetCommitKey::RECORD_TYPE {
        return Ok(None);
    }
    let read = offset_of(key, value).map(Some);
    read.map_err(|source| ReplayError {
        record_type,
        source,
    })
}

fn offset_of(key: &Bytes, value: Option<&Bytes>) -> Result<OffsetChange, DecodeError> {
    let key = OffsetCommitKey::decode_key(key.clone())?;
    let value = value
        .map(|value| OffsetCommitValue::decode_versioned(value.clone()))
        .transpose()?;
    let committed = value.map(|value| CommittedOffset {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata.detached(),
        commit_timestamp_ms: value.commit_timestamp,
        expire_timestamp_ms: (value.expire_timestamp >= 0).then_some(value.expire_timestamp),
        topic_id: value.topic_id,
    });
    Ok(OffsetChange {
        group_id: key.group.detached(),
        topic_partition: TopicPartition {
            topic: key.topic.detached(),
            partition: key.partition,
        },
        committed,
    })
}

pub(super) fn group_record(
    group_id: &KString,
    value: &GroupMetadataValue,
) -> Result<CoordinatorRecord, EncodeError> {
    let value = Some(value.encode_versioned(GROUP_VERSION)?);
    Ok(CoordinatorRecord {
        key: group_key(group_id)?,
        value,
    })
}

pub(super) fn group_tombstone(group_id: &KString) -> Result<CoordinatorRecord, EncodeError> {
    Ok(CoordinatorRecord {
        key: group_key(group_id)?,
        value: None,
    })
}

pub(super) fn offset_record(change: &OffsetChange) -> Result<CoordinatorRecord, EncodeError> {
    let key = OffsetCommitKey {
        group: change.group_id.clone(),
        topic: change.topic_partition.topic.clone(),
        partition: change.topic_partition.partition,
    };
    let value = change.committed.as_ref().map(offset_value).transpose()?;
    Ok(CoordinatorRecord {
        key: key.encode_key()?,
        value,
    })
}

fn offset_value(committed: &CommittedOffset) -> Result<Bytes, EncodeError> {
    let value = OffsetCommitValue {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata.clone(),
        commit_timestamp: committed.commit_timestamp_ms,
        expire_timestamp: committed.expire_timestamp_ms.unwrap_or(-1),
        topic_id: committed.topic_id,
        ..Default::default()
    };
    // Only version 1 can say when an offset expires.
    value.encode_versioned(if committed.expire_timestamp_ms.is_some() {
        OFFSET_VERSION_WITH_EXPIRY
    } else {
        OFFSET_VERSION
    })
}

fn group_key(group_id: &KString) -> Result<Bytes, EncodeError> {
    GroupMetadataKey {
        group: group_id.clone(),
    }
    .encode_key()
}

/// The versions that Kafka 4.3 writes.
const GROUP_VERSION: i16 = 3;
const OFFSET_VERSION: i16 = 4;
const OFFSET_VERSION_WITH_EXPIRY: i16 = 1;
