//! One running broker: what its connections, handlers and background tasks share.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use arc_swap::Guard;
use moldau_core::fetch_session::FetchSessions;
use moldau_core::metadata::controller::Controller;
use moldau_core::metadata::{GROUP_VERSION, feature};
use moldau_core::transaction::TransactionCoordinator;
use moldau_protocol::messages::create_topics::{CreateTopicsRequest, CreateTopicsResponse};
use moldau_protocol::{ErrorCode, KString, Uuid};
use tokio::sync::watch;

use crate::config::{BrokerConfig, Effective, LiveConfig};
use crate::coordinator::{Coordinators, MarkerWriter};
use crate::data_dir::random_uuid;
use crate::metadata::{
    CONSUMER_OFFSETS, Metadata, TRANSACTION_STATE, offsets_topic, transactions_topic,
};
use crate::metrics::Metrics;
use crate::producer_ids::ProducerIds;
use crate::runtime::{Partitions, Writers};

/// The parts of a running broker.
#[derive(Debug)]
pub(crate) struct Node {
    /// See [`Node::config`].
    pub(crate) live: Arc<LiveConfig>,
    pub(crate) cluster_id: KString,
    /// The id of the data directory.
    pub(crate) directory_id: Uuid,
    pub(crate) metadata: Metadata,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) writers: Arc<Writers>,
    /// Of groups.
    pub(crate) coordinators: Arc<Coordinators>,
    pub(crate) transactions: Arc<Coordinators<TransactionCoordinator>>,
    pub(crate) markers: MarkerWriter,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) fetch_sessions: Mutex<FetchSessions>,
    pub(crate) metrics: Metrics,
    pub(crate) stop: watch::Sender<bool>,
}

/// Settings that were in force a moment ago.
struct Now(Guard<Arc<Effective>>);

impl Deref for Now {
    type Target = BrokerConfig;

    fn deref(&self) -> &BrokerConfig {
        &self.0.config
    }
}

/// Notices that the node stops.
#[derive(Debug, Clone)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Node {
    /// The settings in force at this moment; ask again rather than keep it.
    pub(crate) fn config(&self) -> impl Deref<Target = BrokerConfig> + use<> {
        Now(self.live.now())
    }

    pub(crate) fn stopping(&self) -> Stopping {
        Stopping(self.stop.subscribe())
    }

    /// Creates topics as a client may ask for them.
    ///
    /// # Errors
    ///
    /// When the change cannot be made durable; what is wrong with a single topic stands in the response.
    pub(crate) async fn create_topics(
        &self,
        request: CreateTopicsRequest,
    ) -> Result<CreateTopicsResponse, ErrorCode> {
        let decide = move |controller: &Controller<'_>, _: &_| {
            controller.create_topics(&request, &mut random_uuid)
        };
        self.metadata.decide(decide).await
    }

    /// Whether groups may use the new consumer group protocol.
    pub(crate) fn serves_consumer_groups(&self) -> bool {
        let image = self.metadata.image();
        feature(GROUP_VERSION).is_some_and(|version| image.feature_level(version) > 0)
    }

    /// Makes sure that `__consumer_offsets` is there.
    ///
    /// # Errors
    ///
    /// `COORDINATOR_NOT_AVAILABLE` when it cannot be created; clients try again.
    pub(crate) async fn coordinators_ready(&self) -> Result<(), ErrorCode> {
        self.internal_topic_ready(CONSUMER_OFFSETS, offsets_topic)
            .await
    }

    /// Makes sure that `__transaction_state` is there.
    ///
    /// # Errors
    ///
    /// `COORDINATOR_NOT_AVAILABLE` when it cannot be created; clients try again.
    pub(crate) async fn transactions_ready(&self) -> Result<(), ErrorCode> {
        self.internal_topic_ready(TRANSACTION_STATE, transactions_topic)
            .await
    }

    async fn internal_topic_ready(
        &self,
        name: &str,
        request: impl FnOnce(&BrokerConfig, usize) -> CreateTopicsRequest,
    ) -> Result<(), ErrorCode> {
        let image = self.metadata.image();
        if image.topic(name).is_some() {
            return Ok(());
        }
        let request = request(&self.config(), image.brokers().len());
        let created = self
            .create_topics(request)
            .await
            .map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        let fine =
            |code| code == ErrorCode::None.code() || code == ErrorCode::TopicAlreadyExists.code();
        if created.topics.iter().all(|topic| fine(topic.error_code)) {
            Ok(())
        } else {
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    }
}

impl Stopping {
    /// Resolves when the node stops, and at once when it has stopped.
    pub(crate) async fn wait(&mut self) {
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}
