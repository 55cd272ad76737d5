//! Producing.

use bytes::Bytes;
use moldau_client::{
    Acks, ClientError, Compression, ErrorCode, ProducerConfig, ProducerRecord, RecordHeader,
    TopicPartition,
};

use crate::cluster::{client, numbers, produce, read, reader, record, topic, unique, values};

#[tokio::test(flavor = "multi_thread")]
async fn records_arrive_in_order_with_key_headers_and_timestamp() {
    let Some(client) = client().await else { return };
    let topic = topic(&client, 1).await;
    let producer = client.producer(ProducerConfig::default());
    let mut record = ProducerRecord::new(topic.clone(), Some("key".into()), Some("value".into()));
    record.timestamp = Some(1_700_000_000_000);
    record.headers = vec![
        RecordHeader::new("trace", Bytes::from_static(b"1")),
        RecordHeader::new("trace", Bytes::from_static(b"2")),
    ];
    let first = producer.send(record.clone()).await.unwrap();
    let second = producer
        .send(ProducerRecord::new(topic.clone(), None, None))
        .await
        .unwrap();
    let metadata = first.await.unwrap();
    assert_eq!((metadata.partition, metadata.offset), (0, 0));
    assert_eq!(metadata.timestamp, 1_700_000_000_000);
    assert_eq!(second.await.unwrap().offset, 1);
    producer.close().await;

    let mut consumer = reader(&client, &[TopicPartition::new(&topic, 0)]);
    let records = read(&mut consumer, 2).await;
    assert_eq!(records[0].key, record.key);
    assert_eq!(records[0].value, record.value);
    assert_eq!(records[0].headers, record.headers);
    assert_eq!(records[0].timestamp, 1_700_000_000_000);
    assert_eq!(
        (records[1].key.as_ref(), records[1].value.as_ref()),
        (None, None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_codec_and_acks_setting_is_readable() {
    let Some(client) = client().await else { return };
    let topic = topic(&client, 1).await;
    let codecs = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    let mut expected = Vec::new();
    for compression in codecs {
        for acks in [Acks::None, Acks::Leader, Acks::All] {
            let producer = client.producer(ProducerConfig {
                compression,
                acks,
                ..ProducerConfig::default()
            });
            for number in 0..50 {
                let value = format!("{compression} {acks:?} {number}");
                producer.send(record(&topic, 0, &value)).await.unwrap();
                expected.push(value);
            }
            producer.flush().await.unwrap();
            if acks == Acks::None {
                // Nothing tells when the broker has them but another request on another connection.
                let mut consumer = reader(&client, &[TopicPartition::new(&topic, 0)]);
                read(&mut consumer, expected.len()).await;
            }
            producer.close().await;
        }
    }
    let mut consumer = reader(&client, &[TopicPartition::new(&topic, 0)]);
    let records = read(&mut consumer, expected.len()).await;
    assert_eq!(values(&records), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_batches_keep_their_order() {
    let Some(client) = client().await else { return };
    let topic = topic(&client, 2).await;
    let producer = client.producer(ProducerConfig {
        batch_size: 100,
        linger_ms: 0,
        ..ProducerConfig::default()
    });
    for number in 0..5_000_u32 {
        for partition in 0..2 {
            let record = record(&topic, partition, &number.to_string());
            producer.send(record).await.unwrap();
        }
    }
    producer.close().await;
    for partition in 0..2 {
        let mut consumer = reader(&client, &[TopicPartition::new(&topic, partition)]);
        let records = read(&mut consumer, 5_000).await;
        assert_eq!(values(&records), numbers(0..5_000));
        assert!(
            records
                .iter()
                .enumerate()
                .all(|(index, record)| record.offset == index as i64)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_created_by_the_first_record() {
    let Some(client) = client().await else { return };
    let topic = unique("client-auto");
    produce(&client, &topic, 0, 3).await;
    let mut consumer = reader(&client, &[TopicPartition::new(&topic, 0)]);
    assert_eq!(values(&read(&mut consumer, 3).await), numbers(0..3));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_choose_the_partition_and_keyless_records_spread() {
    let Some(client) = client().await else { return };
    let topic = topic(&client, 3).await;
    let producer = client.producer(ProducerConfig {
        batch_size: 200,
        ..ProducerConfig::default()
    });
    for key in ["a", "b", "c", "d"] {
        let expected = moldau_client::partitioner::partition_for_key(key.as_bytes(), 3);
        let record = ProducerRecord::new(topic.clone(), Some(key.into()), None);
        let metadata = producer.send(record).await.unwrap().await.unwrap();
        assert_eq!(metadata.partition, expected);
    }
    let mut partitions = std::collections::BTreeSet::new();
    for _ in 0..300 {
        let record = ProducerRecord::new(topic.clone(), None, Some("keyless".into()));
        let delivery = producer.send(record).await.unwrap();
        partitions.insert(delivery.await.unwrap().partition);
    }
    assert_eq!(partitions.len(), 3);
    producer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_broker_refuses_fails_alone_and_later_ones_arrive() {
    let Some(client) = client().await else { return };
    let name = unique("client-test");
    let small = moldau_client::admin::NewTopic::new(&name, 1).config("max.message.bytes", "1000");
    for (_, result) in client.admin().create_topics(vec![small]).await.unwrap() {
        result.unwrap();
    }
    let producer = client.producer(ProducerConfig::default());
    producer.send(record(&name, 0, "first")).await.unwrap();
    producer.flush().await.unwrap();
    let large = producer
        .send(record(&name, 0, &"x".repeat(5_000)))
        .await
        .unwrap();
    let error = large.await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge), "{error}");
    assert_eq!(
        producer.flush().await.unwrap_err().code(),
        Some(ErrorCode::MessageTooLarge)
    );
    let last = producer.send(record(&name, 0, "last")).await.unwrap();
    assert_eq!(last.await.unwrap().offset, 1);
    producer.flush().await.unwrap();

    let huge = producer
        .send(record(&name, 0, &"x".repeat(2_000_000)))
        .await;
    assert!(matches!(huge, Err(ClientError::RecordTooLarge { .. })));
    producer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_does_not_exist_is_named() {
    let Some(client) = client().await else { return };
    let topic = topic(&client, 1).await;
    let producer = client.producer(ProducerConfig::default());
    let error = producer.send(record(&topic, 5, "x")).await.unwrap_err();
    assert_eq!(
        error,
        ClientError::UnknownPartition {
            topic,
            partition: 5,
            partitions: 1
        }
    );
}
