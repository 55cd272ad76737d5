//! Assignors on small cases and on random ones.

use std::collections::BTreeSet;

use moldau_protocol::types::{KString, Uuid};
use proptest::prelude::*;

use super::{Assignor, Input, Subscriber};
use crate::consumer_group::partitions::Partitions;

/// Members and topics by small numbers.
#[derive(Clone, Debug, Default)]
struct Case {
    /// The partitions of each topic.
    topics: Vec<i32>,
    /// What each member subscribes to.
    members: Vec<BTreeSet<usize>>,
    targets: Vec<Partitions>,
}

impl Case {
    fn assign(&self, assignor: Assignor) -> Vec<Partitions> {
        let ids: Vec<KString> = (0..self.members.len()).map(member_id).collect();
        let members = self
            .members
            .iter()
            .enumerate()
            .map(|(index, topics)| Subscriber {
                member_id: &ids[index],
                instance_id: None,
                topics: topics.iter().map(|topic| topic_id(*topic)).collect(),
                target: self.targets.get(index),
            });
        let counts = self.topics.iter().enumerate();
        let input = Input {
            members: members.collect(),
            partition_counts: counts
                .map(|(topic, count)| (topic_id(topic), *count))
                .collect(),
            homogeneous: self.members.windows(2).all(|pair| pair[0] == pair[1]),
        };
        assignor.assign(&input)
    }

    /// Assigns, and then again after the change.
    fn then(
        mut self,
        assignor: Assignor,
        change: impl FnOnce(&mut Self),
    ) -> (Vec<Partitions>, Vec<Partitions>) {
        let before = self.assign(assignor);
        self.targets = before.clone();
        change(&mut self);
        let after = self.assign(assignor);
        (before, after)
    }

    fn check(&self, targets: &[Partitions]) {
        let mut expected = BTreeSet::new();
        for topic in self.members.iter().flatten() {
            expected.extend((0..self.topics[*topic]).map(|index| (topic_id(*topic), index)));
        }
        let mut given = BTreeSet::new();
        for (target, topics) in targets.iter().zip(&self.members) {
            for at in target.iter() {
                assert!(topics.iter().any(|topic| topic_id(*topic) == at.0));
                assert!(given.insert(at), "{at:?} is given twice");
            }
        }
        assert_eq!(given, expected);
    }
}

fn member_id(index: usize) -> KString {
    KString::from(format!("member-{index:02}"))
}

fn topic_id(topic: usize) -> Uuid {
    let mut id = [0; 16];
    id[15] = topic as u8 + 1;
    Uuid(id)
}

fn sizes(targets: &[Partitions]) -> Vec<usize> {
    targets.iter().map(Partitions::len).collect()
}

fn kept(before: &[Partitions], after: &[Partitions]) -> usize {
    let pairs = before.iter().zip(after);
    pairs
        .map(|(before, after)| {
            before
                .iter()
                .filter(|(id, index)| after.contains(*id, *index))
                .count()
        })
        .sum()
}

fn all(topics: usize) -> BTreeSet<usize> {
    (0..topics).collect()
}

#[test]
fn uniform_spreads_evenly_and_keeps_what_it_can() {
    let case = Case {
        topics: vec![3, 4],
        members: vec![all(2); 2],
        ..Case::default()
    };
    let (before, after) = case.then(Assignor::Uniform, |case| case.members.push(all(2)));
    assert_eq!((sizes(&before), sizes(&after)), (vec![3, 4], vec![3, 2, 2]));
    assert_eq!(kept(&before, &after), 5);
}

#[test]
fn range_gives_the_same_numbers_of_all_topics_to_a_member() {
    let case = Case {
        topics: vec![5, 5],
        members: vec![all(2); 2],
        ..Case::default()
    };
    let targets = case.assign(Assignor::Range);
    let numbers =
        |target: &Partitions| -> Vec<i32> { target.iter().map(|(_, index)| index).collect() };
    assert_eq!(numbers(&targets[0]), [0, 1, 2, 0, 1, 2]);
    assert_eq!(numbers(&targets[1]), [3, 4, 3, 4]);
}

#[test]
fn uniform_gives_a_lonely_topic_to_its_only_subscriber_and_the_rest_to_the_others() {
    let case = Case {
        topics: vec![4, 4],
        members: vec![all(2), all(1)],
        ..Case::default()
    };
    let targets = case.assign(Assignor::Uniform);
    assert_eq!(sizes(&targets), [4, 4]);
    case.check(&targets);
}

#[test]
fn nobody_and_nothing_are_assigned_too() {
    for assignor in [Assignor::Uniform, Assignor::Range] {
        assert!(Case::default().assign(assignor).is_empty());
        let idle = Case {
            topics: vec![3],
            members: vec![BTreeSet::new(); 2],
            ..Case::default()
        };
        assert_eq!(sizes(&idle.assign(assignor)), [0, 0]);
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let topics = prop::collection::vec(1..9_i32, 1..6);
    topics.prop_flat_map(|topics| {
        let subscription = prop::collection::btree_set(0..topics.len(), 0..=topics.len());
        let mixed = prop::collection::vec(subscription.clone(), 1..8);
        let same = (subscription, 1..8_usize).prop_map(|(topics, members)| vec![topics; members]);
        prop_oneof![mixed, same].prop_map(move |members| Case {
            topics: topics.clone(),
            members,
            targets: Vec::new(),
        })
    })
}

/// No partition could move to someone who has less by two, as its topic's subscribers see it.
fn assert_even(case: &Case, targets: &[Partitions]) {
    let sizes = sizes(targets);
    for (giver, target) in targets.iter().enumerate() {
        for (topic, _) in target.iter() {
            for (taker, topics) in case.members.iter().enumerate() {
                let could = topics.iter().any(|wanted| topic_id(*wanted) == topic);
                assert!(
                    !could || sizes[giver] <= sizes[taker] + 1,
                    "{case:?}: {sizes:?}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn every_partition_is_given_to_one_subscriber(case in cases(), gone in 0..8_usize) {
        for assignor in [Assignor::Uniform, Assignor::Range] {
            let targets = case.assign(assignor);
            case.check(&targets);
            let mut next = Case { targets, ..case.clone() };
            if gone < next.members.len() && next.members.len() > 1 {
                next.members.remove(gone);
                next.targets.remove(gone);
            }
            next.topics[0] += 2;
            next.check(&next.assign(assignor));
        }
    }

    #[test]
    fn uniform_is_even_and_moves_nothing_when_nothing_changes(case in cases()) {
        let targets = case.assign(Assignor::Uniform);
        assert_even(&case, &targets);
        let again = Case { targets: targets.clone(), ..case };
        prop_assert_eq!(again.assign(Assignor::Uniform), targets);
    }

    #[test]
    fn uniform_moves_only_as_much_as_a_newcomer_takes(topics in prop::collection::vec(1..9_i32, 1..5), members in 1..6_usize) {
        let case = Case { members: vec![all(topics.len()); members], topics, targets: Vec::new() };
        let total: usize = case.topics.iter().map(|count| *count as usize).sum();
        let newcomer = all(case.topics.len());
        let (before, after) = case.then(Assignor::Uniform, |case| case.members.push(newcomer));
        let moved = total - kept(&before, &after);
        prop_assert!(moved <= after[members].len() + members, "{} moved", moved);
    }
}
