//! Counters of the broker, and the snapshot of them that others read.
//!
//! Counting is a relaxed atomic addition; whoever wants the figures pays for putting them together.

mod gather;
mod latency;
mod snapshot;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use moldau_protocol::ApiKey;

pub use gather::BrokerMetrics;
pub use latency::LATENCY_BOUNDS_US;
use latency::{Latency, LatencyHistogram};
pub use snapshot::{
    CommittedOffset, GroupMetrics, MetricsSnapshot, PartitionMetrics, RequestMetrics, TopicMetrics,
};

/// The counters that request handling touches.
#[derive(Debug)]
pub(crate) struct Metrics {
    started: Instant,
    pub(crate) connections_open: AtomicUsize,
    pub(crate) connections_accepted: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// By API key.
    apis: Vec<Latency>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let keys = ApiKey::iter()
            .map(|key| key as usize + 1)
            .max()
            .unwrap_or(0);
        Self {
            started: Instant::now(),
            connections_open: AtomicUsize::new(0),
            connections_accepted: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            apis: (0..keys).map(|_| Latency::default()).collect(),
        }
    }

    /// A request of `bytes` was read.
    pub(crate) fn bytes_in(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// `bytes` of responses were written.
    pub(crate) fn bytes_out(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A request was answered `latency` after it was read.
    pub(crate) fn request(&self, key: ApiKey, latency: Duration) {
        if let Some(api) = self.apis.get(key as usize) {
            api.record(latency);
        }
    }

    fn apis(&self) -> impl Iterator<Item = (ApiKey, LatencyHistogram)> {
        ApiKey::iter().filter_map(|key| Some((key, self.apis.get(key as usize)?.snapshot())))
    }
}
