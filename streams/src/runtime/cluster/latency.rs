//! How long something takes, over the last minute or so.

use std::time::{Duration, Instant};

use crate::runtime::metrics::LatencyMetrics;

/// Measured times, without keeping each of them.
#[derive(Debug)]
pub(super) struct Latency {
    /// When `current` began.
    began: Instant,
    current: Span,
    /// The one before, which ended when `current` began.
    before: Span,
}

/// The times of one span.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    count: u64,
    sum: Duration,
    max: Duration,
}

impl Latency {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            current: Span::default(),
            before: Span::default(),
        }
    }

    /// Takes note of a time that ended at `now`.
    pub(super) fn record(&mut self, now: Instant, took: Duration) {
        self.turn(now);
        self.current.count += 1;
        self.current.sum += took;
        self.current.max = self.current.max.max(took);
    }

    pub(super) fn metrics(&mut self, now: Instant) -> LatencyMetrics {
        self.turn(now);
        let count = self.before.count + self.current.count;
        let sum = self.before.sum + self.current.sum;
        LatencyMetrics {
            count,
            avg_ms: milliseconds(sum) / count.max(1) as f64,
            max_ms: milliseconds(self.before.max.max(self.current.max)),
        }
    }

    /// Forgets what is too old.
    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.began);
        if age < SPAN {
            return;
        }
        self.before = match age < SPAN * 2 {
            true => self.current,
            false => Span::default(),
        };
        self.current = Span::default();
        self.began = now;
    }
}

/// The figures of several threads as one.
pub(super) fn sum(parts: impl Iterator<Item = LatencyMetrics>) -> LatencyMetrics {
    parts.fold(LatencyMetrics::default(), |sum, part| {
        let count = sum.count + part.count;
        let total = sum.avg_ms * sum.count as f64 + part.avg_ms * part.count as f64;
        LatencyMetrics {
            count,
            avg_ms: total / count.max(1) as f64,
            max_ms: sum.max_ms.max(part.max_ms),
        }
    })
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Two of them are reported.
const SPAN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_older_than_two_spans_do_not_count() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut latency = Latency::new(start);
        latency.record(at(1), Duration::from_millis(40));
        latency.record(at(31), Duration::from_millis(20));
        let both = latency.metrics(at(32));
        assert_eq!((both.count, both.avg_ms, both.max_ms), (2, 30.0, 40.0));
        let last = latency.metrics(at(62));
        assert_eq!((last.count, last.avg_ms, last.max_ms), (1, 20.0, 20.0));
        assert_eq!(latency.metrics(at(200)), LatencyMetrics::default());
    }

    #[test]
    fn figures_of_threads_are_weighed_by_their_counts() {
        let part = |count, avg_ms, max_ms| LatencyMetrics {
            count,
            avg_ms,
            max_ms,
        };
        let parts = [part(1, 10.0, 10.0), part(3, 2.0, 4.0), part(0, 0.0, 0.0)];
        assert_eq!(sum(parts.into_iter()), part(4, 4.0, 10.0));
    }
}
