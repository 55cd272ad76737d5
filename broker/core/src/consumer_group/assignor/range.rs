//! `range`: each topic's partitions are cut into as many ranges as the topic has subscribers.
//!
//! Members take their ranges in a fixed order, static members first, so that the same members get
//! the same numbers of topics that have equally many partitions, and such topics can be joined.
//! The first ranges are longer by one where the division leaves a rest.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use moldau_protocol::types::Uuid;

use super::{Input, Subscriber};
use crate::consumer_group::partitions::Partitions;

pub(super) fn assign(input: &Input<'_>) -> Vec<Partitions> {
    let mut order: Vec<usize> = (0..input.members.len()).collect();
    order.sort_by(|left, right| by_instance(&input.members[*left], &input.members[*right]));
    let mut topics = topics(input);
    let mut targets = vec![Partitions::default(); input.members.len()];
    for index in order {
        for topic_id in &input.members[index].topics {
            let Some(topic) = topics.get_mut(topic_id) else {
                continue;
            };
            for partition in topic.next_range() {
                targets[index].insert(*topic_id, partition);
            }
        }
    }
    targets
}

/// Static members keep their place by their instance id, whatever their member ids.
fn by_instance(left: &Subscriber<'_>, right: &Subscriber<'_>) -> Ordering {
    match (left.instance_id, right.instance_id) {
        (Some(left), Some(right)) => left.cmp(right),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => left.member_id.cmp(right.member_id),
    }
}

/// A topic while its ranges are given out.
struct Topic {
    partitions: i32,
    /// The next partition that nobody has.
    next: i32,
    /// How many partitions each subscriber gets.
    quota: i32,
    /// How many subscribers get one more.
    longer: i32,
}

impl Topic {
    fn next_range(&mut self) -> std::ops::Range<i32> {
        let mut length = self.quota;
        if self.longer > 0 {
            self.longer -= 1;
            length += 1;
        }
        let start = self.next;
        self.next = (start + length).min(self.partitions);
        start..self.next
    }
}

fn topics(input: &Input<'_>) -> BTreeMap<Uuid, Topic> {
    let mut subscribers: BTreeMap<Uuid, i32> = BTreeMap::new();
    for topic_id in input.members.iter().flat_map(|member| &member.topics) {
        *subscribers.entry(*topic_id).or_default() += 1;
    }
    let topic = |(topic_id, subscribers): (Uuid, i32)| {
        let partitions = input.partition_count(topic_id);
        let topic = Topic {
            partitions,
            next: 0,
            quota: partitions / subscribers,
            longer: partitions % subscribers,
        };
        (topic_id, topic)
    };
    subscribers.into_iter().map(topic).collect()
}
