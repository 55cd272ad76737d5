//! Transactions as their producers, consumers and administrators see them.

use std::fs;
use std::path::Path;

use moldau_protocol::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use moldau_protocol::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use moldau_protocol::messages::describe_transactions::DescribeTransactionsRequest;
use moldau_protocol::messages::fetch::FetchRequest;
use moldau_protocol::messages::list_transactions::ListTransactionsRequest;
use moldau_protocol::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use moldau_protocol::{ErrorCode, KString};
use tempfile::TempDir;

use crate::fixture::*;
use crate::transaction_client::*;

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
async fn trap_6_read_committed_shows_committed_records_alone_and_read_uncommitted_all() {
    let (_broker, mut wire) = started().await;
    let mut producer = NEW.init(&mut wire).await;
    for (values, committed) in [(["a", "b"], true), (["c", "d"], false), (["e", "f"], true)] {
        for (partition, value) in (0..).zip(values) {
            let code = NEW
                .produce(&mut wire, producer, (partition, 0), &[value])
                .await;
            assert_eq!(code, ErrorCode::None);
        }
        producer = NEW.end(&mut wire, producer, committed).await.unwrap();
    }
    for (partition, all, committed) in [
        (0, ["a", "c", "e"], ["a", "e"]),
        (1, ["b", "d", "f"], ["b", "f"]),
    ] {
        settled(&mut wire, partition).await;
        assert_eq!(committed_values(&mut wire, partition).await, committed);
        let values = wire.values("t", partition, 0).await;
        assert_eq!(
            values
                .into_iter()
                .filter(|value| value.len() == 1 && value.as_str() >= "a")
                .collect::<Vec<_>>(),
            all
        );
    }
}

#[tokio::test]
async fn trap_7_the_latest_offset_for_read_committed_is_the_last_stable_one() {
    let (_broker, mut wire) = started().await;
    wire.produce_values("t", 0, &["plain"]).await;
    let producer = NEW.init(&mut wire).await;
    NEW.produce(&mut wire, producer, (0, 0), &["a", "b"]).await;
    wire.produce_values("t", 0, &["behind"]).await;
    assert_eq!(
        (latest(&mut wire, 0).await, latest(&mut wire, 1).await),
        (4, 1)
    );
    assert_eq!(committed_values(&mut wire, 0).await, ["plain"]);
    NEW.end(&mut wire, producer, true).await.unwrap();
    settled(&mut wire, 0).await;
    assert_eq!(
        (latest(&mut wire, 0).await, latest(&mut wire, 1).await),
        (5, 5)
    );
    assert_eq!(
        committed_values(&mut wire, 0).await,
        ["plain", "a", "b", "behind"]
    );
}

#[tokio::test]
async fn a_fetch_of_committed_records_wakes_when_the_transaction_ends() {
    let (broker, mut wire) = started().await;
    let producer = NEW.init(&mut wire).await;
    NEW.produce(&mut wire, producer, (0, 0), &["a"]).await;
    let mut reader = broker.connect().await;
    let request = FetchRequest {
        isolation_level: 1,
        max_wait_ms: 60_000,
        ..fetch_request("t", 0, 0)
    };
    reader.send(FETCH, request).await;
    NEW.end(&mut wire, producer, true).await.unwrap();
    let (_, response) = reader.receive(moldau_protocol::ApiKey::Fetch, FETCH).await;
    let data = only(response.try_into().ok().unwrap());
    assert!(data.last_stable_offset > 0);
    assert!(!data.records.unwrap().is_empty());
}

#[tokio::test]
async fn trap_5_a_partition_that_was_not_added_takes_no_transactional_records() {
    let (_broker, mut wire) = started().await;
    let producer = OLD.init(&mut wire).await;
    for (version, code) in [
        (9, ErrorCode::InvalidTxnState),
        (11, ErrorCode::TransactionAbortable),
    ] {
        let client = Client {
            produce: version,
            ..OLD
        };
        let refused = client.produce(&mut wire, producer, (0, 0), &["a"]).await;
        assert_eq!(
            refused, code,
            "trap 11: by the words of the version, {version}"
        );
    }
    assert_eq!(OLD.add(&mut wire, producer, &[0]).await, ErrorCode::None);
    let fine = OLD.produce(&mut wire, producer, (0, 0), &["a"]).await;
    assert_eq!(fine, ErrorCode::None);
    let without_id = wire.produce("t", 0, tx_batch(producer, 1, &["b"])).await;
    assert_eq!(without_id.error_code, ErrorCode::InvalidTxnState.code());
}

#[tokio::test]
async fn an_old_client_commits_and_aborts() {
    let (_broker, mut wire) = started().await;
    let producer = OLD.init(&mut wire).await;
    for (sequence, value, committed) in [(0, "a", true), (1, "b", false), (2, "c", true)] {
        assert_eq!(OLD.add(&mut wire, producer, &[0, 1]).await, ErrorCode::None);
        let code = OLD
            .produce(&mut wire, producer, (0, sequence), &[value])
            .await;
        assert_eq!(code, ErrorCode::None);
        assert_eq!(OLD.end(&mut wire, producer, committed).await, Ok(producer));
    }
    settled(&mut wire, 0).await;
    assert_eq!(committed_values(&mut wire, 0).await, ["a", "c"]);
}

#[tokio::test]
async fn trap_10_offsets_count_with_the_transaction() {
    for client in [OLD, NEW] {
        let (_broker, mut wire) = started().await;
        group_coordinator(&mut wire).await;
        let mut producer = client.init(&mut wire).await;
        for (offset, committed, expected) in [(5, true, 5), (9, false, 5), (12, true, 12)] {
            if client.offsets < 5 {
                let request = || AddOffsetsToTxnRequest {
                    transactional_id: client.id.into(),
                    producer_id: producer.0,
                    producer_epoch: producer.1,
                    group_id: "g".into(),
                    ..Default::default()
                };
                while wire.call(3, request()).await.error_code != 0 {}
            }
            let code = client.commit_offset(&mut wire, producer, offset).await;
            assert_eq!(code, ErrorCode::None);
            let unstable = Err(ErrorCode::UnstableOffsetCommit);
            assert_eq!(group_offset(&mut wire, true).await, unstable);
            assert_ne!(group_offset(&mut wire, false).await, Ok(offset));
            producer = client.end(&mut wire, producer, committed).await.unwrap();
            while group_offset(&mut wire, true).await == unstable {}
            assert_eq!(group_offset(&mut wire, true).await, Ok(expected));
        }
    }
}

#[tokio::test]
async fn trap_11_a_new_instance_fences_the_old_one() {
    let (_broker, mut wire) = started().await;
    let old = NEW.init(&mut wire).await;
    NEW.produce(&mut wire, old, (0, 0), &["lost"]).await;
    let new = NEW.init(&mut wire).await;
    assert_eq!(new.0, old.0);
    assert!(new.1 > old.1);
    let refused = NEW.produce(&mut wire, old, (0, 1), &["late"]).await;
    assert_eq!(refused, ErrorCode::InvalidProducerEpoch);
    assert_eq!(
        NEW.end(&mut wire, old, true).await,
        Err(ErrorCode::ProducerFenced)
    );
    assert_eq!(
        OLD.add(&mut wire, old, &[0]).await,
        ErrorCode::ProducerFenced
    );
    NEW.produce(&mut wire, new, (0, 0), &["kept"]).await;
    NEW.end(&mut wire, new, true).await.unwrap();
    settled(&mut wire, 0).await;
    assert_eq!(committed_values(&mut wire, 0).await, ["kept"]);
}

#[tokio::test]
async fn trap_11_a_transaction_that_takes_too_long_is_aborted() {
    let (_broker, mut wire) = started().await;
    let too_long = NEW.init_once(&mut wire, i32::MAX).await;
    assert_eq!(too_long, Err(ErrorCode::InvalidTransactionTimeout));
    let producer = NEW.init_for(&mut wire, 1).await;
    NEW.produce(&mut wire, producer, (0, 0), &["late"]).await;
    settled(&mut wire, 0).await;
    assert_eq!(committed_values(&mut wire, 0).await, [""; 0]);
    assert!(NEW.end(&mut wire, producer, true).await.is_err());
}

#[tokio::test]
async fn trap_11_a_zombie_coordinator_writes_no_marker() {
    let (_broker, mut wire) = started().await;
    let producer = OLD.init(&mut wire).await;
    OLD.add(&mut wire, producer, &[0]).await;
    OLD.produce(&mut wire, producer, (0, 0), &["a"]).await;
    let marker = |epoch: i16, coordinator_epoch| WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            producer_id: producer.0,
            producer_epoch: epoch,
            transaction_result: false,
            topics: vec![WritableTxnMarkerTopic {
                name: "t".into(),
                partition_indexes: vec![0, 7],
                ..Default::default()
            }],
            coordinator_epoch,
            ..Default::default()
        }],
        ..Default::default()
    };
    let codes =
        |response: moldau_protocol::messages::write_txn_markers::WriteTxnMarkersResponse| {
            let partitions = &response.markers[0].topics[0].partitions;
            let codes = partitions
                .iter()
                .map(|partition| ErrorCode::from_code(partition.error_code));
            codes.collect::<Vec<_>>()
        };
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let response = wire.call(1, marker(producer.1, 5)).await;
    assert_eq!(codes(response), [ErrorCode::None, unknown]);
    let response = wire.call(1, marker(producer.1, 4)).await;
    assert_eq!(
        codes(response),
        [ErrorCode::TransactionCoordinatorFenced, unknown]
    );
    let response = wire.call(1, marker(producer.1 - 1, 5)).await;
    assert_eq!(codes(response), [ErrorCode::InvalidProducerEpoch, unknown]);
    assert_eq!(committed_values(&mut wire, 0).await, [""; 0]);
}

#[tokio::test]
async fn after_a_clean_restart_an_open_transaction_goes_on() {
    let (broker, mut wire) = started().await;
    let mut producer = NEW.init(&mut wire).await;
    NEW.produce(&mut wire, producer, (0, 0), &["gone"]).await;
    producer = NEW.end(&mut wire, producer, false).await.unwrap();
    settled(&mut wire, 0).await;
    NEW.produce(&mut wire, producer, (0, 0), &["a"]).await;
    let broker = broker.restart().await;
    let mut wire = broker.connect().await;
    assert_eq!(committed_values(&mut wire, 0).await, [""; 0]);
    let code = NEW.produce(&mut wire, producer, (0, 1), &["b"]).await;
    assert_eq!(code, ErrorCode::None);
    NEW.end(&mut wire, producer, true).await.unwrap();
    settled(&mut wire, 0).await;
    assert_eq!(committed_values(&mut wire, 0).await, ["a", "b"]);
    assert_eq!(
        wire.values("t", 0, 0).await.len(),
        5,
        "with markers, and what was aborted"
    );
}

#[tokio::test]
async fn a_decision_that_was_answered_holds_after_a_crash() {
    for committed in [true, false] {
        let (broker, mut wire) = started().await;
        group_coordinator(&mut wire).await;
        let producer = NEW.init(&mut wire).await;
        NEW.produce(&mut wire, producer, (0, 0), &["a"]).await;
        NEW.produce(&mut wire, producer, (1, 0), &["b"]).await;
        NEW.commit_offset(&mut wire, producer, 3).await;
        // The answer leaves before the markers are written: some may be missing in the copy.
        let next = NEW.end(&mut wire, producer, committed).await.unwrap();
        let dir = crashed(broker);
        let broker = TestBroker::start_in(dir, |_| {}).await;
        let mut wire = broker.connect().await;
        for (partition, value) in [(0, "a"), (1, "b")] {
            settled(&mut wire, partition).await;
            let values = committed_values(&mut wire, partition).await;
            assert_eq!(values, if committed { vec![value] } else { vec![] });
        }
        let unstable = Err(ErrorCode::UnstableOffsetCommit);
        while group_offset(&mut wire, true).await == unstable {}
        let offset = if committed { 3 } else { -1 };
        assert_eq!(group_offset(&mut wire, true).await, Ok(offset));
        let code = NEW.produce(&mut wire, next, (0, 0), &["c"]).await;
        assert_eq!(code, ErrorCode::None, "the producer goes on");
    }
}

#[tokio::test]
async fn after_a_crash_in_an_open_transaction_its_timeout_goes_on() {
    let (broker, mut wire) = started().await;
    let producer = NEW.init_for(&mut wire, 2_000).await;
    NEW.produce(&mut wire, producer, (0, 0), &["a"]).await;
    let dir = crashed(broker);
    let broker = TestBroker::start_in(dir, |_| {}).await;
    let mut wire = broker.connect().await;
    settled(&mut wire, 0).await;
    assert_eq!(committed_values(&mut wire, 0).await, [""; 0]);
}

#[tokio::test]
async fn transactions_and_producers_are_described() {
    let (_broker, mut wire) = started().await;
    let unknown = DescribeTransactionsRequest {
        transactional_ids: vec!["tx".into()],
        ..Default::default()
    };
    let response = wire.call(0, unknown.clone()).await;
    let code = response.transaction_states[0].error_code;
    assert_eq!(code, ErrorCode::TransactionalIdNotFound.code());
    let producer = NEW.init(&mut wire).await;
    NEW.produce(&mut wire, producer, (1, 0), &["a"]).await;
    let described = wire.call(0, unknown).await.transaction_states.remove(0);
    assert_eq!(described.transaction_state, "Ongoing");
    assert_eq!((described.producer_id, described.producer_epoch), producer);
    assert_eq!(described.topics[0].partitions, [1]);
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: "t".into(),
            partition_indexes: vec![1],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = wire.call(0, request).await;
    let active = &response.topics[0].partitions[0].active_producers[0];
    assert_eq!(
        (active.producer_id, active.current_txn_start_offset),
        (producer.0, 0)
    );
    for (pattern, expected) in [("t.", 1), ("x", 0), ("", 1)] {
        let request = ListTransactionsRequest {
            duration_filter: -1,
            transactional_id_pattern: Some(KString::from(pattern)),
            ..Default::default()
        };
        let listed = wire.call(2, request).await;
        assert_eq!(listed.transaction_states.len(), expected, "{pattern:?}");
    }
    let request = ListTransactionsRequest {
        duration_filter: -1,
        transactional_id_pattern: Some(KString::from("(")),
        ..Default::default()
    };
    let refused = wire.call(2, request).await.error_code;
    assert_eq!(refused, ErrorCode::InvalidRegularExpression.code());
}

#[tokio::test]
async fn trap_13_transaction_version_2_is_finalized() {
    let (_broker, mut wire) = started().await;
    let request = moldau_protocol::messages::api_versions::ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let response = wire.call(4, request).await;
    let levels = response.finalized_features.iter();
    let level = levels
        .filter(|feature| feature.name == "transaction.version")
        .map(|feature| feature.max_version_level);
    assert_eq!(level.collect::<Vec<_>>(), [2]);
}
