//! The cluster under test, and names that no other test uses.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use moldau_client::admin::NewTopic;
use moldau_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, OffsetReset, ProducerConfig, ProducerRecord,
    Record, TopicPartition,
};

/// A client of the cluster under test, or `None` if none is named.
pub(crate) async fn client() -> Option<Client> {
    let Ok(servers) = std::env::var("MOLDAU_TEST_KAFKA") else {
        println!("skipped: set MOLDAU_TEST_KAFKA=host:port to run this test against a cluster");
        return None;
    };
    let config = ClientConfig::new(&servers).client_id("moldau-client-tests");
    Some(Client::connect(config).await.unwrap())
}

/// A name that was never used before.
pub(crate) fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{number}", now.as_nanos())
}

/// A new topic with `partitions` partitions.
pub(crate) async fn topic(client: &Client, partitions: i32) -> String {
    let name = unique("client-test");
    let topic = NewTopic::new(&name, partitions);
    for (_, result) in client.admin().create_topics(vec![topic]).await.unwrap() {
        result.unwrap();
    }
    name
}

/// Sends `count` records `0`, `1`, … to a partition and waits for them.
pub(crate) async fn produce(client: &Client, topic: &str, partition: i32, count: u32) {
    let producer = client.producer(ProducerConfig::default());
    for number in 0..count {
        producer
            .send(record(topic, partition, &number.to_string()))
            .await
            .unwrap();
    }
    producer.flush().await.unwrap();
    producer.close().await;
}

pub(crate) fn record(topic: &str, partition: i32, value: &str) -> ProducerRecord {
    let value = Bytes::copy_from_slice(value.as_bytes());
    let mut record = ProducerRecord::new(topic.to_owned(), None, Some(value));
    record.partition = Some(partition);
    record
}

/// A consumer outside of any group that starts at the beginning.
pub(crate) fn reader(client: &Client, partitions: &[TopicPartition]) -> Consumer {
    let mut consumer = client.consumer(ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::default()
    });
    consumer.assign(partitions.to_vec());
    consumer
}

/// Polls until `count` records are there, or a minute has passed.
pub(crate) async fn read(consumer: &mut Consumer, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    let reading = async {
        while records.len() < count {
            let poll = consumer.poll(Duration::from_secs(1)).await.unwrap();
            for batch in &poll.batches {
                records.extend(batch.records().unwrap().map(Result::unwrap));
            }
        }
    };
    let finished = tokio::time::timeout(Duration::from_secs(60), reading).await;
    assert!(
        finished.is_ok(),
        "only {} of {count} records came",
        records.len()
    );
    records
}

pub(crate) fn values(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|record| {
            let value = record.value.as_deref().unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        })
        .collect()
}

pub(crate) fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}
