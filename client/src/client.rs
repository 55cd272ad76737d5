//! The client: one set of connections and one picture of the cluster for all that a program does.

use std::sync::Arc;
use std::time::Duration;

use moldau_protocol::dispatch::Dispatcher;
use moldau_protocol::{ApiKey, KString, Request};

use crate::admin::Admin;
use crate::backoff::Retry;
use crate::config::ClientConfig;
use crate::consumer::{Consumer, ConsumerConfig};
use crate::coordinator::{CoordinatorCache, CoordinatorKind, coordinator_moved};
use crate::error::ClientError;
use crate::metadata::{ClusterMetadata, MetadataCache};
use crate::producer::{Producer, ProducerConfig, TransactionalProducer};
use crate::topic_partition::TopicPartition;
use crate::transport::{Connection, Purpose, Transport};

/// A client of one cluster. Clones are cheap and share connections and metadata.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Arc<ClientConfig>,
    transport: Arc<Transport>,
    metadata: MetadataCache,
    coordinators: CoordinatorCache,
}

/// Which broker a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Whichever answers.
    Any,
    /// The one with this id.
    Broker(i32),
    /// The one to which changes of the cluster go.
    Controller,
    /// The leader of a partition.
    Leader(TopicPartition),
    /// The coordinator of a consumer group.
    GroupCoordinator(String),
    /// The coordinator of a transactional id.
    TransactionCoordinator(String),
}

impl Client {
    /// Connects over TCP and asks one of the bootstrap servers for the cluster's metadata.
    ///
    /// # Errors
    ///
    /// None of the bootstrap servers can be reached, or none speaks the Kafka protocol.
    pub async fn connect(config: ClientConfig) -> Result<Self, ClientError> {
        let config = Arc::new(config);
        let client = Self::new(Transport::tcp(Arc::clone(&config)), config);
        client.metadata().refresh(0).await?;
        Ok(client)
    }

    /// A client of the broker behind `dispatcher`, in this process: no sockets, no serialisation.
    #[must_use]
    pub fn in_process(dispatcher: Arc<dyn Dispatcher>, config: ClientConfig) -> Self {
        let config = Arc::new(config);
        Self::new(
            Transport::in_process(dispatcher, Arc::clone(&config)),
            config,
        )
    }

    fn new(transport: Transport, config: Arc<ClientConfig>) -> Self {
        let transport = Arc::new(transport);
        let metadata = MetadataCache::new(Arc::clone(&transport), Arc::clone(&config));
        Self {
            shared: Arc::new(Shared {
                config,
                transport,
                metadata,
                coordinators: CoordinatorCache::default(),
            }),
        }
    }

    /// A producer. Must be called inside a tokio runtime, on which its sending task will run.
    #[must_use]
    pub fn producer(&self, config: ProducerConfig) -> Producer {
        Producer::start(self.clone(), config)
    }

    /// A producer that sends in transactions, as the only one with this transactional id: any other with the same id is
    /// fenced, and a transaction that it left open is ended first. Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// The id is empty or `config` asks for less than [`Acks::All`](crate::Acks::All), the coordinator refuses the id
    /// or the time-out, or it cannot be reached within `max_block_ms`.
    pub async fn transactional_producer(
        &self,
        transactional_id: &str,
        config: ProducerConfig,
    ) -> Result<TransactionalProducer, ClientError> {
        TransactionalProducer::start(self.clone(), transactional_id, config).await
    }

    /// A consumer. Must be used inside a tokio runtime, on which its fetching tasks will run.
    #[must_use]
    pub fn consumer(&self, config: ConsumerConfig) -> Consumer {
        Consumer::new(self.clone(), config)
    }

    /// Topics, settings, groups.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// The settings of this client.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.shared.config
    }

    /// What is known of the cluster, without asking again.
    #[must_use]
    pub fn cluster_metadata(&self) -> Arc<ClusterMetadata> {
        self.metadata().cluster()
    }

    /// Sends one request of the Kafka protocol and gives its answer, in the highest version that both sides know
    /// and that names topics by name. Errors inside the answer are the caller's to read; nothing is retried.
    ///
    /// # Errors
    ///
    /// The broker cannot be found or reached, does not know the request, or does not answer in time.
    pub async fn request<R: Request>(
        &self,
        target: Target,
        request: R,
    ) -> Result<R::Response, ClientError> {
        self.request_at_most(&target, request, i16::MAX).await
    }

    /// As [`request`](Self::request), in a version that is not above `most`.
    pub(crate) async fn request_at_most<R: Request>(
        &self,
        target: &Target,
        request: R,
        most: i16,
    ) -> Result<R::Response, ClientError> {
        let connection = self.connection_for(target).await?;
        let version = connection.version_at_most(R::KEY, most)?;
        let result = connection
            .call(version, request, self.request_timeout())
            .await;
        if let Err(error) = &result {
            self.doubt(target, error);
        }
        result
    }

    /// The level of a feature that the cluster has finalized (KIP-584), as `target` told it; 0 if it has none.
    pub(crate) async fn feature_at(&self, target: &Target, name: &str) -> Result<i16, ClientError> {
        Ok(self.connection_for(target).await?.feature(name))
    }

    /// The number of partitions of a topic, asked from the cluster now; `None` if there is no such topic.
    ///
    /// # Errors
    ///
    /// The cluster cannot be asked, or does not let this client see the topic.
    pub async fn partition_count(&self, topic: &str) -> Result<Option<i32>, ClientError> {
        let name = KString::copy_from(topic);
        self.metadata().want([&name]);
        let mut retry = Retry::api(self.config());
        loop {
            let error = match self
                .metadata()
                .ask(Some(std::slice::from_ref(&name)), false)
                .await
            {
                Ok(response) => {
                    self.metadata().store(&response);
                    let cluster = self.cluster_metadata();
                    let Some(code) = cluster.topic_errors.get(&name) else {
                        return Ok(cluster.partition_count(topic));
                    };
                    match crate::metadata::topic_error(topic, *code) {
                        ClientError::UnknownTopic { .. } => return Ok(None),
                        error => error,
                    }
                }
                Err(error) => error,
            };
            retry.after(error).await?;
        }
    }

    pub(crate) fn metadata(&self) -> &MetadataCache {
        &self.shared.metadata
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    pub(crate) fn coordinators(&self) -> &CoordinatorCache {
        &self.shared.coordinators
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.config().request_timeout_ms)
    }

    /// Asks for the metadata again, unless that was done after `seen`; failures are left to the next user.
    pub(crate) async fn refresh_metadata(&self, seen: u64) {
        if let Err(error) = self.metadata().refresh(seen).await {
            tracing::debug!(%error, "metadata refresh failed");
        }
    }

    /// A connection to a broker by id, for `purpose`.
    pub(crate) async fn broker_connection(
        &self,
        broker: i32,
        purpose: Purpose,
    ) -> Result<Connection, ClientError> {
        let address = self.broker_address(broker).await?;
        self.transport().connection(&address, purpose).await
    }

    async fn broker_address(&self, broker: i32) -> Result<String, ClientError> {
        let seen = self.metadata().snapshot();
        if let Some(known) = seen.cluster.brokers.get(&broker) {
            return Ok(known.address());
        }
        self.metadata().refresh(seen.version).await?;
        match self.cluster_metadata().brokers.get(&broker) {
            Some(known) => Ok(known.address()),
            None => Err(ClientError::Connect {
                address: format!("broker {broker}"),
                reason: "the cluster knows no such broker".to_owned(),
            }),
        }
    }

    async fn connection_for(&self, target: &Target) -> Result<Connection, ClientError> {
        match target {
            Target::Any => self.metadata().any_connection().await,
            Target::Broker(broker) => self.broker_connection(*broker, Purpose::SHARED).await,
            Target::Controller => self.controller_connection().await,
            Target::Leader(partition) => {
                let leader = self.leader_of(partition).await?;
                self.broker_connection(leader, Purpose::SHARED).await
            }
            Target::GroupCoordinator(group) => {
                self.coordinator_connection(CoordinatorKind::Group, group, Purpose::SHARED)
                    .await
            }
            Target::TransactionCoordinator(id) => {
                self.coordinator_connection(CoordinatorKind::Transaction, id, Purpose::SHARED)
                    .await
            }
        }
    }

    async fn controller_connection(&self) -> Result<Connection, ClientError> {
        if self.metadata().snapshot().version == 0 {
            self.metadata().refresh(0).await?;
        }
        match self.cluster_metadata().controller_id {
            Some(controller) => self.broker_connection(controller, Purpose::SHARED).await,
            None => self.metadata().any_connection().await,
        }
    }

    pub(crate) async fn coordinator_connection(
        &self,
        kind: CoordinatorKind,
        key: &str,
        purpose: Purpose,
    ) -> Result<Connection, ClientError> {
        let address = self.coordinator(kind, key).await?;
        let result = self.transport().connection(&address, purpose).await;
        if result.is_err() {
            self.coordinators().forget(kind, key);
        }
        result
    }

    /// The broker that leads a partition; a leader that is not known yet is asked for once.
    pub(crate) async fn leader_of(&self, partition: &TopicPartition) -> Result<i32, ClientError> {
        let TopicPartition { topic, partition } = partition;
        self.metadata().want([topic]);
        let seen = self.metadata().snapshot();
        if let Some((leader, _)) = seen.cluster.leader(topic, *partition) {
            return Ok(leader);
        }
        self.metadata().refresh(seen.version).await?;
        let cluster = self.cluster_metadata();
        if let Some((leader, _)) = cluster.leader(topic, *partition) {
            return Ok(leader);
        }
        if let Some(code) = cluster.topic_errors.get(topic) {
            return Err(crate::metadata::topic_error(topic, *code));
        }
        Err(match cluster.partition_count(topic) {
            None => ClientError::UnknownTopic {
                topic: topic.to_string(),
            },
            Some(partitions) if (0..partitions).contains(partition) => ClientError::broker(
                moldau_protocol::ErrorCode::LeaderNotAvailable.code(),
                None,
                format!("topic \"{topic}\" partition {partition}"),
            ),
            Some(partitions) => ClientError::UnknownPartition {
                topic: topic.to_string(),
                partition: *partition,
                partitions,
            },
        })
    }

    /// After an error: forgets what may be wrong about where `target` is.
    pub(crate) fn doubt(&self, target: &Target, error: &ClientError) {
        let moved = match error {
            ClientError::Disconnected { .. }
            | ClientError::Connect { .. }
            | ClientError::Timeout { .. } => true,
            error => error.code().is_some_and(coordinator_moved),
        };
        if !moved {
            return;
        }
        match target {
            Target::GroupCoordinator(group) => {
                self.coordinators().forget(CoordinatorKind::Group, group);
            }
            Target::TransactionCoordinator(id) => {
                self.coordinators().forget(CoordinatorKind::Transaction, id);
            }
            _ => {}
        }
    }

    /// As [`request`](Self::request), made again while `read` gives an error that may pass.
    ///
    /// `read` takes the error out of the answer.
    pub(crate) async fn request_until<R: Request, T>(
        &self,
        target: Target,
        request: R,
        mut read: impl FnMut(R::Response) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let mut retry = Retry::api(self.config());
        loop {
            let seen = self.metadata().snapshot().version;
            let result = match self.request(target.clone(), request.clone()).await {
                Ok(response) => read(response),
                Err(error) => Err(error),
            };
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            self.doubt(&target, &error);
            let refresh = error.is_retriable();
            retry.after(error).await?;
            if refresh && !matches!(target, Target::Any) {
                self.refresh_metadata(seen).await;
            }
        }
    }

    /// The version of a request that `target` would be sent.
    pub(crate) async fn version_for(
        &self,
        target: &Target,
        key: ApiKey,
    ) -> Result<i16, ClientError> {
        self.connection_for(target).await?.version(key)
    }
}
