//! Clients with transactions, old and new, and what they see of them.

use bytes::Bytes;
use moldau_protocol::ErrorCode;
use moldau_protocol::batch::{BatchIter, Compression, EndTransactionMarker, RecordBatchBuilder};
use moldau_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use moldau_protocol::messages::end_txn::EndTxnRequest;
use moldau_protocol::messages::fetch::FetchRequest;
use moldau_protocol::messages::find_coordinator::FindCoordinatorRequest;
use moldau_protocol::messages::init_producer_id::InitProducerIdRequest;
use moldau_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use moldau_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use moldau_protocol::messages::produce::ProduceRequest;
use moldau_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};

use crate::fixture::*;

pub(crate) type Producer = (i64, i16);

/// How a client talks: the versions of its requests.
#[derive(Clone, Copy)]
pub(crate) struct Client {
    pub(crate) id: &'static str,
    pub(crate) produce: i16,
    pub(crate) end: i16,
    pub(crate) offsets: i16,
}

/// A client of transaction version 2 (KIP-890).
pub(crate) const NEW: Client = Client {
    id: "tx",
    produce: 12,
    end: 5,
    offsets: 5,
};
/// A client that adds partitions itself.
pub(crate) const OLD: Client = Client {
    id: "tx",
    produce: 9,
    end: 3,
    offsets: 3,
};

impl Client {
    pub(crate) async fn init_once(
        self,
        wire: &mut Wire,
        timeout_ms: i32,
    ) -> Result<Producer, ErrorCode> {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.id.into()),
            transaction_timeout_ms: timeout_ms,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let response = wire.call(4, request).await;
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => Ok((response.producer_id, response.producer_epoch)),
            code => Err(code),
        }
    }

    /// Asks until what was left open is aborted.
    pub(crate) async fn init_for(self, wire: &mut Wire, timeout_ms: i32) -> Producer {
        loop {
            match self.init_once(wire, timeout_ms).await {
                Ok(producer) => return producer,
                Err(ErrorCode::ConcurrentTransactions) => {}
                Err(code) => panic!("{code:?}"),
            }
        }
    }

    pub(crate) async fn init(self, wire: &mut Wire) -> Producer {
        self.init_for(wire, 60_000).await
    }

    pub(crate) async fn add(
        self,
        wire: &mut Wire,
        producer: Producer,
        partitions: &[i32],
    ) -> ErrorCode {
        let request = || AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.into(),
            v3_and_below_producer_id: producer.0,
            v3_and_below_producer_epoch: producer.1,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: "t".into(),
                partitions: partitions.to_vec(),
                ..Default::default()
            }],
            ..Default::default()
        };
        loop {
            let response = wire.call(3, request()).await;
            let topic = &response.results_by_topic_v3_and_below[0];
            let code = topic.results_by_partition[0].partition_error_code;
            match ErrorCode::from_code(code) {
                ErrorCode::ConcurrentTransactions => {}
                code => return code,
            }
        }
    }

    /// Produces until the end of the last transaction is over.
    pub(crate) async fn produce(
        self,
        wire: &mut Wire,
        producer: Producer,
        at: (i32, i32),
        values: &[&str],
    ) -> ErrorCode {
        loop {
            match self.produce_once(wire, producer, at, values).await {
                ErrorCode::ConcurrentTransactions => {}
                code => return code,
            }
        }
    }

    /// `at` is a partition and the first sequence number.
    pub(crate) async fn produce_once(
        self,
        wire: &mut Wire,
        producer: Producer,
        at: (i32, i32),
        values: &[&str],
    ) -> ErrorCode {
        let request = self.produce_request(producer, at, values);
        let mut response = wire.call(self.produce, request).await;
        let partition = response.responses.remove(0).partition_responses.remove(0);
        ErrorCode::from_code(partition.error_code)
    }

    pub(crate) fn produce_request(
        self,
        producer: Producer,
        (partition, sequence): (i32, i32),
        values: &[&str],
    ) -> ProduceRequest {
        let batch = tx_batch(producer, sequence, values);
        ProduceRequest {
            transactional_id: Some(self.id.into()),
            ..produce_request("t", partition, -1, batch)
        }
    }

    pub(crate) async fn end(
        self,
        wire: &mut Wire,
        producer: Producer,
        committed: bool,
    ) -> Result<Producer, ErrorCode> {
        let request = EndTxnRequest {
            transactional_id: self.id.into(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            committed,
            ..Default::default()
        };
        let response = wire.call(self.end, request).await;
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None if self.end >= 5 => Ok((response.producer_id, response.producer_epoch)),
            ErrorCode::None => Ok(producer),
            code => Err(code),
        }
    }

    pub(crate) async fn commit_offset(
        self,
        wire: &mut Wire,
        producer: Producer,
        offset: i64,
    ) -> ErrorCode {
        let request = || TxnOffsetCommitRequest {
            transactional_id: self.id.into(),
            group_id: "g".into(),
            producer_id: producer.0,
            producer_epoch: producer.1,
            generation_id: -1,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: "t".into(),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    partition_index: 0,
                    committed_offset: offset,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        loop {
            let response = wire.call(self.offsets, request()).await;
            let code = response.topics[0].partitions[0].error_code;
            match ErrorCode::from_code(code) {
                ErrorCode::ConcurrentTransactions => {}
                code => return code,
            }
        }
    }
}

pub(crate) fn tx_batch(producer: Producer, sequence: i32, values: &[&str]) -> Bytes {
    let builder = RecordBatchBuilder::new(Compression::None);
    let mut builder = builder
        .producer(producer.0, producer.1, sequence)
        .transactional(true);
    for value in values {
        builder.append(now_ms(), None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

pub(crate) async fn started() -> (TestBroker, Wire) {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 2).await;
    (broker, wire)
}

/// What a consumer shows its user: reads to the end of what is stable, and drops what was aborted.
pub(crate) async fn committed_values(wire: &mut Wire, partition: i32) -> Vec<String> {
    let (mut values, mut offset) = (Vec::new(), 0);
    loop {
        let request = FetchRequest {
            isolation_level: 1,
            ..fetch_request("t", partition, offset)
        };
        let data = only(wire.call(FETCH, request).await);
        let bytes = data.records.as_ref().unwrap().as_bytes().unwrap();
        let mut aborted = data
            .aborted_transactions
            .clone()
            .expect("a list for read_committed");
        aborted.sort_by_key(|aborted| aborted.first_offset);
        let mut dropped = std::collections::BTreeSet::new();
        let mut end = offset;
        for batch in BatchIter::new(bytes).map(Result::unwrap) {
            while let Some(first) = aborted
                .first()
                .filter(|first| first.first_offset <= batch.last_offset())
            {
                dropped.insert(first.producer_id);
                aborted.remove(0);
            }
            end = batch.next_offset();
            if batch.is_control() {
                if !EndTransactionMarker::from_batch(&batch)
                    .unwrap()
                    .unwrap()
                    .committed
                {
                    dropped.remove(&batch.producer_id());
                }
                continue;
            }
            if batch.header().is_transactional() && dropped.contains(&batch.producer_id()) {
                continue;
            }
            for record in batch.records().unwrap().map(Result::unwrap) {
                values.push(text(record.value.as_ref()));
            }
        }
        assert!(end <= data.last_stable_offset);
        if end == offset {
            return values;
        }
        offset = end;
    }
}

/// Waits until nothing of a transaction is open in a partition.
pub(crate) async fn settled(wire: &mut Wire, partition: i32) {
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let data = wire.fetch("t", partition, 0).await;
        if data.last_stable_offset == data.high_watermark {
            return;
        }
        assert!(
            std::time::Instant::now() < limit,
            "a transaction stays open"
        );
    }
}

pub(crate) async fn latest(wire: &mut Wire, isolation_level: i8) -> i64 {
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level,
        topics: vec![ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![ListOffsetsPartition {
                timestamp: -1,
                current_leader_epoch: -1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    wire.call(6, request).await.topics[0].partitions[0].offset
}

pub(crate) async fn group_offset(wire: &mut Wire, require_stable: bool) -> Result<i64, ErrorCode> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: "g".into(),
            member_epoch: -1,
            topics: Some(vec![OffsetFetchRequestTopics {
                name: "t".into(),
                partition_indexes: vec![0],
                ..Default::default()
            }]),
            ..Default::default()
        }],
        require_stable,
        ..Default::default()
    };
    let response = wire.call(8, request).await;
    let partition = &response.groups[0].topics[0].partitions[0];
    match ErrorCode::from_code(partition.error_code) {
        ErrorCode::None => Ok(partition.committed_offset),
        code => Err(code),
    }
}

pub(crate) async fn group_coordinator(wire: &mut Wire) {
    let request = FindCoordinatorRequest {
        key_type: 0,
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    let response = wire.call(4, request).await;
    assert_eq!(response.coordinators[0].error_code, 0);
}
