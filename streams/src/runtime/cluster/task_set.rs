//! The tasks of one thread, and their way from assignment over restore to work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use moldau_client::consumer::SeekTo;
use moldau_client::{Client, ClientError, Consumer, OffsetAndMetadata, TopicPartition};
use tokio::sync::Semaphore;

use super::inputs::{Paused, Routes};
use super::restore::Restore;
use super::shared::Shared;
use crate::runtime::application::{Application, StartAt};
use crate::runtime::error::StreamsError;
use crate::runtime::metrics::{StoreMetrics, TaskMetrics, TaskRunState};
use crate::runtime::plan::Plan;
use crate::runtime::store::{StoreSlot, TaskStores};
use crate::runtime::task::{Task, TaskSettings};
use crate::runtime::task_id::TaskId;

/// The tasks of one thread.
pub(super) struct TaskSet {
    application: Arc<Application>,
    plan: Arc<Plan>,
    settings: TaskSettings,
    client: Client,
    restore_permits: Arc<Semaphore>,
    is_exactly_once: bool,
    shared: Arc<Shared>,
    pub(super) routes: Routes,
    pub(super) paused: Paused,
    tasks: BTreeMap<TaskId, Assigned>,
    /// Stores of tasks that were revoked and may come back: they only have to be brought up to
    /// date from where they are.
    suspended: BTreeMap<TaskId, TaskStores>,
    /// Restores that go on while the group is joined again, for tasks that may come back.
    restores: BTreeMap<TaskId, Restore>,
    /// Figures of tasks that are gone.
    past: Totals,
    /// Offset and metadata that are committed, so that only changes are.
    pub(super) committed: BTreeMap<TopicPartition, (i64, String)>,
}

struct Assigned {
    task: Task,
    restore: Option<Restore>,
    restored: u64,
    to_restore: u64,
}

/// Figures of several tasks.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    /// Records processed, by topic.
    pub(super) inputs: BTreeMap<String, u64>,
    pub(super) records_out: u64,
    pub(super) records_dropped: u64,
}

impl TaskSet {
    pub(super) fn new(
        application: Arc<Application>,
        plan: Arc<Plan>,
        settings: TaskSettings,
        client: Client,
        restore_permits: Arc<Semaphore>,
        is_exactly_once: bool,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            routes: Routes::new(&plan),
            application,
            plan,
            settings,
            client,
            restore_permits,
            is_exactly_once,
            shared,
            paused: Paused::default(),
            tasks: BTreeMap::new(),
            suspended: BTreeMap::new(),
            restores: BTreeMap::new(),
            past: Totals::default(),
            committed: BTreeMap::new(),
        }
    }

    /// Follows another plan from the next assignment on.
    pub(super) fn follow(&mut self, plan: &Arc<Plan>) {
        if !Arc::ptr_eq(&self.plan, plan) {
            self.routes = Routes::new(plan);
            self.plan = Arc::clone(plan);
        }
    }

    /// Makes the tasks of a new assignment. Their inputs begin at what is committed, or where
    /// the source says, and are paused until the stores are there.
    pub(super) async fn assign(
        &mut self,
        consumer: &mut Consumer,
        assigned: &[TopicPartition],
    ) -> Result<(), StreamsError> {
        let group = &self.application.application_id;
        let ids = self.routes.tasks(&self.plan, assigned, group)?;
        self.paused.clear();
        let committed = self.start_positions(consumer, assigned).await?;
        let mut suspended = std::mem::take(&mut self.suspended);
        // Others wait for the directories of those that have moved.
        suspended.retain(|id, stores| ids.contains(id) || !stores.holds_directory());
        let mut restores = std::mem::take(&mut self.restores);
        restores.retain(|id, _| ids.contains(id));
        for id in ids {
            let parts = &self.application.sub_topologies[id.sub_topology];
            let inputs = self.plan.tasks.get(&id).cloned().unwrap_or_default();
            let mut task = Task::new(id, parts, inputs, &self.settings)?;
            for index in 0..task.inputs().len() {
                let name = task.inputs()[index].name.clone();
                if let Some(committed) = committed.get(&name) {
                    task.restore_time(index, &committed.metadata);
                    task.restore_offset(index, committed.offset);
                    let place = (committed.offset, committed.metadata.to_string());
                    self.committed.insert(name.clone(), place);
                }
                self.paused.set(consumer, &name, true);
            }
            let restore = match restores.remove(&id) {
                Some(restore) => restore,
                None => {
                    let standby = || self.shared.standbys.take(id);
                    let stores = match suspended.remove(&id).or_else(standby) {
                        Some(stores) => stores,
                        None => TaskStores::open(id, &parts.stores, &self.settings.stores)?,
                    };
                    let permits = Arc::clone(&self.restore_permits);
                    let client = self.client.clone();
                    let committed = self.is_exactly_once;
                    Restore::start(client, id.partition, stores, permits, committed)
                }
            };
            let assigned = Assigned {
                task,
                restore: Some(restore),
                restored: 0,
                to_restore: 0,
            };
            self.tasks.insert(id, assigned);
        }
        self.suspended = suspended;
        Ok(())
    }

    /// Brings the standby tasks into line with the assignment; `own` are those that this thread
    /// starts. Stores of tasks that went elsewhere are used for it, or given up.
    pub(super) fn update_standbys(&mut self, own: &[TaskId], all: &[TaskId]) {
        let missing = self.shared.standbys.retain(all);
        let mut suspended = std::mem::take(&mut self.suspended);
        for id in missing.into_iter().filter(|id| own.contains(id)) {
            let Some(parts) = self.application.sub_topologies.get(id.sub_topology) else {
                continue;
            };
            let opened = match suspended.remove(&id) {
                Some(stores) => Ok(stores),
                None => TaskStores::open(id, &parts.stores, &self.settings.stores),
            };
            let stores = match opened {
                Ok(stores) => stores,
                Err(error) => {
                    tracing::warn!(%error, task = %id, "a standby task cannot open its stores");
                    continue;
                }
            };
            let client = self.client.clone();
            let standbys = &self.shared.standbys;
            standbys.start(client, id, stores, self.is_exactly_once);
        }
    }

    /// The stores of a task that runs here.
    pub(super) fn stores_of(&mut self, id: TaskId) -> Option<&mut [StoreSlot]> {
        let assigned = self.tasks.get_mut(&id)?;
        if assigned.restore.is_some() {
            return None;
        }
        Some(assigned.task.stores_mut())
    }

    /// Committed offsets; partitions without one are led to where their source starts.
    async fn start_positions(
        &self,
        consumer: &mut Consumer,
        assigned: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, StreamsError> {
        let failed = |error: ClientError| {
            let action = "look up committed offsets";
            if error.is_retriable() {
                // The group is joined again, and asked again.
                return StreamsError::TaskMigrated {
                    group: self.application.application_id.clone(),
                    reason: format!("cannot {action}: {error}"),
                };
            }
            StreamsError::client(action, error)
        };
        let committed = consumer.committed(assigned).await.map_err(failed)?;
        for name in assigned {
            if let Some(place) = committed.get(name) {
                let sought = consumer.seek(name, place.offset);
                sought.map_err(failed)?;
                continue;
            }
            let Some((id, index)) = self.routes.of(name) else {
                continue;
            };
            let input = self
                .plan
                .tasks
                .get(&id)
                .and_then(|inputs| inputs.get(index));
            let source = input.and_then(|input| {
                let parts = self.application.sub_topologies.get(id.sub_topology)?;
                parts.sources.get(input.source.0)
            });
            let place = match source.map(|source| source.start_at) {
                Some(StartAt::Latest) => SeekTo::End,
                Some(StartAt::Earliest) | None => SeekTo::Beginning,
            };
            if let Err(error) = consumer.seek_to(name, place).await
                && !self.plan.expects(&error)
            {
                let action = format!("find where {name} starts");
                return Err(StreamsError::client(action, error));
            }
        }
        Ok(committed)
    }

    /// Starts the tasks whose stores have come back.
    pub(super) fn finish_restores(
        &mut self,
        consumer: &mut Consumer,
        wall_clock_ms: i64,
    ) -> Result<(), StreamsError> {
        for assigned in self.tasks.values_mut() {
            let Some(restore) = &mut assigned.restore else {
                continue;
            };
            assigned.restored = restore.progress.restored.load(Ordering::Relaxed);
            assigned.to_restore = restore.progress.to_restore.load(Ordering::Relaxed);
            let Some(stores) = restore.poll() else {
                continue;
            };
            let stores = stores?;
            stores.mark_used();
            *assigned.task.stores_mut() = stores;
            assigned.restore = None;
            assigned.restored = assigned.to_restore;
            self.shared.set_restored(assigned.task.id());
            assigned.task.init(wall_clock_ms)?;
            tracing::info!(task = %assigned.task.id(), records = assigned.restored, "task restored");
            for input in assigned.task.inputs() {
                self.paused.set(consumer, &input.name, false);
            }
        }
        Ok(())
    }

    /// The tasks that process records.
    pub(super) fn running(&mut self) -> impl Iterator<Item = &mut Task> {
        let tasks = self.tasks.values_mut();
        tasks
            .filter(|assigned| assigned.restore.is_none())
            .map(|assigned| &mut assigned.task)
    }

    pub(super) fn get(&mut self, id: TaskId) -> Option<&mut Task> {
        self.tasks.get_mut(&id).map(|assigned| &mut assigned.task)
    }

    pub(super) fn is_restoring(&self) -> bool {
        self.tasks
            .values()
            .any(|assigned| assigned.restore.is_some())
    }

    /// Gives up all tasks after they were committed, and keeps their stores in case they come back.
    pub(super) fn suspend(&mut self) {
        self.past = self.totals();
        for (id, mut assigned) in std::mem::take(&mut self.tasks) {
            if let Some(restore) = assigned.restore {
                self.restores.insert(id, restore);
                continue;
            }
            let stores = std::mem::take(assigned.task.stores_mut());
            self.suspended.insert(id, stores);
        }
        self.committed.clear();
    }

    /// Starts all tasks anew from what is committed, with their stores as they were then.
    pub(super) async fn revive(&mut self, consumer: &mut Consumer) -> Result<(), StreamsError> {
        self.past = self.totals();
        for (id, mut assigned) in std::mem::take(&mut self.tasks) {
            if assigned.restore.is_some() {
                continue;
            }
            let mut stores = std::mem::take(assigned.task.stores_mut());
            stores.roll_back()?;
            self.suspended.insert(id, stores);
        }
        self.committed.clear();
        let assigned = consumer.assignment();
        self.assign(consumer, &assigned).await
    }

    /// Gives up all tasks without a commit: they belong to somebody else by now. Stores in memory
    /// are kept as they were committed, in case their tasks come back; directories are left to
    /// the others.
    pub(super) fn lose(&mut self) -> Result<(), StreamsError> {
        self.past = self.totals();
        self.restores.clear();
        self.suspended.retain(|_, stores| !stores.holds_directory());
        for (id, mut assigned) in std::mem::take(&mut self.tasks) {
            let mut stores = std::mem::take(assigned.task.stores_mut());
            if assigned.restore.is_none() && !stores.holds_directory() {
                stores.roll_back()?;
                self.suspended.insert(id, stores);
            }
        }
        self.committed.clear();
        Ok(())
    }

    /// Committed offsets of repartition topics: what lies before them is done.
    pub(super) fn purgeable(&self) -> Vec<(TopicPartition, i64)> {
        let is_repartition = |name: &TopicPartition| {
            let sub_topologies = &self.application.sub_topologies;
            let mut topics = sub_topologies
                .iter()
                .flat_map(|parts| &parts.repartition_topics);
            topics.any(|topic| *topic.name == *name.topic)
        };
        let done = self
            .committed
            .iter()
            .filter(|(name, (offset, _))| *offset > 0 && is_repartition(name));
        done.map(|(name, (offset, _))| (name.clone(), *offset))
            .collect()
    }

    /// Figures of all tasks that this thread has or had.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = self.past.clone();
        for assigned in self.tasks.values() {
            let state = assigned.task.state();
            totals.records_out += state.records_out;
            totals.records_dropped += state.records_dropped;
            for (input, count) in assigned
                .task
                .inputs()
                .iter()
                .zip(assigned.task.input_counts())
            {
                *totals
                    .inputs
                    .entry(input.name.topic.to_string())
                    .or_default() += count;
            }
        }
        totals
    }

    pub(super) fn metrics(&self) -> Vec<TaskMetrics> {
        let metrics = |assigned: &Assigned| {
            let state = assigned.task.state();
            let stores = state.stores.iter();
            TaskMetrics {
                id: assigned.task.id(),
                state: match assigned.restore {
                    Some(_) => TaskRunState::Restoring,
                    None => TaskRunState::Running,
                },
                records_in: assigned.task.records_in(),
                records_out: state.records_out,
                records_dropped: state.records_dropped,
                restored: assigned.restored,
                to_restore: assigned.to_restore,
                stream_time: state.stream_time,
                stores: stores
                    .map(|store| StoreMetrics {
                        name: store.name().to_owned(),
                        entries: store.approximate_len(),
                        disk_bytes: store.disk_bytes(),
                    })
                    .collect(),
            }
        };
        self.tasks.values().map(metrics).collect()
    }
}
