//! Opens a partition's log after a start, and gathers its producers on the way, as
//! `broker/src/runtime` does it.

use std::path::PathBuf;

use moldau_core::config::FlushMode;
use moldau_core::ids::LeaderEpoch;
use moldau_core::partition::BatchSummary;
use moldau_core::producer_state::{CompletedTransaction, ProducerStates};
use moldau_log::{
    AbortedTransaction, Log, LogConfig, LogError, LogStart, RecoveryObserver, SimStorage,
};
use moldau_protocol::batch::{BatchHeader, RecordBatch};
use moldau_protocol::records::producer_snapshot::ProducerSnapshot;

use super::mistake::Mistake;

/// Where and how a partition's log is opened.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    pub(super) storage: SimStorage,
    pub(super) directory: PathBuf,
    pub(super) config: LogConfig,
    pub(super) start: LogStart,
    pub(super) flush: FlushMode,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) mistake: Option<Mistake>,
    /// Whether there are files; without any, the first append creates them.
    pub(super) has_files: bool,
}

impl Opening {
    pub(super) fn open(
        &self,
        observer: &mut dyn RecoveryObserver,
    ) -> Result<Log<SimStorage>, LogError> {
        let (log, _) = Log::open(
            self.storage.clone(),
            self.directory.clone(),
            self.config.clone(),
            &self.start,
            observer,
        )?;
        Ok(log)
    }
}

/// Gathers the producers of a log while it is recovered.
pub(super) struct Producers {
    pub(super) states: ProducerStates,
    pub(super) now_ms: i64,
}

impl RecoveryObserver for Producers {
    fn producer_snapshot(&mut self, _offset: i64, snapshot: &ProducerSnapshot) {
        self.states = ProducerStates::from_snapshot(snapshot, self.now_ms);
    }

    fn batch(&mut self, header: &BatchHeader) {
        if header.has_producer() {
            self.states.replay(&BatchSummary::from(header), self.now_ms);
        }
    }

    fn control_batch(&mut self, batch: &RecordBatch) -> Option<AbortedTransaction> {
        let completed = self.states.replay(&BatchSummary::from(batch), self.now_ms);
        completed.as_ref().and_then(aborted)
    }

    fn newer_producer_snapshot(&mut self, snapshot: &ProducerSnapshot) {
        self.states.add_older(snapshot, self.now_ms);
    }
}

/// What the log's index keeps of a transaction: nothing if it was committed.
pub(super) fn aborted(completed: &CompletedTransaction) -> Option<AbortedTransaction> {
    (!completed.committed).then_some(AbortedTransaction {
        producer_id: completed.producer_id.0,
        first_offset: completed.first_offset.0,
        last_offset: completed.last_offset.0,
        last_stable_offset: completed.last_stable_offset.0,
    })
}
