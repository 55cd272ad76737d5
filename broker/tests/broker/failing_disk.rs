//! A disk that is full or broken: producers are told, readers go on, and writes work again by themselves.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use moldau_log::{Faults, set_faults};
use moldau_protocol::ErrorCode;

use crate::fixture::{TestBroker, Wire, batch};

/// A broker with a topic `orders`, and the directory of its partition.
async fn broker_with_orders() -> (TestBroker, Wire, PathBuf) {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("orders", 1).await;
    wire.produce_values("orders", 0, &["before"]).await;
    let directory = broker.dir.path().join("orders-0");
    (broker, wire, directory)
}

async fn produce(wire: &mut Wire, value: &str) -> ErrorCode {
    let response = wire.produce("orders", 0, batch(&[value])).await;
    ErrorCode::from_code(response.error_code)
}

/// Produces as a client does, again and again until it works.
async fn produce_until_it_works(wire: &mut Wire, value: &str) {
    let produced = async {
        while produce(wire, value).await != ErrorCode::None {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, produced)
        .await
        .expect("writes work again by themselves");
}

#[tokio::test]
async fn a_full_disk_is_told_to_producers_and_works_once_there_is_room() {
    let (broker, mut wire, directory) = broker_with_orders().await;
    let full = Faults {
        write: Some(ErrorKind::StorageFull),
        ..Faults::default()
    };
    set_faults(&directory, full);
    assert_eq!(
        produce(&mut wire, "refused").await,
        ErrorCode::KafkaStorageError
    );
    assert_eq!(
        wire.values("orders", 0, 0).await,
        ["before"],
        "readers go on"
    );
    set_faults(&directory, Faults::default());
    assert_eq!(produce(&mut wire, "after").await, ErrorCode::None);
    assert_eq!(wire.values("orders", 0, 0).await, ["before", "after"]);
    broker.handle.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_failed_write_takes_the_partition_out_until_the_disk_works_again() {
    let (broker, mut wire, directory) = broker_with_orders().await;
    let broken = Faults {
        write: Some(ErrorKind::Other),
        sync: Some(ErrorKind::Other),
    };
    set_faults(&directory, broken);
    for _ in 0..2 {
        assert_eq!(
            produce(&mut wire, "refused").await,
            ErrorCode::KafkaStorageError
        );
    }
    assert_eq!(wire.values("orders", 0, 0).await, ["before"]);
    set_faults(&directory, Faults::default());
    produce_until_it_works(&mut wire, "after").await;
    assert_eq!(wire.values("orders", 0, 0).await, ["before", "after"]);
    drop(wire);
    let broker = broker.restart().await;
    let mut wire = broker.connect().await;
    assert_eq!(wire.values("orders", 0, 0).await, ["before", "after"]);
    broker.handle.shutdown().await.unwrap();
}

#[tokio::test]
async fn records_of_a_failed_sync_are_not_acknowledged_and_not_taken_for_durable() {
    let (broker, mut wire, directory) = broker_with_orders().await;
    let broken = Faults {
        sync: Some(ErrorKind::Other),
        ..Faults::default()
    };
    set_faults(&directory, broken);
    assert_eq!(
        produce(&mut wire, "unsure").await,
        ErrorCode::KafkaStorageError
    );
    assert_eq!(
        wire.values("orders", 0, 0).await,
        ["before"],
        "not committed"
    );
    set_faults(&directory, Faults::default());
    produce_until_it_works(&mut wire, "after").await;
    let values = wire.values("orders", 0, 0).await;
    assert_eq!(
        values,
        ["before", "unsure", "after"],
        "what was written is kept, and synced anew"
    );
    broker.handle.shutdown().await.unwrap();
}
