//! The writing side of one thread: its producer, the transaction that is open, and how far the
//! changelogs are written.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use moldau_client::partitioner::partition_for_key;
use moldau_client::{
    Client, ClientError, Consumer, Delivery, ErrorCode, KString, OffsetAndMetadata, Producer,
    ProducerConfig, ProducerRecord, TopicPartition, TransactionalProducer,
};

use crate::runtime::context::Output;
use crate::runtime::error::StreamsError;

/// The writing side of one thread.
pub(super) struct Writer {
    client: Client,
    group: String,
    sink: Sink,
    /// The last record of each changelog partition since the last commit.
    changelogs: BTreeMap<TopicPartition, Delivery>,
    /// The same for the partition that was written last; a commit writes one after the other.
    changelog: Option<(TopicPartition, Delivery)>,
}

enum Sink {
    AtLeastOnce(Producer),
    ExactlyOnce {
        transactional_id: String,
        config: ProducerConfig,
        /// `None` before the first transaction, and after one that went wrong.
        producer: Option<Box<TransactionalProducer>>,
    },
}

/// Whether a commit took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Committed {
    Yes,
    /// Nothing is lost; the next commit covers it.
    Later,
}

impl Writer {
    pub(super) fn at_least_once(client: Client, group: String, config: ProducerConfig) -> Self {
        let producer = client.producer(config);
        Self::new(client, group, Sink::AtLeastOnce(producer))
    }

    /// Each thread that runs at the same time needs a `transactional_id` of its own.
    pub(super) fn exactly_once(
        client: Client,
        group: String,
        transactional_id: String,
        config: ProducerConfig,
    ) -> Self {
        let sink = Sink::ExactlyOnce {
            transactional_id,
            config,
            producer: None,
        };
        Self::new(client, group, sink)
    }

    fn new(client: Client, group: String, sink: Sink) -> Self {
        Self {
            client,
            group,
            sink,
            changelogs: BTreeMap::new(),
            changelog: None,
        }
    }

    /// Whether a transaction is open that nobody would end if there were no more input.
    pub(super) fn is_open(&self) -> bool {
        match &self.sink {
            Sink::AtLeastOnce(_) => false,
            Sink::ExactlyOnce { producer, .. } => {
                producer.as_ref().is_some_and(|producer| producer.is_open())
            }
        }
    }

    /// Hands over what tasks have written, in order; opens a transaction first if there is none.
    pub(super) async fn send(&mut self, outputs: &mut Vec<Output>) -> Result<(), StreamsError> {
        if outputs.is_empty() {
            return Ok(());
        }
        self.begin().await?;
        let sent = self.send_all(outputs).await;
        outputs.clear();
        sent
    }

    async fn send_all(&mut self, outputs: &mut [Output]) -> Result<(), StreamsError> {
        let mut counted = None;
        for output in outputs {
            let sent = self.send_one(output, &mut counted).await;
            sent.map_err(|error| {
                self.failed(
                    &format!("write to topic \"{}\"", output.record.topic),
                    error,
                )
            })?;
        }
        Ok(())
    }

    /// `counted` is the topic whose partitions were counted last.
    async fn choose_partition(
        &self,
        record: &mut ProducerRecord,
        key: &[u8],
        counted: &mut Option<(KString, i32)>,
    ) -> Result<(), ClientError> {
        if record.partition.is_some() {
            return Ok(());
        }
        let count = match counted {
            Some((topic, count)) if *topic == record.topic => *count,
            _ => {
                let count = partitions(&self.client, &record.topic).await?;
                *counted = Some((record.topic.clone(), count));
                count
            }
        };
        record.partition = Some(partition_for_key(key, count));
        Ok(())
    }

    async fn send_one(
        &mut self,
        output: &mut Output,
        counted: &mut Option<(KString, i32)>,
    ) -> Result<(), ClientError> {
        let Output {
            record,
            partition_key,
            is_changelog,
        } = output;
        if let Some(key) = partition_key {
            self.choose_partition(record, key, counted).await?;
        }
        let record = &*record;
        let delivery = match &self.sink {
            Sink::AtLeastOnce(producer) => producer.send(record).await?,
            Sink::ExactlyOnce { producer, .. } => match producer {
                Some(producer) => producer.send(record).await?,
                None => return Err(ClientError::Closed { object: "producer" }),
            },
        };
        if *is_changelog && let Some(partition) = record.partition {
            self.wrote_changelog(&record.topic, partition, delivery);
        }
        Ok(())
    }

    fn wrote_changelog(&mut self, topic: &KString, partition: i32, delivery: Delivery) {
        if let Some((name, last)) = &mut self.changelog
            && name.partition == partition
            && name.topic == *topic
        {
            *last = delivery;
            return;
        }
        let name = TopicPartition {
            topic: topic.clone(),
            partition,
        };
        if let Some((name, last)) = self.changelog.replace((name, delivery)) {
            self.changelogs.insert(name, last);
        }
    }

    /// Whether [`prepare`](Self::prepare) has nothing to do.
    pub(super) const fn is_prepared(&self) -> bool {
        match &self.sink {
            Sink::AtLeastOnce(_) => true,
            Sink::ExactlyOnce { producer, .. } => producer.is_some(),
        }
    }

    /// Makes the producer if there is none. What its transactional id had left open is over then,
    /// so that nobody has to wait for that transaction's time-out.
    pub(super) async fn prepare(&mut self) -> Result<(), StreamsError> {
        let Sink::ExactlyOnce {
            transactional_id,
            config,
            producer: producer @ None,
        } = &mut self.sink
        else {
            return Ok(());
        };
        let made = initialise(&self.client, transactional_id, config).await;
        let action = format!("take over transactional id \"{transactional_id}\"");
        match made {
            Ok(made) => *producer = Some(Box::new(made)),
            // What is refused for good is refused again by the next attempt.
            Err(error @ ClientError::ProducerBroken { .. }) => {
                return Err(StreamsError::client(action, error));
            }
            Err(error) => return Err(self.failed(&action, error)),
        }
        Ok(())
    }

    /// Opens a transaction if there is none; makes the producer first if there is none.
    async fn begin(&mut self) -> Result<(), StreamsError> {
        self.prepare().await?;
        let begun = match &mut self.sink {
            Sink::ExactlyOnce {
                producer: Some(producer),
                ..
            } if !producer.is_open() => producer.begin(),
            Sink::ExactlyOnce { .. } | Sink::AtLeastOnce(_) => Ok(()),
        };
        begun.map_err(|error| self.failed("begin a transaction", error))
    }

    /// Makes everything that was sent, and these offsets, last: in one transaction, or one after
    /// the other.
    pub(super) async fn commit(
        &mut self,
        consumer: &mut Consumer,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
    ) -> Result<Committed, StreamsError> {
        if let Sink::AtLeastOnce(producer) = &self.sink {
            let flushed = producer.flush().await;
            flushed.map_err(|error| self.failed("write outputs and changelogs", error))?;
            if offsets.is_empty() {
                return Ok(Committed::Yes);
            }
            return match consumer.commit(offsets).await {
                Ok(()) => Ok(Committed::Yes),
                Err(error) if is_passing(&error) => {
                    tracing::warn!(%error, "commit failed, trying again at the next one");
                    Ok(Committed::Later)
                }
                Err(error) => Err(self.failed("commit offsets", error)),
            };
        }
        if !offsets.is_empty() {
            self.begin().await?;
        }
        let ended = self.end(consumer, offsets).await;
        ended.map_err(|error| self.failed("commit a transaction", error))?;
        Ok(Committed::Yes)
    }

    async fn end(
        &mut self,
        consumer: &Consumer,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
    ) -> Result<(), ClientError> {
        let Sink::ExactlyOnce {
            producer: Some(producer),
            ..
        } = &mut self.sink
        else {
            return Ok(());
        };
        if !producer.is_open() {
            return Ok(());
        }
        if !offsets.is_empty() {
            let group = consumer.group_metadata()?;
            producer.send_offsets(&group, offsets).await?;
        }
        let deadline = Instant::now() + END_LIMIT;
        loop {
            match producer.commit().await {
                // The outcome is open; only the same call finds it out.
                Err(error) if error.is_retriable() && Instant::now() < deadline => {
                    tracing::warn!(%error, "the outcome of a transaction is not known yet");
                    tokio::time::sleep(RETRY).await;
                }
                result => return result,
            }
        }
    }

    /// Offsets behind what was written to changelogs since the last call; all of it is delivered.
    pub(super) async fn changelog_positions(&mut self) -> BTreeMap<TopicPartition, i64> {
        let mut positions = BTreeMap::new();
        let mut changelogs = std::mem::take(&mut self.changelogs);
        changelogs.extend(self.changelog.take());
        for (name, delivery) in changelogs {
            // A failed delivery has failed the commit already.
            if let Ok(stored) = delivery.await
                && stored.offset >= 0
            {
                positions.insert(name, stored.offset + 1);
            }
        }
        positions
    }

    /// Drops the open transaction. A producer that cannot do so, because it is fenced or because
    /// nobody knows how its last transaction ended, is given up; the next one with its id ends
    /// that transaction.
    pub(super) async fn abort(&mut self) {
        self.changelogs.clear();
        self.changelog = None;
        let Sink::ExactlyOnce { producer, .. } = &mut self.sink else {
            return;
        };
        let Some(mut open) = producer.take() else {
            return;
        };
        // A producer without a transaction is whole if it can begin one.
        let begun = match open.is_open() {
            true => Ok(()),
            false => open.begin(),
        };
        let aborted = match begun {
            Ok(()) => open.abort().await,
            Err(error) => Err(error),
        };
        match aborted {
            Ok(()) => *producer = Some(open),
            Err(error) => {
                tracing::info!(%error, "a transactional producer is replaced");
                open.close(CLOSE_LIMIT).await;
            }
        }
    }

    pub(super) async fn close(self) {
        match self.sink {
            Sink::AtLeastOnce(producer) => {
                let _ = tokio::time::timeout(CLOSE_LIMIT, producer.close()).await;
            }
            Sink::ExactlyOnce { producer, .. } => {
                if let Some(producer) = producer {
                    producer.close(CLOSE_LIMIT).await;
                }
            }
        }
    }

    /// What an error of the client means for the tasks.
    fn failed(&self, action: &str, error: ClientError) -> StreamsError {
        let group = self.group.clone();
        let reason = error.to_string();
        match &error {
            // Another process runs under this one's `group_instance_id`; both would go on for ever.
            error if error.code() == Some(ErrorCode::FencedInstanceId) => {
                StreamsError::client(action, error.clone())
            }
            ClientError::MustAbort { cause, .. } if !is_member_fenced(cause) => {
                StreamsError::TaskCorrupted { group, reason }
            }
            ClientError::MustAbort { .. }
            | ClientError::Fenced { .. }
            | ClientError::ProducerFenced { .. }
            | ClientError::ProducerBroken { .. }
            | ClientError::TransactionState { .. } => StreamsError::TaskMigrated { group, reason },
            error if is_member_fenced(error) => StreamsError::TaskMigrated { group, reason },
            error if error.is_retriable() => StreamsError::TaskCorrupted { group, reason },
            _ => StreamsError::client(action, error),
        }
    }
}

/// Whether the group has gone on without this member.
fn is_member_fenced(error: &ClientError) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::IllegalGeneration
                | ErrorCode::UnknownMemberId
                | ErrorCode::StaleMemberEpoch
                | ErrorCode::FencedMemberEpoch
        )
    )
}

/// Whether the offsets can be committed once the group has agreed.
fn is_passing(error: &ClientError) -> bool {
    error.is_retriable() || error.code() == Some(ErrorCode::RebalanceInProgress)
}

/// Takes a transactional id over; its last transaction is over then.
async fn initialise(
    client: &Client,
    transactional_id: &str,
    config: &ProducerConfig,
) -> Result<TransactionalProducer, ClientError> {
    let deadline = Instant::now() + END_LIMIT;
    loop {
        let made = client.transactional_producer(transactional_id, config.clone());
        match made.await {
            Err(error) if error.is_retriable() && Instant::now() < deadline => {
                tracing::warn!(%error, "a transactional producer cannot start yet");
                tokio::time::sleep(RETRY).await;
            }
            result => return result,
        }
    }
}

/// Partition count of an output topic, as last heard, else asked for.
async fn partitions(client: &Client, topic: &KString) -> Result<i32, ClientError> {
    if let Some(count) = client.cluster_metadata().partition_count(topic) {
        return Ok(count);
    }
    client
        .partition_count(topic)
        .await?
        .ok_or_else(|| ClientError::UnknownTopic {
            topic: topic.to_string(),
        })
}

/// How long the start and the end of a transaction are tried again.
const END_LIMIT: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(100);
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
