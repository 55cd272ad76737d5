//! Whose turn it is.

use crate::runtime::task_id::TaskId;

/// Inputs with waiting records, the one with the oldest first.
///
/// A binary heap as Java's `PriorityQueue` keeps it, so that of equal timestamps the one comes first
/// that comes first in Kafka Streams' test driver.
#[derive(Debug, Default)]
pub(super) struct Turns(Vec<Turn>);

/// An input of a task, and the timestamp of its first waiting record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) timestamp: i64,
    pub(super) task: TaskId,
    pub(super) input: usize,
}

impl Turns {
    pub(super) fn push(&mut self, turn: Turn) {
        let heap = &mut self.0;
        let mut place = heap.len();
        heap.push(turn);
        while place > 0 {
            let parent = (place - 1) / 2;
            if turn.timestamp >= heap[parent].timestamp {
                break;
            }
            heap.swap(place, parent);
            place = parent;
        }
    }

    pub(super) fn pop(&mut self) -> Option<Turn> {
        let heap = &mut self.0;
        let last = heap.pop()?;
        let Some(first) = heap.first_mut() else {
            return Some(last);
        };
        let first = std::mem::replace(first, last);
        let mut place = 0;
        loop {
            let mut child = 2 * place + 1;
            let is_older = |one: usize, other: usize| match (heap.get(one), heap.get(other)) {
                (Some(one), Some(other)) => one.timestamp < other.timestamp,
                _ => false,
            };
            child += usize::from(is_older(child + 1, child));
            if !is_older(child, place) {
                return Some(first);
            }
            heap.swap(place, child);
            place = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(timestamps: &[i64]) -> Turns {
        let mut turns = Turns::default();
        for (input, timestamp) in timestamps.iter().enumerate() {
            turns.push(Turn {
                timestamp: *timestamp,
                task: TaskId {
                    sub_topology: 0,
                    partition: 0,
                },
                input,
            });
        }
        turns
    }

    #[test]
    fn the_oldest_record_comes_first() {
        let mut turns = turns(&[5, 3, 9, 1, 7, 2]);
        let timestamps = std::iter::from_fn(|| turns.pop()).map(|turn| turn.timestamp);
        assert_eq!(timestamps.collect::<Vec<_>>(), [1, 2, 3, 5, 7, 9]);
    }

    #[test]
    fn equal_timestamps_come_in_the_order_of_javas_priority_queue() {
        let mut turns = turns(&[7, 7, 7]);
        let inputs = std::iter::from_fn(|| {
            let turn = turns.pop()?;
            turns.push(turn);
            Some(turn.input)
        });
        // The last of three moves to the front when the first is taken, and stays there.
        assert_eq!(inputs.take(5).collect::<Vec<_>>(), [0, 2, 0, 2, 0]);
    }
}
