//! Committed offsets of groups, by topic and partition.

mod expiry;
mod fetch;

use std::collections::BTreeMap;

use moldau_protocol::types::{KString, Uuid};

pub(crate) use self::expiry::Expiry;
pub(crate) use self::fetch::fetch;
pub use self::fetch::{offset_fetch_error, offset_fetch_groups, offset_fetch_response};

/// What a group has committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset of the next record to read.
    pub offset: i64,
    /// The leader epoch of the record before it; -1 if it is not known.
    pub leader_epoch: i32,
    /// What the client wants to remember.
    pub metadata: KString,
    /// When it was committed.
    pub commit_timestamp_ms: i64,
    /// When it expires, where the client asked for a time of its own (OffsetCommit v2–4).
    pub expire_timestamp_ms: Option<i64>,
    /// The topic's id at that time; zero if the client gave its name only.
    pub topic_id: Uuid,
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicPartition {
    pub(crate) topic: KString,
    pub(crate) partition: i32,
}

/// One offset of one group that is set or, with `None`, forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OffsetChange {
    pub(crate) group_id: KString,
    pub(crate) topic_partition: TopicPartition,
    pub(crate) committed: Option<CommittedOffset>,
}

/// The committed offsets of all groups of a coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetStore {
    /// A group without offsets has no entry.
    groups: BTreeMap<KString, GroupOffsets>,
}

/// The committed offsets of one group.
pub(crate) type GroupOffsets = BTreeMap<TopicPartition, CommittedOffset>;

impl OffsetStore {
    pub(crate) fn apply(&mut self, change: OffsetChange) {
        if let Some(committed) = change.committed {
            self.groups
                .entry(change.group_id)
                .or_default()
                .insert(change.topic_partition, committed);
        } else if let Some(offsets) = self.groups.get_mut(&change.group_id) {
            offsets.remove(&change.topic_partition);
            if offsets.is_empty() {
                self.groups.remove(&change.group_id);
            }
        }
    }

    pub(crate) fn group(&self, group_id: &str) -> Option<&GroupOffsets> {
        self.groups.get(group_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(group: &'static str, partition: i32, offset: Option<i64>) -> OffsetChange {
        let committed = offset.map(|offset| CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: KString::EMPTY,
            commit_timestamp_ms: 0,
            expire_timestamp_ms: None,
            topic_id: Uuid::ZERO,
        });
        let topic_partition = TopicPartition {
            topic: "t".into(),
            partition,
        };
        OffsetChange {
            group_id: group.into(),
            topic_partition,
            committed,
        }
    }

    #[test]
    fn the_last_commit_counts_and_a_tombstone_forgets_it() {
        let mut store = OffsetStore::default();
        for change in [
            change("g", 0, Some(1)),
            change("g", 0, Some(2)),
            change("h", 0, Some(9)),
        ] {
            store.apply(change);
        }
        let offsets = |store: &OffsetStore| {
            store
                .group("g")
                .map(|g| g.values().map(|c| c.offset).collect::<Vec<_>>())
        };
        assert_eq!(offsets(&store), Some(vec![2]));
        store.apply(change("g", 0, None));
        store.apply(change("g", 5, None));
        assert_eq!(offsets(&store), None);
        assert!(store.group("h").is_some());
    }
}
