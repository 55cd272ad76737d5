//! Offsets of transactions that have not ended, in the log already.
//!
//! A group may commit the same partition's offset inside a transaction and outside of any. Whichever
//! record lies later in the log counts, not whichever takes effect later: compaction keeps the later
//! one, and a replay must find what was answered.

use std::collections::{BTreeMap, BTreeSet};

use moldau_protocol::types::KString;

use crate::ids::ProducerId;
use crate::offsets::{CommittedOffset, OffsetChange, TopicPartition};

/// An offset of a group.
type Key = (KString, TopicPartition);

/// Offsets of open transactions.
#[derive(Clone, Debug, Default)]
pub(super) struct UndecidedOffsets {
    /// Invariant: no inner map is empty.
    offsets: BTreeMap<Key, BTreeMap<ProducerId, Undecided>>,
    /// Where each producer has offsets. Invariant: the same pairs as in `offsets`.
    producers: BTreeMap<ProducerId, BTreeSet<Key>>,
    next_place: u64,
}

/// What a transaction will make of an offset.
#[derive(Clone, Debug)]
struct Undecided {
    committed: Option<CommittedOffset>,
    /// Grows with the place in the log.
    place: u64,
    /// A later record, which counts already, sets the same offset.
    overtaken: bool,
}

impl UndecidedOffsets {
    /// Offsets were written in a producer's transaction.
    pub(super) fn written(&mut self, producer_id: ProducerId, changes: Vec<OffsetChange>) {
        for change in changes {
            let key = (change.group_id, change.topic_partition);
            self.next_place += 1;
            let undecided = Undecided {
                committed: change.committed,
                place: self.next_place,
                overtaken: false,
            };
            let of_key = self.offsets.entry(key.clone()).or_default();
            of_key.insert(producer_id, undecided);
            self.producers.entry(producer_id).or_default().insert(key);
        }
    }

    /// An offset was written outside of transactions, or is forgotten. A tombstone takes along what
    /// was written before it.
    pub(super) fn overtaken_by(&mut self, change: &OffsetChange) {
        if self.offsets.is_empty() {
            return;
        }
        let key = (change.group_id.clone(), change.topic_partition.clone());
        if change.committed.is_some() {
            let undecided = self.offsets.get_mut(&key).into_iter();
            let undecided = undecided.flat_map(BTreeMap::values_mut);
            undecided.for_each(|undecided| undecided.overtaken = true);
            return;
        }
        for producer_id in self.offsets.remove(&key).unwrap_or_default().into_keys() {
            self.forget(producer_id, &key);
        }
    }

    /// A producer's transaction has ended; returns what it changes if it was committed.
    pub(super) fn ended(&mut self, producer_id: ProducerId, committed: bool) -> Vec<OffsetChange> {
        let mut changes = Vec::new();
        for key in self.producers.remove(&producer_id).unwrap_or_default() {
            let Some(of_key) = self.offsets.get_mut(&key) else {
                continue;
            };
            let undecided = of_key.remove(&producer_id);
            let counts = undecided.filter(|undecided| committed && !undecided.overtaken);
            if let Some(Undecided {
                committed, place, ..
            }) = counts
            {
                let earlier = of_key.values_mut().filter(|other| other.place < place);
                earlier.for_each(|other| other.overtaken = true);
                let (group_id, topic_partition) = key.clone();
                changes.push(OffsetChange {
                    group_id,
                    topic_partition,
                    committed,
                });
            }
            if of_key.is_empty() {
                self.offsets.remove(&key);
            }
        }
        changes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    pub(super) fn has(&self, group_id: &KString, at: &TopicPartition) -> bool {
        let key = (group_id.clone(), at.clone());
        self.offsets.contains_key(&key)
    }

    /// The partitions for which a group has undecided offsets.
    pub(super) fn of_group<'a>(
        &'a self,
        group_id: &'a KString,
    ) -> impl Iterator<Item = &'a TopicPartition> {
        let first = TopicPartition {
            topic: KString::EMPTY,
            partition: i32::MIN,
        };
        let from = self.offsets.range((group_id.clone(), first)..);
        from.map(|((of, at), _)| (of, at))
            .take_while(move |(of, _)| *of == group_id)
            .map(|(_, at)| at)
    }

    fn forget(&mut self, producer_id: ProducerId, key: &Key) {
        if let Some(keys) = self.producers.get_mut(&producer_id) {
            keys.remove(key);
            if keys.is_empty() {
                self.producers.remove(&producer_id);
            }
        }
    }
}
