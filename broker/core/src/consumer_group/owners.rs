//! Who holds which partition.
//!
//! Two members may be said to hold one: when an append fails that took it from the first, and a later
//! one is written that gave it to the second. None of them is forgotten then, so that what is known
//! here follows from what members hold, in whichever order that became known.

use std::collections::BTreeMap;

use moldau_protocol::types::{KString, Uuid};

/// Members by the partitions that they hold, including those to be given up. Those of one partition
/// are sorted; there is at least one, and hardly ever more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owners(BTreeMap<Uuid, BTreeMap<i32, Vec<KString>>>);

impl Owners {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// A member holds a partition.
    pub(super) fn add(&mut self, topic_id: Uuid, partition: i32, member_id: &KString) {
        let holders = self.0.entry(topic_id).or_default();
        let holders = holders
            .entry(partition)
            .or_insert_with(|| Vec::with_capacity(1));
        if let Err(place) = holders.binary_search(member_id) {
            holders.insert(place, member_id.clone());
        }
    }

    /// A member does not hold a partition any more.
    pub(super) fn remove(&mut self, topic_id: Uuid, partition: i32, member_id: &KString) {
        let Some(partitions) = self.0.get_mut(&topic_id) else {
            return;
        };
        if let Some(holders) = partitions.get_mut(&partition) {
            holders.retain(|holder| holder != member_id);
            if holders.is_empty() {
                partitions.remove(&partition);
            }
        }
        if partitions.is_empty() {
            self.0.remove(&topic_id);
        }
    }

    /// Whether somebody else holds a partition.
    pub(super) fn has_other(&self, topic_id: Uuid, partition: i32, member_id: &KString) -> bool {
        let holders = self.0.get(&topic_id).and_then(|of| of.get(&partition));
        holders.is_some_and(|holders| holders.iter().any(|holder| holder != member_id))
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = ((Uuid, i32), &KString)> {
        self.0.iter().flat_map(|(topic_id, partitions)| {
            partitions.iter().flat_map(|(index, holders)| {
                let at = (*topic_id, *index);
                holders.iter().map(move |holder| (at, holder))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_two_members_had_for_a_moment_stays_with_the_one_that_keeps_it() {
        let (at, [a, b]) = (Uuid::ZERO, ["a", "b"].map(KString::from));
        let mut owners = Owners::default();
        owners.add(at, 0, &a);
        owners.add(at, 0, &b);
        owners.remove(at, 0, &b);
        assert!(owners.has_other(at, 0, &b), "a still holds it");
        assert!(!owners.has_other(at, 0, &a));
        owners.remove(at, 0, &a);
        assert_eq!(owners, Owners::default());
    }
}
