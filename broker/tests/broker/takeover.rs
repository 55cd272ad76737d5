//! A data directory that Kafka left is taken over with its topics.

use std::path::Path;

use moldau_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use tempfile::TempDir;

use crate::fixture::TestBroker;

/// Makes of a directory of ours what Kafka would leave: another metadata log, with `quorum-state`.
fn disguise(directory: &Path) {
    let metadata = directory.join("__cluster_metadata-0");
    std::fs::remove_dir_all(&metadata).unwrap();
    std::fs::create_dir(&metadata).unwrap();
    std::fs::write(metadata.join("quorum-state"), "{}").unwrap();
}

#[tokio::test]
async fn topics_of_kafka_are_found_by_their_directories_with_their_ids_and_records() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("orders", 3).await;
    for partition in [0, 2] {
        wire.produce_values("orders", partition, &["a", "b"]).await;
    }
    let cluster = broker.handle.cluster_id().to_owned();
    let TestBroker { handle, dir } = broker;
    drop(wire);
    handle.shutdown().await.unwrap();
    disguise(dir.path());
    let broker = TestBroker::start_in(dir, |_| {}).await;
    assert_eq!(broker.handle.cluster_id(), cluster);
    let mut wire = broker.connect().await;
    for partition in [0, 2] {
        assert_eq!(wire.values("orders", partition, 0).await, ["a", "b"]);
    }
    let asked = ListOffsetsPartition {
        partition_index: 2,
        timestamp: -1,
        ..Default::default()
    };
    let topic = ListOffsetsTopic {
        name: "orders".into(),
        partitions: vec![asked],
        ..Default::default()
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let response = wire.call(7, request).await;
    let latest = &response.topics[0].partitions[0];
    assert_eq!((latest.offset, latest.leader_epoch), (2, 0));
    wire.produce_values("orders", 1, &["c"]).await;
    drop(wire);
    let broker = broker.restart().await;
    let mut wire = broker.connect().await;
    assert_eq!(wire.values("orders", 1, 0).await, ["c"]);
    assert!(broker.dir.path().join("kafka-metadata").exists());
    broker.handle.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_takeover_that_was_interrupted_is_done_again() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("orders", 1).await;
    wire.produce_values("orders", 0, &["a"]).await;
    let TestBroker { handle, dir } = broker;
    drop(wire);
    handle.shutdown().await.unwrap();
    disguise(dir.path());
    let (from, to) = ("__cluster_metadata-0", "kafka-metadata");
    std::fs::rename(dir.path().join(from), dir.path().join(to)).unwrap();
    let broker = TestBroker::start_in(dir, |_| {}).await;
    let mut wire = broker.connect().await;
    assert_eq!(wire.values("orders", 0, 0).await, ["a"]);
    broker.handle.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_new_directory_is_not_taken_for_kafkas() {
    let broker = TestBroker::start_in(TempDir::new().unwrap(), |_| {}).await;
    assert!(!broker.dir.path().join("kafka-metadata").exists());
    broker.handle.shutdown().await.unwrap();
}
