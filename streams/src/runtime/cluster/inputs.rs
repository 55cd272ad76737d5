//! The source partitions of one thread: where they lead, and how much waits in them.

use std::collections::{BTreeMap, BTreeSet};

use moldau_client::consumer::FetchedBatch;
use moldau_client::{Consumer, TopicPartition};

use crate::runtime::error::StreamsError;
use crate::runtime::plan::Plan;
use crate::runtime::record::Record;
use crate::runtime::task_id::TaskId;

/// Which task and which of its inputs each source partition leads to.
#[derive(Debug)]
pub(super) struct Routes {
    routes: BTreeMap<TopicPartition, (TaskId, usize)>,
}

impl Routes {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut routes = BTreeMap::new();
        for (id, inputs) in &plan.tasks {
            for (index, input) in inputs.iter().enumerate() {
                routes.insert(input.name.clone(), (*id, index));
            }
        }
        Self { routes }
    }

    pub(super) fn of(&self, partition: &TopicPartition) -> Option<(TaskId, usize)> {
        self.routes.get(partition).copied()
    }

    /// The tasks of an assignment; each must have all of its inputs, but for those of patterns: the
    /// leader may not know their topics yet.
    pub(super) fn tasks(
        &self,
        plan: &Plan,
        assigned: &[TopicPartition],
        group: &str,
    ) -> Result<BTreeSet<TaskId>, StreamsError> {
        let assigned: BTreeSet<_> = assigned.iter().collect();
        let tasks: BTreeSet<_> = assigned
            .iter()
            .filter_map(|name| Some(self.of(name)?.0))
            .collect();
        for task in &tasks {
            let inputs = plan.tasks.get(task).into_iter().flatten();
            let inputs = inputs.filter(|input| !input.by_pattern);
            let needed: BTreeSet<_> = inputs.map(|input| input.name.clone()).collect();
            if let Some(missing) = needed.iter().find(|name| !assigned.contains(name)) {
                tracing::debug!(%task, %missing, "a partition of a task went elsewhere");
                return Err(StreamsError::Assignment {
                    task: *task,
                    needed: list(needed.iter()),
                    assigned: list(needed.iter().filter(|name| assigned.contains(name))),
                    group: group.to_owned(),
                });
            }
        }
        Ok(tasks)
    }
}

/// Decodes a fetched batch.
pub(super) fn decode(fetched: &FetchedBatch) -> Result<Vec<Record>, StreamsError> {
    let partition = fetched.topic_partition.partition;
    let broken = |error: moldau_protocol::batch::BatchError| StreamsError::Deserialize {
        topic: fetched.topic_partition.topic.to_string(),
        partition,
        offset: fetched.batch.base_offset(),
        part: "batch",
        reason: error.to_string(),
    };
    let count = usize::try_from(fetched.batch.record_count()).unwrap_or(0);
    // The count is the sender's claim; the batch's size bounds it (a record takes 7 bytes).
    let mut records = Vec::with_capacity(count.min(fetched.size_in_bytes() / 7 + 1));
    for record in fetched.records().map_err(broken)? {
        let record = record.map_err(broken)?;
        records.push(Record {
            partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers,
        });
    }
    Ok(records)
}

/// Partitions that are paused because too much of them waits, or because their task restores.
#[derive(Debug, Default)]
pub(super) struct Paused {
    partitions: BTreeSet<TopicPartition>,
}

impl Paused {
    pub(super) fn set(&mut self, consumer: &mut Consumer, name: &TopicPartition, paused: bool) {
        if paused && !self.partitions.contains(name) {
            self.partitions.insert(name.clone());
            consumer.pause(std::slice::from_ref(name));
        } else if !paused && self.partitions.remove(name) {
            consumer.resume(std::slice::from_ref(name));
        }
    }

    pub(super) fn names(&self) -> Vec<TopicPartition> {
        self.partitions.iter().cloned().collect()
    }

    pub(super) fn clear(&mut self) {
        self.partitions.clear();
    }
}

fn list<'a>(names: impl Iterator<Item = &'a TopicPartition>) -> String {
    let names: Vec<_> = names.map(ToString::to_string).collect();
    names.join(", ")
}
