//! The producer when things go wrong.

use std::time::Duration;

use bytes::Bytes;
use moldau_client::{Acks, ClientError, ErrorCode, Producer, ProducerConfig, ProducerRecord};
use moldau_protocol::ApiKey;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::broker::{Broker, ProduceFault};

fn small_batches() -> ProducerConfig {
    ProducerConfig {
        batch_size: 100,
        linger_ms: 0,
        ..ProducerConfig::default()
    }
}

fn record(partition: i32, value: u32) -> ProducerRecord {
    let mut record = ProducerRecord::new("orders", None, Some(Bytes::from(value.to_string())));
    record.partition = Some(partition);
    record
}

async fn send(producer: &Producer, count: u32) {
    for number in 0..count {
        producer.send(record(0, number)).await.unwrap();
    }
}

fn numbers(count: u32) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// Sends 100 records through the faults; whatever they are, each must arrive once and in order.
async fn check_exactly_once(faults: &[ProduceFault]) {
    let broker = Broker::with_topic("orders", 1);
    let producer = broker.client().producer(small_batches());
    producer.send(record(0, 0)).await.unwrap();
    producer.flush().await.unwrap();
    broker.lock().produce_script.extend(faults);
    for number in 1..100 {
        producer.send(record(0, number)).await.unwrap();
    }
    producer.flush().await.unwrap();
    assert_eq!(broker.values("orders", 0), numbers(100), "{faults:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_may_pass_is_retried_in_order() {
    check_exactly_once(&[ProduceFault::Refuse(ErrorCode::NotLeaderOrFollower)]).await;
    check_exactly_once(&[
        ProduceFault::Succeed,
        ProduceFault::Refuse(ErrorCode::NotEnoughReplicas),
        ProduceFault::Succeed,
        ProduceFault::Refuse(ErrorCode::NotEnoughReplicas),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_answer_is_lost_is_stored_once() {
    check_exactly_once(&[ProduceFault::LoseAnswer]).await;
    check_exactly_once(&[
        ProduceFault::StoreAndAnswer(ErrorCode::NotEnoughReplicasAfterAppend),
        ProduceFault::LoseAnswer,
        ProduceFault::LoseAnswer,
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_lost_does_not_let_later_ones_overtake() {
    check_exactly_once(&[ProduceFault::Succeed, ProduceFault::LoseRequest]).await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_forgets_the_producer_gets_a_new_id() {
    check_exactly_once(&[ProduceFault::ForgetProducers]).await;
    check_exactly_once(&[
        ProduceFault::Succeed,
        ProduceFault::Succeed,
        ProduceFault::ForgetProducers,
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn random_faults_lose_nothing_repeat_nothing_and_keep_the_order() {
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let broker = Broker::with_topic("orders", 3);
        for _ in 0..200 {
            let fault = match random.random_range(0..10) {
                0 => ProduceFault::Refuse(ErrorCode::NotLeaderOrFollower),
                1 => ProduceFault::StoreAndAnswer(ErrorCode::RequestTimedOut),
                2 => ProduceFault::LoseRequest,
                3 => ProduceFault::LoseAnswer,
                _ => ProduceFault::Succeed,
            };
            broker.lock().produce_script.push_back(fault);
        }
        let producer = broker.client().producer(small_batches());
        let mut sent: [Vec<String>; 3] = Default::default();
        let mut deliveries = Vec::new();
        for number in 0..500 {
            let partition = random.random_range(0..3);
            sent[partition].push(number.to_string());
            let record = record(partition as i32, number);
            deliveries.push(producer.send(record).await.unwrap());
            if random.random_range(0..50) == 0 {
                tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
            }
        }
        producer.flush().await.unwrap();
        for (partition, sent) in sent.iter().enumerate() {
            assert_eq!(broker.values("orders", partition), *sent, "seed {seed}");
        }
        for delivery in deliveries {
            assert!(delivery.await.unwrap().offset >= 0, "seed {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_batch_that_fails_is_not_overtaken_at_a_broker_that_takes_any_sequence() {
    let broker = Broker::with_topic("orders", 1);
    broker
        .lock()
        .produce_script
        .push_back(ProduceFault::Refuse(ErrorCode::NotLeaderOrFollower));
    let producer = broker.client().producer(small_batches());
    send(&producer, 100).await;
    producer.flush().await.unwrap();
    assert_eq!(broker.values("orders", 0), numbers(100));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_for_good_fails_alone() {
    let broker = Broker::with_topic("orders", 1);
    let producer = broker.client().producer(small_batches());
    producer.send(record(0, 0)).await.unwrap();
    producer.flush().await.unwrap();
    broker.lock().produce_script.extend([
        ProduceFault::Refuse(ErrorCode::InvalidRecord),
        ProduceFault::Succeed,
    ]);
    let refused = producer.send(record(0, 1)).await.unwrap();
    let error = refused.await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidRecord));
    assert!(error.to_string().contains("topic \"orders\" partition 0"));
    for number in 2..50 {
        producer.send(record(0, number)).await.unwrap();
    }
    assert_eq!(producer.flush().await, Err(error));
    producer.flush().await.unwrap();
    let mut expected = numbers(50);
    expected.remove(1);
    assert_eq!(broker.values("orders", 0), expected);
}

#[tokio::test(start_paused = true)]
async fn records_that_cannot_be_delivered_in_time_fail_and_later_ones_arrive() {
    let broker = Broker::with_topic("orders", 1);
    let producer = broker.client().producer(ProducerConfig {
        delivery_timeout_ms: 2_000,
        ..small_batches()
    });
    producer.send(record(0, 0)).await.unwrap();
    producer.flush().await.unwrap();
    let refusal = ProduceFault::Refuse(ErrorCode::NotEnoughReplicas);
    broker.lock().produce_script.extend([refusal; 1_000]);
    let late = producer.send(record(0, 1)).await.unwrap();
    let error = late.await.unwrap_err();
    let ClientError::Timeout {
        operation,
        after_ms,
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(*after_ms, 2_000);
    assert!(operation.contains("orders-0") && operation.contains("NOT_ENOUGH_REPLICAS"));
    broker.lock().produce_script.clear();
    let next = producer.send(record(0, 2)).await.unwrap();
    assert_eq!(next.await.unwrap().offset, 1);
    assert_eq!(broker.values("orders", 0), ["0", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_makes_send_wait_and_then_fail() {
    let broker = Broker::with_topic("orders", 1);
    broker.lock().is_holding = true;
    let producer = broker.client().producer(ProducerConfig {
        buffer_memory: 1_000,
        max_block_ms: 500,
        ..small_batches()
    });
    let mut sent = 0;
    let error = loop {
        match producer.send(record(0, sent)).await {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("buffer_memory"), "{error}");
    assert!((10..100).contains(&sent), "{sent}");
    broker.release();
    producer.flush().await.unwrap();
    assert_eq!(broker.values("orders", 0), numbers(sent));
}

#[tokio::test(start_paused = true)]
async fn linger_gathers_records_and_flush_ends_the_wait() {
    let broker = Broker::with_topic("orders", 1);
    let producer = broker.client().producer(ProducerConfig {
        linger_ms: 60_000,
        ..ProducerConfig::default()
    });
    send(&producer, 10).await;
    let before = tokio::time::Instant::now();
    producer.flush().await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1));
    assert_eq!(broker.count(ApiKey::Produce), 1);

    let delivery = producer.send(record(0, 10)).await.unwrap();
    let before = tokio::time::Instant::now();
    delivery.await.unwrap();
    let waited = before.elapsed();
    assert!((59..62).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn no_more_than_max_in_flight_requests_are_under_way() {
    let broker = Broker::with_topic("orders", 1);
    let producer = broker.client().producer(ProducerConfig {
        max_in_flight: 3,
        ..small_batches()
    });
    producer.send(record(0, 0)).await.unwrap();
    producer.flush().await.unwrap();
    broker.lock().is_holding = true;
    for number in 1..200 {
        producer.send(record(0, number)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(broker.count(ApiKey::Produce), 1 + 3);
    broker.release();
    producer.flush().await.unwrap();
    assert_eq!(broker.values("orders", 0), numbers(200));
}

#[tokio::test(start_paused = true)]
async fn without_idempotence_no_producer_id_is_asked_for() {
    let broker = Broker::with_topic("orders", 1);
    for acks in [Acks::Leader, Acks::None] {
        let producer = broker.client().producer(ProducerConfig {
            acks,
            ..ProducerConfig::default()
        });
        producer.send(record(0, 0)).await.unwrap().await.unwrap();
    }
    assert_eq!(broker.count(ApiKey::InitProducerId), 0);
    let log = &broker.lock().topics["orders"][0];
    assert!(log.batches.iter().all(|batch| batch.producer_id() == -1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_producer_still_sends_and_a_closed_one_refuses() {
    let broker = Broker::with_topic("orders", 1);
    let client = broker.client();
    let producer = client.producer(ProducerConfig::default());
    let delivery = producer.send(record(0, 0)).await.unwrap();
    drop(producer);
    delivery.await.unwrap();

    let producer = client.producer(ProducerConfig::default());
    let other = producer.clone();
    producer.close().await;
    let error = other.send(record(0, 1)).await.unwrap_err();
    assert_eq!(error.to_string(), "producer is closed");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_never_comes_is_an_error_after_max_block_ms() {
    let broker = Broker::with_topic("orders", 1);
    let producer = broker.client().producer(ProducerConfig {
        max_block_ms: 3_000,
        ..ProducerConfig::default()
    });
    let before = tokio::time::Instant::now();
    let unknown = ProducerRecord::new("order", None, None);
    let error = producer.send(unknown).await.unwrap_err();
    assert!(matches!(&error, ClientError::UnknownTopic { topic } if topic == "order"));
    assert!(before.elapsed() <= Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_gets_more_partitions_is_used_in_full() {
    let broker = Broker::with_topic("orders", 1);
    let producer = broker.client().producer(ProducerConfig::default());
    producer.send(record(0, 0)).await.unwrap();
    let error = producer.send(record(1, 0)).await.unwrap_err();
    assert!(matches!(error, ClientError::UnknownPartition { .. }));
    producer.flush().await.unwrap();
    broker.add_topic("orders", 2);
    producer.send(record(1, 1)).await.unwrap();
    producer.flush().await.unwrap();
    assert_eq!(broker.values("orders", 1), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn closing_takes_no_longer_than_it_may_and_says_what_was_lost() {
    let broker = Broker::with_topic("orders", 1);
    broker.lock().is_holding = true;
    let producer = broker.client().producer(small_batches());
    let mut deliveries = Vec::new();
    for number in 0..50 {
        deliveries.push(producer.send(record(0, number)).await.unwrap());
    }
    let other = producer.clone();
    let before = tokio::time::Instant::now();
    producer.close_within(Duration::from_secs(3)).await;
    assert!(before.elapsed() <= Duration::from_secs(4));
    for delivery in deliveries {
        assert_eq!(
            delivery.await.unwrap_err().to_string(),
            "producer is closed"
        );
    }
    let error = other.send(record(0, 1)).await.unwrap_err();
    assert_eq!(error.to_string(), "producer is closed");
}

#[tokio::test(start_paused = true)]
async fn no_request_is_larger_than_allowed() {
    let broker = Broker::with_topic("orders", 6);
    let config = ProducerConfig {
        batch_size: 400,
        max_request_size: 1_000,
        ..ProducerConfig::default()
    };
    let producer = broker.client().producer(config.clone());
    broker.lock().is_holding = true;
    for number in 0..600 {
        let partition = number % 6;
        producer
            .send(record(partition as i32, number))
            .await
            .unwrap();
    }
    broker.release();
    producer.flush().await.unwrap();
    let produced = broker.lock().produced.clone();
    let most = produced.iter().copied().max().unwrap();
    assert!(most <= config.max_request_size, "{produced:?}");
    assert!(
        most > config.batch_size,
        "several batches fit: {produced:?}"
    );
    let stored = (0..6).map(|partition| broker.values("orders", partition).len());
    assert_eq!(stored.sum::<usize>(), 600);
}
