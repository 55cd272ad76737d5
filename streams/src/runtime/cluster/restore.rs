//! Reading stores back from their changelogs, off the stream threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moldau_client::admin::OffsetSpec;
use moldau_client::{Client, ConsumerConfig, Isolation, OffsetReset, TopicPartition};
use tokio::sync::{Semaphore, oneshot};

use crate::runtime::error::StreamsError;
use crate::runtime::store::TaskStores;

/// The stores of one task on their way back from the changelogs.
///
/// Dropped before it is done, it stops, and is over: it has closed the stores, and does not read
/// from a runtime that may end next.
#[derive(Debug)]
pub(super) struct Restore {
    pub(super) progress: Arc<Progress>,
    done: Receiver<Result<TaskStores, StreamsError>>,
    /// Stops it when it is dropped.
    cancel: Option<oneshot::Sender<()>>,
}

/// How far a restore is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) restored: AtomicU64,
    pub(super) to_restore: AtomicU64,
}

impl Restore {
    /// Begins to restore stores from where each of them is to the end of its changelog.
    pub(super) fn start(
        client: Client,
        partition: i32,
        stores: TaskStores,
        permits: Arc<Semaphore>,
        committed_only: bool,
    ) -> Self {
        let progress = Arc::new(Progress::default());
        let (sender, done) = sync_channel(1);
        let (cancel, cancelled) = oneshot::channel::<()>();
        let shared = Arc::clone(&progress);
        let restored = async move {
            let _permit = permits.acquire().await;
            restore(&client, partition, stores, &shared, committed_only).await
        };
        let unless_cancelled = async move {
            tokio::select! {
                restored = restored => Some(restored),
                _ = cancelled => None,
            }
        };
        // Inserting millions of entries would hold up a worker of the runtime.
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            if let Some(restored) = runtime.block_on(unless_cancelled) {
                // A thread that has given the task up meanwhile does not listen any more.
                let _ = sender.send(restored);
            }
        });
        Self {
            progress,
            done,
            cancel: Some(cancel),
        }
    }

    /// The stores, once they are restored.
    pub(super) fn poll(&mut self) -> Option<Result<TaskStores, StreamsError>> {
        match self.done.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(StreamsError::topology(
                "restore ended without a result; the process is shutting down",
            ))),
        }
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        self.cancel = None;
        if matches!(
            self.done.recv_timeout(STOP_LIMIT),
            Err(RecvTimeoutError::Timeout)
        ) {
            tracing::warn!("a restore that nobody waits for does not stop");
        }
    }
}

async fn restore(
    client: &Client,
    partition: i32,
    mut stores: TaskStores,
    progress: &Progress,
    committed_only: bool,
) -> Result<TaskStores, StreamsError> {
    let topics: Vec<_> = stores
        .iter()
        .map(|store| store.changelog_topic().map(str::to_owned))
        .collect();
    let partitions: Vec<_> = topics
        .iter()
        .flatten()
        .map(|topic| TopicPartition::new(topic, partition))
        .collect();
    let ends = end_offsets(client, &partitions).await?;
    let starts = list(client, &partitions, OffsetSpec::Earliest).await?;
    let mut jobs = Vec::new();
    for (index, topic) in topics.iter().enumerate() {
        let Some(topic) = topic else { continue };
        let name = TopicPartition::new(topic, partition);
        let start = starts.get(&name).copied().unwrap_or(0);
        let end = ends.get(&name).copied().unwrap_or(0);
        wipe_if_ahead(&mut stores, index, &name, end)?;
        let from = stores[index].changelog_position().unwrap_or(0).max(start);
        if from < end {
            let count = u64::try_from(end - from).unwrap_or(0);
            progress.to_restore.fetch_add(count, Ordering::Relaxed);
            jobs.push(Job {
                name,
                index,
                from,
                end,
            });
        }
        stores[index].set_changelog_position(end);
    }
    if !jobs.is_empty() {
        read(client, &mut stores, &jobs, progress, committed_only).await?;
    }
    stores.commit(|_| None)?;
    Ok(stores)
}

/// Throws a store away that is ahead of its changelog: the topic was deleted, or has lost its
/// end, and nobody can say which of the entries are still true.
fn wipe_if_ahead(
    stores: &mut TaskStores,
    index: usize,
    changelog: &TopicPartition,
    end: i64,
) -> Result<(), StreamsError> {
    match stores[index].changelog_position() {
        Some(position) if position > end => {
            tracing::warn!(
                %changelog,
                position,
                end,
                "a store is ahead of its changelog, it is thrown away and restored as a whole"
            );
            stores.wipe(index)
        }
        _ => Ok(()),
    }
}

/// Throws those stores away that are ahead of their changelogs.
pub(super) async fn wipe_those_ahead(
    client: &Client,
    changelogs: &[(TopicPartition, usize)],
    stores: &Mutex<Option<TaskStores>>,
) -> Result<(), StreamsError> {
    let names: Vec<_> = changelogs.iter().map(|(name, _)| name.clone()).collect();
    let ends = end_offsets(client, &names).await?;
    let mut stores = stores.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(stores) = stores.as_mut() else {
        return Ok(());
    };
    for (name, index) in changelogs {
        if let Some(end) = ends.get(name) {
            wipe_if_ahead(stores, *index, name, *end)?;
        }
    }
    Ok(())
}

/// One changelog to read: up to, not including, `end`.
struct Job {
    name: TopicPartition,
    index: usize,
    from: i64,
    end: i64,
}

async fn read(
    client: &Client,
    stores: &mut TaskStores,
    jobs: &[Job],
    progress: &Progress,
    committed_only: bool,
) -> Result<(), StreamsError> {
    let mut consumer = client.consumer(ConsumerConfig {
        // The end is that of all records, so open transactions are waited for: they may be those
        // of the task's last owner.
        isolation: match committed_only {
            true => Isolation::ReadCommitted,
            false => Isolation::ReadUncommitted,
        },
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::default()
    });
    consumer.assign(jobs.iter().map(|job| job.name.clone()).collect());
    for job in jobs {
        let sought = consumer.seek(&job.name, job.from);
        sought.map_err(|error| failed(&job.name, error))?;
    }
    let mut left: Vec<_> = jobs.iter().collect();
    while !left.is_empty() {
        let poll = match consumer.poll(POLL).await {
            Ok(poll) => poll,
            Err(error) if error.is_retriable() => {
                tracing::warn!(%error, "a changelog cannot be read, trying again");
                tokio::time::sleep(POLL).await;
                continue;
            }
            Err(error) => return Err(failed(&left[0].name, error)),
        };
        for fetched in &poll.batches {
            let Some(job) = jobs.iter().find(|job| job.name == fetched.topic_partition) else {
                continue;
            };
            let records = fetched
                .records()
                .map_err(|error| broken(&job.name, &error))?;
            for record in records {
                let record = record.map_err(|error| broken(&job.name, &error))?;
                if record.offset < job.end {
                    let (key, value) = (record.key.as_deref(), record.value.as_deref());
                    stores[job.index].restore(key, value, record.timestamp)?;
                }
            }
        }
        left.retain(|job| {
            consumer
                .position(&job.name)
                .is_none_or(|position| position < job.end)
        });
        let position = |job: &Job| {
            consumer
                .position(&job.name)
                .unwrap_or(job.from)
                .min(job.end)
        };
        let restored: i64 = jobs.iter().map(|job| position(job) - job.from).sum();
        progress
            .restored
            .store(u64::try_from(restored).unwrap_or(0), Ordering::Relaxed);
    }
    Ok(())
}

/// End offsets of changelog partitions.
async fn end_offsets(
    client: &Client,
    partitions: &[TopicPartition],
) -> Result<std::collections::BTreeMap<TopicPartition, i64>, StreamsError> {
    list(client, partitions, OffsetSpec::Latest).await
}

async fn list(
    client: &Client,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Result<std::collections::BTreeMap<TopicPartition, i64>, StreamsError> {
    if partitions.is_empty() {
        return Ok(std::collections::BTreeMap::new());
    }
    let wanted: Vec<_> = partitions.iter().map(|name| (name.clone(), spec)).collect();
    let listed = client.admin().list_offsets(&wanted).await;
    let listed =
        listed.map_err(|error| StreamsError::client("look up changelog offsets", error))?;
    Ok(listed
        .into_iter()
        .map(|(name, listed)| (name, listed.offset))
        .collect())
}

fn failed(name: &TopicPartition, error: moldau_client::ClientError) -> StreamsError {
    StreamsError::client(format!("read changelog {name}"), error)
}

fn broken(name: &TopicPartition, error: &moldau_protocol::batch::BatchError) -> StreamsError {
    StreamsError::Store {
        store: name.topic.to_string(),
        reason: format!("a batch of changelog {name} cannot be read: {error}"),
    }
}

const POLL: Duration = Duration::from_millis(200);
/// How long a restore may take to stop; at most a batch is put into stores meanwhile.
const STOP_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use moldau_client::ClientConfig;
    use moldau_protocol::dispatch::{ClientContext, Dispatched, Dispatcher};
    use moldau_protocol::messages::RequestKind;

    use super::*;
    use crate::runtime::store::{StoreEnvironment, StoreSpec};
    use crate::runtime::task_id::TaskId;

    /// A broker that never answers.
    struct Silent;

    impl Dispatcher for Silent {
        fn dispatch(&self, _: &ClientContext, _: i16, _: RequestKind) -> Dispatched<'_> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_restore_that_is_dropped_is_over() {
        let client = Client::in_process(Arc::new(Silent), ClientConfig::new(""));
        let id = TaskId {
            sub_topology: 0,
            partition: 0,
        };
        let specs = [StoreSpec::key_value("app", "store")];
        // Once it waits for its turn, once for the broker.
        for permits in [0, 1] {
            let permits = Arc::new(Semaphore::new(permits));
            let stores = TaskStores::open(id, &specs, &StoreEnvironment::default());
            let (stores, theirs) = (stores.expect("stores"), Arc::clone(&permits));
            drop(Restore::start(client.clone(), 0, stores, theirs, true));
            assert_eq!(Arc::strong_count(&permits), 1);
        }
    }
}
