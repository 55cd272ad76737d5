//! The log cleaner: compacts the logs of topics whose `cleanup.policy` lists `compact`.
//!
//! Each cleaner takes the log with the largest share of uncompacted bytes that is due, compacts it
//! beside its writer and its readers, and takes the next. When none is due it rests for
//! `log.cleaner.backoff.ms`. How far each log is compacted stands in `cleaner-offset-checkpoint`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use moldau_log::{
    CleanableRequest, Compaction, CompactionError, CompactionRequest, LastRecord, LogDirectory,
    LogError, Pace, Stopped, TopicPartition,
};
use moldau_protocol::Uuid;
use tracing::{error, info, warn};

use crate::node::Node;
use crate::runtime::{Partition, lock, now_ms};

/// Compacts logs; shared by all cleaner tasks.
#[derive(Debug)]
pub(super) struct Cleaner {
    node: Arc<Node>,
    directory: Arc<LogDirectory>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where the compacted part of each log ends.
    first_dirty: BTreeMap<TopicPartition, (Uuid, i64)>,
    /// Logs that some cleaner works on.
    busy: BTreeSet<TopicPartition>,
    /// Logs that cannot be compacted as they are; another try would fail as well.
    uncleanable: BTreeSet<(TopicPartition, Uuid)>,
}

/// A log to compact.
struct Job {
    partition: Arc<Partition>,
    name: TopicPartition,
    request: CompactionRequest,
}

/// How a job ended.
enum End {
    /// All is in place up to this offset.
    Done(i64),
    /// Segments were deleted meanwhile; another time.
    Overtaken,
}

impl Cleaner {
    /// Reads how far the logs of this node are compacted. Blocks on files.
    pub(super) fn open(node: Arc<Node>, directory: Arc<LogDirectory>) -> Self {
        let known = directory.cleaner_offsets().unwrap_or_else(|error| {
            warn!(%error, "compaction begins anew");
            BTreeMap::new()
        });
        let mut state = State::default();
        for partition in node.partitions.all() {
            let name = partition.name();
            if let Some(offset) = known.get(&name) {
                state
                    .first_dirty
                    .insert(name, (partition.topic_id, *offset));
            }
        }
        Self {
            node,
            directory,
            state: Mutex::new(state),
        }
    }

    /// Compacts every log that is due. Blocks on files; ends soon when the node stops.
    pub(super) fn run_once(&self) {
        let mut tried = BTreeSet::new();
        while let Some(job) = self.take_filthiest(&mut tried) {
            let (name, topic_id) = (job.name.clone(), job.partition.topic_id);
            let result = self.clean(job);
            lock(&self.state).busy.remove(&name);
            match result {
                Ok(End::Done(offset)) => self.note_progress(name, topic_id, offset),
                Ok(End::Overtaken) => {}
                Err(CompactionError::Stopped) => return,
                Err(CompactionError::Log(
                    error @ (LogError::DiskFull { .. }
                    | LogError::Io { .. }
                    | LogError::Failed { .. }),
                )) => warn!(log = %name, %error, "compaction failed, trying again later"),
                Err(error) => {
                    error!(log = %name, %error, "log cannot be compacted and grows until that is cured and the broker restarted");
                    lock(&self.state).uncleanable.insert((name, topic_id));
                }
            }
        }
    }

    /// The due log with the largest dirty share that was not tried in this round.
    fn take_filthiest(&self, tried: &mut BTreeSet<TopicPartition>) -> Option<Job> {
        let mut state = lock(&self.state);
        let candidates = self.node.partitions.all().into_iter();
        let due = candidates.filter_map(|partition| {
            let name = partition.name();
            let is_free = !state.busy.contains(&name)
                && !tried.contains(&name)
                && !state
                    .uncleanable
                    .contains(&(name.clone(), partition.topic_id));
            is_free.then(|| self.job(&state, partition, name)).flatten()
        });
        let dirty_ratio = |job: &Job| job.request.cleanable.dirty_ratio();
        let job = due.max_by(|a, b| dirty_ratio(a).total_cmp(&dirty_ratio(b)))?;
        state.busy.insert(job.name.clone());
        tried.insert(job.name.clone());
        Some(job)
    }

    /// What is to do about a partition, if anything.
    fn job(&self, state: &State, partition: Arc<Partition>, name: TopicPartition) -> Option<Job> {
        let rules = partition.rules.load_full();
        let topic = &rules.topic;
        if !topic.cleanup.compact {
            return None;
        }
        let known = state.first_dirty.get(&name);
        let known = known.filter(|(topic_id, _)| *topic_id == partition.topic_id);
        let now_ms = now_ms();
        let cleanable = partition.reader()?.cleanable(&CleanableRequest {
            first_dirty_offset: known.map_or(BEFORE_ALL, |(_, offset)| *offset),
            up_to_offset: partition.last_stable_offset(),
            min_lag_ms: topic.min_compaction_lag_ms,
            max_lag_ms: topic.max_compaction_lag_ms,
            now_ms,
        });
        let cleanable = cleanable
            .map_err(|error| warn!(log = %name, %error, "cannot tell whether to compact"))
            .ok()?;
        if !cleanable.is_due(topic.min_cleanable_dirty_ratio) {
            return None;
        }
        let request = CompactionRequest {
            cleanable,
            config: partition.log_config(topic),
            delete_retention_ms: topic.delete_retention_ms,
            map_bytes: self.map_bytes(),
            last_records: BTreeMap::new(),
            now_ms,
        };
        Some(Job {
            partition,
            name,
            request,
        })
    }

    fn clean(&self, job: Job) -> Result<End, CompactionError> {
        let Job {
            partition,
            name,
            mut request,
        } = job;
        let Some(reader) = partition.reader() else {
            return Ok(End::Overtaken);
        };
        let (started, now_ms) = (Instant::now(), request.now_ms);
        request.last_records = last_records(&partition);
        // The last stable offset must not fall back in a crash once records went for its sake.
        partition.sync_now()?;
        let mut pace = Throttle::new(&self.node);
        let mut compaction = Compaction::begin(reader.clone(), request, &mut pace)?;
        while let Some(cleaned) = compaction.next_segment(&mut pace)? {
            let mut state = partition.lock();
            // What the tail still has of this part could belong to aborted transactions that the
            // log no longer knows.
            self.node
                .partitions
                .forget_tail_below(&partition, compaction.end_offset());
            let Some(log) = &mut state.log else {
                return Err(CompactionError::Stopped);
            };
            if !log.replace_segments(cleaned, now_ms)? {
                return Ok(End::Overtaken);
            }
        }
        let (progress, elapsed) = (compaction.progress(), started.elapsed());
        info!(log = %name, end_offset = compaction.end_offset(), keys = progress.keys,
            bytes_before = progress.bytes_before, bytes_after = progress.bytes_after, ?elapsed, "compacted log");
        Ok(End::Done(compaction.end_offset()))
    }

    /// Writes down how far the logs are compacted. Only those that are still there count.
    fn note_progress(&self, name: TopicPartition, topic_id: Uuid, offset: i64) {
        let mut state = lock(&self.state);
        state.first_dirty.insert(name, (topic_id, offset));
        let partitions = self.node.partitions.all();
        let present: BTreeMap<_, _> = partitions
            .iter()
            .map(|partition| (partition.name(), partition.topic_id))
            .collect();
        state
            .first_dirty
            .retain(|name, (topic_id, _)| present.get(name) == Some(topic_id));
        let offsets = state.first_dirty.iter();
        let offsets = offsets
            .map(|(name, (_, offset))| (name.clone(), *offset))
            .collect();
        if let Err(error) = self.directory.write_cleaner_offsets(&offsets) {
            warn!(%error, "compaction repeats some work after a restart");
        }
    }

    /// The share of one cleaner in the memory for keys.
    fn map_bytes(&self) -> usize {
        let config = self.node.config();
        let share = config.cleaner_dedupe_buffer_bytes / config.cleaner_threads.max(1);
        (share as f64 * config.cleaner_buffer_load_factor) as usize
    }
}

/// What the producers that may still write have written last.
fn last_records(partition: &Partition) -> BTreeMap<i64, LastRecord> {
    let snapshot = partition.lock().leader.producers().to_snapshot();
    let entries = snapshot.producer_entries.into_iter();
    entries
        .map(|entry| {
            let last = LastRecord {
                offset: (entry.last_offset >= 0).then_some(entry.last_offset),
                producer_epoch: entry.epoch,
            };
            (entry.producer_id, last)
        })
        .collect()
}

/// Keeps to `log.cleaner.io.max.bytes.per.second`, and stops with the node.
struct Throttle<'a> {
    node: &'a Node,
    bytes_per_second: f64,
    started: Instant,
    moved: f64,
}

impl<'a> Throttle<'a> {
    fn new(node: &'a Node) -> Self {
        let config = node.config();
        let cleaners = config.cleaner_threads.max(1) as f64;
        Self {
            node,
            bytes_per_second: (config.cleaner_io_max_bytes_per_second / cleaners).max(MIN_RATE),
            started: Instant::now(),
            moved: 0.0,
        }
    }
}

impl Pace for Throttle<'_> {
    fn moved(&mut self, bytes: usize) -> Result<(), Stopped> {
        self.moved += bytes as f64;
        loop {
            if *self.node.stop.borrow() {
                return Err(Stopped);
            }
            let ahead = self.moved / self.bytes_per_second - self.started.elapsed().as_secs_f64();
            if ahead <= 0.0 {
                return Ok(());
            }
            std::thread::sleep(Duration::from_secs_f64(ahead.min(LONGEST_NAP_SECONDS)));
        }
    }
}

/// Outside every log, so that compaction begins where the log does.
const BEFORE_ALL: i64 = -1;
/// In bytes per second: slower, a compaction would never end.
const MIN_RATE: f64 = 1024.0;
/// A stopping node is noticed after this at the latest.
const LONGEST_NAP_SECONDS: f64 = 0.1;
