//! One stream thread: polls, processes, ticks and commits. All task code runs here, synchronously;
//! only the edges wait for the network.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use moldau_client::{ClientError, Consumer, ErrorCode, Poll, Rebalance};
use tokio::sync::watch;

use super::assignor_data::AssignmentData;
use super::core::Core;
use super::inputs::decode;
use super::reporter::Reporter;
use super::shared::Phase;
use super::task_set::TaskSet;
use super::writer::Writer;
use crate::runtime::context::Output;
use crate::runtime::error::StreamsError;
use crate::runtime::plan::Plan;
use crate::runtime::punctuation::PunctuationType;
use crate::runtime::task_id::TaskId;

/// One stream thread, with a consumer and a producer of its own.
pub(super) struct StreamThread {
    pub(super) index: usize,
    pub(super) core: Arc<Core>,
    closing: watch::Receiver<bool>,
    pub(super) consumer: Consumer,
    /// What the group was joined for last.
    pub(super) plan: Arc<Plan>,
    pub(super) writer: Writer,
    pub(super) tasks: TaskSet,
    pub(super) reporter: Reporter,
    /// Whether the group has agreed on an assignment, which may be empty.
    pub(super) is_assigned: bool,
    pub(super) outputs: Vec<Output>,
    /// How often in a row the work since the last commit had to be done again.
    pub(super) attempts: u32,
    /// How often in a row the thread had to join the group again without a commit in between.
    pub(super) migrations: u32,
    pub(super) last_commit: Instant,
    last_tick: Instant,
    /// When the next punctuation by the wall clock is due, in any task.
    next_punctuation: Option<i64>,
    pub(super) last_purge: Instant,
}

/// How a thread ended.
#[derive(Debug)]
pub(super) enum End {
    /// The application is closed, or has failed in another thread.
    Closed,
    /// Something that the thread cannot handle.
    Failed(StreamsError),
}

impl StreamThread {
    pub(super) fn new(index: usize, core: Arc<Core>) -> Result<Self, StreamsError> {
        let runtime = core.runtime.clone();
        let _entered = runtime.enter();
        let now = Instant::now();
        let plan = core.plan.get();
        Ok(Self {
            index,
            closing: core.shared.watch_closing(),
            consumer: core.consumer(index, &plan)?,
            writer: core.writer(index),
            tasks: core.tasks(Arc::clone(&plan)),
            plan,
            core,
            reporter: Reporter::new(now),
            is_assigned: false,
            outputs: Vec::new(),
            attempts: 0,
            migrations: 0,
            last_commit: now,
            last_tick: now,
            next_punctuation: None,
            last_purge: now,
        })
    }

    /// Works until the application is closed or fails, here or in another thread.
    pub(super) fn run(mut self) -> End {
        let worked = self.work();
        let runtime = self.core.runtime.clone();
        // What is not flushed by now belongs to records that are not committed.
        runtime.block_on(async {
            self.writer.close().await;
            let _ = tokio::time::timeout(CLOSE_LIMIT, self.consumer.close()).await;
        });
        match worked {
            Ok(()) => End::Closed,
            Err(error) => End::Failed(error),
        }
    }

    /// Joins the group once more, so that its leader tells all members to stop.
    pub(super) fn announce_stop(mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let runtime = self.core.runtime.clone();
        runtime.block_on(async {
            while Instant::now() < deadline && !*self.closing.borrow() {
                match self.consumer.poll(POLL).await {
                    Ok(poll) if poll.rebalanced.as_ref().is_some_and(|change| !change.lost) => {
                        break;
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%error, "the other members cannot be told to stop yet");
                        tokio::time::sleep(POLL).await;
                    }
                }
            }
            self.writer.close().await;
            let _ = tokio::time::timeout(CLOSE_LIMIT, self.consumer.close()).await;
        });
    }

    fn work(&mut self) -> Result<(), StreamsError> {
        let mut progressed = false;
        while !self.core.shared.is_closing() {
            match self.turn(progressed) {
                Ok(more) => progressed = more,
                Err(error) => {
                    self.recover(error)?;
                    progressed = false;
                }
            }
            self.report();
        }
        // Also if another thread has failed: what this one has done is whole.
        match self.commit() {
            Err(
                error @ (StreamsError::TaskMigrated { .. } | StreamsError::TaskCorrupted { .. }),
            ) => {
                tracing::warn!(%error, "the last commit failed, its records are processed again");
                Ok(())
            }
            result => result,
        }
    }

    /// One round; true if there may be more to do at once.
    fn turn(&mut self, progressed: bool) -> Result<bool, StreamsError> {
        let timeout = if progressed {
            Duration::ZERO
        } else {
            self.idle_time()
        };
        if !self.writer.is_prepared() {
            let (runtime, writer) = (&self.core.runtime, &mut self.writer);
            runtime.block_on(writer.prepare())?;
        }
        self.follow_plan()?;
        self.poll(timeout)?;
        self.answer_queries();
        let runtime = self.core.runtime.clone();
        let entered = runtime.enter();
        self.tasks
            .finish_restores(&mut self.consumer, wall_clock_ms())?;
        drop(entered);
        let mut progressed = false;
        if !self.core.shared.is_paused() {
            progressed = self.process()?;
            self.tick()?;
        }
        self.commit_if_due()?;
        Ok(progressed)
    }

    /// Joins the group anew when topics of a pattern have come or gone.
    fn follow_plan(&mut self) -> Result<(), StreamsError> {
        let plan = self.core.plan.get();
        if Arc::ptr_eq(&plan, &self.plan) {
            return Ok(());
        }
        let _entered = self.core.runtime.enter();
        self.core.subscribe(&mut self.consumer, &plan)?;
        self.plan = plan;
        Ok(())
    }

    /// How long a poll may wait: not longer than until the next commit or a task's turn.
    fn idle_time(&mut self) -> Duration {
        let interval = Duration::from_millis(self.core.config.effective_commit_interval_ms());
        let mut wait = Duration::from_millis(self.core.config.poll_ms);
        wait = wait.min(interval.saturating_sub(self.last_commit.elapsed()));
        if self.tasks.is_restoring() {
            wait = wait.min(SHORT_WAIT);
        }
        // Nothing is due before the end of a pause.
        if self.core.shared.is_paused() {
            return wait;
        }
        if let Some(due) = self.next_punctuation {
            let until = due.saturating_sub(wall_clock_ms()).max(0);
            wait = wait.min(Duration::from_millis(until.unsigned_abs()));
        }
        let mut running = self.tasks.running();
        if running.any(|task| task.group().has_waiting()) {
            wait = wait.min(SHORT_WAIT);
        }
        wait
    }

    fn poll(&mut self, timeout: Duration) -> Result<(), StreamsError> {
        let (consumer, closing) = (&mut self.consumer, &mut self.closing);
        let (shared, index) = (&self.core.shared, self.index);
        let polled = self.core.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => Ok(Poll::default()),
                () = shared.query_arrived(index) => Ok(Poll::default()),
                polled = consumer.poll(timeout) => polled,
            }
        });
        let poll = match polled {
            Ok(poll) => poll,
            Err(error) if error.is_retriable() || self.plan.expects(&error) => {
                tracing::warn!(%error, "poll failed, trying again");
                let core = &self.core;
                core.runtime.block_on(core.shared.wait(POLL));
                return Ok(());
            }
            Err(error @ ClientError::Fenced { .. })
                if error.code() != Some(ErrorCode::FencedInstanceId) =>
            {
                return Err(StreamsError::TaskMigrated {
                    group: self.core.shared.group().to_owned(),
                    reason: error.to_string(),
                });
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
            if task.group().buffered(input) > self.core.config.buffered_records_per_partition {
                let name = &fetched.topic_partition;
                self.tasks.paused.set(&mut self.consumer, name, true);
            }
        }
        Ok(())
    }

    fn rebalance(&mut self, rebalance: &Rebalance) -> Result<(), StreamsError> {
        if rebalance.lost {
            tracing::warn!("partitions were lost to other members, their tasks start anew");
            self.abandon()?;
        } else if !rebalance.revoked.is_empty() {
            self.commit()?;
            let tasks = &mut self.tasks;
            tasks.suspend();
            self.is_assigned = false;
        }
        if rebalance.revoked.is_empty() || !rebalance.assigned.is_empty() {
            let (tasks, consumer) = (&mut self.tasks, &mut self.consumer);
            tasks.follow(&self.plan);
            self.core
                .runtime
                .block_on(tasks.assign(consumer, &rebalance.assigned))?;
            self.update_standbys();
            self.is_assigned = true;
        }
        self.report_now();
        Ok(())
    }

    /// Starts and gives up standby tasks as the leader says.
    fn update_standbys(&mut self) {
        let _entered = self.core.runtime.enter();
        let assignments = self.core.shared.assignments();
        let tasks = |data: &AssignmentData| -> Vec<TaskId> {
            let names = data.standby.iter();
            names.filter_map(|name| TaskId::parse(name)).collect()
        };
        let own = assignments.get(self.index).map(tasks).unwrap_or_default();
        let all: Vec<_> = assignments.iter().flat_map(tasks).collect();
        self.tasks.update_standbys(&own, &all);
    }

    /// Answers the questions that have come; between two rounds no task is at work.
    fn answer_queries(&mut self) {
        while let Some(query) = self.core.shared.take_query(self.index) {
            let stores = self.tasks.stores_of(query.task);
            query.answer(stores);
        }
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
            let start = Instant::now();
            while done < MAX_RUN {
                let run = task.process(now, MAX_RUN - done)?;
                if run == 0 {
                    break;
                }
                done += run;
            }
            if done > 0 {
                progressed = true;
                self.reporter.processed(start, Instant::now());
            }
            task.take_outputs(&mut self.outputs);
        }
        self.resume_drained();
        self.send()?;
        Ok(progressed)
    }

    /// Lets partitions be read again of which not much waits any more.
    fn resume_drained(&mut self) {
        let limit = self.core.config.buffered_records_per_partition;
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

    /// Hands everything that tasks have written to the producer, in order.
    pub(super) fn send(&mut self) -> Result<(), StreamsError> {
        if self.outputs.is_empty() {
            return Ok(());
        }
        let (writer, outputs) = (&mut self.writer, &mut self.outputs);
        self.core.runtime.block_on(writer.send(outputs))
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
        self.core.shared.report(self.index, report);
    }
}

pub(super) fn wall_clock_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// Records that one task may process before others get their turn.
const MAX_RUN: usize = 1_024;
const TICK: Duration = Duration::from_millis(100);
/// Wait of a poll while a task waits for an empty input or for its stores.
const SHORT_WAIT: Duration = Duration::from_millis(10);
pub(super) const CLOSE_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(200);
