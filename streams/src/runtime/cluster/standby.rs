//! Standby replicas: stores that follow the changelogs of tasks which run in other processes, so
//! that such a task can move here without a long restore.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moldau_client::{Client, ConsumerConfig, Isolation, OffsetReset, TopicPartition};

use super::restore::wipe_those_ahead;
use crate::runtime::error::StreamsError;
use crate::runtime::store::{StoreSlot, TaskStores};
use crate::runtime::task_id::TaskId;

/// The standby tasks of a process.
#[derive(Debug, Default)]
pub(super) struct Standbys {
    tasks: Mutex<BTreeMap<TaskId, Standby>>,
}

/// The stores of one standby task; a background job keeps them up to date.
#[derive(Clone, Debug)]
struct Standby {
    /// `None` once a thread has taken the stores over; the job ends then.
    stores: Arc<Mutex<Option<TaskStores>>>,
    /// Changelog records that are known and not in the stores.
    lag: Arc<AtomicU64>,
}

impl Standbys {
    /// Follows the changelogs of a task from where its stores are.
    pub(super) fn start(
        &self,
        client: Client,
        id: TaskId,
        stores: TaskStores,
        committed_only: bool,
    ) {
        let standby = Standby {
            stores: Arc::new(Mutex::new(Some(stores))),
            lag: Arc::new(AtomicU64::new(u64::MAX)),
        };
        lock(&self.tasks).insert(id, standby.clone());
        tokio::spawn(async move {
            if let Err(error) = follow(&client, id, &standby, committed_only).await {
                // The task runs elsewhere all the same; it only has to be restored as a whole.
                tracing::warn!(%error, task = %id, "a standby task has stopped");
                lock(&standby.stores).take();
            }
        });
    }

    /// Takes the stores of a task over, to run it here or to give it up.
    pub(super) fn take(&self, id: TaskId) -> Option<TaskStores> {
        let standby = lock(&self.tasks).remove(&id)?;
        lock(&standby.stores).take()
    }

    /// Gives up all standby tasks that are not wanted; gives those of `wanted` that are not here.
    pub(super) fn retain(&self, wanted: &[TaskId]) -> Vec<TaskId> {
        let mut tasks = lock(&self.tasks);
        tasks.retain(|id, standby| {
            let keeps = wanted.contains(id) && lock(&standby.stores).is_some();
            if !keeps {
                lock(&standby.stores).take();
            }
            keeps
        });
        let missing = wanted.iter().filter(|id| !tasks.contains_key(id));
        missing.copied().collect()
    }

    /// The standby tasks, and how many changelog records each lacks.
    pub(super) fn lags(&self) -> BTreeMap<TaskId, u64> {
        let tasks = lock(&self.tasks);
        let lag = |standby: &Standby| standby.lag.load(Ordering::Relaxed);
        tasks
            .iter()
            .map(|(id, standby)| (*id, lag(standby)))
            .collect()
    }

    /// Looks into the stores of a standby task; `None` if it is not here.
    pub(super) fn read<T>(
        &self,
        id: TaskId,
        read: impl FnOnce(&mut [StoreSlot], u64) -> T,
    ) -> Option<T> {
        let standby = lock(&self.tasks).get(&id).cloned()?;
        let lag = standby.lag.load(Ordering::Relaxed);
        let mut stores = lock(&standby.stores);
        stores.as_mut().map(|stores| read(stores, lag))
    }
}

async fn follow(
    client: &Client,
    id: TaskId,
    standby: &Standby,
    committed_only: bool,
) -> Result<(), StreamsError> {
    let failed = |error| StreamsError::client(format!("follow the changelogs of task {id}"), error);
    let mut consumer = client.consumer(ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        isolation: match committed_only {
            true => Isolation::ReadCommitted,
            false => Isolation::ReadUncommitted,
        },
        ..ConsumerConfig::default()
    });
    let changelogs = changelogs(client, id, standby).await?;
    consumer.assign(changelogs.keys().cloned().collect());
    for (name, (_, position)) in &changelogs {
        if let Some(position) = position {
            consumer.seek(name, *position).map_err(failed)?;
        }
    }
    loop {
        let poll = match consumer.poll(POLL).await {
            Ok(poll) => poll,
            Err(error) if error.is_retriable() => {
                tokio::time::sleep(POLL).await;
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        let mut stores = lock(&standby.stores);
        let Some(stores) = stores.as_mut() else {
            return Ok(());
        };
        for fetched in &poll.batches {
            let Some((index, _)) = changelogs.get(&fetched.topic_partition) else {
                continue;
            };
            let broken = |error: moldau_protocol::batch::BatchError| StreamsError::Store {
                store: fetched.topic_partition.to_string(),
                reason: format!("a batch of the changelog cannot be read: {error}"),
            };
            for record in fetched.records().map_err(broken)? {
                let record = record.map_err(broken)?;
                let (key, value) = (record.key.as_deref(), record.value.as_deref());
                stores[*index].restore(key, value, record.timestamp)?;
            }
        }
        let mut lag = 0;
        for (name, (index, _)) in &changelogs {
            if let Some(position) = consumer.position(name) {
                stores[*index].set_changelog_position(position);
                stores[*index].commit()?;
            }
            let missing = consumer.lag(name).and_then(|lag| u64::try_from(lag).ok());
            lag = missing.map_or(u64::MAX, |missing| missing.saturating_add(lag));
        }
        standby.lag.store(lag, Ordering::Relaxed);
    }
}

/// The changelogs of a standby task, each with the index of its store and where that store is.
/// Stores that do not belong to them are thrown away.
async fn changelogs(
    client: &Client,
    id: TaskId,
    standby: &Standby,
) -> Result<BTreeMap<TopicPartition, (usize, Option<i64>)>, StreamsError> {
    let mut topics = Vec::new();
    for (index, store) in lock(&standby.stores)
        .iter()
        .flat_map(|s| s.iter())
        .enumerate()
    {
        if let Some(topic) = store.changelog_topic() {
            topics.push((TopicPartition::new(topic, id.partition), index));
        }
    }
    wipe_those_ahead(client, &topics, &standby.stores).await?;
    let stores = lock(&standby.stores);
    let position = |index: usize| stores.as_ref()?.get(index)?.changelog_position();
    let place = |(name, index)| (name, (index, position(index)));
    Ok(topics.into_iter().map(place).collect())
}

/// A reader that panicked has left the stores whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const POLL: Duration = Duration::from_millis(200);
