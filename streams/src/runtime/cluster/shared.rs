//! What the threads of an application and its handle share: state, first error, figures.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::assignor_data::AssignmentData;
use super::latency;
use super::queries::LocalQuery;
use super::standby::Standbys;
use crate::runtime::cache_budget::CacheBudget;
use crate::runtime::error::StreamsError;
use crate::runtime::metrics::{
    InputMetrics, LatencyMetrics, StreamsMetrics, StreamsState, TaskMetrics, TaskRunState,
};
use crate::runtime::store::StoreEnvironment;
use crate::runtime::task_id::TaskId;

/// What the threads of an application and its handle share.
#[derive(Debug)]
pub(super) struct Shared {
    group: String,
    state: watch::Sender<StreamsState>,
    closing: watch::Sender<bool>,
    error: Mutex<Option<StreamsError>>,
    threads: Mutex<Vec<ThreadReport>>,
    paused: AtomicBool,
    stop_asked: AtomicBool,
    pub(super) counters: Counters,
    pub(super) standbys: Standbys,
    /// What the leader told each thread's member last, and in which generation.
    assignments: Mutex<Vec<(i32, AssignmentData)>>,
    /// Of the tasks in there, those that have been restored.
    restored: Mutex<BTreeSet<String>>,
    /// Questions that wait for each thread.
    queries: Vec<Questions>,
    stores: StoreEnvironment,
    cache_budget: Arc<CacheBudget>,
}

/// Questions that wait for one thread.
#[derive(Debug, Default)]
struct Questions {
    waiting: Mutex<VecDeque<LocalQuery>>,
    arrived: Notify,
}

/// What has happened in all threads since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    commits: AtomicU64,
    threads_replaced: AtomicU64,
    tasks_migrated: AtomicU64,
    tasks_corrupted: AtomicU64,
}

impl Counters {
    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn thread_replaced(&self) {
        self.threads_replaced.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn task_migrated(&self) {
        self.tasks_migrated.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn task_corrupted(&self) {
        self.tasks_corrupted.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a thread says about itself.
#[derive(Clone, Debug, Default)]
pub(super) struct ThreadReport {
    pub(super) phase: Phase,
    pub(super) records_in: u64,
    pub(super) records_out: u64,
    pub(super) records_dropped: u64,
    pub(super) records_in_rate: f64,
    pub(super) records_out_rate: f64,
    pub(super) process_latency: LatencyMetrics,
    pub(super) commit_latency: LatencyMetrics,
    pub(super) inputs: BTreeMap<String, InputReport>,
    pub(super) tasks: Vec<TaskMetrics>,
}

/// Figures of one source topic in one thread.
#[derive(Clone, Debug, Default)]
pub(super) struct InputReport {
    pub(super) records_in: u64,
    pub(super) rate: f64,
    /// `None` while it is not known for one of the partitions.
    pub(super) lag: Option<i64>,
}

/// What a thread is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Rebalancing,
    Running,
    Closed,
}

impl Shared {
    pub(super) fn new(
        group: &str,
        threads: usize,
        stores: StoreEnvironment,
        cache_budget: Arc<CacheBudget>,
    ) -> Self {
        Self {
            group: group.to_owned(),
            state: watch::Sender::new(StreamsState::Rebalancing),
            closing: watch::Sender::new(false),
            error: Mutex::new(None),
            threads: Mutex::new(vec![ThreadReport::default(); threads]),
            paused: AtomicBool::new(false),
            stop_asked: AtomicBool::new(false),
            counters: Counters::default(),
            standbys: Standbys::default(),
            assignments: Mutex::new(vec![(NO_GENERATION, AssignmentData::default()); threads]),
            restored: Mutex::default(),
            queries: (0..threads).map(|_| Questions::default()).collect(),
            stores,
            cache_budget,
        }
    }

    pub(super) fn set_assignment(&self, thread: usize, generation: i32, data: AssignmentData) {
        let mut assignments = lock(&self.assignments);
        let Some(place) = assignments.get_mut(thread) else {
            return;
        };
        let is_gone = |name: &String| place.1.active.contains(name) && !data.active.contains(name);
        lock(&self.restored).retain(|name| !is_gone(name));
        *place = (generation, data);
    }

    /// From now on other members had better leave the task here.
    pub(super) fn set_restored(&self, id: TaskId) {
        lock(&self.restored).insert(id.to_string());
    }

    /// What the leader told each thread's member last.
    pub(super) fn assignments(&self) -> Vec<AssignmentData> {
        let assignments = lock(&self.assignments);
        assignments.iter().map(|(_, data)| data.clone()).collect()
    }

    /// What a thread's member had before it joins again: the generation of the group in which it
    /// was given tasks last, those of them with all of their state, and the others.
    pub(super) fn last_tasks(&self, thread: usize) -> (i32, Vec<String>, Vec<String>) {
        let assignments = lock(&self.assignments);
        let Some((generation, data)) = assignments.get(thread) else {
            return (NO_GENERATION, Vec::new(), Vec::new());
        };
        let restored = lock(&self.restored);
        let active = data.active.iter().cloned();
        let (restored, restoring) = active.partition(|name| restored.contains(name));
        (*generation, restored, restoring)
    }

    /// Tasks that this process has state of on its disk, and since when each ran here the last
    /// time, in milliseconds since 1970.
    pub(super) fn tasks_on_disk(&self) -> BTreeMap<TaskId, u64> {
        self.stores.tasks_on_disk()
    }

    /// The thread that runs a task with all of its state, and knows it.
    pub(super) fn thread_of(&self, id: TaskId) -> Option<usize> {
        let threads = lock(&self.threads);
        let runs = |task: &TaskMetrics| task.id == id && task.state == TaskRunState::Running;
        threads
            .iter()
            .position(|thread| thread.tasks.iter().any(runs))
    }

    /// Puts a question before a thread; false if too many wait already.
    pub(super) fn ask(&self, thread: usize, query: LocalQuery) -> bool {
        let Some(questions) = self.queries.get(thread) else {
            return false;
        };
        let mut waiting = lock(&questions.waiting);
        if waiting.len() >= MAX_WAITING_QUERIES {
            return false;
        }
        waiting.push_back(query);
        drop(waiting);
        questions.arrived.notify_one();
        true
    }

    pub(super) fn take_query(&self, thread: usize) -> Option<LocalQuery> {
        lock(&self.queries.get(thread)?.waiting).pop_front()
    }

    pub(super) async fn query_arrived(&self, thread: usize) {
        match self.queries.get(thread) {
            Some(questions) => questions.arrived.notified().await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn group(&self) -> &str {
        &self.group
    }

    /// While paused, tasks process nothing and punctuate nothing; membership and commits go on.
    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// From now on this process asks the others of the group to stop.
    pub(super) fn ask_all_to_stop(&self) {
        self.stop_asked.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stop_asked(&self) -> bool {
        self.stop_asked.load(Ordering::Relaxed)
    }

    /// Waits, but not beyond the end of the application.
    pub(super) async fn wait(&self, time: Duration) {
        let mut closing = self.watch_closing();
        let closed = closing.wait_for(|closing| *closing);
        let _ = tokio::time::timeout(time, closed).await;
    }

    pub(super) fn state(&self) -> StreamsState {
        *self.state.borrow()
    }

    pub(super) fn watch_state(&self) -> watch::Receiver<StreamsState> {
        self.state.subscribe()
    }

    pub(super) fn watch_closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    pub(super) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Asks all threads to commit and end.
    pub(super) fn close(&self) {
        self.closing.send_replace(true);
        self.update_state();
    }

    pub(super) fn error(&self) -> Option<StreamsError> {
        lock(&self.error).clone()
    }

    /// Keeps the first error and ends all threads.
    pub(super) fn fail(&self, error: StreamsError) {
        tracing::error!(%error, "streams application failed");
        lock(&self.error).get_or_insert(error);
        self.close();
    }

    pub(super) fn report(&self, thread: usize, report: ThreadReport) {
        if let Some(place) = lock(&self.threads).get_mut(thread) {
            *place = report;
        }
        self.update_state();
    }

    pub(super) fn ended(&self, thread: usize) {
        if let Some(report) = lock(&self.threads).get_mut(thread) {
            report.phase = Phase::Closed;
            report.tasks.clear();
        }
        self.update_state();
    }

    pub(super) fn metrics(&self) -> StreamsMetrics {
        let threads = lock(&self.threads);
        let sum = |part: fn(&ThreadReport) -> u64| threads.iter().map(part).sum();
        let rate = |part: fn(&ThreadReport) -> f64| threads.iter().map(part).sum();
        let inputs = inputs(&threads);
        let lags = inputs.iter().map(|input| input.lag);
        let mut tasks: Vec<_> = threads
            .iter()
            .flat_map(|thread| thread.tasks.clone())
            .collect();
        tasks.sort_by_key(|task| task.id);
        StreamsMetrics {
            state: self.state(),
            records_in: sum(|thread| thread.records_in),
            records_out: sum(|thread| thread.records_out),
            records_dropped: sum(|thread| thread.records_dropped),
            records_in_rate: rate(|thread| thread.records_in_rate),
            records_out_rate: rate(|thread| thread.records_out_rate),
            process_latency: latency::sum(threads.iter().map(|thread| thread.process_latency)),
            commit_latency: latency::sum(threads.iter().map(|thread| thread.commit_latency)),
            cache: self.cache_budget.metrics(),
            lag: lags.sum(),
            inputs,
            tasks,
            commits: self.counters.commits.load(Ordering::Relaxed),
            threads_replaced: self.counters.threads_replaced.load(Ordering::Relaxed),
            tasks_migrated: self.counters.tasks_migrated.load(Ordering::Relaxed),
            tasks_corrupted: self.counters.tasks_corrupted.load(Ordering::Relaxed),
            stores_wiped: self.stores.wiped(),
        }
    }

    fn update_state(&self) {
        let phases: Vec<_> = lock(&self.threads)
            .iter()
            .map(|thread| thread.phase)
            .collect();
        let all = |wanted: Phase| phases.iter().all(|phase| *phase == wanted);
        let state = if lock(&self.error).is_some() {
            StreamsState::Failed
        } else if all(Phase::Closed) {
            StreamsState::Closed
        } else if self.is_closing() {
            StreamsState::Closing
        } else if all(Phase::Running) {
            StreamsState::Running
        } else {
            StreamsState::Rebalancing
        };
        self.state
            .send_if_modified(|before| std::mem::replace(before, state) != state);
    }
}

/// Adds up the threads' figures by topic.
fn inputs(threads: &[ThreadReport]) -> Vec<InputMetrics> {
    let mut topics: BTreeMap<&str, InputReport> = BTreeMap::new();
    for (topic, input) in threads.iter().flat_map(|thread| &thread.inputs) {
        match topics.get_mut(topic.as_str()) {
            Some(sum) => {
                sum.records_in += input.records_in;
                sum.rate += input.rate;
                sum.lag = sum.lag.zip(input.lag).map(|(one, other)| one + other);
            }
            None => {
                topics.insert(topic, input.clone());
            }
        }
    }
    let metrics = |(topic, sum): (&str, InputReport)| InputMetrics {
        topic: topic.to_owned(),
        records_in: sum.records_in,
        rate: sum.rate,
        lag: sum.lag,
    };
    topics.into_iter().map(metrics).collect()
}

/// Counts per second, over the last few seconds.
#[derive(Debug, Default)]
pub(super) struct Rate {
    samples: VecDeque<(Instant, u64)>,
}

impl Rate {
    /// Takes a count that only grows, and gives its rate.
    pub(super) fn sample(&mut self, now: Instant, count: u64) -> f64 {
        self.samples.push_back((now, count));
        while self.samples.len() > 2
            && self
                .samples
                .get(1)
                .is_some_and(|(at, _)| now - *at >= RATE_WINDOW)
        {
            self.samples.pop_front();
        }
        let Some((first_at, first)) = self.samples.front() else {
            return 0.0;
        };
        let seconds = (now - *first_at).as_secs_f64();
        if seconds <= 0.0 {
            return 0.0;
        }
        count.saturating_sub(*first) as f64 / seconds
    }
}

/// A thread that panicked while it held a lock has left nothing half done in here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Before the first assignment.
const NO_GENERATION: i32 = -1;
const MAX_WAITING_QUERIES: usize = 1_024;
const RATE_WINDOW: Duration = Duration::from_secs(5);
