//! The sending task of a producer: takes batches that are ready, sends them to the leaders, reads the answers.

mod background;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use moldau_protocol::messages::ResponseKind;
use moldau_protocol::messages::produce::ProduceResponse;
use moldau_protocol::{ApiKey, KString, Uuid};
use tokio::time::Instant;

use crate::backoff::wait_ms;
use crate::client::Client;
use crate::error::ClientError;
use crate::metadata::ClusterMetadata;
use crate::producer::accumulator::{Accumulator, CLOSED, Readiness};
use crate::producer::batch::{Batch, ProducerId};
use crate::producer::config::{Acks, ProducerConfig};
use crate::producer::delivery::Stored;
use crate::producer::partition::{REMEMBERED_BATCHES, SendingPartition, Verdict};
use crate::producer::request::{self, RequestBuilder};
use crate::producer::transaction::{TransactionRequests, TransactionState};
use crate::transport::{Connection, Purpose};

/// The state of the sending task.
pub(crate) struct Sender {
    client: Client,
    config: Arc<ProducerConfig>,
    accumulator: Arc<Accumulator>,
    purpose: Purpose,
    partitions: HashMap<usize, SendingPartition>,
    /// Partitions that have something to send.
    active: BTreeSet<usize>,
    brokers: HashMap<i32, Broker>,
    /// Present if batches belong to transactions.
    transaction: Option<Transaction>,
    producer_id: Option<ProducerId>,
    producer_id_not_before: Option<Instant>,
    is_asking_producer_id: bool,
    is_refreshing: bool,
    refresh_not_before: Option<Instant>,
    /// The partition that comes first in the next request, so that none starves.
    rotation: usize,
    events: FuturesUnordered<Pin<Box<dyn Future<Output = Event> + Send>>>,
}

/// What the task needs of a transactional producer.
#[derive(Debug)]
struct Transaction {
    state: Arc<TransactionState>,
    requests: TransactionRequests,
    /// Whether the coordinator is being asked to add partitions.
    is_adding: bool,
    add_not_before: Option<Instant>,
}

#[derive(Debug, Default)]
struct Broker {
    connection: Option<Connection>,
    is_connecting: bool,
    in_flight: usize,
}

/// What the task waits for.
enum Event {
    Connected(i32, Result<Connection, ClientError>),
    Answered {
        broker: i32,
        batches: Vec<(usize, Batch)>,
        result: Result<ProduceResponse, ClientError>,
    },
    ProducerId(Result<ProducerId, ClientError>),
    /// The coordinator has added the partitions of these queues to the transaction, or not.
    Added(Vec<usize>, Result<(), ClientError>),
    Refreshed,
}

impl Sender {
    pub(crate) fn new(
        client: Client,
        config: Arc<ProducerConfig>,
        accumulator: Arc<Accumulator>,
        transaction: Option<(Arc<TransactionState>, TransactionRequests)>,
    ) -> Self {
        Self {
            transaction: transaction.map(|(state, requests)| Transaction {
                state,
                requests,
                is_adding: false,
                add_not_before: None,
            }),
            client,
            config,
            accumulator,
            purpose: Purpose::unique(),
            partitions: HashMap::new(),
            active: BTreeSet::new(),
            brokers: HashMap::new(),
            producer_id: None,
            producer_id_not_before: None,
            is_asking_producer_id: false,
            is_refreshing: false,
            refresh_not_before: None,
            rotation: 0,
            events: FuturesUnordered::new(),
        }
    }

    /// Runs until the producer is closed and everything has its outcome.
    pub(crate) async fn run(mut self) {
        loop {
            self.take_activated();
            if self.accumulator.has_given_up() {
                self.drop_waiting(&CLOSED);
                break;
            }
            let wake_at = self.send_all_ready();
            if self.accumulator.is_closing() && !self.accumulator.has_incomplete() {
                break;
            }
            tokio::select! {
                biased;
                Some(event) = self.events.next(), if !self.events.is_empty() => self.handle(event),
                () = self.accumulator.wake.notified() => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
            while let Some(Some(event)) = self.events.next().now_or_never() {
                self.handle(event);
            }
        }
        self.accumulator.close_memory();
        self.client.transport().forget(self.purpose);
    }

    fn take_activated(&mut self) {
        for queue in self.accumulator.take_activated() {
            self.active.insert(queue.id);
            self.partitions
                .entry(queue.id)
                .or_insert_with(|| SendingPartition::new(queue, self.transaction.is_some()));
        }
    }

    /// Follows the transaction: goes on as whom it says, and drops what it does not want any more.
    fn follow_transaction(&mut self) {
        let Some(transaction) = &self.transaction else {
            return;
        };
        self.producer_id = Some(transaction.state.identity().producer);
        if let Some(error) = transaction.state.refusal() {
            self.drop_waiting(&error);
        }
    }

    /// Fails all batches that are not under way.
    fn drop_waiting(&mut self, error: &ClientError) {
        for id in &self.active {
            let Some(partition) = self.partitions.get_mut(id) else {
                continue;
            };
            for batch in partition.take_all() {
                if let (Some(transaction), Some(_)) = (&self.transaction, batch.sequence) {
                    transaction.state.numbers_lost();
                }
                self.accumulator.complete(batch, Err(error.clone()));
            }
        }
    }

    /// Sends what is ready, as far as the brokers may get more. Gives the time to look again.
    fn send_all_ready(&mut self) -> Instant {
        let now = Instant::now();
        self.follow_transaction();
        let cluster = self.client.cluster_metadata();
        if self.client.metadata().is_old() && !self.active.is_empty() {
            self.refresh(now);
        }
        loop {
            let (ready, wake_at) = self.ready(&cluster, now);
            let mut sent = false;
            for (broker, partitions) in ready {
                sent |= self.send_to(broker, &partitions);
            }
            if !sent {
                return wake_at;
            }
        }
    }

    /// The partitions with something to send by broker, and when the next one will be ready.
    fn ready(
        &mut self,
        cluster: &ClusterMetadata,
        now: Instant,
    ) -> (BTreeMap<i32, Vec<usize>>, Instant) {
        let urgent = self.accumulator.is_urgent();
        let mut ready: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        let mut wake_at = now + LONGEST_SLEEP;
        let mut to_add = Vec::new();
        let in_turn: Vec<usize> = self
            .active
            .range(self.rotation..)
            .chain(self.active.range(..self.rotation))
            .copied()
            .collect();
        for id in in_turn {
            self.expire(id, now);
            match self.readiness(id, urgent, cluster, now) {
                Ready::Send(broker) => ready.entry(broker).or_default().push(id),
                Ready::At(time) => wake_at = wake_at.min(time),
                Ready::AfterAnswer => {}
                Ready::AfterAdding => to_add.push(id),
                Ready::Never => {
                    self.active.remove(&id);
                }
            }
        }
        if !to_add.is_empty() {
            wake_at = wake_at.min(self.add_to_transaction(to_add, now));
        }
        (ready, wake_at)
    }

    fn readiness(
        &mut self,
        id: usize,
        urgent: bool,
        cluster: &ClusterMetadata,
        now: Instant,
    ) -> Ready {
        let Some(partition) = self.partitions.get(&id) else {
            return Ready::Never;
        };
        if let Some(transaction) = &self.transaction
            && !partition.queue.is_empty()
            && !transaction.state.is_added(id)
        {
            return Ready::AfterAdding;
        }
        if !partition.has_retries() {
            let linger = Duration::from_millis(self.config.linger_ms);
            match partition.queue.readiness(linger, urgent, now) {
                Readiness::Now => {}
                Readiness::At(time) => return Ready::At(time),
                Readiness::Empty if partition.queue.deactivate() => return Ready::Never,
                Readiness::Empty => return Ready::At(now),
            }
        }
        let name = &partition.queue.topic_partition;
        let Some((broker, _)) = cluster.leader(&name.topic, name.partition) else {
            self.client.metadata().want([&name.topic]);
            self.refresh(now);
            return Ready::At(now + Duration::from_millis(self.config.retry_backoff_ms));
        };
        let is_numbered = self.is_idempotent();
        if is_numbered
            && (self.producer_id.is_none() || partition.needs_other_than(self.producer_id))
        {
            return self.ask_producer_id(now);
        }
        if partition.may_send(broker, now) {
            return Ready::Send(broker);
        }
        match partition.not_before.filter(|not_before| *not_before > now) {
            Some(not_before) => Ready::At(not_before),
            None => Ready::AfterAnswer,
        }
    }

    /// Sends one request to `broker` if it may have one more. Tells whether it did.
    fn send_to(&mut self, broker: i32, partitions: &[usize]) -> bool {
        let Some(connection) = self.connection(broker) else {
            return false;
        };
        let mut request = RequestBuilder::default();
        let mut batches = Vec::new();
        for id in partitions {
            let Some(partition) = self.partitions.get_mut(id) else {
                continue;
            };
            let size = request.size() + partition.next_size().unwrap_or(0);
            if size > self.config.max_request_size && !batches.is_empty() {
                self.rotation = *id;
                break;
            }
            let producer = self.producer_id;
            let Some(mut batch) = partition.next_batch(broker, producer) else {
                continue;
            };
            match batch.bytes() {
                Ok(bytes) => {
                    request.push(&partition.queue.topic_partition, bytes);
                    batches.push((*id, batch));
                }
                Err(error) => self.settle(*id, batch, Err(error)),
            }
        }
        if batches.is_empty() {
            return false;
        }
        self.begin(broker, &connection, request, batches);
        true
    }

    fn begin(
        &mut self,
        broker: i32,
        connection: &Connection,
        mut request: RequestBuilder,
        batches: Vec<(usize, Batch)>,
    ) {
        let limit = self
            .client
            .request_timeout()
            .min(Duration::from_millis(self.config.delivery_timeout_ms));
        let timeout_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        let mut transactional_id = None;
        let mut most = i16::MAX;
        if let Some(Transaction { state, .. }) = &self.transaction {
            state.begun();
            transactional_id = Some(state.transactional_id.clone());
            if !state.identity().is_version_2 {
                most = LAST_WITHOUT_IMPLICIT_ADDING;
            }
        }
        if !request.add_topic_ids(&self.client.cluster_metadata()) {
            most = most.min(LAST_WITH_NAMES);
        }
        let topic_ids = request.topic_ids();
        let request = request.build(self.config.acks.code(), timeout_ms, transactional_id);
        let expects_response = self.config.acks != Acks::None;
        let pending = connection
            .version_at_most(ApiKey::Produce, most)
            .and_then(|version| connection.try_begin(version, request.into(), expects_response));
        self.brokers.entry(broker).or_default().in_flight += 1;
        self.events.push(Box::pin(async move {
            let result = match pending {
                Ok(pending) => pending.wait(ApiKey::Produce, limit).await,
                Err(error) => Err(error),
            };
            Event::Answered {
                broker,
                batches,
                result: result.and_then(|response| produce_response(response, &topic_ids)),
            }
        }));
    }

    /// The connection to `broker` if it is there and may have one more request; starts to connect otherwise.
    fn connection(&mut self, broker: i32) -> Option<Connection> {
        let max_in_flight = self.max_in_flight();
        let state = self.brokers.entry(broker).or_default();
        if state.in_flight >= max_in_flight || state.is_connecting {
            return None;
        }
        if let Some(connection) = state.connection.as_ref().filter(|known| !known.is_closed()) {
            return Some(connection.clone());
        }
        state.connection = None;
        if state.in_flight > 0 {
            // The answers (all of them failures) come first, so that retries keep their order.
            return None;
        }
        state.is_connecting = true;
        let client = self.client.clone();
        let purpose = self.purpose;
        self.events.push(Box::pin(async move {
            let result = client.broker_connection(broker, purpose).await;
            Event::Connected(broker, result)
        }));
        None
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connected(broker, result) => self.connected(broker, result),
            Event::Answered {
                broker,
                batches,
                result,
            } => self.answered(broker, batches, &result),
            Event::ProducerId(result) => self.take_producer_id(result),
            Event::Added(queues, result) => self.added(&queues, result),
            Event::Refreshed => {
                self.is_refreshing = false;
                let cluster = self.client.cluster_metadata();
                for topic in cluster.topics.values() {
                    if self.accumulator.topics().contains_key(&topic.name) {
                        self.accumulator
                            .add_topic(&topic.name, topic.partitions.len());
                    }
                }
            }
        }
    }

    fn connected(&mut self, broker: i32, result: Result<Connection, ClientError>) {
        let state = self.brokers.entry(broker).or_default();
        state.is_connecting = false;
        match result {
            Ok(connection) => state.connection = Some(connection),
            Err(error) => {
                tracing::debug!(broker, %error, "broker cannot be reached");
                let cluster = self.client.cluster_metadata();
                for id in &self.active {
                    let Some(partition) = self.partitions.get_mut(id) else {
                        continue;
                    };
                    let name = &partition.queue.topic_partition;
                    if cluster
                        .leader(&name.topic, name.partition)
                        .is_some_and(|(leader, _)| leader == broker)
                    {
                        partition.last_error = Some(error.clone());
                    }
                }
                self.refresh(Instant::now());
            }
        }
    }

    fn answered(
        &mut self,
        broker: i32,
        batches: Vec<(usize, Batch)>,
        result: &Result<ProduceResponse, ClientError>,
    ) {
        if let Some(state) = self.brokers.get_mut(&broker) {
            state.in_flight = state.in_flight.saturating_sub(1);
        }
        let mut has_new_leaders = false;
        if let Ok(response) = result {
            let (leaders, endpoints) = request::new_leaders(response);
            has_new_leaders = self.client.metadata().learn(&leaders, &endpoints);
        }
        for (id, mut batch) in batches {
            let outcome = match result {
                Err(error) => Err(error.clone()),
                Ok(_) if self.config.acks == Acks::None => Ok(Stored {
                    base_offset: None,
                    log_append_time: None,
                }),
                Ok(response) => self.partitions.get(&id).map_or_else(
                    || Err(CLOSED),
                    |partition| {
                        let size = batch.bytes().map_or(0, |bytes| bytes.len());
                        request::outcome(response, &partition.queue.topic_partition, size)
                    },
                ),
            };
            self.settle(id, batch, outcome);
            if has_new_leaders && let Some(partition) = self.partitions.get_mut(&id) {
                // The new leader is known, so there is nothing to wait for.
                partition.not_before = None;
            }
        }
    }

    /// Ends a batch or puts it back, as its answer demands.
    fn settle(&mut self, id: usize, batch: Batch, outcome: Result<Stored, ClientError>) {
        let now = Instant::now();
        let Some(partition) = self.partitions.get_mut(&id) else {
            self.accumulator.complete(batch, outcome);
            return;
        };
        let wait = wait_ms(
            self.config.retry_backoff_ms,
            self.config.retry_backoff_max_ms,
            batch.attempts.saturating_sub(1),
        );
        let stored = outcome.as_ref().ok().copied().unwrap_or(Stored {
            base_offset: None,
            log_append_time: None,
        });
        let not_before = now + Duration::from_millis(wait);
        match partition.answered(batch, outcome.map(drop), not_before) {
            Verdict::Stored(batch) => self.accumulator.complete(batch, Ok(stored)),
            Verdict::Failed(batch, error) => self.fail(batch, error),
            Verdict::Retry => {
                self.active.insert(id);
                self.refresh(now);
            }
        }
    }

    /// Ends batches whose delivery time-out has passed.
    fn expire(&mut self, id: usize, now: Instant) {
        let limit = self.config.delivery_timeout_ms;
        let Some(oldest) = now.checked_sub(Duration::from_millis(limit)) else {
            return;
        };
        let Some(partition) = self.partitions.get_mut(&id) else {
            return;
        };
        let expired = partition.take_expired(oldest);
        if expired.is_empty() {
            return;
        }
        let name = &partition.queue.topic_partition;
        let operation = match &partition.last_error {
            Some(error) => format!("delivery to {name} (last error: {error})"),
            None => format!("delivery to {name}"),
        };
        let error = ClientError::Timeout {
            operation,
            after_ms: limit,
        };
        for batch in expired {
            self.fail(batch, error.clone());
        }
    }

    /// Ends a batch that cannot be delivered, and with it the hope of its transaction.
    fn fail(&self, batch: Batch, error: ClientError) {
        if let Some(transaction) = &self.transaction {
            transaction.state.batch_failed(&error);
        }
        self.accumulator.complete(batch, Err(error));
    }

    fn is_idempotent(&self) -> bool {
        self.config.enable_idempotence && self.config.acks == Acks::All
    }

    fn max_in_flight(&self) -> usize {
        let most = if self.is_idempotent() {
            REMEMBERED_BATCHES as usize
        } else {
            usize::MAX
        };
        self.config.max_in_flight.clamp(1, most)
    }
}

/// Whether a partition can send.
enum Ready {
    /// Now, to this broker.
    Send(i32),
    /// Not before this time.
    At(Instant),
    /// Not before something under way is answered.
    AfterAnswer,
    /// Not before its partition is part of the transaction.
    AfterAdding,
    /// It has nothing to send.
    Never,
}

fn produce_response(
    response: ResponseKind,
    topic_ids: &[(Uuid, KString)],
) -> Result<ProduceResponse, ClientError> {
    let mut response = ProduceResponse::try_from(response).map_err(|_| {
        ClientError::protocol("produce response", "it is the answer to another request")
    })?;
    request::name_topics(&mut response, topic_ids);
    Ok(response)
}

/// The last version of Produce that names topics.
const LAST_WITH_NAMES: i16 = 12;

/// The last version of Produce by which a partition does not become part of the transaction (KIP-890).
const LAST_WITHOUT_IMPLICIT_ADDING: i16 = 11;

/// The task looks for expired batches at least this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
