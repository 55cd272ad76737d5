//! Idempotent producers: duplicates, gaps, and what survives a restart.

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::init_producer_id::InitProducerIdRequest;

use crate::fixture::*;

async fn producer(wire: &mut Wire) -> (i64, i16) {
    let response = wire
        .call(
            4,
            InitProducerIdRequest {
                transactional_id: None,
                ..Default::default()
            },
        )
        .await;
    assert_eq!(response.error_code, 0);
    (response.producer_id, response.producer_epoch)
}

#[tokio::test]
async fn every_producer_gets_its_own_id_also_after_a_restart() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    let (first, second) = (producer(&mut wire).await, producer(&mut wire).await);
    assert_ne!(first.0, second.0);
    let broker = broker.restart().await;
    let third = producer(&mut broker.connect().await).await;
    assert!(third.0 > second.0);
}

/// Trap 5: duplicates.
#[tokio::test]
async fn a_duplicate_is_answered_with_the_offset_of_the_original() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let id = producer(&mut wire).await;
    for number in 0..6 {
        let value = number.to_string();
        let response = wire
            .produce("t", 0, idempotent_batch(id, number, &[&value]))
            .await;
        assert_eq!(
            (response.error_code, response.base_offset),
            (0, i64::from(number))
        );
    }
    // The last five batches are remembered.
    for number in 1..6 {
        let value = number.to_string();
        let response = wire
            .produce("t", 0, idempotent_batch(id, number, &[&value]))
            .await;
        assert_eq!(
            (response.error_code, response.base_offset),
            (0, i64::from(number))
        );
    }
    assert_eq!(wire.values("t", 0, 0).await, ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_gap_in_the_sequence_is_refused() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let id = producer(&mut wire).await;
    wire.produce("t", 0, idempotent_batch(id, 0, &["a"])).await;
    let response = wire.produce("t", 0, idempotent_batch(id, 2, &["c"])).await;
    assert_eq!(
        response.error_code,
        ErrorCode::OutOfOrderSequenceNumber.code()
    );
    assert_eq!(
        wire.produce("t", 0, idempotent_batch(id, 1, &["b"]))
            .await
            .base_offset,
        1
    );
}

#[tokio::test]
async fn an_older_epoch_is_fenced() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let (id, _) = producer(&mut wire).await;
    wire.produce("t", 0, idempotent_batch((id, 1), 0, &["new"]))
        .await;
    let response = wire
        .produce("t", 0, idempotent_batch((id, 0), 0, &["old"]))
        .await;
    assert_eq!(response.error_code, ErrorCode::InvalidProducerEpoch.code());
}

#[tokio::test]
async fn duplicates_are_known_after_a_restart() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let id = producer(&mut wire).await;
    wire.produce("t", 0, idempotent_batch(id, 0, &["a", "b"]))
        .await;
    let broker = broker.restart().await;
    let mut wire = broker.connect().await;
    let again = wire
        .produce("t", 0, idempotent_batch(id, 0, &["a", "b"]))
        .await;
    assert_eq!((again.error_code, again.base_offset), (0, 0));
    assert_eq!(
        wire.produce("t", 0, idempotent_batch(id, 2, &["c"]))
            .await
            .base_offset,
        2
    );
    assert_eq!(wire.values("t", 0, 0).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn duplicates_in_one_burst_are_written_once() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let id = producer(&mut wire).await;
    for _ in 0..20 {
        wire.send(
            PRODUCE,
            produce_request("t", 0, -1, idempotent_batch(id, 0, &["once"])),
        )
        .await;
    }
    for _ in 0..20 {
        wire.receive(moldau_protocol::ApiKey::Produce, PRODUCE)
            .await;
    }
    assert_eq!(wire.values("t", 0, 0).await, ["once"]);
}
