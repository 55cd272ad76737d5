//! The cluster's metadata on this node: what is decided, and that partitions follow it.
//!
//! Every change is a decision of core's controller on the current image. Its records are appended to the
//! metadata log by the [`Quorum`], and only then take effect. Changes are made one after another.

mod internal_topics;
mod log;
mod quorum;

use std::sync::Arc;

use moldau_core::config::TopicDefaults;
use moldau_core::metadata::controller::{Controller, ControllerSettings, Decision};
use moldau_core::metadata::{MetadataImage, MetadataRecord};
use moldau_log::LogError;
use moldau_protocol::ErrorCode;
use tokio::sync::{Mutex, Notify};
use tracing::error;

pub(crate) use internal_topics::{CONSUMER_OFFSETS, offsets_topic};
pub use log::ReplayError;
pub(crate) use log::{MetadataLog, metadata_partition};
pub(crate) use quorum::{ProposeError, Quorum};

use crate::config::BrokerConfig;
use crate::runtime::Partitions;

/// The one feature that is finalized: clients and tools take it for the version of the cluster.
pub(crate) const METADATA_VERSION_FEATURE: &str = "metadata.version";

/// Level of [`METADATA_VERSION_FEATURE`]: Kafka 4.3-IV0 as `kafka-features` shows it.
pub(crate) const METADATA_VERSION_LEVEL: i16 = 30;

/// The metadata of the cluster, and the way to change it.
#[derive(Debug)]
pub(crate) struct Metadata {
    quorum: Quorum,
    partitions: Arc<Partitions>,
    settings: ControllerSettings,
    /// One decision at a time, each on the image that the one before it left.
    deciding: Mutex<()>,
    /// Told when the metadata log cannot be written any more.
    failed: Notify,
}

impl Metadata {
    pub(crate) fn new(
        quorum: Quorum,
        partitions: Arc<Partitions>,
        config: &BrokerConfig,
        topic_defaults: TopicDefaults,
    ) -> Self {
        let settings = ControllerSettings {
            default_partitions: config.num_partitions,
            default_replication_factor: config.default_replication_factor,
            delete_topic_enable: config.delete_topics,
            topic_defaults,
        };
        Self {
            quorum,
            partitions,
            settings,
            deciding: Mutex::new(()),
            failed: Notify::new(),
        }
    }

    pub(crate) fn image(&self) -> Arc<MetadataImage> {
        self.quorum.image()
    }

    /// Number of changes so far; grows with each.
    pub(crate) fn version(&self) -> i64 {
        self.quorum.version()
    }

    pub(crate) fn topic_defaults(&self) -> &TopicDefaults {
        &self.settings.topic_defaults
    }

    /// Pending while the metadata log can be written.
    pub(crate) async fn failed(&self) {
        self.failed.notified().await;
    }

    /// Closes the metadata log for a clean shutdown. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// When the log cannot be written.
    pub(crate) fn close(&self) -> Result<(), LogError> {
        self.quorum.close()
    }

    /// Decides on the current image, makes the decision durable and lets the partitions follow it.
    ///
    /// # Errors
    ///
    /// When the metadata log cannot be written, or a partition cannot be opened.
    pub(crate) async fn decide<R>(
        &self,
        decide: impl FnOnce(&Controller<'_>, &MetadataImage) -> Decision<R> + Send,
    ) -> Result<R, ErrorCode> {
        let _deciding = self.deciding.lock().await;
        let image = self.image();
        let controller = Controller {
            image: &image,
            settings: &self.settings,
        };
        let Decision { records, response } = decide(&controller, &image);
        if !records.is_empty() {
            self.apply(records).await?;
        }
        Ok(response)
    }

    async fn apply(&self, records: Vec<MetadataRecord>) -> Result<(), ErrorCode> {
        self.quorum.propose(records).await.map_err(|error| {
            error!(%error, "metadata change failed");
            if matches!(error, ProposeError::Log(LogError::Failed { .. })) {
                self.failed.notify_one();
            }
            ErrorCode::KafkaStorageError
        })?;
        let image = self.image();
        let partitions = Arc::clone(&self.partitions);
        let reconciled = tokio::task::spawn_blocking(move || partitions.reconcile(&image)).await;
        match reconciled {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                error!(%error, "cannot open partition");
                Err(ErrorCode::KafkaStorageError)
            }
            Err(error) => {
                error!(%error, "opening partitions ended early");
                Err(ErrorCode::UnknownServerError)
            }
        }
    }
}
