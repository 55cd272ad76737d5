//! Following the topics of global tables, whole, beside the stream threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moldau_client::admin::OffsetSpec;
use moldau_client::{
    Client, ClientError, Consumer, ConsumerConfig, Isolation, OffsetReset, TopicPartition,
};

use super::inputs::decode;
use super::shared::Shared;
use crate::runtime::application::Application;
use crate::runtime::error::StreamsError;
use crate::runtime::global::{GlobalStore, GlobalTable};

/// Reads all global tables to the ends of their topics, and follows them in the background until
/// the application is closed.
pub(super) async fn start(
    client: &Client,
    application: &Application,
    shared: &Arc<Shared>,
) -> Result<Arc<[GlobalStore]>, StreamsError> {
    let tables = &application.global_tables;
    let stores: Arc<[GlobalStore]> = tables.iter().map(GlobalStore::open).collect();
    for (table, store) in tables.iter().zip(stores.iter()) {
        let mut reader = Reader::new(client, table.clone(), store.clone()).await?;
        reader.read_to_end(client).await?;
        let shared = Arc::clone(shared);
        let closing = Arc::clone(&shared);
        let following = tokio::spawn(async move {
            let followed = reader.follow(&closing).await;
            reader.consumer.close().await;
            followed
        });
        tokio::spawn(async move {
            match following.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => shared.fail(error),
                // Code of the user, which would leave the table as it is for ever.
                Err(ended) => {
                    if let Ok(panic) = ended.try_into_panic() {
                        shared.fail(StreamsError::thread_panicked(&*panic));
                    }
                }
            }
        });
    }
    Ok(stores)
}

/// Reads the topic of one global table into its store.
struct Reader {
    table: GlobalTable,
    store: GlobalStore,
    consumer: Consumer,
    partitions: Vec<TopicPartition>,
}

impl Reader {
    async fn new(
        client: &Client,
        table: GlobalTable,
        store: GlobalStore,
    ) -> Result<Self, StreamsError> {
        let count = client.partition_count(&table.topic).await;
        let count = count.map_err(|error| failed(&table, error))?;
        let count = count.ok_or_else(|| StreamsError::MissingTopic {
            topic: table.topic.clone(),
        })?;
        let partitions: Vec<_> = (0..count)
            .map(|partition| TopicPartition::new(&table.topic, partition))
            .collect();
        let mut consumer = client.consumer(ConsumerConfig {
            auto_offset_reset: OffsetReset::Earliest,
            isolation: Isolation::ReadCommitted,
            ..ConsumerConfig::default()
        });
        consumer.assign(partitions.clone());
        Ok(Self {
            table,
            store,
            consumer,
            partitions,
        })
    }

    async fn read_to_end(&mut self, client: &Client) -> Result<(), StreamsError> {
        let ends = self.ends(client).await?;
        let is_behind = |consumer: &Consumer| {
            ends.iter()
                .any(|(name, end)| consumer.position(name).unwrap_or(0) < *end)
        };
        let mut progress = Instant::now();
        while is_behind(&self.consumer) {
            if self.poll().await? > 0 {
                progress = Instant::now();
            } else if progress.elapsed() > STALLED {
                let operation = format!("reading the global table \"{}\"", self.table.topic);
                let after_ms = STALLED.as_secs() * 1_000;
                let error = ClientError::Timeout {
                    operation,
                    after_ms,
                };
                return Err(failed(&self.table, error));
            }
        }
        Ok(())
    }

    /// Ends of partitions that hold anything.
    async fn ends(&self, client: &Client) -> Result<BTreeMap<TopicPartition, i64>, StreamsError> {
        let list = async |spec| {
            let wanted: Vec<_> = self.partitions.iter().map(|n| (n.clone(), spec)).collect();
            let listed = client.admin().list_offsets(&wanted).await;
            listed.map_err(|error| failed(&self.table, error))
        };
        let starts = list(OffsetSpec::Earliest).await?;
        let ends = list(OffsetSpec::Latest).await?;
        let start = |name: &TopicPartition| starts.get(name).map_or(0, |listed| listed.offset);
        let ends = ends.into_iter().map(|(name, end)| (name, end.offset));
        Ok(ends.filter(|(name, end)| *end > start(name)).collect())
    }

    async fn follow(&mut self, shared: &Shared) -> Result<(), StreamsError> {
        let mut closing = shared.watch_closing();
        loop {
            tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => return Ok(()),
                polled = self.poll() => { polled?; }
            }
        }
    }

    /// Gives the number of batches read.
    async fn poll(&mut self) -> Result<usize, StreamsError> {
        let poll = match self.consumer.poll(POLL).await {
            Ok(poll) => poll,
            Err(error) if error.is_retriable() => {
                tracing::warn!(%error, topic = %self.table.topic, "poll failed, trying again");
                tokio::time::sleep(RETRY).await;
                return Ok(0);
            }
            Err(error) => return Err(failed(&self.table, error)),
        };
        for fetched in &poll.batches {
            self.store.update(&decode(fetched)?, &self.table.update)?;
        }
        Ok(poll.batches.len())
    }
}

fn failed(table: &GlobalTable, error: ClientError) -> StreamsError {
    StreamsError::client(format!("read the global table \"{}\"", table.topic), error)
}

const POLL: Duration = Duration::from_millis(200);
const RETRY: Duration = Duration::from_millis(100);
/// Without any batch for this long before the end is reached, the cluster counts as gone.
const STALLED: Duration = Duration::from_secs(120);
