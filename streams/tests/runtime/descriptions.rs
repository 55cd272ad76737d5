//! What an application and its figures look like from outside.

use moldau_streams::runtime::{
    CacheMetrics, LatencyMetrics, StoreMetrics, StreamsMetrics, StreamsState, TaskId, TaskMetrics,
    TaskRunState,
};
use moldau_streams::{Builder, Topic};

#[test]
fn an_application_is_described_as_json_with_topics_and_stores() {
    let builder = Builder::new("app");
    let words = builder.stream(&Topic::<String, String>::named("lines"));
    let counts = words.group_by(|_, word| word.clone()).count_as("counts");
    counts.to_stream().to(&Topic::<String, i64>::named("out"));
    let topology = builder.build().expect("a topology");
    assert_eq!(
        topology.application().to_json(),
        serde_json::json!({
            "application_id": "app",
            "sub_topologies": [
                {
                    "id": 0,
                    "sources": [{ "topic": "lines", "role": "stream" }],
                    "repartition_topics": ["app-counts-repartition"],
                    "stores": [],
                },
                {
                    "id": 1,
                    "sources": [{ "topic": "app-counts-repartition", "role": "repartition" }],
                    "repartition_topics": [],
                    "stores": [{ "name": "counts", "changelog": "app-counts-changelog" }],
                },
            ],
            "global_tables": [],
        })
    );
}

/// Figures of an application with one task.
fn figures() -> StreamsMetrics {
    StreamsMetrics {
        state: StreamsState::Running,
        records_in: 5,
        records_out: 4,
        records_dropped: 1,
        records_in_rate: 2.5,
        records_out_rate: 2.0,
        process_latency: LatencyMetrics::default(),
        commit_latency: LatencyMetrics {
            count: 2,
            avg_ms: 3.5,
            max_ms: 5.0,
        },
        cache: CacheMetrics {
            used_bytes: 100,
            hits: 3,
            misses: 1,
        },
        lag: Some(0),
        inputs: Vec::new(),
        tasks: vec![TaskMetrics {
            id: TaskId {
                sub_topology: 1,
                partition: 2,
            },
            state: TaskRunState::Running,
            records_in: 5,
            records_out: 4,
            records_dropped: 1,
            restored: 7,
            to_restore: 7,
            stream_time: 9,
            stores: vec![
                StoreMetrics {
                    name: "counts".to_owned(),
                    entries: 3,
                    disk_bytes: None,
                },
                StoreMetrics {
                    name: "totals".to_owned(),
                    entries: 4,
                    disk_bytes: Some(5_000),
                },
            ],
        }],
        commits: 2,
        threads_replaced: 0,
        tasks_migrated: 0,
        tasks_corrupted: 0,
        stores_wiped: 0,
    }
}

#[test]
fn figures_have_kafka_streams_groups_names_and_tags() {
    let metrics = figures();
    let named = metrics.named("me");
    let value = |group: &str, name: &str| {
        let mut all = named.iter();
        let found = all.find(|metric| metric.group == group && metric.name == name);
        found.map(|metric| (metric.value, metric.tags.get("task-id").map(String::as_str)))
    };
    assert_eq!(
        value("stream-thread-metrics", "commit-total"),
        Some((2.0, None))
    );
    assert_eq!(
        value("stream-task-metrics", "dropped-records-total"),
        Some((1.0, Some("1_2")))
    );
    assert_eq!(
        value("stream-state-metrics", "num-keys"),
        Some((3.0, Some("1_2")))
    );
    assert_eq!(
        value("stream-state-metrics", "total-sst-files-size"),
        Some((5_000.0, Some("1_2")))
    );
    assert_eq!(
        value("stream-thread-metrics", "commit-latency-avg"),
        Some((3.5, None))
    );
    assert_eq!(
        value("stream-record-cache-metrics", "hit-ratio-avg"),
        Some((0.75, None))
    );
}
