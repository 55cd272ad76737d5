//! The figures of a broker at one moment.

use super::LATENCY_BOUNDS_US;
use super::latency::LatencyHistogram;

/// What a broker counted since it started, and how large its logs are now.
#[derive(Debug, Clone, Default)]
pub struct MetricsSnapshot {
    /// Milliseconds since the broker started.
    pub uptime_ms: u64,
    /// Open client connections.
    pub connections: u64,
    /// Connections accepted since start.
    pub connections_accepted: u64,
    /// Bytes of requests read from sockets.
    pub network_bytes_in: u64,
    /// Bytes of responses written to sockets.
    pub network_bytes_out: u64,
    /// Requests by API, those that were used at least once.
    pub requests: Vec<RequestMetrics>,
    /// Topics by name.
    pub topics: Vec<TopicMetrics>,
    /// Consumer groups by id.
    pub groups: Vec<GroupMetrics>,
}

/// The requests of one API.
#[derive(Debug, Clone)]
pub struct RequestMetrics {
    /// Kafka's name of the API, for example `Produce`.
    pub name: &'static str,
    /// Requests answered.
    pub count: u64,
    /// Sum of the times from the request being read to its response being ready.
    pub latency_sum_seconds: f64,
    /// Upper bound in seconds (inclusive; the last one is infinite), and requests in this bucket alone.
    pub latency_buckets: Vec<(f64, u64)>,
}

/// One topic.
#[derive(Debug, Clone)]
pub struct TopicMetrics {
    /// The topic's name.
    pub name: String,
    /// Whether the topic belongs to the broker itself.
    pub is_internal: bool,
    /// Records appended since start.
    pub messages_in: u64,
    /// Bytes of batches appended since start.
    pub bytes_in: u64,
    /// Bytes of batches given to consumers since start.
    pub bytes_out: u64,
    /// Partitions by index.
    pub partitions: Vec<PartitionMetrics>,
}

/// One partition.
#[derive(Debug, Clone)]
pub struct PartitionMetrics {
    /// The partition's index.
    pub partition: i32,
    /// First offset that can be read.
    pub log_start_offset: i64,
    /// First offset that consumers cannot read yet.
    pub high_watermark: i64,
    /// Offset of the next record.
    pub log_end_offset: i64,
    /// Bytes of all segments.
    pub size_bytes: u64,
}

/// One consumer group.
#[derive(Debug, Clone)]
pub struct GroupMetrics {
    /// The group's id.
    pub group_id: String,
    /// Kafka's name of the state, for example `Stable`.
    pub state: String,
    /// Members now.
    pub members: usize,
    /// Committed offsets by topic and partition.
    pub offsets: Vec<CommittedOffset>,
}

/// What a group committed for one partition, and how far that is from the end.
#[derive(Debug, Clone)]
pub struct CommittedOffset {
    /// The topic.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
    /// The next offset that the group will read.
    pub offset: i64,
    /// Records that it has not read: high watermark minus offset; 0 for an unknown partition.
    pub lag: i64,
}

impl MetricsSnapshot {
    /// Requests answered, of all APIs.
    #[must_use]
    pub fn requests_total(&self) -> u64 {
        self.requests.iter().map(|api| api.count).sum()
    }

    /// Bytes appended to all topics.
    #[must_use]
    pub fn bytes_in_total(&self) -> u64 {
        self.topics.iter().map(|topic| topic.bytes_in).sum()
    }

    /// Bytes given to consumers of all topics.
    #[must_use]
    pub fn bytes_out_total(&self) -> u64 {
        self.topics.iter().map(|topic| topic.bytes_out).sum()
    }

    /// Records appended to all topics.
    #[must_use]
    pub fn messages_in_total(&self) -> u64 {
        self.topics.iter().map(|topic| topic.messages_in).sum()
    }
}

impl RequestMetrics {
    pub(super) fn new(name: &'static str, latency: &LatencyHistogram) -> Self {
        let bounds = LATENCY_BOUNDS_US
            .iter()
            .map(|&us| seconds(us))
            .chain([f64::INFINITY]);
        Self {
            name,
            count: latency.count(),
            latency_sum_seconds: seconds(latency.sum_us),
            latency_buckets: bounds.zip(latency.counts.iter().copied()).collect(),
        }
    }
}

fn seconds(us: u64) -> f64 {
    std::time::Duration::from_micros(us).as_secs_f64()
}
