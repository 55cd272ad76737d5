//! Kafka's `cooperative-sticky`: members keep what they have as far as the shares stay even, and go on reading it
//! while the group rebalances (KIP-54, KIP-429).

use std::collections::{BTreeMap, BTreeSet};

use moldau_protocol::KString;

use crate::consumer::assignor::{
    Assignor, GroupSubscriptions, MemberAssignment, MemberSubscription,
};
use crate::error::ClientError;
use crate::topic_partition::TopicPartition;

/// The strategy. A partition that moves is first taken from its owner and given to nobody; when the owner has given it
/// up it joins again, and the rebalance that follows gives the partition to the other member.
#[derive(Clone, Copy, Debug, Default)]
pub struct CooperativeStickyAssignor;

impl Assignor for CooperativeStickyAssignor {
    fn name(&self) -> &str {
        "cooperative-sticky"
    }

    fn is_cooperative(&self) -> bool {
        true
    }

    fn assign(
        &self,
        group: &GroupSubscriptions,
    ) -> Result<BTreeMap<KString, MemberAssignment>, ClientError> {
        let owners = owners(group);
        let shares = Shares::of(group, &owners);
        let mut assignments = BTreeMap::new();
        for (member, partitions) in shares.by_member {
            // What somebody else still reads waits for the next round.
            let free = partitions
                .into_iter()
                .filter(|partition| owners.get(partition).is_none_or(|owner| *owner == member));
            let assignment = MemberAssignment {
                partitions: free.collect(),
                user_data: None,
            };
            assignments.insert(member, assignment);
        }
        Ok(assignments)
    }
}

/// Who has what. Of two members that claim a partition the one of the later generation has it; of the same
/// generation, neither.
fn owners(group: &GroupSubscriptions) -> BTreeMap<TopicPartition, KString> {
    let mut claims: BTreeMap<TopicPartition, (i32, Option<KString>)> = BTreeMap::new();
    for member in &group.members {
        let generation = member.generation.unwrap_or(-1);
        for partition in &member.owned_partitions {
            let claim = claims.entry(partition.clone()).or_insert((i32::MIN, None));
            if generation > claim.0 {
                *claim = (generation, Some(member.member_id.clone()));
            } else if generation == claim.0 {
                claim.1 = None;
            }
        }
    }
    let owned = claims
        .into_iter()
        .filter_map(|(partition, (_, owner))| Some((partition, owner?)));
    owned.collect()
}

/// The even shares that the group is on its way to.
struct Shares<'a> {
    members: BTreeMap<KString, &'a MemberSubscription>,
    by_member: BTreeMap<KString, BTreeSet<TopicPartition>>,
}

impl<'a> Shares<'a> {
    fn of(group: &'a GroupSubscriptions, owners: &BTreeMap<TopicPartition, KString>) -> Self {
        let members = group.members.iter();
        let mut shares = Self {
            members: members
                .map(|member| (member.member_id.clone(), member))
                .collect(),
            by_member: BTreeMap::new(),
        };
        for member in shares.members.keys() {
            shares.by_member.insert(member.clone(), BTreeSet::new());
        }
        let mut free = Vec::new();
        for (topic, count) in &group.partition_counts {
            for partition in 0..*count {
                let partition = TopicPartition {
                    topic: topic.clone(),
                    partition,
                };
                let owner = owners.get(&partition);
                match owner.filter(|owner| shares.wants(owner, topic)) {
                    Some(owner) => shares.give(&owner.clone(), partition),
                    None => free.push(partition),
                }
            }
        }
        for partition in free {
            if let Some((least, _)) = shares.least(&partition.topic) {
                shares.give(&least, partition);
            }
        }
        shares.even_out();
        shares
    }

    fn wants(&self, member: &KString, topic: &KString) -> bool {
        let member = self.members.get(member);
        member.is_some_and(|member| member.topics.contains(topic))
    }

    fn give(&mut self, member: &KString, partition: TopicPartition) {
        if let Some(partitions) = self.by_member.get_mut(member) {
            partitions.insert(partition);
        }
    }

    /// The subscriber of a topic that has the fewest partitions, and how many.
    fn least(&self, topic: &KString) -> Option<(KString, usize)> {
        self.by_member
            .iter()
            .filter(|(member, _)| self.wants(member, topic))
            .map(|(member, partitions)| (member.clone(), partitions.len()))
            .min_by_key(|(_, count)| *count)
    }

    /// Moves partitions from members with many to members with fewer, while that makes shares more even. Each move
    /// takes one from a member that has at least two more, so there are at most as many moves as partitions times
    /// members.
    fn even_out(&mut self) {
        while let Some((from, to, partition)) = self.next_move() {
            if let Some(partitions) = self.by_member.get_mut(&from) {
                partitions.remove(&partition);
            }
            self.give(&to, partition);
        }
    }

    fn next_move(&self) -> Option<(KString, KString, TopicPartition)> {
        let mut members: Vec<_> = self.by_member.iter().collect();
        members.sort_by_key(|(_, partitions)| std::cmp::Reverse(partitions.len()));
        for (member, partitions) in members {
            let topics: BTreeSet<_> = partitions.iter().map(|name| &name.topic).collect();
            for topic in topics {
                let Some((least, count)) = self.least(topic) else {
                    continue;
                };
                if partitions.len() < count + 2 {
                    continue;
                }
                // The highest number goes, as those that came last are the least worth keeping.
                let partition = partitions.iter().rev().find(|name| name.topic == *topic)?;
                return Some((member.clone(), least, partition.clone()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, topics: &[&str], generation: i32, owned: &[i32]) -> MemberSubscription {
        let owned = owned.iter();
        MemberSubscription {
            member_id: KString::copy_from(id),
            topics: topics
                .iter()
                .map(|topic| KString::copy_from(topic))
                .collect(),
            owned_partitions: owned
                .map(|partition| TopicPartition::new("x", *partition))
                .collect(),
            generation: Some(generation),
            ..MemberSubscription::default()
        }
    }

    fn check(members: &[MemberSubscription], topics: &[(&str, i32)], expected: &[&str]) {
        let group = GroupSubscriptions {
            members: members.to_vec(),
            partition_counts: topics
                .iter()
                .map(|(topic, count)| (KString::copy_from(topic), *count))
                .collect(),
        };
        let assigned = CooperativeStickyAssignor.assign(&group).unwrap();
        let shown: Vec<_> = assigned
            .iter()
            .map(|(member, assignment)| {
                let partitions = assignment.partitions.iter().map(ToString::to_string);
                format!("{member}: {}", partitions.collect::<Vec<_>>().join(" "))
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_new_group_shares_evenly() {
        check(
            &[member("a", &["x"], -1, &[]), member("b", &["x"], -1, &[])],
            &[("x", 5)],
            &["a: x-0 x-2 x-4", "b: x-1 x-3"],
        );
    }

    #[test]
    fn a_new_member_gets_only_what_is_free_until_the_owner_has_given_up() {
        check(
            &[
                member("a", &["x"], 1, &[0, 1, 2, 3]),
                member("b", &["x"], -1, &[]),
            ],
            &[("x", 4)],
            &["a: x-0 x-1", "b: "],
        );
        check(
            &[member("a", &["x"], 2, &[0, 1]), member("b", &["x"], 2, &[])],
            &[("x", 4)],
            &["a: x-0 x-1", "b: x-2 x-3"],
        );
    }

    #[test]
    fn a_member_that_is_gone_leaves_its_share_to_the_others() {
        check(
            &[
                member("a", &["x"], 3, &[0, 1]),
                member("b", &["x"], 3, &[4, 5]),
            ],
            &[("x", 6)],
            &["a: x-0 x-1 x-2", "b: x-3 x-4 x-5"],
        );
    }

    #[test]
    fn an_old_claim_does_not_count_against_a_newer_one() {
        check(
            &[
                member("a", &["x"], 3, &[0, 1]),
                member("b", &["x"], 1, &[0, 1]),
            ],
            &[("x", 2)],
            &["a: x-0", "b: "],
        );
    }

    #[test]
    fn members_get_only_topics_that_they_subscribe_to() {
        check(
            &[
                member("a", &["x", "y"], -1, &[]),
                member("b", &["y"], -1, &[]),
            ],
            &[("x", 2), ("y", 2)],
            &["a: x-0 x-1", "b: y-0 y-1"],
        );
    }
}
