//! Transactions when things go wrong.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moldau_client::{
    ClientError, ErrorCode, GroupMetadata, OffsetAndMetadata, ProducerConfig, ProducerRecord,
    TopicPartition, TransactionalProducer,
};
use moldau_protocol::ApiKey;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::broker::{Broker, ProduceFault};
use crate::transactions::TransactionFault;

fn broker(is_version_2: bool) -> Arc<Broker> {
    let broker = Broker::with_topic("orders", 3);
    broker.lock().transactions.is_version_2 = is_version_2;
    broker
}

async fn producer(broker: &Arc<Broker>) -> TransactionalProducer {
    let config = ProducerConfig {
        batch_size: 100,
        linger_ms: 0,
        ..ProducerConfig::default()
    };
    let client = broker.client();
    client
        .transactional_producer("billing", config)
        .await
        .unwrap()
}

fn record(partition: i32, value: u32) -> ProducerRecord {
    let mut record = ProducerRecord::new("orders", None, Some(Bytes::from(value.to_string())));
    record.partition = Some(partition);
    record
}

/// One transaction: 10 records to each of 3 partitions, and a position.
async fn attempt(producer: &mut TransactionalProducer, round: u32) -> Result<(), ClientError> {
    producer.begin()?;
    for number in 0..10 {
        for partition in 0..3 {
            producer
                .send(record(partition, round * 10 + number))
                .await?;
        }
    }
    let group = GroupMetadata::outsider("billing-input".into());
    let position = OffsetAndMetadata::new(i64::from(round) + 1);
    let offsets = [(TopicPartition::new("input", 0), position)];
    producer.send_offsets(&group, &offsets).await?;
    producer.commit().await
}

/// Makes a transaction until it is committed, as its errors say.
async fn commit(producer: &mut TransactionalProducer, round: u32, what: &str) {
    let mut result = attempt(producer, round).await;
    for _ in 0..1_000 {
        result = match result {
            Ok(()) => return,
            Err(ClientError::MustAbort { .. }) => {
                while let Err(error) = producer.abort().await {
                    assert!(error.is_retriable(), "{what}: {error}");
                }
                attempt(producer, round).await
            }
            Err(error) if error.is_retriable() => producer.commit().await,
            Err(error) => panic!("{what}: {error}"),
        };
    }
    panic!("{what}: round {round} was never committed");
}

/// Whatever happens, each round is committed once, in order, whole.
async fn check_rounds(
    is_version_2: bool,
    rounds: u32,
    what: &str,
    mut faults: impl FnMut(&mut Vec<ProduceFault>, &mut Vec<TransactionFault>),
) {
    let broker = broker(is_version_2);
    let mut producer = producer(&broker).await;
    for round in 0..rounds {
        let (mut produce, mut coordinator) = (Vec::new(), Vec::new());
        faults(&mut produce, &mut coordinator);
        {
            let mut state = broker.lock();
            state.produce_script.extend(produce);
            state.transactions.script.extend(coordinator);
        }
        commit(&mut producer, round, what).await;
    }
    let expected: Vec<_> = (0..rounds * 10).map(|number| number.to_string()).collect();
    for partition in 0..3 {
        let committed = broker.lock().topics["orders"][partition].committed_values();
        assert_eq!(committed, expected, "{what}, partition {partition}");
    }
    let position = broker.lock().coordinator.committed[&("input".into(), 0)];
    assert_eq!(position, i64::from(rounds), "{what}");
}

#[tokio::test(start_paused = true)]
async fn transactions_are_committed_by_both_versions() {
    for is_version_2 in [false, true] {
        check_rounds(is_version_2, 5, "no faults", |_, _| {}).await;
    }
}

#[tokio::test(start_paused = true)]
async fn by_version_2_nothing_is_added_before_it_is_sent() {
    let broker = broker(true);
    let mut producer = producer(&broker).await;
    commit(&mut producer, 0, "version 2").await;
    assert_eq!(broker.count(ApiKey::AddPartitionsToTxn), 0);
    assert_eq!(broker.count(ApiKey::AddOffsetsToTxn), 0);
    assert_eq!(broker.count(ApiKey::EndTxn), 1);
}

#[tokio::test(start_paused = true)]
async fn by_version_1_partitions_are_added_together() {
    let broker = broker(false);
    let mut producer = producer(&broker).await;
    producer.begin().unwrap();
    for partition in 0..3 {
        producer.send(record(partition, 0)).await.unwrap();
    }
    producer.commit().await.unwrap();
    assert_eq!(broker.count(ApiKey::AddPartitionsToTxn), 1);
}

#[tokio::test(start_paused = true)]
async fn an_empty_transaction_asks_nobody() {
    for is_version_2 in [false, true] {
        let broker = broker(is_version_2);
        let mut producer = producer(&broker).await;
        producer.begin().unwrap();
        producer.commit().await.unwrap();
        producer.begin().unwrap();
        producer.abort().await.unwrap();
        assert_eq!(broker.count(ApiKey::EndTxn), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn faults_of_coordinators_and_leaders_tear_no_transaction() {
    for seed in 0..30 {
        let is_version_2 = seed % 2 == 0;
        let mut random = StdRng::seed_from_u64(seed);
        let what = format!("seed {seed}");
        check_rounds(is_version_2, 10, &what, |produce, coordinator| {
            for _ in 0..8 {
                produce.push(match random.random_range(0..12) {
                    0 => ProduceFault::Refuse(ErrorCode::NotLeaderOrFollower),
                    1 => ProduceFault::StoreAndAnswer(ErrorCode::RequestTimedOut),
                    2 => ProduceFault::LoseRequest,
                    3 => ProduceFault::LoseAnswer,
                    4 => ProduceFault::Refuse(ErrorCode::InvalidRecord),
                    5 => ProduceFault::Refuse(ErrorCode::TransactionAbortable),
                    _ => ProduceFault::Succeed,
                });
            }
            for _ in 0..3 {
                coordinator.push(match random.random_range(0..10) {
                    0 => TransactionFault::Refuse(ErrorCode::NotCoordinator),
                    1 => TransactionFault::Refuse(ErrorCode::ConcurrentTransactions),
                    2 => TransactionFault::Refuse(ErrorCode::CoordinatorLoadInProgress),
                    3 => TransactionFault::LoseRequest,
                    4 => TransactionFault::LoseAnswer,
                    _ => TransactionFault::Succeed,
                });
            }
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_time_out_make_the_transaction_abort_and_the_next_one_works() {
    for is_version_2 in [false, true] {
        let broker = broker(is_version_2);
        let config = ProducerConfig {
            delivery_timeout_ms: 2_000,
            ..ProducerConfig::default()
        };
        let client = broker.client();
        let producer = client.transactional_producer("billing", config).await;
        let mut producer = producer.unwrap();
        producer.begin().unwrap();
        producer.send(record(0, 100)).await.unwrap();
        producer.flush().await.unwrap();
        let refusal = ProduceFault::Refuse(ErrorCode::NotEnoughReplicas);
        broker.lock().produce_script.extend([refusal; 1_000]);
        producer.send(record(0, 101)).await.unwrap();
        let error = producer.commit().await.unwrap_err();
        assert!(matches!(error, ClientError::MustAbort { .. }), "{error}");
        assert!(error.to_string().contains("NOT_ENOUGH_REPLICAS"), "{error}");
        broker.lock().produce_script.clear();
        producer.abort().await.unwrap();
        commit(&mut producer, 0, "after a time-out").await;
        let committed = broker.lock().topics["orders"][0].committed_values();
        assert_eq!(committed.len(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_not_answered_is_found_out_by_another() {
    for is_version_2 in [false, true] {
        let broker = broker(is_version_2);
        let mut producer = producer(&broker).await;
        producer.begin().unwrap();
        producer.send(record(0, 0)).await.unwrap();
        producer.flush().await.unwrap();
        let mut script = vec![TransactionFault::LoseAnswer];
        script.extend([TransactionFault::LoseRequest; 1_000]);
        broker.lock().transactions.script.extend(script);
        let error = producer.commit().await.unwrap_err();
        assert!(error.is_retriable(), "{error}");
        let misuse = producer.abort().await.unwrap_err();
        assert!(
            misuse.to_string().contains("call `commit` again"),
            "{misuse}"
        );
        broker.lock().transactions.script.clear();
        producer.commit().await.unwrap();
        let committed = broker.lock().topics["orders"][0].committed_values();
        assert_eq!(committed, ["0"]);
        commit(&mut producer, 1, "afterwards").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fenced_producer_says_so_and_stops() {
    let broker = broker(true);
    let mut first = producer(&broker).await;
    first.begin().unwrap();
    first.send(record(0, 0)).await.unwrap();
    first.flush().await.unwrap();
    let second = producer(&broker).await;
    let error = first.commit().await.unwrap_err();
    assert!(
        matches!(error, ClientError::ProducerFenced { .. }),
        "{error}"
    );
    for error in [first.begin().unwrap_err(), first.abort().await.unwrap_err()] {
        assert!(
            matches!(error, ClientError::ProducerFenced { .. }),
            "{error}"
        );
    }
    first.close(Duration::from_secs(1)).await;
    second.close(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn closing_aborts_and_takes_no_longer_than_it_may() {
    let broker = broker(true);
    let mut producer_to_close = producer(&broker).await;
    producer_to_close.begin().unwrap();
    producer_to_close.send(record(0, 0)).await.unwrap();
    producer_to_close.flush().await.unwrap();
    producer_to_close.close(Duration::from_secs(5)).await;
    assert_eq!(broker.count(ApiKey::EndTxn), 1);
    assert!(
        broker.lock().topics["orders"][0]
            .committed_values()
            .is_empty()
    );

    let mut stuck = producer(&broker).await;
    stuck.begin().unwrap();
    broker.lock().is_holding = true;
    let delivery = stuck.send(record(0, 1)).await.unwrap();
    let before = tokio::time::Instant::now();
    stuck.close(Duration::from_secs(5)).await;
    assert!(before.elapsed() <= Duration::from_secs(11));
    assert!(delivery.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_abort_that_gets_no_new_epoch_at_first_is_finished_by_another() {
    let broker = broker(false);
    let mut producer = producer(&broker).await;
    producer.begin().unwrap();
    producer.send(record(0, 100)).await.unwrap();
    producer.flush().await.unwrap();
    let refusal = ProduceFault::Refuse(ErrorCode::InvalidRecord);
    broker.lock().produce_script.push_back(refusal);
    producer.send(record(0, 101)).await.unwrap();
    assert!(producer.commit().await.is_err());
    let mut script = vec![TransactionFault::Succeed, TransactionFault::LoseAnswer];
    script.extend([TransactionFault::LoseRequest; 1_000]);
    broker.lock().transactions.script.extend(script);
    let error = producer.abort().await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
    broker.lock().transactions.script.clear();
    producer.abort().await.unwrap();
    commit(&mut producer, 0, "afterwards").await;
    let committed = broker.lock().topics["orders"][0].committed_values();
    assert_eq!(committed.len(), 10);
}
