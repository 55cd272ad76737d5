//! `uniform` where all members subscribe to the same topics.
//!
//! Everyone's share is the same; where the division leaves a rest, those get one more who have it
//! already, as far as it lasts, and the last members what is left of it. Members keep what they
//! have up to their share; what is over or was free fills the others.

use super::Input;
use crate::consumer_group::partitions::Partitions;

pub(super) fn assign(input: &Input<'_>) -> Vec<Partitions> {
    let Some(topics) = input.members.first().map(|member| &member.topics) else {
        return Vec::new();
    };
    let mut held = Partitions::default();
    for target in input.members.iter().filter_map(|member| member.target) {
        for (topic_id, partition) in target.iter() {
            held.insert(topic_id, partition);
        }
    }
    let mut free = Vec::new();
    let mut total = 0;
    for topic_id in topics {
        let count = input.partition_count(*topic_id);
        total += usize::try_from(count).unwrap_or_default();
        let unheld = (0..count).filter(|partition| !held.contains(*topic_id, *partition));
        free.extend(unheld.map(|partition| (*topic_id, partition)));
    }
    let share = total / input.members.len();
    let mut with_one_more = total % input.members.len();
    let mut targets = Vec::with_capacity(input.members.len());
    let mut room = Vec::with_capacity(input.members.len());
    // Two members may have the same one, see `ConsumerGroup::has_broken_target`: the first keeps it.
    let mut dealt_with = Partitions::default();
    for (position, member) in input.members.iter().enumerate() {
        let mut one_more = with_one_more > 0;
        let mut left = share + usize::from(one_more);
        let mut target = Partitions::default();
        for (topic_id, partition) in member.target.into_iter().flat_map(Partitions::iter) {
            let exists = (0..input.partition_count(topic_id)).contains(&partition);
            let is_anothers = dealt_with.contains(topic_id, partition);
            if !topics.contains(&topic_id) || !exists || is_anothers {
                continue;
            }
            dealt_with.insert(topic_id, partition);
            if left > 0 {
                left -= 1;
                target.insert(topic_id, partition);
            } else {
                free.push((topic_id, partition));
            }
        }
        // Whoever does not need it leaves it to those after it, as long as there are enough of them.
        if one_more && left > 0 && input.members.len() - position > with_one_more {
            one_more = false;
            left -= 1;
        }
        with_one_more -= usize::from(one_more);
        targets.push(target);
        room.push(left);
    }
    let mut free = free.into_iter();
    for (target, room) in targets.iter_mut().zip(room) {
        for (topic_id, partition) in free.by_ref().take(room) {
            target.insert(topic_id, partition);
        }
    }
    targets
}
