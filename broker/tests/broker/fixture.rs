//! A broker under test, a connection to it, and the requests that most tests need.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use moldau_broker::{Broker, BrokerConfig, BrokerHandle};
use moldau_protocol::batch::{BatchIter, Compression, Record, RecordBatchBuilder};
use moldau_protocol::frame::{self, RequestHeader};
use moldau_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use moldau_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use moldau_protocol::messages::metadata::MetadataRequest;
use moldau_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use moldau_protocol::{ApiKey, KString, Records, Request, RequestKind, ResponseKind};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A hanging test ends after this.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct TestBroker {
    pub(crate) handle: BrokerHandle,
    pub(crate) dir: TempDir,
}

impl TestBroker {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut BrokerConfig)) -> Self {
        Self::start_in(TempDir::new().unwrap(), change).await
    }

    pub(crate) async fn start_in(dir: TempDir, change: impl FnOnce(&mut BrokerConfig)) -> Self {
        let mut config = config(dir.path());
        change(&mut config);
        Self {
            handle: Broker::start(config).await.unwrap(),
            dir,
        }
    }

    /// Stops cleanly and starts on the same directory.
    pub(crate) async fn restart(self) -> Self {
        let Self { handle, dir } = self;
        handle.shutdown().await.unwrap();
        Self::start_in(dir, |_| {}).await
    }

    pub(crate) async fn connect(&self) -> Wire {
        Wire::to(self.handle.kafka_addresses()[0]).await
    }
}

pub(crate) fn config(dir: &Path) -> BrokerConfig {
    let mut config = BrokerConfig::new(dir);
    config.set("listeners", "127.0.0.1:0").unwrap();
    config
}

/// A connection that speaks frames.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    next_id: i32,
}

impl Wire {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            next_id: 0,
        }
    }

    /// Sends a request and waits for its response.
    pub(crate) async fn call<R: Request>(&mut self, version: i16, request: R) -> R::Response {
        let id = self.send(version, request).await;
        let (answered, response) = self.receive(R::KEY, version).await;
        assert_eq!(answered, id, "responses come in the order of the requests");
        match R::Response::try_from(response) {
            Ok(response) => response,
            Err(_) => panic!("response of another API"),
        }
    }

    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: R) -> i32 {
        self.next_id += 1;
        let header = RequestHeader {
            api_key: R::KEY as i16,
            api_version: version,
            correlation_id: self.next_id,
            client_id: Some(KString::from("test")),
        };
        let frame = frame::encode_request(&header, &request.into()).unwrap();
        self.send_bytes(&frame.to_bytes().unwrap()).await;
        self.next_id
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn receive(&mut self, key: ApiKey, version: i16) -> (i32, ResponseKind) {
        let frame = self.receive_frame().await.expect("connection was closed");
        frame::decode_response(key, version, frame).unwrap()
    }

    /// The next frame without its length; `None` when the broker closed the connection.
    pub(crate) async fn receive_frame(&mut self) -> Option<Bytes> {
        let read = async {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).await.ok()?;
            let mut frame = BytesMut::zeroed(u32::from_be_bytes(length) as usize);
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(frame.freeze())
        };
        tokio::time::timeout(LIMIT, read).await.expect("no answer")
    }

    pub(crate) async fn create_topic(&mut self, name: &str, partitions: i32) {
        self.create_topic_with(name, partitions, &[]).await;
    }

    pub(crate) async fn create_topic_with(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: KString::copy_from(name),
            value: Some(KString::copy_from(value)),
            ..Default::default()
        });
        let topic = CreatableTopic {
            name: KString::copy_from(name),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 1000,
            ..Default::default()
        };
        let response = self.call(7, request).await;
        assert_eq!(
            response.topics[0].error_code, 0,
            "{:?}",
            response.topics[0].error_message
        );
    }

    /// Produces with `acks=all`.
    pub(crate) async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> PartitionProduceResponse {
        let mut response = self
            .call(PRODUCE, produce_request(topic, partition, -1, batch))
            .await;
        response.responses.remove(0).partition_responses.remove(0)
    }

    /// Produces one record for each value and returns the first one's offset.
    pub(crate) async fn produce_values(
        &mut self,
        topic: &str,
        partition: i32,
        values: &[&str],
    ) -> i64 {
        let response = self.produce(topic, partition, batch(values)).await;
        assert_eq!(response.error_code, 0);
        response.base_offset
    }

    pub(crate) async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> PartitionData {
        only(
            self.call(FETCH, fetch_request(topic, partition, offset))
                .await,
        )
    }

    /// Every value of a partition from `offset` on.
    pub(crate) async fn values(
        &mut self,
        topic: &str,
        partition: i32,
        mut offset: i64,
    ) -> Vec<String> {
        let mut values = Vec::new();
        loop {
            let records = records(&self.fetch(topic, partition, offset).await);
            let Some(last) = records.last() else {
                return values;
            };
            values.extend(
                records
                    .iter()
                    .filter(|record| record.offset >= offset)
                    .map(|record| text(record.value.as_ref())),
            );
            offset = last.offset + 1;
        }
    }
}

pub(crate) fn text(bytes: Option<&Bytes>) -> String {
    bytes.map_or_else(
        || "null".to_owned(),
        |bytes| String::from_utf8_lossy(bytes).into_owned(),
    )
}

/// Versions that name topics, not ids.
pub(crate) const PRODUCE: i16 = 12;
pub(crate) const FETCH: i16 = 12;

/// A batch with these values, without keys, of now.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    for value in values {
        builder.append(now_ms(), None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

/// A batch of an idempotent producer.
pub(crate) fn idempotent_batch(producer: (i64, i16), sequence: i32, values: &[&str]) -> Bytes {
    let mut builder =
        RecordBatchBuilder::new(Compression::None).producer(producer.0, producer.1, sequence);
    for value in values {
        builder.append(now_ms(), None, Some(value.as_bytes()), &[]);
    }
    builder.build()
}

pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

pub(crate) fn produce_request(
    topic: &str,
    partition: i32,
    acks: i16,
    batch: Bytes,
) -> ProduceRequest {
    let data = PartitionProduceData {
        index: partition,
        records: Some(Records::from(batch)),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: KString::copy_from(topic),
        partition_data: vec![data],
        ..Default::default()
    };
    ProduceRequest {
        acks,
        timeout_ms: 30_000,
        topic_data: vec![topic],
        ..Default::default()
    }
}

/// A fetch that does not wait.
pub(crate) fn fetch_request(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let asked = FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: 1024 * 1024,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic: KString::copy_from(topic),
        partitions: vec![asked],
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 50 * 1024 * 1024,
        topics: vec![topic],
        session_epoch: -1,
        ..Default::default()
    }
}

/// The one partition of a fetch response.
pub(crate) fn only(mut response: FetchResponse) -> PartitionData {
    assert_eq!(response.error_code, 0);
    response.responses.remove(0).partitions.remove(0)
}

pub(crate) fn records(data: &PartitionData) -> Vec<Record> {
    let bytes = data
        .records
        .as_ref()
        .expect("records are never null")
        .as_bytes()
        .unwrap();
    let batches = BatchIter::new(bytes).map(|batch| {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        batch
    });
    batches
        .flat_map(|batch| {
            batch
                .records()
                .unwrap()
                .map(Result::unwrap)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Asks for the metadata of every topic.
pub(crate) fn all_topics() -> MetadataRequest {
    MetadataRequest {
        topics: None,
        allow_auto_topic_creation: true,
        ..Default::default()
    }
}

/// Any request as the broker takes it.
pub(crate) fn kind(request: impl Into<RequestKind>) -> RequestKind {
    request.into()
}
