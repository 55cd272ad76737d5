//! Puts the figures of a running broker together.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use moldau_core::coordinator::GroupSummary;

use super::snapshot::{
    CommittedOffset, GroupMetrics, MetricsSnapshot, PartitionMetrics, RequestMetrics, TopicMetrics,
};
use crate::node::Node;
use crate::runtime::{Partition, Partitions, Topic};

/// Reads the figures of a broker; does not keep it running.
pub struct BrokerMetrics {
    node: Weak<Node>,
}

impl BrokerMetrics {
    pub(crate) fn new(node: &Arc<Node>) -> Self {
        Self {
            node: Arc::downgrade(node),
        }
    }

    /// The figures now; empty when the broker has stopped.
    #[must_use]
    pub fn snapshot(&self) -> MetricsSnapshot {
        self.node
            .upgrade()
            .map_or_else(MetricsSnapshot::default, |node| gather(&node))
    }
}

fn gather(node: &Node) -> MetricsSnapshot {
    let metrics = &node.metrics;
    let requests = metrics.apis().filter(|(_, latency)| latency.count() > 0);
    let all = node.partitions.topics();
    let mut topics: Vec<_> = all.values().map(|topic| gather_topic(topic)).collect();
    topics.sort_by(|left, right| left.name.cmp(&right.name));
    let groups = node.coordinators.read_loaded(|coordinator| {
        coordinator
            .groups()
            .map(|group| gather_group(&node.partitions, &group))
            .collect::<Vec<_>>()
    });
    let mut groups: Vec<_> = groups.into_iter().flatten().collect();
    groups.sort_by(|left, right| left.group_id.cmp(&right.group_id));
    MetricsSnapshot {
        uptime_ms: u64::try_from(metrics.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        connections: metrics.connections_open.load(Ordering::Relaxed) as u64,
        connections_accepted: metrics.connections_accepted.load(Ordering::Relaxed),
        network_bytes_in: metrics.bytes_in.load(Ordering::Relaxed),
        network_bytes_out: metrics.bytes_out.load(Ordering::Relaxed),
        requests: requests
            .map(|(key, latency)| RequestMetrics::new(key.name(), &latency))
            .collect(),
        topics,
        groups,
    }
}

fn gather_topic(topic: &Topic) -> TopicMetrics {
    TopicMetrics {
        name: topic.name.to_string(),
        is_internal: topic.internal,
        messages_in: topic.sum(|partition| &partition.counters.messages_in),
        bytes_in: topic.sum(|partition| &partition.counters.bytes_in),
        bytes_out: topic.sum(|partition| &partition.counters.bytes_out),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| gather_partition(partition))
            .collect(),
    }
}

fn gather_partition(partition: &Partition) -> PartitionMetrics {
    PartitionMetrics {
        partition: partition.index,
        log_start_offset: partition.log_start_offset(),
        high_watermark: partition.high_watermark(),
        log_end_offset: partition.log_end_offset(),
        size_bytes: partition.size_in_bytes(),
    }
}

fn gather_group(partitions: &Partitions, group: &GroupSummary<'_>) -> GroupMetrics {
    let offsets = group.offsets().map(|(topic, partition, committed)| {
        let offset = committed.offset;
        let end = partitions
            .find(topic, partition)
            .map_or(offset, |partition| partition.high_watermark());
        CommittedOffset {
            topic: topic.to_string(),
            partition,
            offset,
            lag: (end - offset).max(0),
        }
    });
    GroupMetrics {
        group_id: group.group_id().to_string(),
        state: group.state().to_string(),
        members: group.members(),
        offsets: offsets.collect(),
    }
}

impl fmt::Debug for BrokerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerMetrics").finish_non_exhaustive()
    }
}
