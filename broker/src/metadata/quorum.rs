//! Agreement on metadata: `propose` records, `watch` the image.
//!
//! This is a quorum of one: a record counts once it is on this node's disk. A replicated quorum comes behind the
//! same two functions.

use std::sync::{Arc, Mutex, PoisonError};

use moldau_core::metadata::{ApplyError, MetadataImage, MetadataRecord};
use moldau_log::LogError;
use tokio::sync::watch;

use super::log::{MetadataLog, ReplayError};

/// The metadata log and the image that its records add up to.
#[derive(Debug)]
pub(crate) struct Quorum {
    log: Arc<Mutex<MetadataLog>>,
    image: watch::Sender<Arc<Versioned>>,
}

/// An image and the number of records behind it.
#[derive(Debug, Default)]
struct Versioned {
    image: Arc<MetadataImage>,
    version: i64,
}

/// Always knows the newest image.
#[derive(Debug, Clone)]
pub(crate) struct Images(watch::Receiver<Arc<Versioned>>);

impl Images {
    pub(crate) fn newest(&self) -> Arc<MetadataImage> {
        Arc::clone(&self.0.borrow().image)
    }
}

/// Why a proposal failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProposeError {
    #[error("append to the metadata log: {0}")]
    Log(#[from] LogError),
    #[error("metadata record does not fit the image: {0}")]
    Apply(#[from] ApplyError),
    #[error("append to the metadata log was given up: the node stops")]
    Stopped,
}

impl Quorum {
    /// Takes over a replayed log.
    pub(crate) fn new(log: MetadataLog, image: MetadataImage) -> Self {
        let version = log.end_offset();
        let image = Arc::new(image);
        Self {
            log: Arc::new(Mutex::new(log)),
            image: watch::Sender::new(Arc::new(Versioned { image, version })),
        }
    }

    /// Replays what is on disk.
    ///
    /// # Errors
    ///
    /// When the log cannot be read, or holds something that is not metadata.
    pub(crate) fn replay(log: &MetadataLog) -> Result<MetadataImage, ReplayError> {
        let mut image = MetadataImage::default();
        log.replay(&mut |record| image.apply(record))?;
        Ok(image)
    }

    /// Appends `records` in one piece; returns when they are durable and part of the image.
    ///
    /// Proposals must not overlap: the caller decides on the image that the proposal before left.
    ///
    /// # Errors
    ///
    /// When the records contradict the image (nothing is written then), or the log cannot be written.
    pub(crate) async fn propose(&self, records: Vec<MetadataRecord>) -> Result<(), ProposeError> {
        let mut image = MetadataImage::clone(&self.image());
        for record in &records {
            image.apply(record)?;
        }
        let log = Arc::clone(&self.log);
        let append = move || {
            log.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .append(&records)
        };
        let version = tokio::task::spawn_blocking(append)
            .await
            .map_err(|_| ProposeError::Stopped)??;
        self.image.send_replace(Arc::new(Versioned {
            image: Arc::new(image),
            version,
        }));
        Ok(())
    }

    /// Follows the image, for those who have no quorum at hand.
    pub(crate) fn images(&self) -> Images {
        Images(self.image.subscribe())
    }

    pub(crate) fn image(&self) -> Arc<MetadataImage> {
        Arc::clone(&self.image.borrow().image)
    }

    /// The number of records behind the image.
    pub(crate) fn version(&self) -> i64 {
        self.image.borrow().version
    }

    /// Closes the log for a clean shutdown. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// When the log cannot be written.
    pub(crate) fn close(&self) -> Result<(), LogError> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .close()
    }
}
