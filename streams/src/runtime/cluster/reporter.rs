//! The figures of one thread, taken a few times a second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use moldau_client::Consumer;

use super::latency::Latency;
use super::shared::{InputReport, Phase, Rate, ThreadReport};
use super::task_set::TaskSet;

/// Makes a thread's reports.
pub(super) struct Reporter {
    last: Instant,
    records_in: Rate,
    records_out: Rate,
    inputs: BTreeMap<String, Rate>,
    process_latency: Latency,
    commit_latency: Latency,
}

impl Reporter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            last: now,
            records_in: Rate::default(),
            records_out: Rate::default(),
            inputs: BTreeMap::new(),
            process_latency: Latency::new(now),
            commit_latency: Latency::new(now),
        }
    }

    /// A task has had its turn, which began at `start` and ends at `now`.
    pub(super) fn processed(&mut self, start: Instant, now: Instant) {
        self.process_latency.record(now, now - start);
    }

    /// A commit is done that began at `start`.
    pub(super) fn committed(&mut self, start: Instant) {
        let now = Instant::now();
        self.commit_latency.record(now, now - start);
    }

    pub(super) fn is_due(&self) -> bool {
        self.last.elapsed() >= INTERVAL
    }

    pub(super) fn report(
        &mut self,
        phase: Phase,
        tasks: &mut TaskSet,
        consumer: &Consumer,
    ) -> ThreadReport {
        let now = Instant::now();
        self.last = now;
        let totals = tasks.totals();
        let mut inputs = BTreeMap::new();
        for (topic, records_in) in &totals.inputs {
            let rate = self
                .inputs
                .entry(topic.clone())
                .or_default()
                .sample(now, *records_in);
            let report = InputReport {
                records_in: *records_in,
                rate,
                lag: Some(0),
            };
            inputs.insert(topic.clone(), report);
        }
        for task in tasks.running() {
            for (index, input) in task.inputs().iter().enumerate() {
                let buffered = i64::try_from(task.group().buffered(index)).unwrap_or(i64::MAX);
                let lag = consumer
                    .lag(&input.name)
                    .map(|lag| lag.saturating_add(buffered));
                let report = inputs.entry(input.name.topic.to_string()).or_default();
                report.lag = report.lag.zip(lag).map(|(one, other)| one + other);
            }
        }
        let records_in = totals.inputs.values().sum();
        ThreadReport {
            phase,
            records_in,
            records_out: totals.records_out,
            records_dropped: totals.records_dropped,
            records_in_rate: self.records_in.sample(now, records_in),
            records_out_rate: self.records_out.sample(now, totals.records_out),
            process_latency: self.process_latency.metrics(now),
            commit_latency: self.commit_latency.metrics(now),
            inputs,
            tasks: tasks.metrics(),
        }
    }
}

const INTERVAL: Duration = Duration::from_millis(200);
