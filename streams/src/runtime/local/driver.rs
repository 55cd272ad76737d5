//! The local driver.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use moldau_client::TopicPartition;

use super::config::{CommitMode, LocalConfig};
use super::topics::{LocalRecord, LocalTopicRecord, Topics};
use super::turns::{Turn, Turns};
use crate::runtime::application::Application;
use crate::runtime::cache_budget::CacheBudget;
use crate::runtime::context::Output;
use crate::runtime::error::StreamsError;
use crate::runtime::global::GlobalStore;
use crate::runtime::partition_counts::LocalPartitionCounts;
use crate::runtime::plan::{Plan, external_topics, patterns};
use crate::runtime::punctuation::PunctuationType;
use crate::runtime::record::Record;
use crate::runtime::store::{
    KeyValueStore, SessionStore, StoreEnvironment, StoreSlot, TaskStores, VersionedStore,
    WindowStore,
};
use crate::runtime::task::{Task, TaskSettings};
use crate::runtime::task_id::TaskId;

/// Runs an application's tasks on in-memory topics, in the calling thread, with a virtual clock.
///
/// It is the same task code that runs against a cluster; only the edges differ. All tasks run
/// as if they were one: the record with the smallest timestamp is always next, and of several the
/// one that is next in Kafka Streams' test driver.
#[derive(Debug)]
pub struct LocalDriver {
    application: Application,
    config: LocalConfig,
    /// Partition counts of the topics that are not internal.
    counts: BTreeMap<String, i32>,
    plan: Plan,
    settings: TaskSettings,
    topics: Topics,
    tasks: BTreeMap<TaskId, Running>,
    /// The tasks' inputs with waiting records.
    turns: Turns,
    /// Committed offset and its metadata, by topic and partition.
    committed: BTreeMap<TopicPartition, (i64, String)>,
    /// How far [`LocalDriver::read`] has read.
    read_up_to: BTreeMap<String, usize>,
    wall_clock_ms: i64,
    /// Records of each global table's topic that are in its store.
    global_positions: Vec<usize>,
}

/// A task, and the offset of the next record to give to each of its inputs.
struct Running {
    task: Task,
    positions: Vec<i64>,
}

impl LocalDriver {
    /// Starts an application on empty topics.
    ///
    /// # Errors
    /// The application cannot run: see [`StreamsError`].
    pub fn new(application: Application, config: LocalConfig) -> Result<Self, StreamsError> {
        let external = external_topics(&application);
        let named = external.into_iter();
        let named = named.map(|topic| (topic.clone(), config.partitions_of(&topic)));
        let patterns = patterns(&application);
        let declared = config.topics.clone().into_iter();
        let matching =
            declared.filter(|(topic, _)| patterns.iter().any(|pattern| pattern.matches(topic)));
        let counts = named.chain(matching).collect();
        let plan = Plan::resolve(&application, &counts)?;
        let mut topics = Topics::default();
        topics.create_all(&counts, &plan);
        let mut driver = Self {
            settings: TaskSettings {
                emit_interval_ms: config.emit_interval_ms,
                max_task_idle_ms: -1,
                cache_budget: Arc::new(CacheBudget::new(config.cache_max_bytes)),
                global_stores: Arc::default(),
                stores: StoreEnvironment::new(
                    config.state_dir.as_deref(),
                    &application.application_id,
                    config.store_memory_bytes,
                )?,
                partition_counts: Arc::new(LocalPartitionCounts {
                    internal: plan.internal_counts(),
                    config: config.clone(),
                }),
                async_runtime: None,
            },
            wall_clock_ms: config.wall_clock_ms,
            application,
            config,
            counts,
            plan,
            topics,
            tasks: BTreeMap::new(),
            turns: Turns::default(),
            committed: BTreeMap::new(),
            read_up_to: BTreeMap::new(),
            global_positions: Vec::new(),
        };
        driver.start()?;
        Ok(driver)
    }

    /// Appends a record and runs all tasks until nothing is left to do.
    ///
    /// # Errors
    /// A task failed, or the partition does not exist.
    pub fn send(&mut self, topic: &str, record: LocalRecord) -> Result<(), StreamsError> {
        self.append(topic, record)?;
        self.run()
    }

    /// Appends a record without running anything.
    ///
    /// # Errors
    /// The partition does not exist.
    pub fn append(&mut self, topic: &str, record: LocalRecord) -> Result<(), StreamsError> {
        self.topics.append(topic, record, &self.config)
    }

    /// Runs all tasks until nothing is left to do.
    ///
    /// # Errors
    /// A task failed.
    pub fn run(&mut self) -> Result<(), StreamsError> {
        let every_record = self.config.commit == CommitMode::EveryRecord;
        let max_run = if every_record { 1 } else { self.config.max_run };
        self.feed_global_stores()?;
        self.fetch();
        while let Some(Turn {
            task: id, input, ..
        }) = self.turns.pop()
        {
            let Some(running) = self.tasks.get_mut(&id) else {
                break;
            };
            running.task.group_mut().prefer(input);
            let processed = running.task.process(self.wall_clock_ms, max_run);
            if let Some(turn) = running.turn(input) {
                self.turns.push(turn);
            }
            processed?;
            self.deliver(id)?;
            if every_record {
                self.commit_task(id)?;
            }
            self.feed_global_stores()?;
        }
        Ok(())
    }

    /// Commits all tasks, and runs what the flushed caches have sent.
    ///
    /// # Errors
    /// A task failed.
    pub fn commit(&mut self) -> Result<(), StreamsError> {
        let ids: Vec<_> = self.tasks.keys().copied().collect();
        for id in ids {
            self.commit_task(id)?;
        }
        self.run()
    }

    /// Moves the virtual wall clock on, ticks all tasks and calls the punctuations that are due.
    ///
    /// # Errors
    /// A task failed.
    pub fn advance_wall_clock(&mut self, by_ms: i64) -> Result<(), StreamsError> {
        self.wall_clock_ms = self.wall_clock_ms.saturating_add(by_ms);
        let ids: Vec<_> = self.tasks.keys().copied().collect();
        for id in ids {
            if let Some(running) = self.tasks.get_mut(&id) {
                let task = &mut running.task;
                task.tick(self.wall_clock_ms)?;
                task.punctuate(PunctuationType::WallClockTime, self.wall_clock_ms)?;
            }
            self.deliver(id)?;
            if self.config.commit == CommitMode::EveryRecord {
                self.commit_task(id)?;
            }
        }
        self.run()
    }

    /// Forgets all tasks without a commit, as a crash would, and starts new ones from changelogs
    /// and committed offsets. What was processed since the last commit is processed again.
    ///
    /// # Errors
    /// A task failed.
    pub fn crash_and_restore(&mut self) -> Result<(), StreamsError> {
        for running in self.tasks.values_mut() {
            running.task.stores_mut().abandon();
        }
        self.restart()
    }

    /// Ends all tasks without a commit and starts new ones, as [`Self::crash_and_restore`] does;
    /// but persistent stores write what was committed before they are closed, as they do when a
    /// process ends in order.
    ///
    /// # Errors
    /// A task failed.
    pub fn restart(&mut self) -> Result<(), StreamsError> {
        self.tasks.clear();
        self.turns = Turns::default();
        self.start()?;
        self.run()
    }

    /// Creates a topic, as somebody may while the application runs. If a source's pattern matches
    /// it, all tasks commit and begin anew with it; what that left to do is done again.
    ///
    /// # Errors
    /// The topic cannot be read by this application, or a task failed.
    pub fn create_topic(&mut self, name: &str, partitions: i32) -> Result<(), StreamsError> {
        self.commit()?;
        self.counts.insert(name.to_owned(), partitions);
        self.plan = Plan::resolve(&self.application, &self.counts)?;
        self.topics.create_all(&self.counts, &self.plan);
        self.settings.partition_counts = Arc::new(LocalPartitionCounts {
            internal: self.plan.internal_counts(),
            config: self.config.clone(),
        });
        self.restart()
    }

    /// All records of a topic, in the order they were written.
    #[must_use]
    pub fn topic(&self, name: &str) -> &[LocalTopicRecord] {
        self.topics.records(name)
    }

    /// Names of all topics there are: external, internal, and those written to.
    pub fn topic_names(&self) -> impl Iterator<Item = &str> {
        self.topics.names()
    }

    /// The records of a topic that were not read yet.
    pub fn read(&mut self, name: &str) -> Vec<LocalTopicRecord> {
        let records = self.topics.records(name);
        let from = self.read_up_to.entry(name.to_owned()).or_default();
        let unread = records.get(*from..).unwrap_or_default().to_vec();
        *from = records.len();
        unread
    }

    /// Committed offset of a source partition.
    #[must_use]
    pub fn committed(&self, topic: &str, partition: i32) -> Option<i64> {
        let committed = self.committed.get(&TopicPartition::new(topic, partition));
        committed.map(|(offset, _)| *offset)
    }

    /// Memory that the write-back caches use now, as they count it.
    #[must_use]
    pub fn cache_used_bytes(&self) -> usize {
        self.settings.cache_budget.used_bytes()
    }

    /// The tasks.
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskId> {
        self.tasks.keys().copied().collect()
    }

    /// Records that tasks dropped: late, without a key, or skipped by policy.
    #[must_use]
    pub fn records_dropped(&self) -> u64 {
        self.tasks
            .values()
            .map(|running| running.task.state().records_dropped)
            .sum()
    }

    /// The key-value store `name` of the task that reads `partition`.
    pub fn key_value_store(
        &mut self,
        name: &str,
        partition: i32,
    ) -> Option<&mut dyn KeyValueStore> {
        self.store(name, partition)?.key_value().ok()
    }

    /// The window store `name` of the task that reads `partition`.
    pub fn window_store(&mut self, name: &str, partition: i32) -> Option<&mut dyn WindowStore> {
        self.store(name, partition)?.window().ok()
    }

    /// The store of a global table.
    #[must_use]
    pub fn global_store(&self, name: &str) -> Option<&GlobalStore> {
        let mut stores = self.settings.global_stores.iter();
        stores.find(|store| store.name() == name)
    }

    /// The session store `name` of the task that reads `partition`.
    pub fn session_store(&mut self, name: &str, partition: i32) -> Option<&mut dyn SessionStore> {
        self.store(name, partition)?.session().ok()
    }

    /// The versioned store `name` of the task that reads `partition`.
    pub fn versioned_store(
        &mut self,
        name: &str,
        partition: i32,
    ) -> Option<&mut dyn VersionedStore> {
        self.store(name, partition)?.versioned().ok()
    }

    fn store(&mut self, name: &str, partition: i32) -> Option<&mut StoreSlot> {
        let tasks = self.tasks.values_mut();
        tasks
            .filter(|running| running.task.id().partition == partition)
            .flat_map(|running| running.task.stores_mut().iter_mut())
            .find(|store| store.name() == name)
    }

    /// Gives all tasks the records that they have not seen yet.
    fn fetch(&mut self) {
        for running in self.tasks.values_mut() {
            running.fetch(&self.topics, &mut self.turns);
        }
    }

    /// Fills the global stores, then starts the tasks.
    fn start(&mut self) -> Result<(), StreamsError> {
        let tables = self.application.global_tables.iter();
        self.settings.global_stores = tables.map(GlobalStore::open).collect();
        self.global_positions = vec![0; self.application.global_tables.len()];
        self.feed_global_stores()?;
        self.start_tasks()
    }

    /// Brings what was written to the topics of global tables into their stores.
    fn feed_global_stores(&mut self) -> Result<(), StreamsError> {
        let tables = self.application.global_tables.iter();
        let stores = self.settings.global_stores.iter().zip(tables);
        for ((store, table), position) in stores.zip(&mut self.global_positions) {
            let records = self.topics.records(&table.topic);
            let new = records.get(*position..).unwrap_or_default();
            let new: Vec<_> = new.iter().map(LocalTopicRecord::to_record).collect();
            store.update(&new, &table.update)?;
            *position = records.len();
        }
        Ok(())
    }

    fn start_tasks(&mut self) -> Result<(), StreamsError> {
        for (id, inputs) in &self.plan.tasks {
            let parts = &self.application.sub_topologies[id.sub_topology];
            let mut task = Task::new(*id, parts, inputs.clone(), &self.settings)?;
            let mut stores = TaskStores::open(*id, &parts.stores, &self.settings.stores)?;
            for store in stores.iter_mut() {
                let Some(topic) = store.changelog_topic().map(str::to_owned) else {
                    continue;
                };
                let from = store.changelog_position().unwrap_or(0);
                for record in self.topics.read(&topic, id.partition, from) {
                    store.restore(
                        record.key.as_deref(),
                        record.value.as_deref(),
                        record.timestamp,
                    )?;
                }
            }
            stores.commit(|topic| Some(self.topics.end_offset(topic, id.partition)))?;
            *task.stores_mut() = stores;
            let mut positions = Vec::new();
            for (index, input) in inputs.iter().enumerate() {
                let committed = self.committed.get(&input.name);
                let (offset, metadata) = committed.cloned().unwrap_or_default();
                task.restore_time(index, &metadata);
                positions.push(offset);
            }
            task.init(self.wall_clock_ms)?;
            self.tasks.insert(*id, Running { task, positions });
        }
        Ok(())
    }

    fn commit_task(&mut self, id: TaskId) -> Result<(), StreamsError> {
        let Some(running) = self.tasks.get_mut(&id) else {
            return Ok(());
        };
        running.task.flush(self.wall_clock_ms)?;
        self.deliver(id)?;
        let Some(running) = self.tasks.get_mut(&id) else {
            return Ok(());
        };
        for offset in running.task.offsets() {
            self.committed
                .insert(offset.name, (offset.offset, offset.metadata));
        }
        let end_offset =
            |name: &TopicPartition| Some(self.topics.end_offset(&name.topic, name.partition));
        running.task.committed(end_offset)
    }

    /// Appends what a task has written to the topics.
    fn deliver(&mut self, id: TaskId) -> Result<(), StreamsError> {
        let mut outputs = Vec::new();
        if let Some(running) = self.tasks.get_mut(&id) {
            running.task.take_outputs(&mut outputs);
        }
        for Output {
            record: output,
            partition_key,
            ..
        } in outputs
        {
            let by_part = |key: &Bytes| self.topics.partition_of(&output.topic, key, &self.config);
            let partition = output
                .partition
                .or_else(|| partition_key.as_ref().map(by_part));
            let record = LocalRecord {
                partition,
                timestamp: output.timestamp.unwrap_or(self.wall_clock_ms),
                key: output.key,
                value: output.value,
                headers: output.headers,
            };
            self.topics.append(&output.topic, record, &self.config)?;
            // At once, because equal timestamps come in the order in which they were written.
            self.fetch();
        }
        Ok(())
    }
}

impl Running {
    /// The turn of an input, if a record waits.
    fn turn(&self, input: usize) -> Option<Turn> {
        let timestamp = self.task.group().head_timestamp(input)?;
        let task = self.task.id();
        Some(Turn {
            timestamp,
            task,
            input,
        })
    }

    /// Gives the task all records it has not seen yet.
    fn fetch(&mut self, topics: &Topics, turns: &mut Turns) {
        for index in 0..self.positions.len() {
            let input = &self.task.inputs()[index];
            let records: Vec<_> = topics
                .read(
                    &input.name.topic,
                    input.name.partition,
                    self.positions[index],
                )
                .map(LocalTopicRecord::to_record)
                .collect();
            if let Some(last) = records.last() {
                let position = last.offset + 1;
                self.positions[index] = position;
                let is_waiting = self.task.group().buffered(index) > 0;
                self.task.add(index, records, position);
                if let Some(turn) = self.turn(index).filter(|_| !is_waiting) {
                    turns.push(turn);
                }
            }
        }
    }
}

impl LocalTopicRecord {
    fn to_record(&self) -> Record {
        Record {
            partition: self.partition,
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key.clone(),
            value: self.value.clone(),
            headers: self.headers.clone(),
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Running")
            .field("task", &self.task.id())
            .finish_non_exhaustive()
    }
}
