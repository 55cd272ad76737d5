//! What one fetch asks for, with its partitions found.

use std::sync::Arc;

use moldau_protocol::messages::fetch::{
    EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchTopic,
    FetchableTopicResponse, PartitionData,
};
use moldau_protocol::{ErrorCode, KString, Uuid};

use super::RequestContext;
use super::fetch_read::{PartitionRead, Read};
use crate::node::Node;
use crate::runtime::{Partition, Waiter};

/// A fetch request, resolved.
#[derive(Debug)]
pub(super) struct Plan {
    topics: Vec<PlanTopic>,
    /// The partitions of all topics, in the order of the request.
    pub(super) targets: Vec<Target>,
    pub(super) max_bytes: usize,
    /// Read below the last stable offset, not below the high watermark.
    pub(super) read_committed: bool,
    /// Which target is read first.
    pub(super) first: usize,
}

#[derive(Debug)]
struct PlanTopic {
    name: KString,
    id: Uuid,
    partitions: usize,
}

/// One partition to read from.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) index: i32,
    pub(super) partition: Result<Arc<Partition>, ErrorCode>,
    pub(super) fetch_offset: i64,
    pub(super) max_bytes: usize,
    pub(super) current_leader_epoch: i32,
    pub(super) last_fetched_epoch: i32,
}

impl Plan {
    pub(super) fn new(node: &Node, context: &RequestContext, request: FetchRequest) -> Self {
        let mut topics = Vec::with_capacity(request.topics.len());
        let mut targets = Vec::new();
        for topic in request.topics {
            let name = topic_name(node, context.version, &topic);
            topics.push(PlanTopic {
                name: topic.topic.clone(),
                id: topic.topic_id,
                partitions: topic.partitions.len(),
            });
            targets.extend(
                topic
                    .partitions
                    .iter()
                    .map(|partition| target(node, &name, partition)),
            );
        }
        let max_bytes = usize::try_from(request.max_bytes)
            .unwrap_or(0)
            .min(node.config.fetch_max_bytes);
        let first = (context.rotation as usize)
            .checked_rem(targets.len())
            .unwrap_or(0);
        Self {
            topics,
            targets,
            max_bytes,
            read_committed: request.isolation_level == READ_COMMITTED,
            first,
        }
    }

    /// The targets, beginning with another one each time, so that one busy partition does not starve the others.
    pub(super) fn rotated(&self) -> impl Iterator<Item = (usize, &Target)> {
        let from_first = self.targets.iter().enumerate().skip(self.first);
        from_first.chain(self.targets.iter().enumerate().take(self.first))
    }

    /// Adds `waiter` to every partition, until the result is dropped.
    pub(super) fn register(self: &Arc<Self>, waiter: &Arc<Waiter>) -> Registered {
        for partition in self.partitions() {
            partition.waiters.add(waiter);
        }
        Registered {
            plan: Arc::clone(self),
            waiter: Arc::clone(waiter),
        }
    }

    fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.targets
            .iter()
            .filter_map(|target| target.partition.as_ref().ok())
    }

    /// Puts what was read into the shape of the request.
    pub(super) fn response(&self, read: Read) -> FetchResponse {
        let mut reads = self.targets.iter().zip(read.partitions);
        let responses = self
            .topics
            .iter()
            .map(|topic| FetchableTopicResponse {
                topic: topic.name.clone(),
                topic_id: topic.id,
                partitions: reads
                    .by_ref()
                    .take(topic.partitions)
                    .map(|(target, read)| partition_data(target, read))
                    .collect(),
                ..Default::default()
            })
            .collect();
        FetchResponse {
            responses,
            ..Default::default()
        }
    }
}

fn topic_name(node: &Node, version: i16, topic: &FetchTopic) -> Result<KString, ErrorCode> {
    if version < FIRST_WITH_TOPIC_ID {
        return Ok(topic.topic.clone());
    }
    let image = node.metadata.image();
    image
        .topic_by_id(topic.topic_id)
        .map(|topic| topic.name.clone())
        .ok_or(ErrorCode::UnknownTopicId)
}

fn target(node: &Node, topic: &Result<KString, ErrorCode>, asked: &FetchPartition) -> Target {
    let partition = topic.as_ref().map_err(|code| *code).and_then(|topic| {
        node.partitions
            .find(topic, asked.partition)
            .ok_or(ErrorCode::UnknownTopicOrPartition)
    });
    Target {
        index: asked.partition,
        partition,
        fetch_offset: asked.fetch_offset,
        max_bytes: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
        current_leader_epoch: asked.current_leader_epoch,
        last_fetched_epoch: asked.last_fetched_epoch,
    }
}

fn partition_data(target: &Target, read: PartitionRead) -> PartitionData {
    let mut data = PartitionData {
        partition_index: target.index,
        error_code: read.error.code(),
        high_watermark: read.high_watermark,
        last_stable_offset: read.last_stable_offset,
        log_start_offset: read.log_start_offset,
        // Clients take null records for a fault: nothing to read is an empty field.
        records: Some(read.records),
        ..Default::default()
    };
    if let Some(end) = read.diverging {
        data.diverging_epoch = EpochEndOffset {
            epoch: end.epoch,
            end_offset: end.end_offset,
            ..Default::default()
        };
    }
    data
}

/// A waiter's place in the lists of its partitions; dropping it gives the places up.
pub(super) struct Registered {
    plan: Arc<Plan>,
    waiter: Arc<Waiter>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        for partition in self.plan.partitions() {
            partition.waiters.remove(&self.waiter);
        }
    }
}

const FIRST_WITH_TOPIC_ID: i16 = 13;
const READ_COMMITTED: i8 = 1;
