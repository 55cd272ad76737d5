//! The metadata cache: one picture of the cluster, shared by all that a client does.

mod cluster;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use moldau_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse,
};
use moldau_protocol::{ApiKey, ErrorCode, KString, Uuid};
use tokio::time::Instant;

use crate::backoff::Retry;
use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::transport::{Connection, Purpose, Transport};

pub use crate::metadata::cluster::{
    BrokerEndpoint, ClusterMetadata, PartitionMetadata, TopicMetadata,
};
pub(crate) use crate::metadata::cluster::{NewLeader, topic as topic_metadata};

/// The cache. Refreshes are made one at a time; who waits for one shares its result.
#[derive(Debug)]
pub(crate) struct MetadataCache {
    transport: Arc<Transport>,
    config: Arc<ClientConfig>,
    current: RwLock<Snapshot>,
    refreshing: tokio::sync::Mutex<()>,
    /// Topics in use, with the moment of their last use.
    wanted: Mutex<HashMap<KString, Instant>>,
}

/// The cluster as of one refresh.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) cluster: Arc<ClusterMetadata>,
    /// Counts refreshes of all topics in use; 0 is before the first.
    pub(crate) version: u64,
    refreshed_at: Instant,
}

impl MetadataCache {
    pub(crate) fn new(transport: Arc<Transport>, config: Arc<ClientConfig>) -> Self {
        Self {
            transport,
            config,
            current: RwLock::new(Snapshot {
                cluster: Arc::default(),
                version: 0,
                refreshed_at: Instant::now(),
            }),
            refreshing: tokio::sync::Mutex::default(),
            wanted: Mutex::default(),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn cluster(&self) -> Arc<ClusterMetadata> {
        self.snapshot().cluster
    }

    /// Whether the picture is older than `metadata_max_age_ms`.
    pub(crate) fn is_old(&self) -> bool {
        let current = self.snapshot();
        current.version == 0
            || current.refreshed_at.elapsed()
                >= Duration::from_millis(self.config.metadata_max_age_ms)
    }

    /// Notes that topics are in use, so that refreshes include them.
    pub(crate) fn want<'a>(&self, topics: impl IntoIterator<Item = &'a KString>) {
        let now = Instant::now();
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        for topic in topics {
            wanted.insert(topic.detached(), now);
        }
    }

    /// Asks again for all topics in use, unless a refresh newer than `seen` is there already.
    pub(crate) async fn refresh(&self, seen: u64) -> Result<(), ClientError> {
        let _one_at_a_time = self.refreshing.lock().await;
        if self.snapshot().version > seen {
            return Ok(());
        }
        let topics = self.wanted_topics();
        let response = self.ask(Some(&topics), false).await?;
        self.store(&response);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.version += 1;
        current.refreshed_at = Instant::now();
        Ok(())
    }

    /// A topic that must exist; it is waited for until `limit`.
    ///
    /// With `create` the broker may create it, if it is so configured.
    pub(crate) async fn topic(
        &self,
        name: &KString,
        create: bool,
        limit: Duration,
    ) -> Result<TopicMetadata, ClientError> {
        self.want([name]);
        let mut retry = Retry::new(&self.config, limit);
        loop {
            if let Some(topic) = self.cluster().topics.get(name) {
                return Ok(topic.clone());
            }
            let error = match self.ask(Some(std::slice::from_ref(name)), create).await {
                Ok(response) => {
                    self.store(&response);
                    match self.cluster().topic_errors.get(name) {
                        Some(code) => topic_error(name, *code),
                        None => continue,
                    }
                }
                Err(error) => error,
            };
            match error {
                ClientError::UnknownTopic { .. } if create => retry.wait(error).await?,
                error => retry.after(error).await?,
            }
        }
    }

    /// Asks for topics (`None`: all) without the cache.
    pub(crate) async fn ask(
        &self,
        topics: Option<&[KString]>,
        create: bool,
    ) -> Result<MetadataResponse, ClientError> {
        let topics = topics.map(|topics| {
            topics
                .iter()
                .map(|name| MetadataRequestTopic {
                    name: Some(name.clone()),
                    ..MetadataRequestTopic::default()
                })
                .collect()
        });
        self.ask_topics(topics, create).await
    }

    async fn ask_topics(
        &self,
        topics: Option<Vec<MetadataRequestTopic>>,
        create: bool,
    ) -> Result<MetadataResponse, ClientError> {
        let connection = self.any_connection().await?;
        let version = connection.version(ApiKey::Metadata)?;
        let request = MetadataRequest {
            topics,
            allow_auto_topic_creation: create || version < 4,
            ..MetadataRequest::default()
        };
        let limit = Duration::from_millis(self.config.request_timeout_ms);
        let response: MetadataResponse = connection.call(version, request, limit).await?;
        ClientError::check(response.error_code, || {
            format!("metadata of {}", connection.address())
        })?;
        Ok(response)
    }

    /// Takes a response into the picture, and forgets topics that have not been in use for long.
    pub(crate) fn store(&self, response: &MetadataResponse) {
        let idle = Duration::from_millis(self.config.metadata_max_age_ms.max(60_000) * 2);
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.retain(|_, used_at| used_at.elapsed() < idle);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let mut cluster = ClusterMetadata::clone(&current.cluster);
        cluster.merge(response);
        cluster.retain(|name| wanted.contains_key(name));
        current.cluster = Arc::new(cluster);
    }

    /// Takes leaders that a broker named, with the addresses that it gave. Gives whether one of them is news.
    pub(crate) fn learn(&self, leaders: &[NewLeader], endpoints: &[BrokerEndpoint]) -> bool {
        if leaders.is_empty() {
            return false;
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let mut cluster = ClusterMetadata::clone(&current.cluster);
        for endpoint in endpoints {
            cluster.brokers.insert(endpoint.id, endpoint.clone());
        }
        let mut is_news = false;
        for leader in leaders {
            is_news |= cluster.brokers.contains_key(&leader.leader) && cluster.learn(leader);
        }
        if is_news {
            current.cluster = Arc::new(cluster);
        }
        is_news
    }

    /// The names of topics by their ids. Topics that do not exist are left out.
    pub(crate) async fn names(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, KString>, ClientError> {
        let known = self.cluster();
        let missing: Vec<_> = ids
            .iter()
            .filter(|id| known.topic_name(id).is_none())
            .copied()
            .collect();
        if !missing.is_empty() {
            let topics = missing.into_iter().map(|topic_id| MetadataRequestTopic {
                topic_id,
                name: None,
                ..MetadataRequestTopic::default()
            });
            let response = self.ask_topics(Some(topics.collect()), false).await?;
            let names = response.topics.iter().filter(|topic| topic.error_code == 0);
            let names: Vec<_> = names.filter_map(|topic| topic.name.clone()).collect();
            self.want(&names);
            self.store(&response);
        }
        let cluster = self.cluster();
        let names = ids
            .iter()
            .filter_map(|id| Some((*id, cluster.topic_name(id)?.clone())));
        Ok(names.collect())
    }

    /// A connection for short requests to whichever broker answers: known ones first, then the bootstrap servers.
    pub(crate) async fn any_connection(&self) -> Result<Connection, ClientError> {
        let cluster = self.cluster();
        let mut addresses: Vec<String> = cluster
            .brokers
            .values()
            .map(BrokerEndpoint::address)
            .collect();
        if !addresses.is_empty() {
            let first = rand::random_range(0..addresses.len());
            addresses.rotate_left(first);
        }
        addresses.extend(self.transport.bootstrap_addresses());
        let mut failure = None;
        for address in &addresses {
            match self.transport.connection(address, Purpose::SHARED).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| ClientError::Config {
            setting: "bootstrap_servers",
            reason: "it is empty; give at least one `host:port`".to_owned(),
        }))
    }

    fn wanted_topics(&self) -> Vec<KString> {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.keys().cloned().collect()
    }
}

/// The error of a topic in a metadata response.
pub(crate) fn topic_error(name: &str, code: ErrorCode) -> ClientError {
    if matches!(
        code,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId
    ) {
        return ClientError::UnknownTopic {
            topic: name.to_owned(),
        };
    }
    ClientError::broker(code.code(), None, format!("topic \"{name}\""))
}
