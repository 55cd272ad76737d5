//! A snapshot's figures under Kafka Streams' metric groups and names.

use std::collections::BTreeMap;

use super::metrics::{StreamsMetrics, StreamsState, TaskRunState};

/// A figure as Kafka Streams names it, for dashboards that know those names.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedMetric {
    /// Group, such as `stream-task-metrics`.
    pub group: &'static str,
    /// Name, such as `process-total`.
    pub name: &'static str,
    /// Tags, such as `task-id`.
    pub tags: BTreeMap<&'static str, String>,
    /// The figure.
    pub value: f64,
}

impl StreamsMetrics {
    /// The figures under Kafka Streams' groups and names; `client_id` becomes their tag. The
    /// figures that Kafka Streams gives for each thread are sums over the threads here.
    #[must_use]
    pub fn named(&self, client_id: &str) -> Vec<NamedMetric> {
        let tags = |more: &[(&'static str, String)]| {
            let client = ("client-id", client_id.to_owned());
            more.iter().cloned().chain([client]).collect()
        };
        let mut named = Vec::new();
        let mut add = |group, name, more: &[(&'static str, String)], value: f64| {
            named.push(NamedMetric {
                group,
                name,
                tags: tags(more),
                value,
            });
        };
        let is_failed = f64::from(u8::from(self.state == StreamsState::Failed));
        let replaced = self.threads_replaced as f64;
        add(CLIENT, "failed-stream-threads", &[], replaced + is_failed);
        add(THREAD, "process-total", &[], self.records_in as f64);
        add(THREAD, "process-rate", &[], self.records_in_rate);
        add(THREAD, "commit-total", &[], self.commits as f64);
        let (process, commit) = (self.process_latency, self.commit_latency);
        add(THREAD, "process-latency-avg", &[], process.avg_ms);
        add(THREAD, "process-latency-max", &[], process.max_ms);
        add(THREAD, "commit-latency-avg", &[], commit.avg_ms);
        add(THREAD, "commit-latency-max", &[], commit.max_ms);
        add(CACHE, "hit-ratio-avg", &[], self.cache.hit_ratio());
        for task in &self.tasks {
            let id = [("task-id", task.id.to_string())];
            let is_restoring = task.state == TaskRunState::Restoring;
            let remaining = task.to_restore.saturating_sub(task.restored);
            let remaining = if is_restoring { remaining } else { 0 };
            add(TASK, "process-total", &id, task.records_in as f64);
            let dropped = task.records_dropped as f64;
            add(TASK, "dropped-records-total", &id, dropped);
            add(TASK, "restore-total", &id, task.restored as f64);
            add(
                TASK,
                "restore-remaining-records-total",
                &id,
                remaining as f64,
            );
            for store in &task.stores {
                let tags = [id[0].clone(), ("store", store.name.clone())];
                let entries = store.entries as f64;
                match store.disk_bytes {
                    None => add(STATE, "num-keys", &tags, entries),
                    Some(bytes) => {
                        add(STATE, "estimate-num-keys", &tags, entries);
                        add(STATE, "total-sst-files-size", &tags, bytes as f64);
                    }
                }
            }
        }
        named
    }
}

const CLIENT: &str = "stream-metrics";
const THREAD: &str = "stream-thread-metrics";
const TASK: &str = "stream-task-metrics";
const CACHE: &str = "stream-record-cache-metrics";
const STATE: &str = "stream-state-metrics";
