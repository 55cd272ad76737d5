//! A latency histogram with fixed bounds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in microseconds, inclusive; one more bucket takes what is slower.
pub const LATENCY_BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

const BUCKETS: usize = LATENCY_BOUNDS_US.len() + 1;

/// Counts by bucket.
#[derive(Debug, Default)]
pub(super) struct Latency {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// What was counted until a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LatencyHistogram {
    /// Requests per bucket of [`LATENCY_BOUNDS_US`], the last one without bound; not cumulative.
    pub(super) counts: Vec<u64>,
    /// Sum of all latencies in microseconds.
    pub(super) sum_us: u64,
}

impl Latency {
    pub(super) fn record(&self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> LatencyHistogram {
        LatencyHistogram {
            counts: self
                .counts
                .iter()
                .map(|count| count.load(Ordering::Relaxed))
                .collect(),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

impl LatencyHistogram {
    /// How many requests were counted.
    #[must_use]
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_at_a_bound_belongs_to_it() {
        let latency = Latency::default();
        for us in [0, 100, 101, 20_000_000] {
            latency.record(Duration::from_micros(us));
        }
        let histogram = latency.snapshot();
        assert_eq!(
            (
                histogram.counts[0],
                histogram.counts[1],
                histogram.counts[16]
            ),
            (2, 1, 1)
        );
        assert_eq!(histogram.count(), 4);
    }
}
