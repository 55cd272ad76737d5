//! The consumer when things go wrong.

use std::time::Duration;

use bytes::Bytes;
use moldau_client::{
    Client, ClientError, Consumer, ConsumerConfig, ErrorCode, OffsetReset, ProducerConfig,
    ProducerRecord, TopicPartition,
};
use moldau_protocol::ApiKey;

use crate::broker::Broker;

async fn produce(client: &Client, partition: i32, values: std::ops::Range<u32>) {
    let producer = client.producer(ProducerConfig {
        batch_size: 100,
        ..ProducerConfig::default()
    });
    for value in values {
        let mut record = ProducerRecord::new("orders", None, Some(Bytes::from(value.to_string())));
        record.partition = Some(partition);
        producer.send(record).await.unwrap();
    }
    producer.close().await;
}

fn reader(client: &Client, config: ConsumerConfig) -> Consumer {
    let mut consumer = client.consumer(ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        ..config
    });
    consumer.assign(vec![TopicPartition::new("orders", 0)]);
    consumer
}

pub(crate) async fn read(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    for _ in 0..10_000 {
        let poll = consumer.poll(Duration::from_secs(1)).await.unwrap();
        for batch in &poll.batches {
            for record in batch.records().unwrap() {
                let value = record.unwrap().value.unwrap_or_default();
                values.push(String::from_utf8_lossy(&value).into_owned());
            }
        }
        if values.len() >= count {
            return values;
        }
    }
    panic!("only {} of {count} records came", values.len());
}

pub(crate) fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn errors_that_may_pass_are_retried_with_newer_metadata() {
    let broker = Broker::with_topic("orders", 1);
    let client = broker.client();
    produce(&client, 0, 0..50).await;
    let metadata_before = broker.count(ApiKey::Metadata);
    broker.lock().fetch_script.extend([
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::FencedLeaderEpoch,
        ErrorCode::UnknownTopicOrPartition,
    ]);
    let mut consumer = reader(&client, ConsumerConfig::default());
    assert_eq!(read(&mut consumer, 50).await, numbers(0..50));
    assert!(broker.count(ApiKey::Metadata) >= metadata_before + 3);
}

#[tokio::test(start_paused = true)]
async fn an_error_for_the_program_is_told_and_reading_goes_on() {
    let broker = Broker::with_topic("orders", 1);
    let client = broker.client();
    produce(&client, 0, 0..5).await;
    broker
        .lock()
        .fetch_script
        .push_back(ErrorCode::TopicAuthorizationFailed);
    let mut consumer = reader(&client, ConsumerConfig::default());
    let error = loop {
        if let Err(error) = consumer.poll(Duration::from_secs(1)).await {
            break error;
        }
    };
    assert_eq!(error.code(), Some(ErrorCode::TopicAuthorizationFailed));
    assert!(error.to_string().contains("orders-0"), "{error}");
    assert_eq!(read(&mut consumer, 5).await, numbers(0..5));
}

#[tokio::test(start_paused = true)]
async fn retention_that_overtakes_the_consumer_resets_it() {
    let broker = Broker::with_topic("orders", 1);
    let client = broker.client();
    produce(&client, 0, 0..100).await;
    let mut consumer = reader(
        &client,
        ConsumerConfig {
            max_partition_bytes: 1,
            max_poll_bytes: 1,
            ..ConsumerConfig::default()
        },
    );
    let first = read(&mut consumer, 1).await;
    {
        let mut state = broker.lock();
        let log = &mut state.topics.get_mut("orders").unwrap()[0];
        log.start_offset = log.batches[log.batches.len() - 2].base_offset();
    }
    let start = broker.lock().topics["orders"][0].start_offset;
    let rest = read(&mut consumer, (100 - start) as usize).await;
    let last = consumer.position(&TopicPartition::new("orders", 0));
    assert_eq!(last, Some(100));
    assert!(first.len() + rest.len() < 100, "the middle was deleted");
}

#[tokio::test(start_paused = true)]
async fn what_is_fetched_ahead_is_bounded() {
    let broker = Broker::with_topic("orders", 1);
    let client = broker.client();
    produce(&client, 0, 0..1_000).await;
    let mut consumer = reader(
        &client,
        ConsumerConfig {
            max_partition_bytes: 300,
            max_poll_bytes: 1,
            ..ConsumerConfig::default()
        },
    );
    read(&mut consumer, 1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let fetches = broker.count(ApiKey::Fetch);
    assert!(fetches <= 4, "{fetches} fetches although nobody polls");
    let count = read(&mut consumer, 900).await.len();
    assert!(count >= 900);
}

#[tokio::test(start_paused = true)]
async fn new_records_end_a_waiting_poll() {
    let broker = Broker::with_topic("orders", 1);
    let client = broker.client();
    let mut consumer = reader(&client, ConsumerConfig::default());
    assert!(
        consumer
            .poll(Duration::from_secs(2))
            .await
            .unwrap()
            .batches
            .is_empty()
    );
    let producing = tokio::spawn(async move { produce(&client, 0, 0..1).await });
    let before = tokio::time::Instant::now();
    assert_eq!(read(&mut consumer, 1).await, numbers(0..1));
    assert!(before.elapsed() < Duration::from_secs(1));
    producing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_seek_to_something_unassigned_is_refused() {
    let broker = Broker::with_topic("orders", 1);
    let mut consumer = reader(&broker.client(), ConsumerConfig::default());
    let other = TopicPartition::new("orders", 7);
    let error = consumer.seek(&other, 0).unwrap_err();
    assert!(
        error.to_string().contains("orders-7 is not assigned"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_does_not_exist_is_named() {
    let broker = Broker::with_topic("orders", 1);
    let mut consumer = broker.client().consumer(ConsumerConfig::default());
    consumer.assign(vec![TopicPartition::new("order", 0)]);
    let error = loop {
        if let Err(error) = consumer.poll(Duration::from_secs(1)).await {
            break error;
        }
    };
    assert!(matches!(error, ClientError::UnknownTopic { topic } if topic == "order"));
}
