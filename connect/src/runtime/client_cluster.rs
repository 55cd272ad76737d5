//! A real cluster, through the client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moldau_client::admin::{NewTopic, OffsetSpec};
use moldau_client::{
    Client, ClientError, Consumer, ConsumerConfig, FetchedBatch, KString, OffsetAndMetadata,
    OffsetReset, Producer, ProducerConfig, ProducerRecord, TopicPartition,
};

use super::cluster::{Cluster, Committed, OutRecord, Placed, Polled, Reader, TopicKind, Writer};
use super::error::ConnectError;
use crate::config::connector::ReadFrom;
use crate::formats::StoredRecord;

#[derive(Debug, Clone)]
pub(crate) struct ClientCluster {
    client: Client,
    /// Name of this machine, by which a group knows a member that comes back.
    host: Arc<str>,
}

impl ClientCluster {
    pub(crate) fn new(client: Client, host: Arc<str>) -> Self {
        Self { client, host }
    }

    async fn read_ranges(
        &self,
        topic: &str,
        ranges: &BTreeMap<i32, (i64, i64)>,
        consumer: &mut Consumer,
        visit: &mut (impl FnMut(StoredRecord) + Send),
    ) -> Result<(), ConnectError> {
        let topic: KString = KString::copy_from(topic);
        let partition = |partition: i32| TopicPartition {
            topic: topic.clone(),
            partition,
        };
        consumer.assign(ranges.keys().map(|number| partition(*number)).collect());
        for (number, (start, _)) in ranges {
            consumer.seek(&partition(*number), *start)?;
        }
        let mut last_progress = Instant::now();
        loop {
            let mut done = true;
            for (number, (start, end)) in ranges {
                let partition = partition(*number);
                if consumer.position(&partition).unwrap_or(*start) < *end {
                    done = false;
                } else {
                    consumer.pause(&[partition]);
                }
            }
            if done {
                return Ok(());
            }
            let poll = consumer.poll(READ_POLL).await?;
            if !poll.batches.is_empty() {
                last_progress = Instant::now();
            } else if last_progress.elapsed() > READ_PATIENCE {
                return Err(ConnectError::State(format!(
                    "topic \"{topic}\" gave no records for {} s",
                    READ_PATIENCE.as_secs()
                )));
            }
            for batch in &poll.batches {
                let end = ranges
                    .get(&batch.topic_partition.partition)
                    .map_or(0, |range| range.1);
                for record in stored_records(batch)? {
                    if record.offset < end {
                        visit(record);
                    }
                }
            }
        }
    }
}

impl Cluster for ClientCluster {
    type Writer = ClientWriter;
    type Reader = ClientReader;

    async fn ensure_topic(&self, name: &str, kind: TopicKind) -> Result<(), ConnectError> {
        let (partitions, configs) = match kind {
            TopicKind::Ordinary => (-1, Vec::new()),
            TopicKind::Compacted => (1, vec![("cleanup.policy".to_owned(), "compact".to_owned())]),
        };
        let topic = NewTopic {
            name: name.to_owned(),
            partitions,
            replication_factor: -1,
            configs,
        };
        Ok(self.client.admin().ensure_topic(topic).await?)
    }

    async fn offsets(&self, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>, ConnectError> {
        let count = self.client.partition_count(topic).await?;
        let count = count.ok_or_else(|| ClientError::UnknownTopic {
            topic: topic.to_owned(),
        })?;
        let all = |spec| {
            (0..count)
                .map(|p| (TopicPartition::new(topic, p), spec))
                .collect::<Vec<_>>()
        };
        let admin = self.client.admin();
        let starts = admin.list_offsets(&all(OffsetSpec::Earliest)).await?;
        let ends = admin.list_offsets(&all(OffsetSpec::Latest)).await?;
        let mut offsets = BTreeMap::new();
        for (partition, start) in starts {
            let end = ends.get(&partition).map_or(start.offset, |end| end.offset);
            offsets.insert(partition.partition, (start.offset, end));
        }
        Ok(offsets)
    }

    async fn read(
        &self,
        topic: &str,
        ranges: BTreeMap<i32, (i64, i64)>,
        mut visit: impl FnMut(StoredRecord) + Send,
    ) -> Result<(), ConnectError> {
        let ranges: BTreeMap<_, _> = ranges.into_iter().filter(|(_, (s, e))| s < e).collect();
        if ranges.is_empty() {
            return Ok(());
        }
        let config = ConsumerConfig {
            auto_offset_reset: OffsetReset::Earliest,
            ..ConsumerConfig::default()
        };
        let mut consumer = self.client.consumer(config);
        let result = self
            .read_ranges(topic, &ranges, &mut consumer, &mut visit)
            .await;
        consumer.close().await;
        result
    }

    fn writer(&self) -> ClientWriter {
        ClientWriter {
            producer: self.client.producer(ProducerConfig::default()),
        }
    }

    fn reader(
        &self,
        group: &str,
        topics: &[String],
        read_from: ReadFrom,
    ) -> Result<ClientReader, ConnectError> {
        let auto_offset_reset = match read_from {
            ReadFrom::Beginning => OffsetReset::Earliest,
            ReadFrom::End => OffsetReset::Latest,
        };
        let config = ConsumerConfig {
            auto_offset_reset,
            // A process that was killed takes its place again at once, instead of waiting until
            // the group has given up the member it was before.
            group_instance_id: Some(format!("{group}-{}", self.host)),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            ..ConsumerConfig::group(group)
        };
        let mut consumer = self.client.consumer(config);
        consumer.subscribe(topics)?;
        Ok(ClientReader { consumer })
    }
}

#[derive(Debug)]
pub(crate) struct ClientWriter {
    producer: Producer,
}

impl Writer for ClientWriter {
    async fn write(&self, records: Vec<OutRecord>) -> Vec<Result<Placed, ClientError>> {
        let mut deliveries = Vec::with_capacity(records.len());
        for record in records {
            let record = ProducerRecord {
                topic: record.topic.into(),
                partition: None,
                timestamp: record.timestamp,
                key: record.key,
                value: record.value,
                headers: record.headers,
            };
            deliveries.push(self.producer.send(record).await);
        }
        let mut placed = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let result = match delivery {
                Ok(delivery) => delivery.await,
                Err(error) => Err(error),
            };
            placed.push(result.map(|metadata| Placed {
                partition: metadata.partition,
                offset: (metadata.offset >= 0).then_some(metadata.offset),
            }));
        }
        placed
    }

    async fn close(self) {
        self.producer.close().await;
    }
}

#[derive(Debug)]
pub(crate) struct ClientReader {
    consumer: Consumer,
}

impl Reader for ClientReader {
    async fn poll(&mut self, timeout: Duration) -> Result<Polled, ConnectError> {
        let poll = self.consumer.poll(timeout).await?;
        let mut polled = Polled::default();
        if let Some(rebalance) = poll.rebalanced {
            polled.revoked = rebalance.revoked;
            polled.assigned = rebalance.assigned;
            polled.lost = rebalance.lost;
        }
        for batch in &poll.batches {
            polled
                .records
                .push((batch.topic_partition.clone(), stored_records(batch)?));
        }
        Ok(polled)
    }

    fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), ConnectError> {
        Ok(self.consumer.seek(partition, offset)?)
    }

    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.consumer.position(partition)
    }

    async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Committed>, ConnectError> {
        let committed = self.consumer.committed(partitions).await?;
        let plain = |(partition, found): (TopicPartition, OffsetAndMetadata)| {
            (
                partition,
                Committed {
                    offset: found.offset,
                    metadata: found.metadata.to_string(),
                },
            )
        };
        Ok(committed.into_iter().map(plain).collect())
    }

    async fn commit(
        &mut self,
        offsets: Vec<(TopicPartition, Committed)>,
    ) -> Result<(), ConnectError> {
        let offsets: Vec<_> = offsets
            .into_iter()
            .map(|(partition, committed)| {
                let metadata = KString::from(committed.metadata);
                let offset = OffsetAndMetadata {
                    metadata,
                    ..OffsetAndMetadata::new(committed.offset)
                };
                (partition, offset)
            })
            .collect();
        Ok(self.consumer.commit(&offsets).await?)
    }

    async fn close(self) {
        self.consumer.close().await;
    }
}

fn stored_records(batch: &FetchedBatch) -> Result<Vec<StoredRecord>, ConnectError> {
    let TopicPartition { topic, partition } = &batch.topic_partition;
    let broken = |error: &dyn std::fmt::Display| {
        ConnectError::State(format!(
            "records of {topic}-{partition} cannot be read: {error}"
        ))
    };
    let mut records = Vec::new();
    for record in batch.records().map_err(|error| broken(&error))? {
        let record = record.map_err(|error| broken(&error))?;
        records.push(StoredRecord {
            topic: topic.clone(),
            partition: *partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers,
        });
    }
    Ok(records)
}

/// How soon another machine takes over what a dead one read.
const SESSION_TIMEOUT_MS: i32 = 10_000;
const READ_POLL: Duration = Duration::from_millis(500);
/// How long reading waits for the next record that must be there.
const READ_PATIENCE: Duration = Duration::from_secs(30);
