//! What one fetch reads, with its partitions found.

use std::sync::Arc;

use moldau_core::fetch_session::{FetchAnswer, FetchContext, FetchTarget};
use moldau_protocol::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse,
    PartitionData,
};
use moldau_protocol::{ErrorCode, KString, Uuid};

use super::RequestContext;
use super::fetch::FIRST_WITH_TOPIC_ID;
use super::fetch_read::{PartitionRead, Read};
use crate::node::Node;
use crate::runtime::{Partition, Topic, Waiter};

/// What is the same for all partitions of a fetch.
#[derive(Debug)]
pub(super) struct Rules {
    by_id: bool,
    max_bytes: usize,
    read_committed: bool,
    rotation: u32,
}

/// A fetch request, resolved.
#[derive(Debug)]
pub(super) struct Plan {
    fetch: FetchContext,
    /// By target of `fetch`.
    pub(super) targets: Vec<Target>,
    pub(super) max_bytes: usize,
    /// Read below the last stable offset, not below the high watermark.
    pub(super) read_committed: bool,
    /// Which target is read first.
    pub(super) first: usize,
}

/// One partition to read from.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) partition: Result<Arc<Partition>, ErrorCode>,
    pub(super) fetch_offset: i64,
    pub(super) max_bytes: usize,
    pub(super) current_leader_epoch: i32,
    pub(super) last_fetched_epoch: i32,
}

impl Rules {
    pub(super) fn new(node: &Node, context: &RequestContext, request: &FetchRequest) -> Self {
        Self {
            by_id: context.version >= FIRST_WITH_TOPIC_ID,
            max_bytes: usize::try_from(request.max_bytes)
                .unwrap_or(0)
                .min(node.config().fetch_max_bytes),
            read_committed: request.isolation_level == READ_COMMITTED,
            rotation: context.rotation,
        }
    }
}

impl Plan {
    pub(super) fn new(node: &Node, rules: &Rules, fetch: FetchContext) -> Self {
        let asked = fetch.targets();
        let mut lookup = Lookup {
            node,
            by_id: rules.by_id,
            last: None,
        };
        let targets: Vec<Target> = asked.iter().map(|asked| lookup.target(asked)).collect();
        let first = if fetch.keeps_order() {
            0
        } else {
            (rules.rotation as usize)
                .checked_rem(targets.len())
                .unwrap_or(0)
        };
        Self {
            fetch,
            targets,
            max_bytes: rules.max_bytes,
            read_committed: rules.read_committed,
            first,
        }
    }

    pub(super) fn fetch(&self) -> &FetchContext {
        &self.fetch
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

    /// Names the partitions that `answer` includes; neighbours of one topic share its entry.
    pub(super) fn response(&self, read: Read, answer: &FetchAnswer) -> FetchResponse {
        let mut responses: Vec<FetchableTopicResponse> = Vec::new();
        let reads = self.fetch.targets().iter().zip(read.partitions);
        for (place, (asked, read)) in reads.enumerate() {
            if !answer.included.contains(place) {
                continue;
            }
            let data = partition_data(asked, read);
            match responses.last_mut() {
                Some(last) if last.topic == asked.topic && last.topic_id == asked.topic_id => {
                    last.partitions.push(data);
                }
                _ => responses.push(FetchableTopicResponse {
                    topic: asked.topic.clone(),
                    topic_id: asked.topic_id,
                    partitions: vec![data],
                    ..Default::default()
                }),
            }
        }
        FetchResponse {
            session_id: answer.session_id,
            responses,
            ..Default::default()
        }
    }
}

/// Finds partitions; those of one topic mostly come one after another.
struct Lookup<'a> {
    node: &'a Node,
    by_id: bool,
    last: Option<(KString, Uuid, Result<Arc<Topic>, ErrorCode>)>,
}

impl Lookup<'_> {
    fn target(&mut self, asked: &FetchTarget) -> Target {
        Target {
            partition: self.partition(asked),
            fetch_offset: asked.fetch_offset,
            max_bytes: usize::try_from(asked.max_bytes).unwrap_or(0),
            current_leader_epoch: asked.current_leader_epoch,
            last_fetched_epoch: asked.last_fetched_epoch,
        }
    }

    fn partition(&mut self, asked: &FetchTarget) -> Result<Arc<Partition>, ErrorCode> {
        let topic = self.topic(asked)?;
        usize::try_from(asked.partition)
            .ok()
            .and_then(|index| topic.partitions.get(index))
            .map(Arc::clone)
            .ok_or(ErrorCode::UnknownTopicOrPartition)
    }

    fn topic(&mut self, asked: &FetchTarget) -> Result<&Topic, ErrorCode> {
        let known =
            |(topic, id, _): &(KString, Uuid, _)| *topic == asked.topic && *id == asked.topic_id;
        if !self.last.as_ref().is_some_and(known) {
            self.last = None;
        }
        let found = self.last.get_or_insert_with(|| {
            (
                asked.topic.clone(),
                asked.topic_id,
                find(self.node, self.by_id, asked),
            )
        });
        found.2.as_deref().map_err(|code| *code)
    }
}

fn find(node: &Node, by_id: bool, asked: &FetchTarget) -> Result<Arc<Topic>, ErrorCode> {
    if by_id {
        let image = node.metadata.image();
        let topic = image.topic_by_id(asked.topic_id);
        let name = &topic.ok_or(ErrorCode::UnknownTopicId)?.name;
        return node.partitions.topic(name).ok_or(ErrorCode::UnknownTopicId);
    }
    node.partitions
        .topic(&asked.topic)
        .ok_or(ErrorCode::UnknownTopicOrPartition)
}

fn partition_data(asked: &FetchTarget, read: PartitionRead) -> PartitionData {
    let mut data = PartitionData {
        partition_index: asked.partition,
        error_code: read.error.code(),
        high_watermark: read.high_watermark,
        last_stable_offset: read.last_stable_offset,
        log_start_offset: read.log_start_offset,
        // Clients take null records for a fault: nothing to read is an empty field.
        records: Some(read.records),
        aborted_transactions: read.aborted.map(aborted_transactions),
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

fn aborted_transactions(aborted: Vec<moldau_log::AbortedTransaction>) -> Vec<AbortedTransaction> {
    let entries = aborted.into_iter().map(|aborted| AbortedTransaction {
        producer_id: aborted.producer_id,
        first_offset: aborted.first_offset,
        ..Default::default()
    });
    entries.collect()
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

const READ_COMMITTED: i8 = 1;
