//! `uniform` where members subscribe to different topics.
//!
//! First everyone keeps what it has of its topics and the free partitions go to those with least,
//! topics with most partitions a subscriber first. Then, topic by topic, partitions move from those
//! with most to those with least as long as that evens them out. One topic's moves change what is
//! even for another, so the topics are gone through again until nothing moves.

use std::collections::BTreeMap;

use moldau_protocol::types::Uuid;

use super::Input;
use super::levels::Levels;
use crate::consumer_group::partitions::Partitions;

pub(super) fn assign(input: &Input<'_>) -> Vec<Partitions> {
    let mut table = Table::new(input);
    table.fill_free();
    table.balance();
    table.targets()
}

/// Who has which partition. Members are known by their position.
struct Table {
    /// Ordered as they are dealt with.
    topics: Vec<Topic>,
    /// How many partitions each member has.
    sizes: Vec<usize>,
}

struct Topic {
    id: Uuid,
    /// Ordered by position.
    subscribers: Vec<usize>,
    /// By partition.
    owners: Vec<Option<usize>>,
}

impl Table {
    fn new(input: &Input<'_>) -> Self {
        let mut subscribers: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
        for (position, member) in input.members.iter().enumerate() {
            for topic_id in &member.topics {
                subscribers.entry(*topic_id).or_default().push(position);
            }
        }
        let mut sizes = vec![0; input.members.len()];
        let topic = |(id, subscribers): (Uuid, Vec<usize>)| {
            let count = usize::try_from(input.partition_count(id)).unwrap_or_default();
            let mut owners = vec![None; count];
            for position in &subscribers {
                let target = input
                    .members
                    .get(*position)
                    .and_then(|member| member.target);
                for partition in target.into_iter().flat_map(|target| target.of_topic(id)) {
                    let index = usize::try_from(partition).unwrap_or(usize::MAX);
                    if let Some(owner) = owners.get_mut(index)
                        && owner.is_none()
                    {
                        *owner = Some(*position);
                        sizes[*position] += 1;
                    }
                }
            }
            Topic {
                id,
                subscribers,
                owners,
            }
        };
        let mut topics: Vec<Topic> = subscribers.into_iter().map(topic).collect();
        topics.sort_by(|left, right| {
            // Partitions a subscriber, compared without division; then fewer subscribers first.
            let left_share = left.owners.len() * right.subscribers.len();
            let right_share = right.owners.len() * left.subscribers.len();
            let shares = right_share.cmp(&left_share);
            let sizes = || left.subscribers.len().cmp(&right.subscribers.len());
            shares.then_with(sizes).then_with(|| left.id.cmp(&right.id))
        });
        Self { topics, sizes }
    }

    fn fill_free(&mut self) {
        for topic in &mut self.topics {
            let mut levels = Levels::new(&topic.subscribers, &self.sizes);
            for owner in topic.owners.iter_mut().filter(|owner| owner.is_none()) {
                let member = levels.next_lowest(&self.sizes);
                *owner = Some(member);
                self.sizes[member] += 1;
            }
        }
    }

    fn balance(&mut self) {
        let with_choice: Vec<usize> = (0..self.topics.len())
            .filter(|index| self.topics[*index].subscribers.len() >= 2)
            .collect();
        let mut last_moved = None;
        for _ in 0..MAX_ROUNDS {
            for index in &with_choice {
                if last_moved == Some(*index) {
                    return;
                }
                let moved = self.balance_topic(*index);
                if moved || last_moved.is_none() {
                    last_moved = Some(*index);
                }
            }
        }
    }

    /// Moves partitions of one topic; says whether any has moved.
    fn balance_topic(&mut self, index: usize) -> bool {
        let Some(topic) = self.topics.get_mut(index) else {
            return false;
        };
        let mut levels = Levels::new(&topic.subscribers, &self.sizes);
        if levels.difference(&self.sizes) <= 1 {
            return false;
        }
        // What each member may give away; it gives its last partition first.
        let mut has: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (partition, owner) in topic.owners.iter().enumerate() {
            if let Some(owner) = owner {
                has.entry(*owner).or_default().push(partition);
            }
        }
        let mut moved = false;
        while !levels.is_even() {
            let mut given = None;
            while let Some(giver) = levels.next_highest(&self.sizes) {
                given = has
                    .get_mut(&giver)
                    .and_then(Vec::pop)
                    .map(|partition| (giver, partition));
                if given.is_some() {
                    break;
                }
                levels.exclude_highest();
            }
            let Some((giver, partition)) = given else {
                break;
            };
            let taker = levels.next_lowest(&self.sizes);
            if levels.is_even() {
                break;
            }
            topic.owners[partition] = Some(taker);
            self.sizes[giver] -= 1;
            self.sizes[taker] += 1;
            moved = true;
        }
        moved
    }

    fn targets(&self) -> Vec<Partitions> {
        let mut targets = vec![Partitions::default(); self.sizes.len()];
        for topic in &self.topics {
            for (partition, owner) in topic.owners.iter().enumerate() {
                if let (Some(owner), Ok(partition)) = (owner, i32::try_from(partition)) {
                    targets[*owner].insert(topic.id, partition);
                }
            }
        }
        targets
    }
}

/// How often all topics are gone through; by then nothing is left to move except in contrived cases.
const MAX_ROUNDS: usize = 16;
