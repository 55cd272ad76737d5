//! Where a transactional producer stands. No IO.
//!
//! ```text
//!            begin            commit / abort
//!   Ready ----------> Open ----------------> Ending ----> Ready
//!                      | a send fails           | the coordinator refuses
//!                      v          abort         v
//!                  MustAbort ------------> Ending, or Broken: fenced, or nothing that this producer could do
//! ```
//!
//! An ending whose outcome is unknown (the coordinator did not answer in time) stays `Ending`, and may be repeated.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use moldau_protocol::KString;
use tokio::sync::Notify;

use crate::error::ClientError;
use crate::producer::batch::ProducerId;
use crate::producer::transaction::reaction::{Reaction, Step, reaction, wrapped};

/// What the program and the sending task both know of the transaction.
#[derive(Debug)]
pub(crate) struct TransactionState {
    pub(crate) transactional_id: KString,
    inner: Mutex<Inner>,
    /// Wakes those who wait until nothing is being added.
    idle: Notify,
}

#[derive(Debug)]
struct Inner {
    identity: Identity,
    stage: Stage,
    /// Queues whose partitions the coordinator counts to the transaction (transaction version 1).
    added: HashSet<usize>,
    /// Groups that the coordinator counts to the transaction (transaction version 1).
    groups: BTreeSet<KString>,
    /// Whether the sending task waits for the coordinator to add partitions.
    is_adding: bool,
    /// Whether a broker may know of the transaction, so that its end has to be told.
    is_begun: bool,
    /// Whether batches were given up, so that the sequence numbers of this epoch are not continuous any more.
    needs_new_epoch: bool,
}

/// As whom the producer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer: ProducerId,
    /// Whether the cluster has `transaction.version` 2 (KIP-890): partitions are added by sending to them, and each end
    /// gives a new epoch.
    pub(crate) is_version_2: bool,
}

/// Where the producer stands.
#[derive(Clone, Debug)]
enum Stage {
    Ready,
    Open,
    Ending { committed: bool },
    MustAbort(ClientError),
    Broken(ClientError),
}

/// What an end has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) identity: Identity,
    /// Whether the coordinator has to be told.
    pub(crate) is_begun: bool,
    /// Whether a new epoch has to be asked for afterwards.
    pub(crate) needs_new_epoch: bool,
}

impl TransactionState {
    pub(crate) fn new(transactional_id: KString, identity: Identity) -> Self {
        Self {
            transactional_id,
            inner: Mutex::new(Inner {
                identity,
                stage: Stage::Ready,
                added: HashSet::new(),
                groups: BTreeSet::new(),
                is_adding: false,
                is_begun: false,
                needs_new_epoch: false,
            }),
            idle: Notify::new(),
        }
    }

    pub(crate) fn identity(&self) -> Identity {
        self.lock().identity
    }

    pub(crate) fn begin(&self) -> Result<(), ClientError> {
        let mut inner = self.lock();
        match &inner.stage {
            Stage::Ready => inner.stage = Stage::Open,
            Stage::Open => return Err(self.misused("a transaction is open; commit or abort it")),
            Stage::Ending { .. } => return Err(self.misused(UNFINISHED)),
            Stage::MustAbort(error) | Stage::Broken(error) => return Err(error.clone()),
        }
        Ok(())
    }

    /// Whether records and offsets are taken.
    pub(crate) fn check_open(&self) -> Result<(), ClientError> {
        match &self.lock().stage {
            Stage::Open => Ok(()),
            Stage::Ready => Err(self.misused("no transaction is open; call `begin` first")),
            Stage::Ending { .. } => Err(self.misused(UNFINISHED)),
            Stage::MustAbort(error) | Stage::Broken(error) => Err(error.clone()),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.lock().stage, Stage::Open | Stage::MustAbort(_))
    }

    /// Before everything is sent for a commit.
    pub(crate) fn check_commit(&self) -> Result<(), ClientError> {
        match &self.lock().stage {
            Stage::Open | Stage::Ending { committed: true } => Ok(()),
            Stage::Ready => Err(self.misused("no transaction is open; call `begin` first")),
            Stage::Ending { committed: false } => {
                Err(self
                    .misused("its abort has not finished; call `abort` again until it succeeds"))
            }
            Stage::MustAbort(error) | Stage::Broken(error) => Err(error.clone()),
        }
    }

    /// From here on the transaction can only end as `committed` says.
    pub(crate) fn start_ending(&self, committed: bool) -> Result<(), ClientError> {
        if committed {
            self.check_commit()?;
        }
        let mut inner = self.lock();
        match &inner.stage {
            Stage::Ready => Err(self.misused("no transaction is open; call `begin` first")),
            Stage::Broken(error) => Err(error.clone()),
            Stage::Ending { committed: true } if !committed => Err(self.misused(UNFINISHED)),
            Stage::Open | Stage::MustAbort(_) | Stage::Ending { .. } => {
                inner.stage = Stage::Ending { committed };
                Ok(())
            }
        }
    }

    pub(crate) fn ending(&self) -> Ending {
        let inner = self.lock();
        Ending {
            identity: inner.identity,
            is_begun: inner.is_begun,
            needs_new_epoch: inner.needs_new_epoch,
        }
    }

    /// The coordinator has ended the transaction; what may be left is to get a new epoch.
    pub(crate) fn end_told(&self, producer: ProducerId) {
        let mut inner = self.lock();
        if inner.identity.producer != producer {
            inner.identity.producer = producer;
            inner.needs_new_epoch = false;
        }
        inner.is_begun = false;
    }

    /// The transaction is over, and the producer goes on as `producer`.
    pub(crate) fn ended(&self, producer: ProducerId) {
        let mut inner = self.lock();
        inner.identity.producer = producer;
        inner.stage = Stage::Ready;
        inner.added.clear();
        inner.groups.clear();
        inner.is_begun = false;
        inner.needs_new_epoch = false;
    }

    /// Takes an error into account. Gives what the program is told.
    pub(crate) fn failed(&self, step: Step, error: ClientError) -> ClientError {
        let reaction = reaction(step, &error);
        let error = wrapped(&self.transactional_id, reaction, error);
        let mut inner = self.lock();
        match reaction {
            Reaction::Retry => {}
            Reaction::Abort => {
                if matches!(inner.stage, Stage::Open | Stage::Ending { committed: true }) {
                    inner.stage = Stage::MustAbort(error.clone());
                }
            }
            Reaction::Fenced | Reaction::Break => inner.stage = Stage::Broken(error.clone()),
        }
        error
    }

    /// Ends all hope for a commit because of `error`.
    pub(crate) fn must_abort(&self, error: ClientError) -> ClientError {
        let error = wrapped(&self.transactional_id, Reaction::Abort, error);
        let mut inner = self.lock();
        if matches!(inner.stage, Stage::Open) {
            inner.stage = Stage::MustAbort(error.clone());
        }
        error
    }

    /// A batch was given up; its transaction cannot be committed any more.
    pub(crate) fn batch_failed(&self, error: &ClientError) {
        self.lock().needs_new_epoch = true;
        self.failed(Step::Produce, error.clone());
    }

    /// Batches that had their numbers were given up.
    pub(crate) fn numbers_lost(&self) {
        self.lock().needs_new_epoch = true;
    }

    /// The error that all waiting batches get, if none of them is to be sent any more.
    pub(crate) fn refusal(&self) -> Option<ClientError> {
        match &self.lock().stage {
            Stage::MustAbort(error) | Stage::Broken(error) => Some(error.clone()),
            Stage::Ending { committed: false } => Some(self.misused("the transaction was aborted")),
            Stage::Ready | Stage::Open | Stage::Ending { committed: true } => None,
        }
    }

    /// Whether a partition's batches may leave. If not, the partition has to be added first.
    pub(crate) fn is_added(&self, queue: usize) -> bool {
        let inner = self.lock();
        inner.identity.is_version_2 || inner.added.contains(&queue)
    }

    /// A request that makes a broker know of the transaction is about to leave.
    pub(crate) fn begun(&self) {
        self.lock().is_begun = true;
    }

    pub(crate) fn start_adding(&self) {
        self.lock().is_adding = true;
    }

    pub(crate) fn added(&self, queues: &[usize], result: Result<(), ClientError>) {
        if let Err(error) = result {
            self.failed(Step::AddPartitions, error);
        } else {
            let mut inner = self.lock();
            inner.added.extend(queues);
            inner.is_begun = true;
        }
        self.lock().is_adding = false;
        self.idle.notify_waiters();
    }

    pub(crate) fn has_group(&self, group: &KString) -> bool {
        self.lock().groups.contains(group)
    }

    pub(crate) fn group_added(&self, group: KString) {
        let mut inner = self.lock();
        inner.groups.insert(group);
        inner.is_begun = true;
    }

    /// Waits until the sending task waits for no coordinator any more.
    pub(crate) async fn nothing_is_added(&self) {
        loop {
            let idle = self.idle.notified();
            if !self.lock().is_adding {
                return;
            }
            idle.await;
        }
    }

    fn misused(&self, reason: &str) -> ClientError {
        ClientError::TransactionState {
            transactional_id: self.transactional_id.to_string(),
            reason: reason.to_owned(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const UNFINISHED: &str = "its commit has not finished; call `commit` again until it succeeds";

#[cfg(test)]
mod tests {
    use moldau_protocol::ErrorCode;

    use super::*;

    fn state() -> TransactionState {
        let identity = Identity {
            producer: ProducerId { id: 7, epoch: 0 },
            is_version_2: false,
        };
        TransactionState::new(KString::from_static("billing"), identity)
    }

    fn refused(code: ErrorCode) -> ClientError {
        ClientError::broker(code.code(), None, "topic \"orders\"")
    }

    #[test]
    fn a_transaction_is_begun_once_and_ended_once() {
        let state = state();
        assert!(state.check_open().is_err());
        assert!(state.start_ending(true).is_err());
        state.begin().unwrap();
        state.check_open().unwrap();
        let error = state.begin().unwrap_err().to_string();
        assert!(error.contains("\"billing\"") && error.contains("commit or abort"));
        state.start_ending(true).unwrap();
        state.ended(ProducerId { id: 7, epoch: 1 });
        assert_eq!(state.identity().producer.epoch, 1);
        state.begin().unwrap();
    }

    #[test]
    fn after_a_lost_batch_only_an_abort_is_possible_and_it_asks_for_a_new_epoch() {
        let state = state();
        state.begin().unwrap();
        state.batch_failed(&refused(ErrorCode::OutOfOrderSequenceNumber));
        for result in [state.check_open(), state.begin(), state.start_ending(true)] {
            assert!(matches!(result, Err(ClientError::MustAbort { .. })));
        }
        state.start_ending(false).unwrap();
        assert!(state.ending().needs_new_epoch);
    }

    #[test]
    fn a_fenced_producer_stays_fenced() {
        let state = state();
        state.begin().unwrap();
        state.batch_failed(&refused(ErrorCode::ProducerFenced));
        for result in [
            state.begin(),
            state.start_ending(true),
            state.start_ending(false),
        ] {
            assert!(matches!(result, Err(ClientError::ProducerFenced { .. })));
        }
    }

    #[test]
    fn an_abort_that_failed_after_the_coordinator_was_told_only_asks_for_the_epoch_again() {
        let state = state();
        state.begin().unwrap();
        state.added(&[1], Ok(()));
        state.batch_failed(&refused(ErrorCode::InvalidRecord));
        state.start_ending(false).unwrap();
        assert!(state.ending().is_begun);
        state.end_told(ProducerId { id: 7, epoch: 0 });
        state.start_ending(false).unwrap();
        let ending = state.ending();
        assert!(!ending.is_begun && ending.needs_new_epoch);
    }

    #[test]
    fn a_commit_whose_outcome_is_unknown_can_only_be_repeated() {
        let state = state();
        state.begin().unwrap();
        state.start_ending(true).unwrap();
        assert!(state.start_ending(false).is_err());
        state.start_ending(true).unwrap();
    }
}
