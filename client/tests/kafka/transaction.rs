//! Transactions.

use std::time::Duration;

use moldau_client::admin::NewTopic;
use moldau_client::{
    Client, ClientError, Consumer, ConsumerConfig, ErrorCode, GroupMetadata, Isolation,
    OffsetAndMetadata, OffsetReset, ProducerConfig, TopicPartition, TransactionalProducer,
};

use crate::cluster::{client, numbers, read, record, topic, unique, values};

async fn producer(client: &Client, id: &str) -> TransactionalProducer {
    client
        .transactional_producer(id, ProducerConfig::default())
        .await
        .unwrap()
}

fn reader(client: &Client, topic: &str, partitions: i32, isolation: Isolation) -> Consumer {
    let mut consumer = client.consumer(ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        isolation,
        max_wait_ms: 100,
        ..ConsumerConfig::default()
    });
    let partitions = (0..partitions).map(|partition| TopicPartition::new(topic, partition));
    consumer.assign(partitions.collect());
    consumer
}

async fn committed(client: &Client, topic: &str, count: usize) -> Vec<String> {
    let mut consumer = reader(client, topic, 1, Isolation::ReadCommitted);
    values(&read(&mut consumer, count).await)
}

async fn send(producer: &TransactionalProducer, topic: &str, range: std::ops::Range<u32>) {
    for number in range {
        let record = record(topic, 0, &number.to_string());
        producer.send(record).await.unwrap();
    }
}

/// The group's position, once no transaction is about to change it any more.
async fn stored(client: &Client, group: &str, partition: &TopicPartition) -> Option<i64> {
    let consumer = client.consumer(ConsumerConfig {
        isolation: Isolation::ReadCommitted,
        ..ConsumerConfig::group(group)
    });
    let stored = consumer.committed(std::slice::from_ref(partition)).await;
    stored.unwrap().get(partition).map(|stored| stored.offset)
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_transactions_are_seen_and_aborted_ones_are_not() {
    let Some(client) = client().await else { return };
    let topic = topic(&client, 1).await;
    let mut producer = producer(&client, &unique("tx")).await;
    for round in 0..6_u32 {
        producer.begin().unwrap();
        send(&producer, &topic, round * 10..round * 10 + 10).await;
        if round % 2 == 0 {
            producer.commit().await.unwrap();
        } else {
            producer.flush().await.unwrap();
            producer.abort().await.unwrap();
        }
    }
    producer.close(Duration::from_secs(5)).await;
    let mut expected = numbers(0..10);
    expected.extend(numbers(20..30));
    expected.extend(numbers(40..50));
    assert_eq!(committed(&client, &topic, 30).await, expected);
    let mut all = reader(&client, &topic, 1, Isolation::ReadUncommitted);
    let records = read(&mut all, 60).await;
    assert_eq!(values(&records), numbers(0..60));
    assert_eq!(
        records[10].offset, 11,
        "the marker in between has an offset"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_holds_readers_of_committed_records_back() {
    let Some(client) = client().await else { return };
    let topic = topic(&client, 1).await;
    let mut first = producer(&client, &unique("tx")).await;
    let mut second = producer(&client, &unique("tx")).await;
    first.begin().unwrap();
    send(&first, &topic, 0..1).await;
    first.flush().await.unwrap();
    second.begin().unwrap();
    send(&second, &topic, 1..2).await;
    second.commit().await.unwrap();
    let mut consumer = reader(&client, &topic, 1, Isolation::ReadCommitted);
    let poll = consumer.poll(Duration::from_secs(1)).await.unwrap();
    assert!(poll.batches.is_empty());
    first.abort().await.unwrap();
    assert_eq!(values(&read(&mut consumer, 1).await), numbers(1..2));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_transaction_reaches_many_partitions_of_several_topics() {
    let Some(client) = client().await else { return };
    let topics = [topic(&client, 20).await, topic(&client, 20).await];
    let mut producer = producer(&client, &unique("tx")).await;
    for _ in 0..3 {
        producer.begin().unwrap();
        for number in 0..400_u32 {
            let topic = &topics[number as usize % 2];
            let record = record(topic, (number / 2 % 20) as i32, &number.to_string());
            producer.send(record).await.unwrap();
        }
        producer.commit().await.unwrap();
    }
    for topic in &topics {
        let mut consumer = reader(&client, topic, 20, Isolation::ReadCommitted);
        assert_eq!(read(&mut consumer, 600).await.len(), 600);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_producer_fences_the_first_and_ends_its_transaction() {
    let Some(client) = client().await else { return };
    let (topic, id) = (topic(&client, 1).await, unique("tx"));
    let mut first = producer(&client, &id).await;
    first.begin().unwrap();
    send(&first, &topic, 0..1).await;
    first.flush().await.unwrap();

    let mut second = producer(&client, &id).await;
    second.begin().unwrap();
    send(&second, &topic, 1..2).await;
    second.commit().await.unwrap();

    // The record may be refused or taken, but the transaction cannot be ended by the first.
    let _ = first.send(record(&topic, 0, "late")).await;
    let mut error = first.commit().await.unwrap_err();
    if matches!(error, ClientError::MustAbort { .. }) {
        error = first.abort().await.unwrap_err();
    }
    assert!(
        matches!(error, ClientError::ProducerFenced { .. }),
        "{error}"
    );
    assert!(error.to_string().contains(&id), "{error}");
    let again = first.begin().unwrap_err();
    assert!(
        matches!(again, ClientError::ProducerFenced { .. }),
        "{again}"
    );
    assert_eq!(committed(&client, &topic, 1).await, numbers(1..2));
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_a_group_are_stored_with_the_transaction() {
    let Some(client) = client().await else { return };
    let (topic, group) = (topic(&client, 1).await, unique("group"));
    let partition = TopicPartition::new(&topic, 0);
    let mut producer = producer(&client, &unique("tx")).await;
    let outsider = GroupMetadata::outsider(group.clone().into());
    for (offset, is_committed) in [(5, true), (9, false), (7, true)] {
        producer.begin().unwrap();
        send(&producer, &topic, 0..1).await;
        let offsets = [(partition.clone(), OffsetAndMetadata::new(offset))];
        producer.send_offsets(&outsider, &offsets).await.unwrap();
        if is_committed {
            producer.commit().await.unwrap();
        } else {
            producer.abort().await.unwrap();
        }
    }
    assert_eq!(stored(&client, &group, &partition).await, Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_alone_make_a_transaction_too() {
    let Some(client) = client().await else { return };
    let (topic, group) = (topic(&client, 1).await, unique("group"));
    let partition = TopicPartition::new(&topic, 0);
    let mut producer = producer(&client, &unique("tx")).await;
    producer.begin().unwrap();
    let offsets = [(partition.clone(), OffsetAndMetadata::new(3))];
    let outsider = GroupMetadata::outsider(group.clone().into());
    producer.send_offsets(&outsider, &offsets).await.unwrap();
    producer.commit().await.unwrap();
    producer.begin().unwrap();
    producer.commit().await.unwrap();
    producer.begin().unwrap();
    producer.abort().await.unwrap();
    assert_eq!(stored(&client, &group, &partition).await, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_partitions_cannot_store_positions() {
    let Some(client) = client().await else { return };
    let (topic, group) = (topic(&client, 1).await, unique("group"));
    let partition = TopicPartition::new(&topic, 0);
    let mut consumer = client.consumer(ConsumerConfig {
        heartbeat_interval_ms: 100,
        ..ConsumerConfig::group(&group)
    });
    consumer.subscribe(&[&topic]).unwrap();
    while consumer.assignment().is_empty() {
        consumer.poll(Duration::from_millis(100)).await.unwrap();
    }
    let metadata = consumer.group_metadata().unwrap();
    let mut producer = producer(&client, &unique("tx")).await;
    let offsets = [(partition.clone(), OffsetAndMetadata::new(3))];
    producer.begin().unwrap();
    producer.send_offsets(&metadata, &offsets).await.unwrap();
    producer.commit().await.unwrap();

    let mut stale = metadata.clone();
    stale.generation_id -= 1;
    producer.begin().unwrap();
    let error = producer.send_offsets(&stale, &offsets).await.unwrap_err();
    assert!(matches!(error, ClientError::MustAbort { .. }), "{error}");
    assert_eq!(error.code(), Some(ErrorCode::IllegalGeneration), "{error}");
    assert!(producer.commit().await.is_err());
    producer.abort().await.unwrap();
    producer.begin().unwrap();
    producer.send_offsets(&metadata, &offsets).await.unwrap();
    producer.commit().await.unwrap();
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_refused_record_the_transaction_is_aborted_and_the_next_one_works() {
    let Some(client) = client().await else { return };
    let name = unique("client-test");
    let small = NewTopic::new(&name, 1).config("max.message.bytes", "1000");
    for (_, result) in client.admin().create_topics(vec![small]).await.unwrap() {
        result.unwrap();
    }
    let mut producer = producer(&client, &unique("tx")).await;
    for round in 0..3_u32 {
        producer.begin().unwrap();
        send(&producer, &name, round * 10..round * 10 + 2).await;
        producer.flush().await.unwrap();
        let large = record(&name, 0, &"x".repeat(5_000));
        let large = producer.send(large).await.unwrap();
        assert_eq!(
            large.await.unwrap_err().code(),
            Some(ErrorCode::MessageTooLarge)
        );
        let error = producer.commit().await.unwrap_err();
        assert!(matches!(error, ClientError::MustAbort { .. }), "{error}");
        let error = producer.send(record(&name, 0, "late")).await.unwrap_err();
        assert!(matches!(error, ClientError::MustAbort { .. }), "{error}");
        producer.abort().await.unwrap();
        producer.begin().unwrap();
        send(&producer, &name, round * 10 + 2..round * 10 + 4).await;
        producer.commit().await.unwrap();
    }
    assert_eq!(
        committed(&client, &name, 6).await,
        ["2", "3", "12", "13", "22", "23"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_takes_too_long_is_aborted_by_its_coordinator() {
    let Some(client) = client().await else { return };
    let (topic, id) = (topic(&client, 1).await, unique("tx"));
    let config = ProducerConfig {
        transaction_timeout_ms: 500,
        ..ProducerConfig::default()
    };
    let mut producer = client.transactional_producer(&id, config).await.unwrap();
    producer.begin().unwrap();
    send(&producer, &topic, 0..1).await;
    producer.flush().await.unwrap();
    // Its marker lets readers of committed records see the end of the log.
    let partition = TopicPartition::new(&topic, 0);
    let mut consumer = reader(&client, &topic, 1, Isolation::ReadCommitted);
    let passed = async {
        while consumer
            .position(&partition)
            .is_none_or(|offset| offset < 2)
        {
            consumer.poll(Duration::from_millis(100)).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), passed)
        .await
        .unwrap();
    let mut error = producer.commit().await.unwrap_err();
    if matches!(error, ClientError::MustAbort { .. }) {
        error = producer.abort().await.unwrap_err();
    }
    let is_final = matches!(
        error,
        ClientError::ProducerFenced { .. } | ClientError::ProducerBroken { .. }
    );
    assert!(is_final, "{error}");
    assert!(
        error.to_string().contains("transaction_timeout_ms"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_out_that_the_broker_does_not_allow_is_refused_with_its_setting() {
    let Some(client) = client().await else { return };
    let config = ProducerConfig {
        transaction_timeout_ms: 3_600_000,
        ..ProducerConfig::default()
    };
    let result = client.transactional_producer(&unique("tx"), config).await;
    let error = result.err().unwrap();
    assert!(
        error.to_string().contains("transaction.max.timeout.ms"),
        "{error}"
    );
}
