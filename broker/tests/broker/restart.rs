//! What a new process finds: after a clean stop, after a crash, after a torn write.

use std::fs;
use std::io::Write;
use std::path::Path;

use moldau_broker::{Broker, StartError};
use moldau_protocol::{ApiKey, ErrorCode};
use tempfile::TempDir;

use crate::fixture::*;

/// The directory as a crash at this moment would leave it.
fn crashed(broker: TestBroker) -> TempDir {
    let copy = TempDir::new().unwrap();
    copy_dir(broker.dir.path(), copy.path());
    drop(broker.handle);
    copy
}

fn copy_dir(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_clean_restart_keeps_topics_and_records() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 3).await;
    wire.produce_values("t", 2, &["a", "b"]).await;
    let broker = broker.restart().await;
    assert!(
        !broker.dir.path().join(".kafka_cleanshutdown").exists(),
        "the mark is gone while the broker runs"
    );
    let mut wire = broker.connect().await;
    assert_eq!(wire.values("t", 2, 0).await, ["a", "b"]);
    assert_eq!(wire.produce_values("t", 2, &["c"]).await, 2);
    assert_eq!(
        wire.call(12, all_topics()).await.topics[0].partitions.len(),
        3
    );
}

#[tokio::test]
async fn after_a_crash_every_acknowledged_record_is_there() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    for number in 0..50 {
        wire.produce_values("t", 0, &[&number.to_string()]).await;
    }
    let broker = TestBroker::start_in(crashed(broker), |_| {}).await;
    let mut wire = broker.connect().await;
    let expected: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    assert_eq!(wire.values("t", 0, 0).await, expected);
    assert_eq!(wire.produce_values("t", 0, &["next"]).await, 50);
}

#[tokio::test]
async fn a_torn_tail_is_cut() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    wire.produce_values("t", 0, &["whole"]).await;
    let dir = crashed(broker);
    let log = dir.path().join("t-0").join("00000000000000000000.log");
    let torn = batch(&["torn"]);
    let mut file = fs::OpenOptions::new().append(true).open(log).unwrap();
    file.write_all(&torn[..torn.len() / 2]).unwrap();
    drop(file);
    let broker = TestBroker::start_in(dir, |_| {}).await;
    let mut wire = broker.connect().await;
    assert_eq!(wire.values("t", 0, 0).await, ["whole"]);
    assert_eq!(wire.produce_values("t", 0, &["after"]).await, 1);
    assert_eq!(wire.values("t", 0, 0).await, ["whole", "after"]);
}

#[tokio::test]
async fn producers_are_known_after_a_crash() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    wire.produce("t", 0, idempotent_batch((5, 0), 0, &["once"]))
        .await;
    let broker = TestBroker::start_in(crashed(broker), |_| {}).await;
    let mut wire = broker.connect().await;
    let again = wire
        .produce("t", 0, idempotent_batch((5, 0), 0, &["once"]))
        .await;
    assert_eq!((again.error_code, again.base_offset), (0, 0));
    assert_eq!(wire.values("t", 0, 0).await, ["once"]);
}

#[tokio::test]
async fn a_directory_in_use_is_refused() {
    let broker = TestBroker::start().await;
    let second = Broker::start(config(broker.dir.path())).await;
    assert!(matches!(second, Err(StartError::DataDir(_))), "{second:?}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let broker = TestBroker::start().await;
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path());
    config.listeners = broker.handle.kafka_addresses();
    let error = Broker::start(config).await.unwrap_err().to_string();
    assert!(
        error.contains(&broker.handle.kafka_addresses()[0].to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn stopping_answers_what_waits() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let mut waiting = fetch_request("t", 0, 0);
    waiting.max_wait_ms = 3_600_000;
    let before = broker.handle.metrics().snapshot().network_bytes_in;
    wire.send(FETCH, waiting).await;
    while broker.handle.metrics().snapshot().network_bytes_in == before {
        tokio::task::yield_now().await;
    }
    let (stopped, answered) = tokio::join!(broker.handle.shutdown(), wire.receive_frame());
    stopped.unwrap();
    assert!(answered.is_some());
}

#[tokio::test]
async fn a_deleted_topic_stays_deleted() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    wire.produce_values("t", 0, &["gone"]).await;
    let names = vec![moldau_protocol::KString::from("t")];
    let request = moldau_protocol::messages::delete_topics::DeleteTopicsRequest {
        topic_names: names,
        ..Default::default()
    };
    assert_eq!(wire.call(5, request).await.responses[0].error_code, 0);
    assert!(!broker.dir.path().join("t-0").exists());
    let broker = broker.restart().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    assert_eq!(wire.values("t", 0, 0).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_topic_that_is_deleted_while_it_is_written_does_not_hold_up_a_stop() {
    let broker = TestBroker::start().await;
    let (mut admin, mut producer) = (broker.connect().await, broker.connect().await);
    for round in 0..50 {
        let topic = format!("t{round}");
        admin.create_topic(&topic, 1).await;
        for _ in 0..10 {
            let request = produce_request(&topic, 0, -1, batch(&["on its way to the disk"]));
            producer.send(PRODUCE, request).await;
        }
        // Some are written by now, and being synced.
        producer.receive(ApiKey::Produce, PRODUCE).await;
        let request = moldau_protocol::messages::delete_topics::DeleteTopicsRequest {
            topic_names: vec![moldau_protocol::KString::from(topic)],
            ..Default::default()
        };
        assert_eq!(admin.call(5, request).await.responses[0].error_code, 0);
        for _ in 1..10 {
            producer.receive(ApiKey::Produce, PRODUCE).await;
        }
    }
    let stopped = tokio::time::timeout(LIMIT, broker.handle.shutdown()).await;
    stopped.expect("a stop").unwrap();
}

#[tokio::test]
async fn old_segments_are_deleted_and_the_log_start_moves() {
    let broker = TestBroker::start_with(|config| config.log_retention_check_interval_ms = 1).await;
    let mut wire = broker.connect().await;
    let limits = [("segment.bytes", "1048576"), ("retention.bytes", "1048576")];
    wire.create_topic_with("t", 1, &limits).await;
    let value = "v".repeat(500_000);
    let mut last = 0;
    for _ in 0..6 {
        last = wire.produce_values("t", 0, &[&value]).await;
    }
    while wire.fetch("t", 0, last).await.log_start_offset == 0 {}
    let start = wire.fetch("t", 0, last).await.log_start_offset;
    assert!(start > 0 && start <= last);
    assert_eq!(
        wire.fetch("t", 0, 0).await.error_code,
        ErrorCode::OffsetOutOfRange.code()
    );
    assert_eq!(
        wire.values("t", 0, start).await.len(),
        usize::try_from(last - start + 1).unwrap()
    );
}

#[tokio::test]
async fn a_new_segment_begins_with_a_snapshot_of_the_producers() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic_with("t", 1, &[("segment.bytes", "1048576")])
        .await;
    let value = "v".repeat(400_000);
    for sequence in 0..5 {
        let response = wire
            .produce("t", 0, idempotent_batch((5, 0), sequence, &[&value]))
            .await;
        assert_eq!(response.error_code, 0);
    }
    let partition = broker.dir.path().join("t-0");
    assert!(partition.join("00000000000000000004.log").exists());
    assert!(partition.join("00000000000000000004.snapshot").exists());
    let broker = TestBroker::start_in(crashed(broker), |_| {}).await;
    let mut wire = broker.connect().await;
    // A snapshot holds the last batch of each producer; the batches after it are replayed.
    for sequence in 3..5 {
        let again = wire
            .produce("t", 0, idempotent_batch((5, 0), sequence, &[&value]))
            .await;
        assert_eq!(
            (again.error_code, again.base_offset),
            (0, i64::from(sequence))
        );
    }
    let next = wire
        .produce("t", 0, idempotent_batch((5, 0), 5, &["next"]))
        .await;
    assert_eq!((next.error_code, next.base_offset), (0, 5));
}
