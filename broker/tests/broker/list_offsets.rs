//! ListOffsets: special offsets and look-up by time.

use bytes::Bytes;
use moldau_protocol::batch::{Compression, RecordBatchBuilder};
use moldau_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsTopic,
};
use moldau_protocol::{ErrorCode, KString};

use crate::fixture::*;

async fn look_up(wire: &mut Wire, version: i16, timestamp: i64) -> ListOffsetsPartitionResponse {
    let asked = ListOffsetsPartition {
        partition_index: 0,
        timestamp,
        ..Default::default()
    };
    let topic = ListOffsetsTopic {
        name: KString::from("t"),
        partitions: vec![asked],
        ..Default::default()
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![topic],
        ..Default::default()
    };
    wire.call(version, request)
        .await
        .topics
        .remove(0)
        .partitions
        .remove(0)
}

fn stamped(codec: Compression, stamps: &[i64]) -> Bytes {
    let mut builder = RecordBatchBuilder::new(codec);
    for stamp in stamps {
        builder.append(*stamp, None, Some(b"v"), &[]);
    }
    builder.build()
}

async fn with_records() -> (TestBroker, Wire) {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    wire.produce("t", 0, stamped(Compression::None, &[100, 300, 200]))
        .await;
    wire.produce("t", 0, stamped(Compression::Gzip, &[400, 400, 600]))
        .await;
    wire.produce("t", 0, stamped(Compression::Lz4, &[500]))
        .await;
    (broker, wire)
}

/// Trap 7: each special offset, from the version on that has it.
#[tokio::test]
async fn special_offsets() {
    let (_broker, mut wire) = with_records().await;
    for (version, special, expected) in [
        (1, -1, 7),
        (1, -2, 0),
        (7, -3, 5),
        (8, -4, 0),
        (9, -5, -1),
        (11, -6, -1),
        (11, -1, 7),
    ] {
        let found = look_up(&mut wire, version, special).await;
        assert_eq!(
            (found.error_code, found.offset),
            (0, expected),
            "{special} in v{version}"
        );
    }
    assert_eq!(look_up(&mut wire, 7, -3).await.timestamp, 600);
}

/// Trap 7: and not before.
#[tokio::test]
async fn a_special_offset_in_a_version_without_it_is_refused() {
    let (_broker, mut wire) = with_records().await;
    for (version, special) in [(6, -3), (7, -4), (8, -5), (10, -6), (11, -7)] {
        let found = look_up(&mut wire, version, special).await;
        assert_eq!(
            found.error_code,
            ErrorCode::UnsupportedVersion.code(),
            "{special} in v{version}"
        );
    }
}

/// Trap 7: the record inside its batch, not the batch.
#[tokio::test]
async fn a_time_finds_the_first_record_that_is_not_older_exactly() {
    let (_broker, mut wire) = with_records().await;
    for (time, offset, timestamp) in [
        (0, 0, 100),
        (100, 0, 100),
        (101, 1, 300),
        (301, 3, 400),
        (401, 5, 600),
        (600, 5, 600),
        (601, -1, -1),
    ] {
        let found = look_up(&mut wire, 5, time).await;
        assert_eq!(
            (found.offset, found.timestamp),
            (offset, timestamp),
            "at {time}"
        );
    }
}

#[tokio::test]
async fn the_epoch_is_told_from_v4_on() {
    let (_broker, mut wire) = with_records().await;
    assert_eq!(look_up(&mut wire, 3, -1).await.leader_epoch, -1);
    assert_eq!(look_up(&mut wire, 4, -1).await.leader_epoch, 0);
}

#[tokio::test]
async fn an_empty_partition_begins_and_ends_at_0() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    for (special, expected) in [(-1, 0), (-2, 0), (-3, -1), (5, -1)] {
        assert_eq!(look_up(&mut wire, 7, special).await.offset, expected);
    }
}
