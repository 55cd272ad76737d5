//! Partitions by topic id: what is assigned, and since which epoch.

use std::collections::{BTreeMap, BTreeSet};

use moldau_protocol::types::Uuid;

/// A set of partitions. Invariant: no topic is there without a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Partitions(BTreeMap<Uuid, BTreeSet<i32>>);

impl Partitions {
    pub(crate) fn insert(&mut self, topic_id: Uuid, partition: i32) {
        self.0.entry(topic_id).or_default().insert(partition);
    }

    pub(crate) fn contains(&self, topic_id: Uuid, partition: i32) -> bool {
        self.0
            .get(&topic_id)
            .is_some_and(|partitions| partitions.contains(&partition))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// The partitions of one topic, in order.
    pub(crate) fn of_topic(&self, topic_id: Uuid) -> impl Iterator<Item = i32> {
        self.0.get(&topic_id).into_iter().flatten().copied()
    }

    /// The topics with their partitions, ordered by topic id.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (Uuid, &BTreeSet<i32>)> {
        self.0
            .iter()
            .map(|(topic_id, partitions)| (*topic_id, partitions))
    }

    /// All partitions, ordered by topic id and number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Uuid, i32)> {
        self.topics().flat_map(|(topic_id, partitions)| {
            partitions.iter().map(move |index| (topic_id, *index))
        })
    }
}

impl FromIterator<(Uuid, i32)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (Uuid, i32)>>(partitions: I) -> Self {
        let mut set = Self::default();
        for (topic_id, partition) in partitions {
            set.insert(topic_id, partition);
        }
        set
    }
}

/// Partitions that a member holds, each with the member epoch at which it got it (KIP-1251).
/// Invariant: no topic is there without a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeldPartitions(BTreeMap<Uuid, BTreeMap<i32, i32>>);

impl HeldPartitions {
    pub(crate) fn insert(&mut self, topic_id: Uuid, partition: i32, since_epoch: i32) {
        self.0
            .entry(topic_id)
            .or_default()
            .insert(partition, since_epoch);
    }

    /// The epoch since which a partition is held; `None` if it is not.
    pub(crate) fn since(&self, topic_id: Uuid, partition: i32) -> Option<i32> {
        self.0
            .get(&topic_id)
            .and_then(|partitions| partitions.get(&partition))
            .copied()
    }

    pub(crate) fn contains(&self, topic_id: Uuid, partition: i32) -> bool {
        self.since(topic_id, partition).is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The topics with their partitions and epochs, ordered by topic id.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (Uuid, &BTreeMap<i32, i32>)> {
        self.0
            .iter()
            .map(|(topic_id, partitions)| (*topic_id, partitions))
    }

    /// All partitions with their epochs, ordered by topic id and number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Uuid, i32, i32)> {
        self.topics().flat_map(|(topic_id, partitions)| {
            partitions
                .iter()
                .map(move |(index, epoch)| (topic_id, *index, *epoch))
        })
    }

    /// All partitions as if they had been got at `epoch`.
    pub(crate) fn all_since(partitions: &Partitions, epoch: i32) -> Self {
        let mut held = Self::default();
        for (topic_id, partition) in partitions.iter() {
            held.insert(topic_id, partition, epoch);
        }
        held
    }

    pub(crate) fn partitions(&self) -> Partitions {
        self.iter()
            .map(|(topic_id, partition, _)| (topic_id, partition))
            .collect()
    }

    /// Whether the same partitions are held, since whichever epoch.
    pub(crate) fn same_partitions(&self, other: &Self) -> bool {
        let names = |held: &Self| -> Vec<(Uuid, i32)> {
            held.iter()
                .map(|(topic, index, _)| (topic, index))
                .collect()
        };
        names(self) == names(other)
    }
}
