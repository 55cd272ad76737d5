//! Records of several partitions in the order of their timestamps.
//!
//! As the streams runtime does it for a task: nothing is taken from a partition while another one,
//! of which more is known to be there, has nothing waiting. Partitions that were read to the end
//! that they had at the start are live, and nobody waits for those.

use std::collections::{BTreeMap, VecDeque};

use moldau_client::Record;

/// Waiting records by partition.
#[derive(Debug)]
pub(super) struct Interleave {
    queues: BTreeMap<i32, Queue>,
}

#[derive(Debug)]
struct Queue {
    records: VecDeque<Record>,
    /// Records before this offset were there at the start.
    catch_up_to: i64,
    position: i64,
}

impl Interleave {
    /// Partitions with the offsets where they start and up to which they catch up.
    pub(super) fn new(partitions: impl Iterator<Item = (i32, i64, i64)>) -> Self {
        let queue = |(partition, start, end)| {
            let queue = Queue {
                records: VecDeque::new(),
                catch_up_to: end,
                position: start,
            };
            (partition, queue)
        };
        Self {
            queues: partitions.map(queue).collect(),
        }
    }

    /// Adds a record that was read.
    pub(super) fn push(&mut self, partition: i32, record: Record) {
        if let Some(queue) = self.queues.get_mut(&partition) {
            queue.position = queue.position.max(record.offset + 1);
            queue.records.push_back(record);
        }
    }

    /// Notes that a partition was read up to an offset, also where there was no record.
    pub(super) fn advance(&mut self, partition: i32, position: i64) {
        if let Some(queue) = self.queues.get_mut(&partition) {
            queue.position = queue.position.max(position);
        }
    }

    /// Takes what may be processed now.
    pub(super) fn take(&mut self) -> Vec<(i32, Record)> {
        let mut taken = Vec::new();
        loop {
            let waits = self
                .queues
                .values()
                .any(|queue| queue.records.is_empty() && queue.position < queue.catch_up_to);
            if waits {
                return taken;
            }
            let next = self
                .queues
                .iter_mut()
                .filter_map(|(partition, queue)| {
                    let timestamp = queue.records.front()?.timestamp;
                    Some((timestamp, *partition, queue))
                })
                .min_by_key(|(timestamp, partition, _)| (*timestamp, *partition));
            let Some((_, partition, queue)) = next else {
                return taken;
            };
            if let Some(record) = queue.records.pop_front() {
                taken.push((partition, record));
            }
        }
    }

    /// Partitions that have more waiting than `limit`, while others have nothing.
    pub(super) fn overfull(&self, limit: usize) -> Vec<i32> {
        self.queues
            .iter()
            .filter(|(_, queue)| queue.records.len() > limit)
            .map(|(partition, _)| *partition)
            .collect()
    }
}
