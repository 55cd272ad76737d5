//! Opens partitions: at start those that have files, later new ones without any.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use moldau_core::config::TopicConfig;
use moldau_core::ids::{LeaderEpoch, Offset};
use moldau_core::partition::{BatchSummary, Partition as Leader, PartitionStart};
use moldau_core::producer_state::ProducerStates;
use moldau_log::{
    AbortedTransaction, FileStorage, Log, LogConfig, LogDirectory, LogError, LogStart,
    RecoveryObserver, TopicPartition,
};
use moldau_protocol::batch::{BatchHeader, RecordBatch};
use moldau_protocol::records::producer_snapshot::ProducerSnapshot;
use moldau_protocol::{KString, Uuid};

use super::append::aborted;
use super::partition::{Partition, Rules, WriterState};
use super::{lock, now_ms};

/// Which partition.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) topic: KString,
    pub(crate) topic_id: Uuid,
    pub(crate) index: i32,
}

/// How to open one partition.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    directory: PathBuf,
    config: LogConfig,
    start: LogStart,
}

/// Opens partitions in one data directory.
pub(crate) struct Openings<'a> {
    pub(crate) directory: &'a LogDirectory<FileStorage>,
}

/// A partition to open.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) name: Name,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) replicas: usize,
    pub(crate) rules: Arc<Rules>,
    /// There are files, so the log is recovered now.
    pub(crate) has_files: bool,
}

impl Opening {
    /// Creates the log of a partition without files.
    pub(super) fn create(&self) -> Result<Log<FileStorage>, LogError> {
        let (log, _) = Log::open(
            FileStorage,
            self.directory.clone(),
            self.config.clone(),
            &self.start,
            &mut (),
        )?;
        Ok(log)
    }

    /// Uses `config` when the log is opened later.
    pub(crate) fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }
}

impl Openings<'_> {
    /// Opens all of `wanted`, in parallel where files must be read.
    ///
    /// # Errors
    ///
    /// The first log that cannot be opened.
    pub(crate) fn open_all(&self, wanted: Vec<Wanted>) -> Result<Vec<Arc<Partition>>, LogError> {
        let (recover, fresh): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|wanted| wanted.has_files);
        let mut opened = Vec::with_capacity(fresh.len() + recover.len());
        for wanted in fresh {
            opened.push(self.open(wanted)?);
        }
        if recover.is_empty() {
            return Ok(opened);
        }
        let threads = thread::available_parallelism()
            .map_or(1, std::num::NonZero::get)
            .min(recover.len());
        let queue = Mutex::new(recover);
        let results: Vec<Result<Vec<_>, LogError>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let mut opened = Vec::new();
                        loop {
                            let Some(wanted) = lock(&queue).pop() else {
                                return Ok(opened);
                            };
                            opened.push(self.open(wanted)?);
                        }
                    })
                })
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().expect("opening a log does not panic"))
                .collect()
        });
        for result in results {
            opened.extend(result?);
        }
        Ok(opened)
    }

    fn open(&self, wanted: Wanted) -> Result<Arc<Partition>, LogError> {
        let Wanted {
            name,
            leader_epoch,
            replicas,
            rules,
            has_files,
        } = wanted;
        let place = TopicPartition {
            topic: name.topic.to_string(),
            partition: name.index,
        };
        let start = if has_files {
            self.directory.log_start(&place)
        } else {
            LogStart {
                clean_shutdown: true,
                ..LogStart::default()
            }
        };
        let opening = Opening {
            directory: self.directory.partition_path(&place),
            config: log_config(&rules.topic),
            start: LogStart {
                topic_id: Some(name.topic_id),
                ..start
            },
        };
        let mut producers = Producers::default();
        let log = has_files
            .then(|| opening.recover(&mut producers))
            .transpose()?;
        let leader = Leader::open(PartitionStart {
            log_start_offset: Offset(log.as_ref().map_or(0, Log::log_start_offset)),
            log_end_offset: Offset(log.as_ref().map_or(0, Log::log_end_offset)),
            leader_epoch,
            flush: rules.topic.flush_mode(replicas),
            producers: producers.states,
        });
        let state = WriterState {
            log,
            leader,
            opening,
            waiting: std::collections::HashMap::new(),
            next_token: 0,
            sync_queued: false,
            unseen_bytes: 0,
        };
        Ok(Arc::new(Partition::new(name, rules, state)))
    }
}

impl Opening {
    fn recover(&self, producers: &mut Producers) -> Result<Log<FileStorage>, LogError> {
        let (log, _) = Log::open(
            FileStorage,
            self.directory.clone(),
            self.config.clone(),
            &self.start,
            producers,
        )?;
        Ok(log)
    }
}

/// The log settings of a topic.
pub(crate) fn log_config(topic: &TopicConfig) -> LogConfig {
    LogConfig {
        segment_bytes: u32::try_from(topic.segment_bytes).unwrap_or(u32::MAX),
        // The active segment is not compacted, so it must not grow older than the longest lag.
        segment_ms: if topic.cleanup.compact {
            topic.segment_ms.min(topic.max_compaction_lag_ms)
        } else {
            topic.segment_ms
        },
        segment_index_bytes: u32::try_from(topic.segment_index_bytes).unwrap_or(0),
        index_interval_bytes: u32::try_from(topic.index_interval_bytes).unwrap_or(0),
        retention_ms: if topic.cleanup.delete {
            topic.retention_ms
        } else {
            NO_LIMIT
        },
        retention_bytes: if topic.cleanup.delete {
            topic.retention_bytes
        } else {
            NO_LIMIT
        },
        file_delete_delay_ms: topic.file_delete_delay_ms,
    }
}

/// Retention without limit.
const NO_LIMIT: i64 = -1;

/// Gathers the producers of a log while it is recovered.
#[derive(Default)]
pub(super) struct Producers {
    states: ProducerStates,
}

impl RecoveryObserver for Producers {
    fn producer_snapshot(&mut self, _offset: i64, snapshot: &ProducerSnapshot) {
        self.states = ProducerStates::from_snapshot(snapshot, now_ms());
    }

    fn batch(&mut self, header: &BatchHeader) {
        if !header.has_producer() {
            return;
        }
        self.states.replay(&BatchSummary::from(header), now_ms());
    }

    fn control_batch(&mut self, batch: &RecordBatch) -> Option<AbortedTransaction> {
        let completed = self.states.replay(&BatchSummary::from(batch), now_ms());
        completed.as_ref().and_then(aborted)
    }

    fn newer_producer_snapshot(&mut self, snapshot: &ProducerSnapshot) {
        self.states.add_older(snapshot, now_ms());
    }
}

impl fmt::Debug for Openings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Openings").finish_non_exhaustive()
    }
}
