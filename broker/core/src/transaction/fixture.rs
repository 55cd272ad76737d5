//! A coordinator with the shell around it: its log, its answers, and the markers it wants written.

use std::collections::{BTreeMap, VecDeque};

use moldau_protocol::ResponseKind;
use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use moldau_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use moldau_protocol::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use moldau_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use moldau_protocol::types::KString;

use super::*;
use crate::group::Caller;

/// A producer id and its epoch.
pub(super) type Producer = (i64, i16);

pub(super) struct World {
    pub(super) coordinator: TransactionCoordinator,
    pub(super) now_ms: i64,
    pub(super) log: Vec<CoordinatorRecord>,
    pub(super) appends: VecDeque<(AppendId, Vec<CoordinatorRecord>)>,
    pub(super) markers: VecDeque<Markers>,
    answers: BTreeMap<Token, ResponseKind>,
    last_token: u64,
    next_producer_id: i64,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            coordinator: TransactionCoordinator::new(TransactionSettings::default(), 7),
            now_ms: 1_000_000,
            log: Vec::new(),
            appends: VecDeque::new(),
            markers: VecDeque::new(),
            answers: BTreeMap::new(),
            last_token: 0,
            next_producer_id: 100,
        }
    }

    fn caller(&mut self, api_version: i16) -> Caller {
        self.last_token += 1;
        Caller {
            token: Token(self.last_token),
            api_version,
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
        }
    }

    pub(super) fn act(&mut self, actions: Vec<TransactionAction>) {
        for action in actions {
            match action {
                TransactionAction::Respond { token, response } => {
                    let before = self.answers.insert(token, response);
                    assert!(before.is_none(), "a second answer to {token}");
                }
                TransactionAction::Append { id, records } => self.appends.push_back((id, records)),
                TransactionAction::WriteMarkers(markers) => self.markers.push_back(markers),
            }
        }
    }

    pub(super) fn commit_one(&mut self) {
        if let Some((id, records)) = self.appends.pop_front() {
            self.log.extend(records);
            let actions = self.coordinator.committed(id, self.now_ms);
            self.act(actions);
        }
    }

    pub(super) fn commit_all(&mut self) {
        while !self.appends.is_empty() {
            self.commit_one();
        }
    }

    pub(super) fn fail_one(&mut self) {
        if let Some((id, _)) = self.appends.pop_front() {
            let code = ErrorCode::NotEnoughReplicas;
            let actions = self.coordinator.append_failed(id, code, self.now_ms);
            self.act(actions);
        }
    }

    /// Writes the markers of the oldest decided transaction.
    pub(super) fn write_markers(&mut self) -> Markers {
        let markers = self.markers.pop_front().expect("markers to write");
        let actions = self.coordinator.markers_written(
            &markers.transactional_id,
            markers.producer_id,
            markers.producer_epoch,
            self.now_ms,
        );
        self.act(actions);
        markers
    }

    pub(super) fn finish(&mut self) -> Markers {
        let markers = self.write_markers();
        self.commit_all();
        markers
    }

    /// Everything that has no record is forgotten.
    pub(super) fn restart(&mut self) {
        let mut coordinator = TransactionCoordinator::new(TransactionSettings::default(), 8);
        for record in &self.log {
            coordinator
                .replay(&record.key, record.value.as_ref())
                .unwrap();
        }
        self.coordinator = coordinator;
        self.appends.clear();
        self.markers.clear();
        let actions = self.coordinator.loaded(self.now_ms);
        self.act(actions);
    }

    pub(super) fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
        let actions = self.coordinator.handle_timeout(self.now_ms);
        self.act(actions);
    }

    fn answer<R: TryFrom<ResponseKind>>(&mut self, token: Token) -> Option<R> {
        R::try_from(self.answers.remove(&token)?).ok()
    }

    pub(super) fn send_init(
        &mut self,
        version: i16,
        id: &'static str,
        expected: Option<Producer>,
    ) -> Token {
        let caller = self.caller(version);
        let (producer_id, producer_epoch) = expected.unwrap_or((-1, -1));
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: 60_000,
            producer_id,
            producer_epoch,
            ..Default::default()
        };
        let fresh = self.fresh(id);
        let now_ms = self.now_ms;
        let actions = self
            .coordinator
            .init_producer_id(&caller, &request, fresh, now_ms);
        self.act(actions);
        caller.token
    }

    fn fresh(&mut self, id: &str) -> Option<ProducerId> {
        self.coordinator.wants_producer_id(id).then(|| {
            self.next_producer_id += 1;
            ProducerId(self.next_producer_id)
        })
    }

    pub(super) fn init_again(
        &mut self,
        id: &'static str,
        expected: Option<Producer>,
    ) -> Result<Producer, ErrorCode> {
        let token = self.send_init(5, id, expected);
        self.commit_all();
        let response: InitProducerIdResponse = self.answer(token).expect("an answer");
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => Ok((response.producer_id, response.producer_epoch)),
            code => Err(code),
        }
    }

    pub(super) fn init(&mut self, id: &'static str) -> Producer {
        self.init_again(id, None).unwrap()
    }

    pub(super) fn send_add(
        &mut self,
        version: i16,
        id: &'static str,
        producer: Producer,
        partitions: &[i32],
        verify_only: bool,
    ) -> Token {
        let caller = self.caller(version);
        let request = AddPartitionsToTxnTransaction {
            transactional_id: id.into(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            verify_only,
            topics: vec![AddPartitionsToTxnTopic {
                name: "t".into(),
                partitions: partitions.to_vec(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let actions = self
            .coordinator
            .add_partitions_to_txn(&caller, &request, self.now_ms);
        self.act(actions);
        caller.token
    }

    pub(super) fn added(&mut self, version: i16, token: Token) -> Option<ErrorCode> {
        let ResponseKind::AddPartitionsToTxn(response) = self.answers.remove(&token)? else {
            panic!("another answer");
        };
        let topics = if version < 4 {
            response.results_by_topic_v3_and_below
        } else {
            response.results_by_transaction[0].topic_results.clone()
        };
        let mut partitions = topics.iter().flat_map(|topic| &topic.results_by_partition);
        let code = partitions.next()?.partition_error_code;
        Some(ErrorCode::from_code(code))
    }

    /// As a client with transaction version 0 for versions below 4, else 2.
    pub(super) fn add(
        &mut self,
        version: i16,
        id: &'static str,
        producer: Producer,
        partitions: &[i32],
    ) -> ErrorCode {
        let token = self.send_add(version, id, producer, partitions, false);
        self.commit_all();
        self.added(version, token).expect("an answer")
    }

    pub(super) fn verify(
        &mut self,
        id: &'static str,
        producer: Producer,
        partition: i32,
    ) -> ErrorCode {
        let token = self.send_add(5, id, producer, &[partition], true);
        self.added(5, token).expect("an answer")
    }

    pub(super) fn add_offsets(
        &mut self,
        version: i16,
        id: &'static str,
        producer: Producer,
    ) -> ErrorCode {
        let caller = self.caller(version);
        let request = AddOffsetsToTxnRequest {
            transactional_id: id.into(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            group_id: "g".into(),
            ..Default::default()
        };
        let partition = ("__consumer_offsets".into(), 3);
        let actions =
            self.coordinator
                .add_offsets_to_txn(&caller, &request, partition, self.now_ms);
        self.act(actions);
        self.commit_all();
        let ResponseKind::AddOffsetsToTxn(response) = self.answers.remove(&caller.token).unwrap()
        else {
            panic!("another answer");
        };
        ErrorCode::from_code(response.error_code)
    }

    pub(super) fn send_end(
        &mut self,
        version: i16,
        id: &'static str,
        producer: Producer,
        committed: bool,
    ) -> Token {
        let caller = self.caller(version);
        let request = EndTxnRequest {
            transactional_id: id.into(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            committed,
            ..Default::default()
        };
        let fresh = self.fresh(id);
        let actions = self
            .coordinator
            .end_txn(&caller, &request, fresh, self.now_ms);
        self.act(actions);
        caller.token
    }

    pub(super) fn ended(&mut self, token: Token) -> Option<Result<Producer, ErrorCode>> {
        let response: EndTxnResponse = self.answer(token)?;
        Some(match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => Ok((response.producer_id, response.producer_epoch)),
            code => Err(code),
        })
    }

    pub(super) fn end(
        &mut self,
        version: i16,
        id: &'static str,
        producer: Producer,
        committed: bool,
    ) -> Result<Producer, ErrorCode> {
        let token = self.send_end(version, id, producer, committed);
        self.commit_all();
        self.ended(token).expect("an answer")
    }

    pub(super) fn state(&self, id: &'static str) -> TransactionState {
        let id = KString::from(id);
        self.coordinator
            .metadata(&id)
            .map_or(TransactionState::Dead, |metadata| metadata.state)
    }

    pub(super) fn set_epoch(&mut self, id: &'static str, epoch: i16) {
        let entry = self.coordinator.ids.get_mut(id).unwrap();
        entry.metadata.producer_epoch = ProducerEpoch(epoch);
    }

    pub(super) fn is_answered(&self, token: Token) -> bool {
        self.answers.contains_key(&token)
    }
}

impl World {
    pub(super) fn init_code(&mut self, token: Token) -> ErrorCode {
        let response: InitProducerIdResponse = self.answer(token).expect("an answer");
        ErrorCode::from_code(response.error_code)
    }

    pub(super) fn init_with_timeout(&mut self, id: &'static str, timeout_ms: i32) -> ErrorCode {
        let caller = self.caller(5);
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: timeout_ms,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let fresh = self.fresh(id);
        let now_ms = self.now_ms;
        let actions = self
            .coordinator
            .init_producer_id(&caller, &request, fresh, now_ms);
        self.act(actions);
        self.commit_all();
        self.init_code(caller.token)
    }
}
