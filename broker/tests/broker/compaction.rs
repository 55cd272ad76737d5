//! Compacted topics: what the log cleaner leaves, as clients see it.

use std::path::Path;

use bytes::Bytes;
use moldau_broker::BrokerConfig;
use moldau_protocol::ErrorCode;
use moldau_protocol::batch::{BatchIter, Compression, RecordBatchBuilder};

use crate::fixture::{TestBroker, Wire};
use crate::groups::{commit, commit_code, committed, find_coordinator};

/// Cleaners that look for work all the time.
fn eager(config: &mut BrokerConfig) {
    config.set("log.cleaner.backoff.ms", "1").unwrap();
    config
        .set("log.flush.offset.checkpoint.interval.ms", "20")
        .unwrap();
}

const COMPACTED: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("min.cleanable.dirty.ratio", "0.01"),
    // A record that is younger by two milliseconds begins a new segment.
    ("segment.ms", "1"),
];

fn keyed(timestamp: i64, records: &[(&str, &str)]) -> Bytes {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    for (key, value) in records {
        builder.append(timestamp, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
    }
    builder.build()
}

/// Offset and value of every record from the start.
async fn read_all(wire: &mut Wire, topic: &str) -> Vec<(i64, String)> {
    let (mut records, mut offset) = (Vec::new(), 0);
    loop {
        let data = wire.fetch(topic, 0, offset).await;
        assert_eq!(data.error_code, 0);
        let bytes = data
            .records
            .unwrap_or_default()
            .to_bytes()
            .unwrap_or_default();
        for batch in BatchIter::new(bytes) {
            let batch = batch.unwrap();
            for record in batch.records().unwrap() {
                let record = record.unwrap();
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                records.push((record.offset, value));
            }
            offset = batch.next_offset();
        }
        if offset >= data.high_watermark {
            return records;
        }
    }
}

/// Reads until compaction has left `count` records.
async fn read_when_compacted(wire: &mut Wire, topic: &str, count: usize) -> Vec<(i64, String)> {
    let compacted = async {
        loop {
            let records = read_all(wire, topic).await;
            if records.len() <= count {
                return records;
            }
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(60);
    tokio::time::timeout(limit, compacted)
        .await
        .expect("the log is compacted in the end")
}

#[tokio::test]
async fn a_compacted_topic_keeps_the_last_record_of_each_key_across_a_restart() {
    let broker = TestBroker::start_with(eager).await;
    let mut wire = broker.connect().await;
    wire.create_topic_with("table", 1, COMPACTED).await;
    for round in 0..10 {
        let value = format!("v{round}");
        let batch = keyed(1_000 + round * 10, &[("a", &value), ("b", &value)]);
        assert_eq!(wire.produce("table", 0, batch).await.error_code, 0);
    }
    // The last round lies in the active segment, which is not touched.
    let expected = [(16, "v8"), (17, "v8"), (18, "v9"), (19, "v9")];
    let expected = expected.map(|(offset, value)| (offset, value.to_owned()));
    let records = read_when_compacted(&mut wire, "table", 4).await;
    assert_eq!(records, expected);
    drop(wire);
    let checkpoint = broker.dir.path().join("cleaner-offset-checkpoint");
    let broker = broker.restart().await;
    assert_eq!(compacted_up_to(&checkpoint), Some(18));
    let mut wire = broker.connect().await;
    assert_eq!(read_all(&mut wire, "table").await, expected);
    broker.handle.shutdown().await.unwrap();
}

fn compacted_up_to(checkpoint: &Path) -> Option<i64> {
    let text = std::fs::read_to_string(checkpoint).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("table 0 "))?;
    line.parse().ok()
}

#[tokio::test]
async fn a_topic_that_is_not_compacted_keeps_all_records() {
    let broker = TestBroker::start_with(eager).await;
    let mut wire = broker.connect().await;
    wire.create_topic_with("table", 1, COMPACTED).await;
    wire.create_topic_with("events", 1, &[("segment.ms", "1")])
        .await;
    for topic in ["events", "table"] {
        for round in 0..5 {
            let batch = keyed(1_000 + round * 10, &[("a", "v")]);
            assert_eq!(wire.produce(topic, 0, batch).await.error_code, 0);
        }
    }
    assert_eq!(read_when_compacted(&mut wire, "table", 2).await.len(), 2);
    assert_eq!(read_all(&mut wire, "events").await.len(), 5);
    broker.handle.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_record_without_a_key_is_refused_by_a_compacted_topic() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic_with("table", 1, COMPACTED).await;
    let mut builder = RecordBatchBuilder::new(Compression::Lz4);
    builder.append(1, Some(b"a"), Some(b"v"), &[]);
    builder.append(1, None, Some(b"v"), &[]);
    let response = wire.produce("table", 0, builder.build()).await;
    assert_eq!(response.error_code, ErrorCode::InvalidRecord.code());
    assert_eq!(response.record_errors[0].batch_index, 1);
    broker.handle.shutdown().await.unwrap();
}

#[tokio::test]
async fn consumer_offsets_are_compacted_and_load_as_before() {
    let change = |config: &mut BrokerConfig| {
        eager(config);
        for (name, value) in [
            ("log.cleaner.min.cleanable.ratio", "0.01"),
            ("offsets.topic.num.partitions", "1"),
            ("offsets.topic.segment.bytes", "1048576"),
        ] {
            config.set(name, value).unwrap();
        }
    };
    let broker = TestBroker::start_with(change).await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    find_coordinator(&mut wire).await;
    let log = broker.dir.path().join("__consumer_offsets-0");
    let metadata = "m".repeat(4_000);
    for offset in 0..600 {
        let request = commit(-1, "", offset, &metadata);
        assert_eq!(commit_code(&mut wire, request).await, ErrorCode::None);
    }
    let size = || -> u64 {
        let entries = std::fs::read_dir(&log).unwrap().filter_map(Result::ok);
        let logs = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".log"));
        logs.filter_map(|entry| entry.metadata().ok())
            .map(|metadata| metadata.len())
            .sum()
    };
    let compacted = async {
        while size() > 1_100_000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), compacted)
        .await
        .unwrap();
    drop(wire);
    let broker = broker.restart().await;
    let mut wire = broker.connect().await;
    find_coordinator(&mut wire).await;
    assert_eq!(committed(&mut wire).await.committed_offset, 599);
    broker.handle.shutdown().await.unwrap();
}
