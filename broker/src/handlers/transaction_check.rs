//! Makes sure that partitions belong to a transaction before records of it are appended (KIP-890).
//!
//! A partition in which the producer's transaction is open needs no question. For others the coordinator is asked:
//! clients of transaction version 2 have the partition added by that, older ones must have added it. The guard that a
//! partition gives beforehand is void as soon as a marker comes, so nothing is appended after the end.

use std::sync::Arc;
use std::time::Duration;

use moldau_core::ids::{ProducerEpoch, ProducerId};
use moldau_core::producer_state::VerificationGuard;
use moldau_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnResponse, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use moldau_protocol::{ErrorCode, KString};

use super::RequestContext;
use crate::node::Node;
use crate::runtime::Partition;

/// Who wants to append, and how much its client understands.
#[derive(Debug)]
pub(super) struct TransactionCheck<'a> {
    pub(super) transactional_id: &'a KString,
    pub(super) producer_id: ProducerId,
    pub(super) producer_epoch: ProducerEpoch,
    pub(super) client: ClientKind,
}

/// What a client understands, by the version of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientKind {
    /// It adds partitions itself.
    Old,
    /// It adds partitions itself, and understands TRANSACTION_ABORTABLE.
    KnowsAbortable,
    /// It leaves it to the broker to add partitions (transaction version 2).
    LeavesAdding,
}

/// What a batch must carry; `None` where verification is switched off.
pub(super) type Guarded = Result<Option<VerificationGuard>, ErrorCode>;

impl TransactionCheck<'_> {
    /// Checks several partitions; the results are in their order.
    ///
    /// The end of the producer's last transaction may still be on its way. Its marker makes the guard void, and until
    /// all of its markers are written the coordinator adds nothing: both are waited for a moment.
    pub(super) async fn guard_all(
        &self,
        node: &Node,
        context: &RequestContext,
        partitions: &[Arc<Partition>],
    ) -> Vec<Guarded> {
        let adds = self.client == ClientKind::LeavesAdding;
        if !adds && !node.config().transaction_partition_verification {
            return partitions.iter().map(|_| Ok(None)).collect();
        }
        let mut attempt = 0;
        loop {
            let guards = self.guards(partitions);
            let asked = self.ask(node, context, partitions, &guards).await;
            let concurrent = asked.contains(&Err(ErrorCode::ConcurrentTransactions));
            let now = self.guards(partitions);
            let void = now.iter().zip(&guards).any(|(now, then)| now.0 != then.0);
            if !(void || (adds && concurrent)) {
                let guarded = guards.into_iter().zip(asked);
                let guarded = guarded.map(|((guard, _), asked)| match asked {
                    Ok(()) => Ok(Some(guard)),
                    Err(code) => Err(self.told(code)),
                });
                return guarded.collect();
            }
            if attempt == ATTEMPTS {
                let code = self.told(ErrorCode::ConcurrentTransactions);
                return guards.iter().map(|_| Err(code)).collect();
            }
            attempt += 1;
            if concurrent {
                tokio::time::sleep(WAIT).await;
            }
        }
    }

    fn guards(&self, partitions: &[Arc<Partition>]) -> Vec<(VerificationGuard, bool)> {
        let guard = |partition: &Arc<Partition>| {
            let state = partition.lock();
            let producers = state.leader.producers();
            producers.verification_guard(self.producer_id, self.producer_epoch)
        };
        partitions.iter().map(guard).collect()
    }

    /// Asks the coordinator about the partitions in which the transaction is not open.
    async fn ask(
        &self,
        node: &Node,
        context: &RequestContext,
        partitions: &[Arc<Partition>],
        guards: &[(VerificationGuard, bool)],
    ) -> Vec<Result<(), ErrorCode>> {
        let all = partitions.iter().zip(guards);
        let unknown: Vec<_> = all
            .filter(|(_, (_, open))| !open)
            .map(|(partition, _)| Arc::clone(partition))
            .collect();
        if unknown.is_empty() {
            return guards.iter().map(|_| Ok(())).collect();
        }
        let mut asked = self.ask_once(node, context, &unknown).await.into_iter();
        let result = |(_, open): &(VerificationGuard, bool)| {
            if *open {
                Ok(())
            } else {
                asked.next().unwrap_or(Err(ErrorCode::UnknownServerError))
            }
        };
        guards.iter().map(result).collect()
    }

    async fn ask_once(
        &self,
        node: &Node,
        context: &RequestContext,
        partitions: &[Arc<Partition>],
    ) -> Vec<Result<(), ErrorCode>> {
        let topics = partitions.iter().map(|partition| AddPartitionsToTxnTopic {
            name: partition.topic.clone(),
            partitions: vec![partition.index],
            ..Default::default()
        });
        let request = AddPartitionsToTxnTransaction {
            transactional_id: self.transactional_id.clone(),
            producer_id: self.producer_id.0,
            producer_epoch: self.producer_epoch.0,
            verify_only: self.client != ClientKind::LeavesAdding,
            topics: topics.collect(),
            ..Default::default()
        };
        let context = RequestContext {
            version: ADD_PARTITIONS_VERSION,
            ..context.clone()
        };
        let answered = node
            .transactions
            .call(
                self.transactional_id,
                &context,
                |coordinator, caller, now_ms| {
                    coordinator.add_partitions_to_txn(caller, &request, now_ms)
                },
            )
            .await
            .and_then(|response| {
                AddPartitionsToTxnResponse::try_from(response)
                    .map_err(|_| ErrorCode::UnknownServerError)
            });
        let response = match answered {
            Ok(response) => response,
            Err(code) => return partitions.iter().map(|_| Err(code)).collect(),
        };
        partitions
            .iter()
            .map(|partition| result_of(&response, partition))
            .collect()
    }

    /// The error as this client understands it.
    fn told(&self, code: ErrorCode) -> ErrorCode {
        match code {
            ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
            ErrorCode::TransactionAbortable if self.client == ClientKind::Old => {
                ErrorCode::InvalidTxnState
            }
            // Those that make a producer try again.
            ErrorCode::ConcurrentTransactions if self.client == ClientKind::LeavesAdding => code,
            ErrorCode::ConcurrentTransactions
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator => ErrorCode::NotEnoughReplicas,
            code => code,
        }
    }
}

fn result_of(
    response: &AddPartitionsToTxnResponse,
    partition: &Partition,
) -> Result<(), ErrorCode> {
    let topics = response
        .results_by_transaction
        .iter()
        .flat_map(|transaction| &transaction.topic_results);
    let result = topics
        .filter(|topic| topic.name == partition.topic)
        .flat_map(|topic| &topic.results_by_partition)
        .find(|result| result.partition_index == partition.index);
    match result.map(|result| ErrorCode::from_code(result.partition_error_code)) {
        Some(ErrorCode::None) => Ok(()),
        Some(code) => Err(code),
        None => Err(ErrorCode::UnknownServerError),
    }
}

/// The version in which brokers ask.
const ADD_PARTITIONS_VERSION: i16 = 5;
const ATTEMPTS: usize = 5;
const WAIT: Duration = Duration::from_millis(20);
