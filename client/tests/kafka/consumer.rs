//! Reading without a group.

use std::time::Duration;

use moldau_client::{
    ClientError, Consumer, ConsumerConfig, OffsetReset, ProducerConfig, SeekTo, TopicPartition,
};

use crate::cluster::{client, numbers, produce, read, reader, record, topic, values};

#[tokio::test(flavor = "multi_thread")]
async fn seeks_go_to_offsets_timestamps_and_both_ends() {
    let Some(client) = client().await else { return };
    let topic = topic(&client, 1).await;
    let partition = TopicPartition::new(&topic, 0);
    let producer = client.producer(ProducerConfig::default());
    for number in 0..100_u32 {
        let mut record = record(&topic, 0, &number.to_string());
        record.timestamp = Some(1_000_000 + i64::from(number));
        producer.send(record).await.unwrap();
    }
    producer.close().await;

    let mut consumer = reader(&client, std::slice::from_ref(&partition));
    assert_eq!(values(&read(&mut consumer, 100).await), numbers(0..100));
    assert_eq!(consumer.position(&partition), Some(100));
    assert_eq!(consumer.high_watermark(&partition), Some(100));
    assert_eq!(consumer.lag(&partition), Some(0));

    consumer.seek(&partition, 97).unwrap();
    assert_eq!(values(&read(&mut consumer, 3).await), numbers(97..100));
    let place = SeekTo::Timestamp(1_000_050);
    assert_eq!(consumer.seek_to(&partition, place).await.unwrap(), 50);
    assert_eq!(values(&read(&mut consumer, 50).await), numbers(50..100));
    let place = SeekTo::Timestamp(9_000_000);
    assert_eq!(consumer.seek_to(&partition, place).await.unwrap(), 100);
    let place = SeekTo::Beginning;
    assert_eq!(consumer.seek_to(&partition, place).await.unwrap(), 0);
    assert_eq!(values(&read(&mut consumer, 100).await), numbers(0..100));
    assert_eq!(
        consumer.seek_to(&partition, SeekTo::End).await.unwrap(),
        100
    );
    produce(&client, &topic, 0, 1).await;
    assert_eq!(read(&mut consumer, 1).await[0].offset, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_out_of_range_is_reset_or_reported() {
    let Some(client) = client().await else { return };
    let topic = topic(&client, 1).await;
    let partition = TopicPartition::new(&topic, 0);
    produce(&client, &topic, 0, 10).await;

    let mut consumer = reader(&client, std::slice::from_ref(&partition));
    consumer.seek(&partition, 1_000).unwrap();
    assert_eq!(values(&read(&mut consumer, 10).await), numbers(0..10));

    let mut strict = client.consumer(ConsumerConfig {
        auto_offset_reset: OffsetReset::Error,
        ..ConsumerConfig::default()
    });
    strict.assign(vec![partition.clone()]);
    assert!(matches!(
        first_error(&mut strict).await,
        ClientError::OffsetOutOfRange { offset: None, .. }
    ));
    strict.seek(&partition, 1_000).unwrap();
    assert!(matches!(
        first_error(&mut strict).await,
        ClientError::OffsetOutOfRange {
            offset: Some(1_000),
            ..
        }
    ));
    strict.seek(&partition, 9).unwrap();
    assert_eq!(values(&read(&mut strict, 1).await), numbers(9..10));
}

async fn first_error(consumer: &mut Consumer) -> ClientError {
    for _ in 0..60 {
        if let Err(error) = consumer.poll(Duration::from_secs(1)).await {
            return error;
        }
    }
    panic!("no error came");
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_partitions_wait() {
    let Some(client) = client().await else { return };
    let topic = topic(&client, 2).await;
    let partitions = [
        TopicPartition::new(&topic, 0),
        TopicPartition::new(&topic, 1),
    ];
    produce(&client, &topic, 0, 5).await;
    produce(&client, &topic, 1, 5).await;
    let mut consumer = reader(&client, &partitions);
    consumer.pause(&partitions[..1]);
    assert_eq!(read(&mut consumer, 5).await.len(), 5);
    assert_eq!(consumer.position(&partitions[1]), Some(5));
    assert_eq!(consumer.position(&partitions[0]).unwrap_or(0), 0);
    consumer.resume(&partitions[..1]);
    assert_eq!(read(&mut consumer, 5).await.len(), 5);
    assert_eq!(consumer.position(&partitions[0]), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn small_fetches_bring_everything_in_order() {
    let Some(client) = client().await else { return };
    let topic = topic(&client, 3).await;
    let partitions: Vec<_> = (0..3)
        .map(|partition| TopicPartition::new(&topic, partition))
        .collect();
    for partition in 0..3 {
        produce(&client, &topic, partition, 2_000).await;
    }
    let mut consumer = client.consumer(ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        max_partition_bytes: 500,
        max_bytes: 2_000,
        max_poll_bytes: 100,
        ..ConsumerConfig::default()
    });
    consumer.assign(partitions.clone());
    let records = read(&mut consumer, 6_000).await;
    assert_eq!(records.len(), 6_000);
    for partition in &partitions {
        assert_eq!(consumer.position(partition), Some(2_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_poll_loses_nothing() {
    let Some(client) = client().await else { return };
    let topic = topic(&client, 1).await;
    produce(&client, &topic, 0, 1_000).await;
    let mut consumer = reader(&client, &[TopicPartition::new(&topic, 0)]);
    let mut records = Vec::new();
    for _ in 0..100_000 {
        if records.len() == 1_000 {
            break;
        }
        let poll = consumer.poll(Duration::from_secs(1));
        if let Ok(poll) = tokio::time::timeout(Duration::from_micros(300), poll).await {
            for batch in poll.unwrap().batches {
                records.extend(batch.records().unwrap().map(Result::unwrap));
            }
        }
    }
    assert_eq!(values(&records), numbers(0..1_000));
}
