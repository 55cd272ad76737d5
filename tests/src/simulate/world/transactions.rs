//! Transactional producers and their coordinator in a run.
//!
//! What the broker's handlers do around the coordinator is done here: before a batch is appended, the
//! partition gives a guard, and the coordinator adds the partition to the transaction.

use std::collections::BTreeSet;

use moldau_core::coordinator::Caller;
use moldau_core::ids::{ProducerEpoch, ProducerId, Token};
use moldau_core::producer_state::VerificationGuard;
use moldau_core::transaction::TransactionAction;
use moldau_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use moldau_protocol::messages::end_txn::EndTxnRequest;
use moldau_protocol::messages::init_producer_id::InitProducerIdRequest;
use moldau_protocol::{ErrorCode, KString, ResponseKind};
use rand::RngExt;

use super::World;
use crate::simulate::mistake::Mistake;
use crate::simulate::network::{Request, Response};
use crate::simulate::node::{Origin, TOPIC, TransactionalWrite};
use crate::simulate::partition::{Append, Reply};
use crate::simulate::shard::Answer;
use crate::simulate::transaction_shard::skips_marker;
use crate::simulate::transactors::{
    FromTransactor, Identity, TransactorAnswer, TransactorRequest, transactional_id,
};

impl World {
    pub(super) fn transactor_acts(&mut self, calm: bool) {
        let index = self.random.random_range(0..self.transactors.len());
        let around = (self.settings.data.len(), self.now_ms);
        let asked = self.transactors[index].act(calm, around, &mut self.random);
        if let Some((from, body)) = asked {
            if let TransactorRequest::End {
                identity,
                committed,
            } = body
            {
                self.transactions.asks_to_end(identity, committed);
            }
            self.network.send(Request::Transactor { from, body });
        }
    }

    /// Goes on with what is under way, several steps at once: left to chance, few transactions would come to their end.
    pub(super) fn follow_transactions(&mut self) {
        for _ in 0..self.random.random_range(1..FOLLOWED) {
            self.transactor_acts(false);
            self.deliver_request();
            self.write_any();
            self.start_sync();
            self.finish_sync();
            self.tell_transactions();
            self.send_marker();
            self.deliver_response();
            if !self.storage.has_power() {
                return;
            }
        }
    }

    pub(super) fn transactor_request(&mut self, from: FromTransactor, body: TransactorRequest) {
        match body {
            TransactorRequest::Begin => self.begin_transactor(from),
            TransactorRequest::Write { partition, batch } => self.verify(TransactionalWrite {
                from,
                partition,
                batch,
            }),
            TransactorRequest::End {
                identity,
                committed,
            } => self.end_transaction(from, identity, committed),
        }
    }

    fn begin_transactor(&mut self, from: FromTransactor) {
        let id = transactional_id(from.index);
        self.next_producer_id += 1;
        let (fresh, now_ms) = (ProducerId(self.next_producer_id), self.now_ms);
        let timeout_ms = TIMEOUTS_MS[self.random.random_range(0..TIMEOUTS_MS.len())];
        let Some(node) = &mut self.node else { return };
        let caller = caller(node.await_answer(Origin::Begin(from)));
        let coordinator = &mut node.transactions.coordinator;
        let fresh = coordinator.wants_producer_id(&id).then_some(fresh);
        let request = InitProducerIdRequest {
            transactional_id: Some(id),
            transaction_timeout_ms: timeout_ms,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let actions = coordinator.init_producer_id(&caller, &request, fresh, now_ms);
        self.act_on_transactions(actions);
    }

    fn end_transaction(&mut self, from: FromTransactor, identity: Identity, committed: bool) {
        let (id, now_ms) = (transactional_id(from.index), self.now_ms);
        self.next_producer_id += 1;
        let fresh = ProducerId(self.next_producer_id);
        let Some(node) = &mut self.node else { return };
        let origin = Origin::End {
            from,
            identity,
            committed,
        };
        let caller = caller(node.await_answer(origin));
        let coordinator = &mut node.transactions.coordinator;
        let fresh = coordinator.wants_producer_id(&id).then_some(fresh);
        let request = EndTxnRequest {
            transactional_id: id,
            producer_id: identity.0,
            producer_epoch: identity.1,
            committed,
            ..Default::default()
        };
        let actions = coordinator.end_txn(&caller, &request, fresh, now_ms);
        self.act_on_transactions(actions);
    }

    /// A batch has arrived: unless the transaction is open in its partition, the coordinator adds it.
    fn verify(&mut self, write: TransactionalWrite) {
        let now_ms = self.now_ms;
        let skips = self.settings.mistake == Some(Mistake::SkipVerification);
        let Some(node) = &mut self.node else { return };
        let (guard, is_open) = node.guard(&write);
        if is_open || skips {
            return self.append_in_transaction(write, (!skips).then_some(guard));
        }
        let topic = AddPartitionsToTxnTopic {
            name: KString::from(TOPIC),
            partitions: vec![i32::try_from(write.partition).expect("a few partitions")],
            ..Default::default()
        };
        let request = AddPartitionsToTxnTransaction {
            transactional_id: transactional_id(write.from.index),
            producer_id: write.batch.producer_id(),
            producer_epoch: write.batch.producer_epoch(),
            topics: vec![topic],
            ..Default::default()
        };
        let caller = caller(node.await_answer(Origin::Verify(write, guard)));
        let coordinator = &mut node.transactions.coordinator;
        let actions = coordinator.add_partitions_to_txn(&caller, &request, now_ms);
        self.act_on_transactions(actions);
    }

    /// The coordinator has answered; a guard that is void by now is no use.
    fn verified(&mut self, write: TransactionalWrite, guard: VerificationGuard, code: ErrorCode) {
        let Some(node) = &self.node else { return };
        let is_void = node.guard(&write).0 != guard;
        let refusal = match code {
            ErrorCode::None if is_void => ErrorCode::ConcurrentTransactions,
            ErrorCode::None => return self.append_in_transaction(write, Some(guard)),
            ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
            code => code,
        };
        self.answer_transactor(write.from, TransactorAnswer::Written(Err(refusal)));
    }

    fn append_in_transaction(
        &mut self,
        write: TransactionalWrite,
        guard: Option<VerificationGuard>,
    ) {
        let Some(node) = &mut self.node else { return };
        let (partition, batch) = (write.partition, write.batch.clone());
        let request = node.await_answer(Origin::Write(write));
        node.partitions[partition].push(Append {
            guard,
            ..Append::plain(batch, true, Reply::Request(request))
        });
    }

    /// A batch of a transaction is in the log, or is not.
    pub(super) fn wrote(&mut self, write: &TransactionalWrite, result: Result<i64, ErrorCode>) {
        let identity = (write.batch.producer_id(), write.batch.producer_epoch());
        let partition = write.partition;
        let line = format!("{identity:?} writes to partition {partition}: {result:?}");
        self.trace.push_back(line);
        match result {
            Ok(offset) => {
                self.models[write.partition].acknowledged(&write.batch, offset, true);
                self.transactions.written(identity, write.partition, offset);
            }
            // Its producer has one transaction in each epoch, and the partition was verified. In the way may be a
            // transaction whose marker was lost, or that the producer was forgotten after it was verified.
            Err(ErrorCode::InvalidTxnState) => assert!(
                self.has_lost_data || !self.is_known(partition, identity.0),
                "partition {partition}: a batch of {identity:?} is refused for the state of its transaction"
            ),
            Err(_) => {}
        }
        self.answer_transactor(write.from, TransactorAnswer::Written(result));
    }

    fn is_known(&self, partition: usize, producer_id: i64) -> bool {
        let node = self.node.as_ref().expect("it runs");
        let known = node.partitions[partition].leader.producers().to_snapshot();
        let mut entries = known.producer_entries.iter();
        entries.any(|entry| entry.producer_id == producer_id)
    }

    fn answer_transactor(&mut self, to: FromTransactor, answer: TransactorAnswer) {
        self.network.answer(Response::Transactor { to, answer });
    }

    pub(super) fn transactor_answered(&mut self, to: FromTransactor, answer: &TransactorAnswer) {
        let partitions = self.settings.data.len();
        let transactor = &mut self.transactors[to.index];
        let begun = transactor.answered(to.attempt, answer, partitions, &mut self.random);
        if let Some(identity) = begun {
            self.transactions.begun(identity);
        }
    }

    pub(super) fn act_on_transactions(&mut self, actions: Vec<TransactionAction>) {
        let now_ms = self.now_ms;
        let Some(node) = &mut self.node else { return };
        let (shard, partition) = node.transactions();
        let answers = shard.act(actions, partition, now_ms);
        self.answer_transactors(answers);
    }

    fn answer_transactors(&mut self, answers: Vec<Answer>) {
        for (token, body) in answers {
            let Some(node) = &mut self.node else { return };
            match node.waiting.remove(&token.0) {
                Some(Origin::Begin(from)) => {
                    self.answer_transactor(from, TransactorAnswer::Begun(identity_of(&body)));
                }
                Some(Origin::Verify(write, guard)) => {
                    self.verified(write, guard, added_code(&body));
                }
                Some(Origin::End {
                    from,
                    identity,
                    committed,
                }) => {
                    let ended = identity_of(&body);
                    let line = format!("{identity:?} is to end ({committed}): {ended:?}");
                    self.trace.push_back(line);
                    if ended.is_ok() {
                        self.transactions.ended(identity, committed);
                    }
                    self.answer_transactor(from, TransactorAnswer::Ended(ended));
                }
                other => panic!("an answer to request {token}, which is {other:?}: {body:?}"),
            }
        }
    }

    /// Tells the coordinator of transactions what became of its appends.
    pub(super) fn tell_transactions(&mut self) {
        let now_ms = self.now_ms;
        let Some(node) = &mut self.node else { return };
        let (shard, partition) = node.transactions();
        let answers = shard.tell(partition, now_ms);
        self.answer_transactors(answers);
    }

    pub(super) fn time_out_transactions(&mut self) {
        let now_ms = self.now_ms;
        let Some(node) = &mut self.node else { return };
        let coordinator = &mut node.transactions.coordinator;
        if coordinator.poll_timeout().is_some_and(|due| due <= now_ms) {
            let actions = coordinator.handle_timeout(now_ms);
            self.act_on_transactions(actions);
        }
    }

    /// Sends one of the markers that are to be written.
    pub(super) fn send_marker(&mut self) {
        let node = self.node.as_ref().expect("it runs");
        let to_send = node.transactions.markers_to_send();
        if to_send.is_empty() {
            return;
        }
        let (id, partition) = to_send[self.random.random_range(0..to_send.len())];
        let now_ms = self.now_ms;
        let Some(node) = &mut self.node else { return };
        let append = node.transactions.send_marker(id, partition, now_ms);
        if skips_marker(self.settings.mistake) {
            return self.marker_outcome((id, partition), Ok(()));
        }
        node.partitions[partition].push(append.expect("a marker to send"));
    }

    pub(super) fn marker_outcome(&mut self, marker: (u64, usize), outcome: Result<(), ErrorCode>) {
        let now_ms = self.now_ms;
        let Some(node) = &mut self.node else { return };
        let (shard, partition) = node.transactions();
        let answers = shard.marker_outcome(marker, outcome, partition, now_ms);
        self.answer_transactors(answers);
    }

    /// What readers of committed records see of each data partition, if that is as promised.
    pub(super) fn check_transactions(&mut self) -> Vec<BTreeSet<i64>> {
        let node = self.node.as_ref().expect("it runs");
        let data = self.settings.data.len();
        let partitions = node.partitions[..data].iter().enumerate();
        let transactions = &mut self.transactions;
        partitions
            .map(|(index, partition)| transactions.check(index, partition))
            .collect()
    }

    /// With everything decided: nothing is open, and all promises are kept.
    pub(super) fn check_transactions_at_the_end(&mut self) {
        let seen = self.check_transactions();
        let node = self.node.as_ref().expect("it runs");
        let data = &node.partitions[..self.settings.data.len()];
        let leaders = data.iter().map(|partition| &partition.leader);
        // A marker that a disk without syncs has lost is written by nobody again: what lies behind it stays hidden.
        let shown = leaders.clone().map(|leader| {
            let end = match self.has_lost_data {
                true => leader.last_stable_offset(),
                false => leader.log_end_offset(),
            };
            leader.log_start_offset().0..end.0
        });
        let shown: Vec<_> = shown.collect();
        self.transactions.check_promises(&seen, &shown);
        for (index, leader) in leaders.enumerate().filter(|_| !self.has_lost_data) {
            assert_eq!(
                leader.last_stable_offset(),
                leader.high_watermark(),
                "partition {index}: a transaction stays open"
            );
        }
    }

    /// A disk that need not keep what is not synced has lost some of a data partition.
    pub(super) fn transactions_lost_data(&mut self) {
        self.has_lost_data = true;
        self.transactions.forget();
        for transactor in &mut self.transactors {
            transactor.begin_anew();
        }
    }
}

fn caller(token: u64) -> Caller {
    Caller {
        token: Token(token),
        api_version: 5,
        client_id: KString::from("transactor"),
        client_host: KString::from("/127.0.0.1"),
    }
}

fn identity_of(body: &ResponseKind) -> Result<Identity, ErrorCode> {
    let (code, identity) = match body {
        ResponseKind::InitProducerId(answer) => (
            answer.error_code,
            (answer.producer_id, answer.producer_epoch),
        ),
        ResponseKind::EndTxn(answer) => (
            answer.error_code,
            (answer.producer_id, answer.producer_epoch),
        ),
        other => panic!("a producer asks for its epoch and gets {other:?}"),
    };
    match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(identity),
        code => Err(code),
    }
}

fn added_code(body: &ResponseKind) -> ErrorCode {
    let ResponseKind::AddPartitionsToTxn(response) = body else {
        panic!("the coordinator adds a partition and says {body:?}");
    };
    let topics = response.results_by_transaction.iter();
    let topics = topics.flat_map(|transaction| &transaction.topic_results);
    let mut partitions = topics.flat_map(|topic| &topic.results_by_partition);
    let code = partitions.next().expect("an answer for the partition");
    ErrorCode::from_code(code.partition_error_code)
}

impl crate::simulate::node::Node {
    /// What a batch must carry, and whether its transaction is open in the partition.
    fn guard(&self, write: &TransactionalWrite) -> (VerificationGuard, bool) {
        let producers = self.partitions[write.partition].leader.producers();
        let id = ProducerId(write.batch.producer_id());
        producers.verification_guard(id, ProducerEpoch(write.batch.producer_epoch()))
    }
}

/// Rounds that transactions are followed for at most.
const FOLLOWED: u32 = 20;

/// `transaction.timeout.ms` of the producers: some are over soon, so that the coordinator aborts.
const TIMEOUTS_MS: [i32; 3] = [5_000, 60_000, 600_000];
