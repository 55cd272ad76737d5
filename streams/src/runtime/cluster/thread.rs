//! One stream thread: polls, processes, ticks and commits. All task code runs here, synchronously;
//! only the edges wait for the network.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use moldau_client::consumer::{AssignmentStrategy, OffsetReset};
use moldau_client::partitioner::partition_for_key;
use moldau_client::{
    Client, ClientError, Consumer, ConsumerConfig, KString, OffsetAndMetadata, Poll, Producer,
    ProducerConfig, ProducerRecord, Rebalance,
};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::assignor::TaskAssignor;
use super::inputs::decode;
use super::reporter::Reporter;
use super::shared::{Phase, Shared};
use super::task_set::TaskSet;
use crate::runtime::application::Application;
use crate::runtime::config::StreamsConfig;
use crate::runtime::context::Output;
use crate::runtime::error::StreamsError;
use crate::runtime::plan::Plan;
use crate::runtime::punctuation::PunctuationType;
use crate::runtime::task::Task;

/// One stream thread, with a consumer and a producer of its own.
pub(super) struct StreamThread {
    index: usize,
    runtime: Handle,
    client: Client,
    config: StreamsConfig,
    shared: Arc<Shared>,
    closing: watch::Receiver<bool>,
    consumer: Consumer,
    producer: Producer,
    tasks: TaskSet,
    reporter: Reporter,
    /// Whether the group has agreed on an assignment, which may be empty.
    is_assigned: bool,
    outputs: Vec<Output>,
    last_commit: Instant,
    last_tick: Instant,
    /// When the next punctuation by the wall clock is due, in any task.
    next_punctuation: Option<i64>,
    last_purge: Instant,
}

impl StreamThread {
    /// Prepares a thread; must be called inside the runtime.
    pub(super) fn new(
        index: usize,
        client: Client,
        application: &Application,
        plan: &Arc<Plan>,
        config: StreamsConfig,
        shared: Arc<Shared>,
        tasks: TaskSet,
    ) -> Result<Self, StreamsError> {
        let group = &application.application_id;
        let instance = config.group_instance_id.as_ref();
        let mut consumer = client.consumer(ConsumerConfig {
            // Each thread is a member of its own.
            group_instance_id: instance.map(|instance| format!("{instance}-{}", index + 1)),
            session_timeout_ms: config.session_timeout_ms,
            auto_offset_reset: OffsetReset::Earliest,
            assignor: AssignmentStrategy::Custom(Arc::new(TaskAssignor {
                plan: Arc::clone(plan),
            })),
            ..ConsumerConfig::group(group.clone())
        });
        let sources = application
            .sub_topologies
            .iter()
            .flat_map(|parts| &parts.sources);
        let topics: Vec<_> = sources.map(|source| source.topic.as_str()).collect();
        let subscribed = consumer.subscribe(&topics);
        subscribed
            .map_err(|error| StreamsError::client(format!("join group \"{group}\""), error))?;
        let now = Instant::now();
        Ok(Self {
            index,
            runtime: Handle::current(),
            producer: client.producer(ProducerConfig::default()),
            client,
            config,
            closing: shared.watch_closing(),
            shared,
            consumer,
            tasks,
            reporter: Reporter::new(now),
            is_assigned: false,
            outputs: Vec::new(),
            last_commit: now,
            last_tick: now,
            next_punctuation: None,
            last_purge: now,
        })
    }

    /// Works until the application is closed or fails, here or in another thread.
    pub(super) fn run(mut self) {
        if let Err(error) = self.work() {
            self.shared.fail(error);
        }
        let Self {
            consumer, producer, ..
        } = self;
        // What is not flushed by now belongs to records that are not committed.
        self.runtime.block_on(async {
            let _ = tokio::time::timeout(CLOSE_LIMIT, consumer.close()).await;
            let _ = tokio::time::timeout(CLOSE_LIMIT, producer.close()).await;
        });
        self.shared.ended(self.index);
    }

    fn work(&mut self) -> Result<(), StreamsError> {
        let mut progressed = false;
        while !self.shared.is_closing() {
            let timeout = if progressed {
                Duration::ZERO
            } else {
                self.idle_time()
            };
            self.poll(timeout)?;
            let entered = self.runtime.enter();
            self.tasks
                .finish_restores(&mut self.consumer, wall_clock_ms())?;
            drop(entered);
            progressed = self.process()?;
            self.tick()?;
            self.commit_if_due()?;
            self.report();
        }
        if self.shared.error().is_none() {
            self.commit()?;
        }
        Ok(())
    }

    /// How long a poll may wait: not longer than until the next commit or a task's turn.
    fn idle_time(&mut self) -> Duration {
        let interval = Duration::from_millis(self.config.commit_interval_ms);
        let mut wait = Duration::from_millis(self.config.poll_ms);
        wait = wait.min(interval.saturating_sub(self.last_commit.elapsed()));
        let waits = self
            .tasks
            .running()
            .any(|task| task.group().head_timestamp().is_some());
        if let Some(due) = self.next_punctuation {
            let until = due.saturating_sub(wall_clock_ms()).max(0);
            wait = wait.min(Duration::from_millis(until.unsigned_abs()));
        }
        if waits || self.tasks.is_restoring() {
            wait = wait.min(SHORT_WAIT);
        }
        wait
    }

    fn poll(&mut self, timeout: Duration) -> Result<(), StreamsError> {
        let (consumer, closing) = (&mut self.consumer, &mut self.closing);
        let polled = self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => Ok(Poll::default()),
                polled = consumer.poll(timeout) => polled,
            }
        });
        let poll = match polled {
            Ok(poll) => poll,
            Err(error) if error.is_retriable() => {
                tracing::warn!(%error, "poll failed, trying again");
                return Ok(());
            }
            Err(error) => return Err(StreamsError::client("read the source topics", error)),
        };
        if let Some(rebalance) = &poll.rebalanced {
            self.rebalance(rebalance)?;
        }
        for fetched in &poll.batches {
            let Some((id, input)) = self.tasks.routes.of(&fetched.topic_partition) else {
                continue;
            };
            let Some(task) = self.tasks.get(id) else {
                continue;
            };
            task.add(input, decode(fetched)?, fetched.next_offset());
            if task.group().buffered(input) > self.config.buffered_records_per_partition {
                let name = &fetched.topic_partition;
                self.tasks.paused.set(&mut self.consumer, name, true);
            }
        }
        Ok(())
    }

    fn rebalance(&mut self, rebalance: &Rebalance) -> Result<(), StreamsError> {
        if rebalance.lost {
            tracing::warn!("partitions were lost to other members, their tasks start anew");
            self.tasks.lose();
            self.is_assigned = false;
        } else if !rebalance.revoked.is_empty() {
            self.commit()?;
            let tasks = &mut self.tasks;
            self.runtime.block_on(tasks.suspend())?;
            self.is_assigned = false;
        }
        if rebalance.revoked.is_empty() || !rebalance.assigned.is_empty() {
            let (tasks, consumer) = (&mut self.tasks, &mut self.consumer);
            self.runtime
                .block_on(tasks.assign(consumer, &rebalance.assigned))?;
            self.is_assigned = true;
        }
        self.report_now();
        Ok(())
    }

    /// Gives each task a turn; false if there was nothing to do.
    fn process(&mut self) -> Result<bool, StreamsError> {
        let now = wall_clock_ms();
        let mut progressed = false;
        let consumer = &mut self.consumer;
        for task in self.tasks.running() {
            if task.inputs().len() > 1 {
                for input in 0..task.inputs().len() {
                    let lag = consumer.lag(&task.inputs()[input].name);
                    task.group_mut().set_fetch_lag(input, lag);
                }
            }
            let mut done = 0;
            while done < MAX_RUN {
                let run = task.process(now, MAX_RUN - done)?;
                if run == 0 {
                    break;
                }
                done += run;
            }
            progressed |= done > 0;
            task.take_outputs(&mut self.outputs);
        }
        self.resume_drained();
        self.send()?;
        Ok(progressed)
    }

    /// Lets partitions be read again of which not much waits any more.
    fn resume_drained(&mut self) {
        let limit = self.config.buffered_records_per_partition;
        for name in self.tasks.paused.names() {
            let Some((id, input)) = self.tasks.routes.of(&name) else {
                continue;
            };
            let task = self.tasks.running().find(|task| task.id() == id);
            let is_drained = task.is_some_and(|task| task.group().buffered(input) <= limit);
            if is_drained {
                self.tasks.paused.set(&mut self.consumer, &name, false);
            }
        }
    }

    /// Ticks and punctuates by the wall clock.
    fn tick(&mut self) -> Result<(), StreamsError> {
        let now = wall_clock_ms();
        let is_tick = self.last_tick.elapsed() >= TICK;
        if is_tick {
            self.last_tick = Instant::now();
        }
        self.next_punctuation = None;
        for task in self.tasks.running() {
            if is_tick {
                task.tick(now)?;
            }
            task.punctuate(PunctuationType::WallClockTime, now)?;
            task.take_outputs(&mut self.outputs);
            let next = task.next_wall_clock_punctuation();
            self.next_punctuation = [self.next_punctuation, next].into_iter().flatten().min();
        }
        self.send()
    }

    fn commit_if_due(&mut self) -> Result<(), StreamsError> {
        let interval = Duration::from_millis(self.config.commit_interval_ms);
        let requested = self.tasks.running().any(|task| task.commit_requested());
        if requested || self.last_commit.elapsed() >= interval {
            self.commit()?;
        }
        Ok(())
    }

    /// Flushes programs, then outputs and changelogs, then commits offsets: at least once.
    fn commit(&mut self) -> Result<(), StreamsError> {
        self.last_commit = Instant::now();
        let now = wall_clock_ms();
        let mut offsets = Vec::new();
        for task in self.tasks.running() {
            task.flush(now)?;
            task.take_outputs(&mut self.outputs);
            offsets.extend(task.offsets());
        }
        self.send()?;
        let flushed = self.runtime.block_on(self.producer.flush());
        flushed.map_err(|error| StreamsError::client("write outputs and changelogs", error))?;
        let changed: Vec<_> = offsets
            .into_iter()
            .map(|offset| {
                let metadata = OffsetAndMetadata {
                    metadata: KString::from(offset.metadata),
                    ..OffsetAndMetadata::new(offset.offset)
                };
                (offset.name, metadata)
            })
            .filter(|(name, offset)| self.tasks.committed.get(name) != Some(&offset.offset))
            .collect();
        if !changed.is_empty() {
            let committed = self.runtime.block_on(self.consumer.commit(&changed));
            match committed {
                Ok(()) => {}
                Err(error @ ClientError::Fenced { .. }) => {
                    tracing::warn!(%error, "partitions have moved, their tasks start anew elsewhere");
                    self.tasks.lose();
                    return Ok(());
                }
                Err(error) if error.is_retriable() => {
                    tracing::warn!(%error, "commit failed, trying again at the next one");
                    return Ok(());
                }
                Err(error) => return Err(StreamsError::client("commit offsets", error)),
            }
            self.tasks.committed.extend(
                changed
                    .into_iter()
                    .map(|(name, offset)| (name, offset.offset)),
            );
        }
        self.tasks.running().for_each(Task::committed);
        self.purge_if_due();
        Ok(())
    }

    /// Deletes what is done from repartition topics, in the background; they keep records for
    /// ever otherwise.
    fn purge_if_due(&mut self) {
        if self.last_purge.elapsed() < PURGE_INTERVAL {
            return;
        }
        self.last_purge = Instant::now();
        let done = self.tasks.purgeable();
        if done.is_empty() {
            return;
        }
        let admin = self.client.admin();
        self.runtime.spawn(async move {
            if let Err(error) = admin.delete_records(&done).await {
                tracing::warn!(%error, "repartition topics could not be purged, they keep growing");
            }
        });
    }

    /// Hands everything that tasks have written to the producer, in order.
    fn send(&mut self) -> Result<(), StreamsError> {
        if self.outputs.is_empty() {
            return Ok(());
        }
        let (client, producer, outputs) = (&self.client, &self.producer, &mut self.outputs);
        self.runtime.block_on(async {
            for Output {
                record,
                partition_key,
            } in outputs.drain(..)
            {
                let topic = record.topic.clone();
                let failed =
                    |error| StreamsError::client(format!("write to topic \"{topic}\""), error);
                let mut partition = record.partition;
                if let (None, Some(key)) = (partition, &partition_key) {
                    let count = partitions(client, &topic).await.map_err(failed)?;
                    partition = Some(partition_for_key(key, count));
                }
                let record = ProducerRecord {
                    topic: record.topic,
                    partition,
                    timestamp: Some(record.timestamp),
                    key: record.key,
                    value: record.value,
                    headers: record.headers,
                };
                producer.send(record).await.map_err(failed)?;
            }
            Ok(())
        })
    }

    fn report(&mut self) {
        if self.reporter.is_due() {
            self.report_now();
        }
    }

    fn report_now(&mut self) {
        let phase = if self.is_assigned && !self.tasks.is_restoring() {
            Phase::Running
        } else {
            Phase::Rebalancing
        };
        let report = self.reporter.report(phase, &mut self.tasks, &self.consumer);
        self.shared.report(self.index, report);
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

fn wall_clock_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// Records that one task may process before others get their turn.
const MAX_RUN: usize = 1_024;
/// `repartition.purge.interval.ms`.
const PURGE_INTERVAL: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(100);
/// Wait of a poll while a task waits for an empty input or for its stores.
const SHORT_WAIT: Duration = Duration::from_millis(10);
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
