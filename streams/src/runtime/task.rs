//! One task: its inputs, its program and its stores. No clock, thread or network: a stream
//! thread drives it against a cluster, the local driver in memory.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use moldau_client::{KString, ProducerRecord, TopicPartition};

use super::application::SubTopology;
use super::cache_budget::CacheBudget;
use super::context::{Output, TaskContext, TaskState};
use super::error::StreamsError;
use super::global::GlobalStore;
use super::offset_metadata;
use super::partition_counts::PartitionCounts;
use super::partition_group::PartitionGroup;
use super::plan::TaskInput;
use super::program::TaskProgram;
use super::punctuation::{PunctuationQueue, PunctuationType};
use super::record::Record;
use super::store::{ChangelogRecord, StoreEnvironment, TaskStores};
use super::task_id::TaskId;

/// One task.
pub(crate) struct Task {
    inputs: Vec<TaskInput>,
    group: PartitionGroup,
    program: Box<dyn TaskProgram>,
    state: TaskState,
    records_in: u64,
    /// Records processed, by input.
    input_counts: Vec<u64>,
}

/// An offset to commit, with the metadata that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommitOffset {
    pub(crate) name: TopicPartition,
    pub(crate) offset: i64,
    pub(crate) metadata: String,
}

/// What all tasks of a process share.
#[derive(Clone, Debug)]
pub(crate) struct TaskSettings {
    pub(crate) max_task_idle_ms: i64,
    /// Wall-clock time between two looks for windows that have closed.
    pub(crate) emit_interval_ms: i64,
    pub(crate) cache_budget: Arc<CacheBudget>,
    pub(crate) global_stores: Arc<[GlobalStore]>,
    pub(crate) stores: StoreEnvironment,
    pub(crate) partition_counts: Arc<dyn PartitionCounts>,
    /// Where programs start futures; `None` in a local run, where nothing works beside a task.
    pub(crate) async_runtime: Option<tokio::runtime::Handle>,
}

impl Task {
    /// A task without its stores: set them, restored, through [`Task::stores_mut`], then call
    /// [`Task::init`].
    pub(crate) fn new(
        id: TaskId,
        parts: &SubTopology,
        inputs: Vec<TaskInput>,
        settings: &TaskSettings,
    ) -> Result<Self, StreamsError> {
        let program = guard(id, None, || (parts.program)(id))?;
        let sources = inputs.iter().map(|input| input.source);
        Ok(Self {
            group: PartitionGroup::new(sources, settings.max_task_idle_ms),
            input_counts: vec![0; inputs.len()],
            inputs,
            program,
            state: TaskState {
                id,
                stream_time: -1,
                wall_clock_ms: 0,
                emit_interval_ms: settings.emit_interval_ms,
                source_topic: KString::default(),
                stores: TaskStores::default(),
                global_stores: Arc::clone(&settings.global_stores),
                punctuations: PunctuationQueue::default(),
                processor_metadata: BTreeMap::new(),
                cache_budget: Arc::clone(&settings.cache_budget),
                partition_counts: Arc::clone(&settings.partition_counts),
                async_runtime: settings.async_runtime.clone(),
                outputs: Vec::new(),
                commit_requested: false,
                records_out: 0,
                records_dropped: 0,
            },
            records_in: 0,
        })
    }

    pub(crate) const fn id(&self) -> TaskId {
        self.state.id
    }

    pub(crate) fn inputs(&self) -> &[TaskInput] {
        &self.inputs
    }

    pub(crate) const fn state(&self) -> &TaskState {
        &self.state
    }

    pub(crate) fn stores_mut(&mut self) -> &mut TaskStores {
        &mut self.state.stores
    }

    pub(crate) const fn group(&self) -> &PartitionGroup {
        &self.group
    }

    pub(crate) const fn group_mut(&mut self) -> &mut PartitionGroup {
        &mut self.group
    }

    pub(crate) const fn records_in(&self) -> u64 {
        self.records_in
    }

    pub(crate) fn input_counts(&self) -> &[u64] {
        &self.input_counts
    }

    pub(crate) const fn commit_requested(&self) -> bool {
        self.state.commit_requested
    }

    /// Takes over what the metadata of the committed offset says about an input.
    pub(crate) fn restore_time(&mut self, input: usize, metadata: &str) {
        let Some((partition_time, processors)) = offset_metadata::decode(metadata) else {
            return;
        };
        self.group.set_partition_time(input, partition_time);
        self.state.stream_time = self.state.stream_time.max(partition_time);
        // Inputs may have been committed at different times; the latest figure holds.
        for (name, value) in processors {
            let known = self.state.processor_metadata.entry(name).or_insert(value);
            *known = value.max(*known);
        }
    }

    /// Where an input is to go on, as committed.
    pub(crate) fn restore_offset(&mut self, input: usize, offset: i64) {
        self.group.set_next_offset(input, offset);
    }

    /// Starts the program, once the stores are restored.
    pub(crate) fn init(&mut self, wall_clock_ms: i64) -> Result<(), StreamsError> {
        self.call(wall_clock_ms, |program, context| program.init(context))
    }

    /// Adds a fetched batch. Records with a negative timestamp are dropped.
    pub(crate) fn add(&mut self, input: usize, mut records: Vec<Record>, end_offset: i64) {
        let before = records.len();
        records.retain(|record| record.timestamp >= 0);
        self.state.records_dropped += (before - records.len()) as u64;
        self.group.add(input, records, end_offset);
    }

    /// Processes one run of at most `max_records`; 0 if nothing may be processed now.
    pub(crate) fn process(
        &mut self,
        wall_clock_ms: i64,
        max_records: usize,
    ) -> Result<usize, StreamsError> {
        if !self.group.is_ready(wall_clock_ms) {
            return Ok(0);
        }
        let due = self
            .state
            .punctuations
            .next_due(PunctuationType::StreamTime);
        let run = self.group.next_run(max_records, due.unwrap_or(i64::MAX));
        let Some(run) = run else {
            return Ok(0);
        };
        let (source, records) = self.group.records(run);
        self.state
            .source_topic
            .clone_from(&self.inputs[run.queue].name.topic);
        self.state.wall_clock_ms = wall_clock_ms;
        let (program, state) = (&mut self.program, &mut self.state);
        let result = catch_unwind(AssertUnwindSafe(|| {
            program.process(source, records, &mut TaskContext::new(state))
        }));
        let result = result.unwrap_or_else(|panic| {
            Err(panicked(
                self.state.id,
                self.program.current_operator(),
                &*panic,
            ))
        });
        result?;
        let latest = records.iter().map(|record| record.timestamp).max();
        self.state.stream_time = self.state.stream_time.max(latest.unwrap_or(-1));
        self.group.consume(run);
        self.state.commit_requested |= self.state.stores.wants_commit();
        self.records_in += run.length as u64;
        self.input_counts[run.queue] += run.length as u64;
        self.punctuate(PunctuationType::StreamTime, wall_clock_ms)?;
        Ok(run.length)
    }

    /// Wall clock tick.
    pub(crate) fn tick(&mut self, wall_clock_ms: i64) -> Result<(), StreamsError> {
        self.call(wall_clock_ms, |program, context| {
            program.tick(wall_clock_ms, context)
        })
    }

    /// When the next punctuation by the wall clock is due.
    pub(crate) fn next_wall_clock_punctuation(&self) -> Option<i64> {
        let punctuations = &self.state.punctuations;
        punctuations.next_due(PunctuationType::WallClockTime)
    }

    /// Calls the punctuations of a clock that are due, each at most once.
    pub(crate) fn punctuate(
        &mut self,
        clock: PunctuationType,
        wall_clock_ms: i64,
    ) -> Result<(), StreamsError> {
        let now = match clock {
            PunctuationType::StreamTime => self.state.stream_time,
            PunctuationType::WallClockTime => wall_clock_ms,
        };
        // Before the first record there is no stream time.
        if clock == PunctuationType::StreamTime && now < 0 {
            return Ok(());
        }
        while let Some(id) = self.state.punctuations.take(clock, now) {
            self.call(wall_clock_ms, |program, context| {
                program.punctuate(id, now, context)
            })?;
        }
        Ok(())
    }

    /// First half of a commit: the program flushes, and changed entries of stores become
    /// changelog records. All of it is in [`Task::take_outputs`] afterwards.
    pub(crate) fn flush(&mut self, wall_clock_ms: i64) -> Result<(), StreamsError> {
        self.call(wall_clock_ms, |program, context| program.flush(context))?;
        let partition = self.state.id.partition;
        for store in self.state.stores.iter_mut() {
            let Some(topic) = store.changelog_topic() else {
                continue;
            };
            let topic = KString::copy_from(topic);
            let headers = store.changelog_headers();
            let record = |change: ChangelogRecord| Output {
                record: ProducerRecord {
                    topic: topic.clone(),
                    partition: Some(partition),
                    timestamp: Some(change.timestamp),
                    key: Some(change.key),
                    headers: match change.value {
                        Some(_) => headers.clone(),
                        None => Vec::new(),
                    },
                    value: change.value,
                },
                partition_key: None,
                is_changelog: true,
            };
            let changes = store.take_changes()?.into_iter().map(record);
            self.state.outputs.extend(changes);
        }
        Ok(())
    }

    /// What the task wrote since the last call, in order.
    pub(crate) fn take_outputs(&mut self, into: &mut Vec<Output>) {
        into.append(&mut self.state.outputs);
    }

    /// Offsets of all that is processed.
    pub(crate) fn offsets(&self) -> Vec<CommitOffset> {
        let processors = &self.state.processor_metadata;
        let offset = |(index, input): (usize, &TaskInput)| {
            Some(CommitOffset {
                name: input.name.clone(),
                offset: self.group.next_offset(index)?,
                metadata: offset_metadata::encode(self.group.partition_time(index), processors),
            })
        };
        self.inputs.iter().enumerate().filter_map(offset).collect()
    }

    /// Second half of a commit, after outputs and offsets are safe: the stores keep what has
    /// changed, with the offset of their changelog that `reached` tells where one was written.
    pub(crate) fn committed(
        &mut self,
        reached: impl Fn(&TopicPartition) -> Option<i64>,
    ) -> Result<(), StreamsError> {
        self.state.commit_requested = false;
        let partition = self.state.id.partition;
        let position = |topic: &str| reached(&TopicPartition::new(topic, partition));
        self.state.stores.commit(position)
    }

    fn call(
        &mut self,
        wall_clock_ms: i64,
        work: impl FnOnce(&mut dyn TaskProgram, &mut TaskContext<'_>) -> Result<(), StreamsError>,
    ) -> Result<(), StreamsError> {
        self.state.wall_clock_ms = wall_clock_ms;
        let (program, state) = (&mut self.program, &mut self.state);
        let result = catch_unwind(AssertUnwindSafe(|| {
            work(&mut **program, &mut TaskContext::new(state))
        }));
        result.unwrap_or_else(|panic| {
            Err(panicked(
                self.state.id,
                self.program.current_operator(),
                &*panic,
            ))
        })
    }
}

/// Runs code of the user and turns a panic into an error.
fn guard<T>(
    id: TaskId,
    operator: Option<String>,
    work: impl FnOnce() -> Result<T, StreamsError>,
) -> Result<T, StreamsError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(panicked(id, operator, &*panic)))
}

fn panicked(task: TaskId, operator: Option<String>, panic: &(dyn Any + Send)) -> StreamsError {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    StreamsError::Panic {
        task,
        operator: operator.unwrap_or_else(|| "(unnamed)".to_owned()),
        message: message.unwrap_or_else(|| "no message".to_owned()),
    }
}
