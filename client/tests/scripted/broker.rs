//! The scripted broker.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use moldau_client::{Client, ClientConfig};
use moldau_protocol::batch::RecordBatch;
use moldau_protocol::dispatch::{ClientContext, DispatchError, Dispatched, Dispatcher};
use moldau_protocol::frame::{self, RequestHeader};
use moldau_protocol::messages::add_offsets_to_txn::AddOffsetsToTxnResponse;
use moldau_protocol::messages::api_versions::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey,
};
use moldau_protocol::messages::end_txn::EndTxnResponse;
use moldau_protocol::messages::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use moldau_protocol::messages::find_coordinator::{
    Coordinator as FoundCoordinator, FindCoordinatorResponse,
};
use moldau_protocol::messages::init_producer_id::InitProducerIdResponse;
use moldau_protocol::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use moldau_protocol::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use moldau_protocol::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use moldau_protocol::{ApiKey, ErrorCode, KString, Records, RequestKind, ResponseKind, Uuid};
use tokio::sync::Notify;

use crate::coordinator::Coordinator;
use crate::log::Log;
use crate::transactions::{TransactionFault, Transactions, added, offsets_answered};

/// A broker in memory.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    state: Mutex<State>,
    appended: Notify,
    released: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) topics: BTreeMap<String, Vec<Log>>,
    pub(crate) coordinator: Coordinator,
    pub(crate) transactions: Transactions,
    /// What happens to the next produce requests; without one they succeed.
    pub(crate) produce_script: VecDeque<ProduceFault>,
    /// What happens to the next fetches.
    pub(crate) fetch_script: VecDeque<ErrorCode>,
    /// Highest versions answered, where they are lower than the newest.
    pub(crate) max_versions: HashMap<ApiKey, i16>,
    /// Whether produce requests are held back.
    pub(crate) is_holding: bool,
    pub(crate) requests: Vec<ApiKey>,
    /// Bytes of records in each produce request.
    pub(crate) produced: Vec<usize>,
    next_producer_id: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) port: i32,
    /// Whether topics have ids: all of them this one, so there should be one topic only.
    pub(crate) topic_id: Uuid,
}

/// What happens to a produce request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ProduceFault {
    Succeed,
    /// Nothing is stored, and this is the answer.
    Refuse(ErrorCode),
    /// Everything is stored, but this is the answer.
    StoreAndAnswer(ErrorCode),
    /// The connection breaks before anything is stored.
    LoseRequest,
    /// The connection breaks after everything is stored.
    LoseAnswer,
    /// All producers are forgotten before the request is handled.
    ForgetProducers,
}

impl Broker {
    pub(crate) fn with_topic(name: &str, partitions: usize) -> Arc<Self> {
        let broker = Self::default();
        broker.add_topic(name, partitions);
        Arc::new(broker)
    }

    pub(crate) fn add_topic(&self, name: &str, partitions: usize) {
        let logs = (0..partitions).map(|_| Log::default()).collect();
        self.lock().topics.insert(name.to_owned(), logs);
    }

    pub(crate) fn client(self: &Arc<Self>) -> Client {
        let dispatcher: Arc<dyn Dispatcher> = Arc::<Self>::clone(self);
        Client::in_process(dispatcher, ClientConfig::new(""))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn values(&self, topic: &str, partition: usize) -> Vec<String> {
        self.lock().topics[topic][partition].values()
    }

    pub(crate) fn count(&self, key: ApiKey) -> usize {
        let state = self.lock();
        state.requests.iter().filter(|seen| **seen == key).count()
    }

    /// Lets produce requests that were held back go on.
    pub(crate) fn release(&self) {
        self.lock().is_holding = false;
        self.released.notify_waiters();
    }

    async fn handle(
        &self,
        version: i16,
        request: RequestKind,
    ) -> Result<ResponseKind, DispatchError> {
        let request = through_bytes(version, request)?;
        let key = request.api_key();
        self.lock().requests.push(key);
        let response = match request {
            RequestKind::Produce(request) => self.produce(&request).await?.into(),
            RequestKind::Fetch(request) => self.fetch(&request).await.into(),
            request if is_transactional(&request) => self.lock().transact(&request)?,
            request => self.lock().answer(request, version)?,
        };
        response_through_bytes(key, version, &response)
    }

    async fn produce(&self, request: &ProduceRequest) -> Result<ProduceResponse, DispatchError> {
        while self.lock().is_holding {
            self.released.notified().await;
        }
        let mut state = self.lock();
        let fault = state
            .produce_script
            .pop_front()
            .unwrap_or(ProduceFault::Succeed);
        match fault {
            ProduceFault::LoseRequest => return Err(DispatchError::Stopped),
            ProduceFault::ForgetProducers => {
                for log in state.topics.values_mut().flatten() {
                    log.forget_producers();
                }
            }
            _ => {}
        }
        let mut responses = Vec::new();
        let mut produced = 0;
        for topic in &request.topic_data {
            let mut partition_responses = Vec::new();
            for data in &topic.partition_data {
                let bytes = data.records.as_ref().and_then(Records::as_bytes).unwrap();
                produced += bytes.len();
                let append = |state: &mut State| {
                    state.admit(request, &topic.name, data.index, &bytes)?;
                    let logs = state.topics.get_mut(&*topic.name).unwrap();
                    logs[data.index as usize].append(&bytes)
                };
                let result = match fault {
                    ProduceFault::Refuse(code) => Err(code),
                    ProduceFault::StoreAndAnswer(code) => append(&mut state).and(Err(code)),
                    _ => append(&mut state),
                };
                partition_responses.push(PartitionProduceResponse {
                    index: data.index,
                    error_code: result.err().map_or(0, |code| code.code()),
                    base_offset: result.unwrap_or(-1),
                    ..PartitionProduceResponse::default()
                });
            }
            responses.push(TopicProduceResponse {
                name: topic.name.clone(),
                partition_responses,
                ..TopicProduceResponse::default()
            });
        }
        self.appended.notify_waiters();
        state.produced.push(produced);
        if matches!(fault, ProduceFault::LoseAnswer) {
            return Err(DispatchError::Stopped);
        }
        Ok(ProduceResponse {
            responses,
            ..ProduceResponse::default()
        })
    }

    async fn fetch(&self, request: &FetchRequest) -> FetchResponse {
        let wait = Duration::from_millis(request.max_wait_ms as u64);
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let appended = self.appended.notified();
            let (response, size) = self.lock().fetch(request);
            if size > 0 {
                return response;
            }
            if tokio::time::timeout_at(deadline, appended).await.is_err() {
                return response;
            }
        }
    }
}

impl Dispatcher for Broker {
    fn dispatch(&self, _: &ClientContext, version: i16, request: RequestKind) -> Dispatched<'_> {
        Box::pin(self.handle(version, request))
    }
}

impl State {
    /// Whether a batch may be written: if it belongs to a transaction, the coordinator is asked.
    fn admit(
        &mut self,
        request: &ProduceRequest,
        topic: &KString,
        partition: i32,
        bytes: &bytes::Bytes,
    ) -> Result<(), ErrorCode> {
        let Some(id) = &request.transactional_id else {
            return Ok(());
        };
        let batch = RecordBatch::parse(bytes.clone()).unwrap();
        assert!(batch.is_transactional());
        let (producer, epoch) = (batch.producer_id(), batch.producer_epoch());
        let partition = (topic.to_string(), partition);
        self.transactions.admit(id, producer, epoch, partition)
    }

    /// Answers as the coordinator of transactions, as far as the script lets it.
    fn transact(&mut self, request: &RequestKind) -> Result<ResponseKind, DispatchError> {
        let fault = self.transactions.script.pop_front();
        match fault {
            Some(TransactionFault::LoseRequest) => return Err(DispatchError::Stopped),
            Some(TransactionFault::Refuse(code)) => return Ok(refused(request, code)),
            _ => {}
        }
        self.next_producer_id += 1;
        let new_id = self.next_producer_id;
        let Self {
            transactions,
            topics,
            coordinator,
            ..
        } = self;
        let response = match request {
            RequestKind::InitProducerId(request) => {
                let id = request.transactional_id.clone().unwrap();
                transactions.init(&id, request, new_id, topics).into()
            }
            RequestKind::AddPartitionsToTxn(request) => transactions.add_partitions(request).into(),
            RequestKind::AddOffsetsToTxn(request) => transactions.add_offsets(request).into(),
            RequestKind::TxnOffsetCommit(request) => transactions.commit_offsets(request).into(),
            RequestKind::EndTxn(request) => transactions.end(request, topics, coordinator).into(),
            other => panic!("{other:?}"),
        };
        match fault {
            Some(TransactionFault::LoseAnswer) => Err(DispatchError::Stopped),
            _ => Ok(response),
        }
    }

    fn answer(
        &mut self,
        request: RequestKind,
        version: i16,
    ) -> Result<ResponseKind, DispatchError> {
        Ok(match request {
            RequestKind::ApiVersions(_) => self.api_versions().into(),
            RequestKind::Metadata(request) => self.metadata(&request).into(),
            RequestKind::InitProducerId(_) => self.init_producer_id().into(),
            RequestKind::ListOffsets(request) => self.list_offsets(&request).into(),
            RequestKind::FindCoordinator(request) => {
                let keys = request.coordinator_keys;
                self.find_coordinator(version, keys).into()
            }
            RequestKind::JoinGroup(request) => self.coordinator.join(&request, version).into(),
            RequestKind::SyncGroup(request) => self.coordinator.sync(&request).into(),
            RequestKind::Heartbeat(request) => self.coordinator.heartbeat(&request).into(),
            RequestKind::ConsumerGroupHeartbeat(request) => {
                let partitions = self.topics.values().map(Vec::len).sum::<usize>() as i32;
                let id = self.topic_id;
                let coordinator = &mut self.coordinator;
                coordinator.epoch_heartbeat(&request, id, partitions).into()
            }
            RequestKind::LeaveGroup(_) => self.coordinator.leave().into(),
            RequestKind::OffsetCommit(request) => self.coordinator.commit(&request).into(),
            RequestKind::OffsetFetch(request) => self.coordinator.fetch(&request, version).into(),
            other => {
                return Err(DispatchError::Unsupported {
                    api: other.api_key().name(),
                    version,
                });
            }
        })
    }

    fn api_versions(&self) -> ApiVersionsResponse {
        let api_keys = ApiKey::iter().map(|key| {
            let valid = key.valid_versions();
            ApiVersion {
                api_key: key as i16,
                min_version: valid.min,
                max_version: self.max_versions.get(&key).copied().unwrap_or(valid.max),
                ..ApiVersion::default()
            }
        });
        ApiVersionsResponse {
            finalized_features: vec![FinalizedFeatureKey {
                name: KString::from_static("transaction.version"),
                max_version_level: if self.transactions.is_version_2 { 2 } else { 1 },
                min_version_level: 1,
                ..FinalizedFeatureKey::default()
            }],
            api_keys: api_keys.collect(),
            ..ApiVersionsResponse::default()
        }
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let wanted: Vec<KString> = match &request.topics {
            Some(topics) => topics
                .iter()
                .filter_map(|topic| match &topic.name {
                    Some(name) => Some(name.clone()),
                    None => self
                        .topics
                        .keys()
                        .next()
                        .map(|name| KString::copy_from(name)),
                })
                .collect(),
            None => self
                .topics
                .keys()
                .map(|name| KString::copy_from(name))
                .collect(),
        };
        let topics = wanted
            .into_iter()
            .map(|name| match self.topics.get(&*name) {
                None => MetadataResponseTopic {
                    name: Some(name),
                    error_code: ErrorCode::UnknownTopicOrPartition.code(),
                    ..MetadataResponseTopic::default()
                },
                Some(logs) => MetadataResponseTopic {
                    name: Some(name),
                    topic_id: self.topic_id,
                    partitions: (0..logs.len() as i32)
                        .map(|partition_index| MetadataResponsePartition {
                            partition_index,
                            leader_id: 1,
                            leader_epoch: self.leader_epoch,
                            replica_nodes: vec![1],
                            isr_nodes: vec![1],
                            ..MetadataResponsePartition::default()
                        })
                        .collect(),
                    ..MetadataResponseTopic::default()
                },
            });
        MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: 1,
                host: KString::from_static("127.0.0.1"),
                port: self.port,
                ..MetadataResponseBroker::default()
            }],
            controller_id: 1,
            topics: topics.collect(),
            ..MetadataResponse::default()
        }
    }

    fn init_producer_id(&mut self) -> InitProducerIdResponse {
        self.next_producer_id += 1;
        InitProducerIdResponse {
            producer_id: self.next_producer_id,
            ..InitProducerIdResponse::default()
        }
    }

    fn list_offsets(&self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| {
                    let log = &self.topics[&*topic.name][partition.partition_index as usize];
                    ListOffsetsPartitionResponse {
                        partition_index: partition.partition_index,
                        offset: match partition.timestamp {
                            -2 => log.start_offset,
                            _ => log.end_offset,
                        },
                        ..ListOffsetsPartitionResponse::default()
                    }
                })
                .collect(),
            ..ListOffsetsTopicResponse::default()
        });
        ListOffsetsResponse {
            topics: topics.collect(),
            ..ListOffsetsResponse::default()
        }
    }

    fn find_coordinator(&self, version: i16, keys: Vec<KString>) -> FindCoordinatorResponse {
        let host = KString::from_static("127.0.0.1");
        if version < 4 {
            return FindCoordinatorResponse {
                node_id: 1,
                host,
                port: self.port,
                ..FindCoordinatorResponse::default()
            };
        }
        let coordinators = keys.into_iter().map(|key| FoundCoordinator {
            key,
            node_id: 1,
            host: host.clone(),
            port: self.port,
            ..FoundCoordinator::default()
        });
        FindCoordinatorResponse {
            coordinators: coordinators.collect(),
            ..FindCoordinatorResponse::default()
        }
    }

    /// The answer, and what counts against `min_bytes`: records, or an error.
    fn fetch(&mut self, request: &FetchRequest) -> (FetchResponse, usize) {
        let mut size = 0;
        let mut responses = Vec::new();
        for topic in &request.topics {
            let mut partitions = Vec::new();
            for wanted in &topic.partitions {
                let log = &self.topics[&*topic.topic][wanted.partition as usize];
                let in_range = (log.start_offset..=log.end_offset).contains(&wanted.fetch_offset);
                let code = match self.fetch_script.pop_front() {
                    Some(code) => code,
                    None if in_range => ErrorCode::None,
                    None => ErrorCode::OffsetOutOfRange,
                };
                let records = match code {
                    ErrorCode::None => {
                        log.read(wanted.fetch_offset, wanted.partition_max_bytes as usize)
                    }
                    _ => bytes::Bytes::new(),
                };
                size += records.len() + usize::from(code != ErrorCode::None);
                partitions.push(PartitionData {
                    partition_index: wanted.partition,
                    error_code: code.code(),
                    high_watermark: log.end_offset,
                    records: Some(Records::from(records)),
                    ..PartitionData::default()
                });
            }
            responses.push(FetchableTopicResponse {
                topic: topic.topic.clone(),
                partitions,
                ..FetchableTopicResponse::default()
            });
        }
        let response = FetchResponse {
            responses,
            ..FetchResponse::default()
        };
        (response, size)
    }
}

fn is_transactional(request: &RequestKind) -> bool {
    match request {
        RequestKind::InitProducerId(request) => request.transactional_id.is_some(),
        RequestKind::AddPartitionsToTxn(_)
        | RequestKind::AddOffsetsToTxn(_)
        | RequestKind::TxnOffsetCommit(_)
        | RequestKind::EndTxn(_) => true,
        _ => false,
    }
}

fn refused(request: &RequestKind, code: ErrorCode) -> ResponseKind {
    let error_code = code.code();
    match request {
        RequestKind::InitProducerId(_) => InitProducerIdResponse {
            error_code,
            ..InitProducerIdResponse::default()
        }
        .into(),
        RequestKind::AddPartitionsToTxn(request) => added(request, code).into(),
        RequestKind::AddOffsetsToTxn(_) => AddOffsetsToTxnResponse {
            error_code,
            ..AddOffsetsToTxnResponse::default()
        }
        .into(),
        RequestKind::TxnOffsetCommit(request) => offsets_answered(request, code).into(),
        RequestKind::EndTxn(_) => EndTxnResponse {
            error_code,
            ..EndTxnResponse::default()
        }
        .into(),
        other => panic!("{other:?}"),
    }
}

/// The request as a broker on the network would see it.
fn through_bytes(version: i16, request: RequestKind) -> Result<RequestKind, DispatchError> {
    let refused = |reason: String| DispatchError::Refused { reason };
    let header = RequestHeader {
        api_key: request.api_key() as i16,
        api_version: version,
        correlation_id: 1,
        client_id: None,
    };
    let frame = frame::encode_request(&header, &request)
        .map_err(|error| refused(error.to_string()))?
        .to_bytes()
        .unwrap();
    frame::parse_request(frame.slice(4..))
        .map(|(_, request)| request)
        .map_err(|error| refused(error.to_string()))
}

fn response_through_bytes(
    key: ApiKey,
    version: i16,
    response: &ResponseKind,
) -> Result<ResponseKind, DispatchError> {
    let refused = |reason: String| DispatchError::Refused { reason };
    let frame = frame::encode_response(key, version, 1, response)
        .map_err(|error| refused(error.to_string()))?
        .to_bytes()
        .unwrap();
    frame::decode_response(key, version, frame.slice(4..))
        .map(|(_, response)| response)
        .map_err(|error| refused(error.to_string()))
}
