//! What a load measured, for people and for programs.

use std::time::Duration;

use serde::Serialize;

use super::process::Usage;
use crate::output::{Output, bytes, count};

/// The figures of one run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) load: &'static str,
    pub(crate) records: u64,
    pub(crate) record_bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) records_per_second: f64,
    pub(crate) mib_per_second: f64,
    /// Percentiles in milliseconds, from the 50th on; empty where a load has none.
    pub(crate) latency_ms: Vec<Percentile>,
    pub(crate) server: Option<ServerFigures>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Percentile {
    pub(crate) percentile: f64,
    pub(crate) milliseconds: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct ServerFigures {
    pub(crate) cpu_seconds: f64,
    pub(crate) cpu_seconds_per_gb: f64,
    pub(crate) peak_memory_bytes: u64,
}

impl Report {
    pub(crate) fn new(load: &'static str, records: u64, record_bytes: u64, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        Self {
            load,
            records,
            record_bytes,
            seconds,
            records_per_second: records as f64 / seconds,
            mib_per_second: record_bytes as f64 / seconds / f64::from(1 << 20),
            ..Self::default()
        }
    }

    /// Adds what the server used between two looks at it.
    pub(crate) fn with_server(mut self, before: Option<Usage>, after: Option<Usage>) -> Self {
        if let (Some(before), Some(after)) = (before, after) {
            let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
            self.server = Some(ServerFigures {
                cpu_seconds,
                cpu_seconds_per_gb: cpu_seconds / (self.record_bytes as f64 / 1e9),
                peak_memory_bytes: after.peak_memory_bytes,
            });
        }
        self
    }

    /// Adds percentiles of latencies.
    pub(crate) fn with_latencies(mut self, mut latencies: Vec<Duration>) -> Self {
        const PERCENTILES: [f64; 5] = [50.0, 95.0, 99.0, 99.9, 100.0];
        latencies.sort_unstable();
        self.latency_ms = PERCENTILES
            .iter()
            .filter_map(|&percentile| {
                let latency = at_percentile(&latencies, percentile)?;
                Some(Percentile {
                    percentile,
                    milliseconds: latency.as_secs_f64() * 1e3,
                })
            })
            .collect();
        self
    }

    pub(crate) fn print(&self, output: Output) -> anyhow::Result<()> {
        if output.is_json() {
            return output.object(self);
        }
        output.line(format_args!(
            "{} records, {} in {:.2} s: {} records/s, {:.1} MiB/s",
            count(self.records),
            bytes(self.record_bytes),
            self.seconds,
            count(self.records_per_second as u64),
            self.mib_per_second
        ))?;
        if !self.latency_ms.is_empty() {
            let parts: Vec<String> = self
                .latency_ms
                .iter()
                .map(|latency| {
                    let name = if latency.percentile >= 100.0 {
                        "max".to_owned()
                    } else {
                        format!("p{}", latency.percentile)
                    };
                    format!("{name} {:.2} ms", latency.milliseconds)
                })
                .collect();
            output.line(format_args!("latency: {}", parts.join(", ")))?;
        }
        if let Some(server) = &self.server {
            output.line(format_args!(
                "server: {:.2} CPU-seconds, {:.2} per GB, peak memory {}",
                server.cpu_seconds,
                server.cpu_seconds_per_gb,
                bytes(server.peak_memory_bytes)
            ))?;
        }
        Ok(())
    }
}

/// The value below or at which this share of the sorted values lies.
fn at_percentile(sorted: &[Duration], percentile: f64) -> Option<Duration> {
    let rank = (percentile / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_smallest_value_that_covers_its_share() {
        let sorted: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(
            at_percentile(&sorted, 50.0),
            Some(Duration::from_millis(50))
        );
        assert_eq!(
            at_percentile(&sorted, 99.9),
            Some(Duration::from_millis(100))
        );
        assert_eq!(
            at_percentile(&sorted[..1], 50.0),
            Some(Duration::from_millis(1))
        );
        assert_eq!(at_percentile(&[], 50.0), None);
    }
}
