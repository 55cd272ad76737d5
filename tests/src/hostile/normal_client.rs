//! The client that means no harm: it writes a record, reads it back, and so on.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use moldau_client::admin::NewTopic;
use moldau_client::{
    Client, Consumer, ConsumerConfig, OffsetReset, Producer, ProducerConfig, ProducerRecord,
    SeekTo, TopicPartition,
};

pub(super) struct NormalClient {
    producer: Producer,
    consumer: Consumer,
    records: u64,
    longest_wait: Duration,
}

impl NormalClient {
    pub(super) async fn start(client: &Client) -> anyhow::Result<Self> {
        let topic = NewTopic {
            name: TOPIC.to_owned(),
            partitions: 1,
            replication_factor: 1,
            configs: Vec::new(),
        };
        client.admin().ensure_topic(topic).await?;
        let mut consumer = client.consumer(ConsumerConfig {
            auto_offset_reset: OffsetReset::Earliest,
            ..ConsumerConfig::default()
        });
        let partition = TopicPartition::new(TOPIC, 0);
        consumer.assign(vec![partition.clone()]);
        consumer.seek_to(&partition, SeekTo::Beginning).await?;
        Ok(Self {
            producer: client.producer(ProducerConfig {
                linger_ms: 0,
                ..ProducerConfig::default()
            }),
            consumer,
            records: 0,
            longest_wait: Duration::ZERO,
        })
    }

    /// Writes a record and waits until it is read.
    pub(super) async fn round_trip(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let number = self.records;
        let value = Bytes::from(number.to_be_bytes().to_vec());
        let record = ProducerRecord::new(TOPIC, None, Some(value.clone()));
        self.producer.send(record).await?.await?;
        let mut is_read = false;
        while !is_read {
            for batch in self
                .consumer
                .poll(Duration::from_millis(100))
                .await?
                .batches
            {
                for record in batch.records()? {
                    let found = record?.value.context("a record without a value")?;
                    ensure!(found == value, "the normal client reads a wrong record");
                    is_read = true;
                }
            }
        }
        self.records += 1;
        self.longest_wait = self.longest_wait.max(started.elapsed());
        Ok(())
    }

    pub(super) const fn records(&self) -> u64 {
        self.records
    }

    pub(super) const fn longest_wait(&self) -> Duration {
        self.longest_wait
    }
}

/// A name that no made-up request hits by chance.
const TOPIC: &str = "normal-client-of-the-hostile-test";
