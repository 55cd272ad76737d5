//! The producer: batches records by partition and sends them in the background.

mod accumulator;
mod batch;
mod config;
mod delivery;
mod partition;
mod record;
mod request;
mod sender;
mod transaction;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use moldau_protocol::batch::BATCH_HEADER_SIZE;

use crate::client::Client;
use crate::error::ClientError;
use crate::partitioner::partition_for_key;
use crate::producer::accumulator::{Accumulator, CLOSED, PartitionQueue, TopicQueues};
use crate::producer::sender::Sender;
use crate::producer::transaction::{TransactionRequests, TransactionState};

pub use crate::producer::config::{Acks, PartitionFunction, Partitioner, ProducerConfig};
pub use crate::producer::delivery::Delivery;
pub use crate::producer::record::{ProducerRecord, RecordMetadata};
pub use crate::producer::transaction::TransactionalProducer;

/// Sends records. Clones are cheap and share batches, connections and sequence numbers.
///
/// Records of one partition are stored in the order of their [`send`](Self::send) calls. A producer that is dropped
/// without [`close`](Self::close) still sends what it has, as long as the runtime lives.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

/// The last handle that goes ends the sending task.
struct Handle {
    client: Client,
    config: Arc<ProducerConfig>,
    accumulator: Arc<Accumulator>,
}

impl Producer {
    pub(crate) fn start(client: Client, config: ProducerConfig) -> Self {
        Self::start_with(client, config, None)
    }

    /// A producer whose batches belong to transactions, if there is a state of them.
    fn start_with(
        client: Client,
        config: ProducerConfig,
        transaction: Option<(Arc<TransactionState>, TransactionRequests)>,
    ) -> Self {
        let config = Arc::new(config);
        let accumulator = Accumulator::new(Arc::clone(&config), transaction.is_some());
        let accumulator = Arc::new(accumulator);
        let sender = Sender::new(
            client.clone(),
            Arc::clone(&config),
            Arc::clone(&accumulator),
            transaction,
        );
        tokio::spawn(sender.run());
        Self {
            handle: Arc::new(Handle {
                client,
                config,
                accumulator,
            }),
        }
    }

    /// Copies a record into its partition's batch. Waits only for the topic's metadata (once) and for buffer memory.
    /// Takes the record or a reference to it.
    ///
    /// # Errors
    ///
    /// The topic or partition does not exist, the record is too large, or `max_block_ms` passed.
    pub async fn send(&self, record: impl Borrow<ProducerRecord>) -> Result<Delivery, ClientError> {
        let record = record.borrow();
        let Handle {
            config,
            accumulator,
            ..
        } = &*self.handle;
        if accumulator.is_closing() {
            return Err(CLOSED);
        }
        let size = batch::record_size_bound(record);
        let limit = config.max_request_size.min(config.buffer_memory);
        if size + BATCH_HEADER_SIZE > limit {
            return Err(ClientError::RecordTooLarge {
                topic: record.topic.to_string(),
                size,
                limit,
            });
        }
        let timestamp = record.timestamp.unwrap_or_else(now_ms);
        let known = {
            let topics = accumulator.topics();
            let topic = topics.get(&record.topic);
            match topic.and_then(|topic| self.queue(topic, record, size)) {
                Some(queue) => match accumulator.append(queue, record, size, timestamp) {
                    Some(delivery) => return Ok(delivery),
                    None => Some(Arc::clone(queue)),
                },
                None => None,
            }
        };
        let queue = match known {
            Some(queue) => queue,
            None => self.new_queue(record, size).await?,
        };
        let memory = accumulator.memory(size).await?;
        Ok(accumulator.append_to_new_batch(&queue, record, size, timestamp, memory))
    }

    /// Sends everything now and waits until it is answered.
    ///
    /// # Errors
    ///
    /// The first failure of any record since the last flush.
    pub async fn flush(&self) -> Result<(), ClientError> {
        self.handle.accumulator.flush().await
    }

    /// Flushes and ends the producer, for all its clones. Failures are left to the deliveries;
    /// to see them here, [`flush`](Self::flush) first.
    pub async fn close(self) {
        self.handle.accumulator.start_closing();
        if let Err(error) = self.handle.accumulator.flush().await {
            tracing::warn!(%error, "records were lost when the producer was closed");
        }
    }

    /// As [`close`](Self::close), but gives up after `limit`: what is not delivered then fails as closed.
    pub async fn close_within(self, limit: Duration) {
        let accumulator = Arc::clone(&self.handle.accumulator);
        if tokio::time::timeout(limit, self.close()).await.is_err() {
            accumulator.give_up();
            tracing::warn!(
                limit_ms = limit.as_millis() as u64,
                "records were lost when the producer was closed: they could not be delivered in time"
            );
        }
    }

    /// Has the sending task drop what waits, and waits until nothing is under way any more.
    async fn drop_waiting(&self) {
        // The failures are the caller's doing.
        let _ = self.handle.accumulator.flush().await;
    }

    /// The queue of a record's partition, if that is known to exist.
    fn queue<'a>(
        &self,
        topic: &'a TopicQueues,
        record: &ProducerRecord,
        size: usize,
    ) -> Option<&'a Arc<PartitionQueue>> {
        if let Some(partition) = record.partition {
            return topic.partition(partition);
        }
        let partitions = topic.partitions.len() as i32;
        let partition = match (&self.handle.config.partitioner, &record.key) {
            (Partitioner::Default, Some(key)) => partition_for_key(key, partitions),
            (Partitioner::Custom(choose), key) => {
                choose(key.as_deref(), record.value.as_deref(), partitions)
                    .rem_euclid(partitions.max(1))
            }
            (Partitioner::Default | Partitioner::IgnoreKeys, _) => {
                return self.handle.accumulator.sticky_partition(topic, size);
            }
        };
        topic.partition(partition)
    }

    /// The queue of a partition that is not known yet: asks for the topic.
    async fn new_queue(
        &self,
        record: &ProducerRecord,
        size: usize,
    ) -> Result<Arc<PartitionQueue>, ClientError> {
        let Handle {
            client,
            config,
            accumulator,
        } = &*self.handle;
        let metadata = client.metadata();
        let limit = Duration::from_millis(config.max_block_ms);
        if accumulator.topics().contains_key(&record.topic) {
            // The partition may have been added since the topic was looked up.
            metadata.refresh(metadata.snapshot().version).await?;
        }
        let topic = metadata.topic(&record.topic, true, limit).await?;
        let queues = accumulator.add_topic(&record.topic, topic.partitions.len());
        self.queue(&queues, record, size)
            .map(Arc::clone)
            .ok_or_else(|| ClientError::UnknownPartition {
                topic: record.topic.to_string(),
                partition: record.partition.unwrap_or(-1),
                partitions: topic.partitions.len() as i32,
            })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.accumulator.start_closing();
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Producer")
            .field("config", &self.handle.config)
            .finish_non_exhaustive()
    }
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_millis() as i64)
}
