//! The cluster's metadata on this node: what is decided, and that partitions follow it.
//!
//! Every change is a decision of core's controller on the current image. Its records are appended to the
//! metadata log by the [`Quorum`], and only then take effect. Changes are made one after another.

mod adopt;
mod internal_topics;
mod kraft;
mod log;
mod quorum;

use std::sync::Arc;

use moldau_core::metadata::controller::{Controller, ControllerSettings, Decision};
use moldau_core::metadata::{MetadataImage, MetadataRecord};
use moldau_log::LogError;
use moldau_protocol::ErrorCode;
use tokio::sync::{Mutex, Notify};
use tracing::error;

pub(crate) use adopt::{adopt, put_aside};
pub(crate) use internal_topics::{
    CONSUMER_OFFSETS, TRANSACTION_STATE, offsets_topic, transactions_topic,
};
pub use log::ReplayError;
pub(crate) use log::{MetadataLog, metadata_partition};
pub(crate) use quorum::{Images, ProposeError, Quorum};

use crate::config::LiveConfig;
use crate::runtime::Partitions;

/// The metadata of the cluster, and the way to change it.
#[derive(Debug)]
pub(crate) struct Metadata {
    quorum: Quorum,
    partitions: Arc<Partitions>,
    live: Arc<LiveConfig>,
    /// One decision at a time, each on the image that the one before it left.
    deciding: Mutex<()>,
    /// Told when the metadata log cannot be written any more.
    failed: Notify,
}

impl Metadata {
    pub(crate) fn new(quorum: Quorum, partitions: Arc<Partitions>, live: Arc<LiveConfig>) -> Self {
        Self {
            quorum,
            partitions,
            live,
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
        let settings = self.settings();
        let controller = Controller {
            image: &image,
            settings: &settings,
        };
        let Decision { records, response } = decide(&controller, &image);
        if !records.is_empty() {
            self.apply(records).await?;
        }
        Ok(response)
    }

    fn settings(&self) -> ControllerSettings {
        let now = self.live.now();
        ControllerSettings {
            default_partitions: now.config.num_partitions,
            default_replication_factor: now.config.default_replication_factor,
            delete_topic_enable: now.config.delete_topics,
            broker: now.values.clone(),
            topic_defaults: now.topic_defaults.clone(),
        }
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
        let defaults = self
            .live
            .follow(&image)
            .then(|| self.live.now().topic_defaults.clone());
        let partitions = Arc::clone(&self.partitions);
        let reconciled = tokio::task::spawn_blocking(move || {
            if let Some(defaults) = defaults {
                partitions.set_defaults(defaults);
            }
            partitions.reconcile(&image)
        })
        .await;
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
