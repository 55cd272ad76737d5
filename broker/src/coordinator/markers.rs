//! Tells partitions how transactions ended.
//!
//! All partitions are on this node; a partition of another broker would be told by WriteTxnMarkers from here.

use std::sync::Arc;
use std::time::Duration;

use moldau_core::coordinator::OffsetsMarker;
use moldau_core::ids::{ProducerEpoch, ProducerId};
use moldau_core::producer_state::Marker;
use moldau_core::transaction::{Markers, TransactionCoordinator, TransactionPartition};
use moldau_protocol::{ErrorCode, ResponseKind};
use tokio::sync::{oneshot, watch};
use tracing::{debug, warn};

use super::Coordinators;
use super::shard::marker_batch;
use crate::config::BrokerConfig;
use crate::metadata::CONSUMER_OFFSETS;
use crate::runtime::{Append, Partitions, Writers};

/// Writes markers to the partitions of this node.
#[derive(Debug, Clone)]
pub(crate) struct MarkerWriter {
    partitions: Arc<Partitions>,
    writers: Arc<Writers>,
    groups: Arc<Coordinators>,
    /// How long a full queue may hold a marker up.
    append_limit: Duration,
}

impl MarkerWriter {
    pub(crate) fn new(
        config: &BrokerConfig,
        (partitions, writers): (Arc<Partitions>, Arc<Writers>),
        groups: Arc<Coordinators>,
    ) -> Self {
        Self {
            partitions,
            writers,
            groups,
            append_limit: Duration::from_millis(config.request_timeout_ms),
        }
    }

    /// The coordinators of transactions, whose ends this writer tells.
    pub(crate) fn coordinators(
        &self,
        config: &BrokerConfig,
        stop: watch::Receiver<bool>,
    ) -> Arc<Coordinators<TransactionCoordinator>> {
        let (partitions, writers) = (Arc::clone(&self.partitions), Arc::clone(&self.writers));
        let coordinators = Arc::new(Coordinators::of_transactions(config, partitions, writers));
        let (writer, told) = (self.clone(), Arc::downgrade(&coordinators));
        coordinators.tell_by(move |markers| {
            if let Some(coordinators) = told.upgrade() {
                tokio::spawn(writer.clone().finish(markers, coordinators, stop.clone()));
            }
        });
        coordinators
    }

    /// Appends a marker to one partition, and waits until it is committed.
    ///
    /// # Errors
    ///
    /// Why it is not there.
    pub(crate) async fn write(
        &self,
        (topic, index): &TransactionPartition,
        marker: OffsetsMarker,
    ) -> Result<(), ErrorCode> {
        if **topic == *CONSUMER_OFFSETS {
            return self.groups.write_marker(*index, marker).await;
        }
        let partition = self
            .partitions
            .find(topic, *index)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let batch = marker_batch(&marker).map_err(|_| ErrorCode::UnknownServerError)?;
        let (reply, outcome) = oneshot::channel();
        let slot = self.writers.slot(&partition, self.append_limit).await?;
        slot.fill(Append {
            partition,
            batch,
            log_append_time: false,
            committed: true,
            guard: None,
            marker: Some(marker.marker),
            reply,
        });
        let outcome = outcome.await.unwrap_or(Err(ErrorCode::NotLeaderOrFollower));
        outcome.map(drop)
    }

    /// Writes the markers of a transaction, again and again where that fails, and tells the coordinator. Ends early
    /// when the node stops: the coordinator begins anew with the next start.
    pub(crate) async fn finish(
        self,
        markers: Markers,
        coordinators: Arc<Coordinators<TransactionCoordinator>>,
        mut stop: watch::Receiver<bool>,
    ) {
        tokio::select! {
            () = self.tell_all(&markers) => {}
            _ = stop.wait_for(|stopped| *stopped) => return,
        }
        if let Err(code) = coordinators.markers_written(&markers).await {
            warn!(transactional_id = %markers.transactional_id, code = code.name(), "cannot complete transaction");
        }
    }

    async fn tell_all(&self, markers: &Markers) {
        let marker = OffsetsMarker {
            producer_id: markers.producer_id,
            producer_epoch: markers.producer_epoch,
            marker: Marker {
                committed: markers.committed,
                coordinator_epoch: markers.coordinator_epoch,
                transaction_version: markers.transaction_version,
            },
        };
        let mut left = markers.partitions.clone();
        let mut wait = FIRST_WAIT;
        loop {
            left = self.tell(left, marker).await;
            if left.is_empty() {
                return;
            }
            debug!(transactional_id = %markers.transactional_id, partitions = left.len(), "markers are to be written again");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Tells all of `partitions` at once; returns those that are to be told again.
    async fn tell(
        &self,
        partitions: Vec<TransactionPartition>,
        marker: OffsetsMarker,
    ) -> Vec<TransactionPartition> {
        let told = partitions.into_iter().map(|partition| {
            let writer = self.clone();
            tokio::spawn(async move {
                let outcome = writer.write(&partition, marker).await;
                (outcome, partition)
            })
        });
        let told: Vec<_> = told.collect();
        let mut left = Vec::new();
        for task in told {
            let Ok((outcome, partition)) = task.await else {
                continue;
            };
            match outcome {
                Ok(()) => {}
                // It was deleted; or a later coordinator or instance has the say.
                Err(
                    ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::InvalidProducerEpoch
                    | ErrorCode::TransactionCoordinatorFenced,
                ) => {
                    debug!(topic = %partition.0, partition = partition.1, "marker is not needed any more");
                }
                Err(_) => left.push(partition),
            }
        }
        left
    }
}

impl MarkerWriter {
    /// What one marker of a WriteTxnMarkers request says.
    pub(crate) fn marker_of(
        request: &moldau_protocol::messages::write_txn_markers::WritableTxnMarker,
    ) -> OffsetsMarker {
        OffsetsMarker {
            producer_id: ProducerId(request.producer_id),
            producer_epoch: ProducerEpoch(request.producer_epoch),
            marker: Marker {
                committed: request.transaction_result,
                coordinator_epoch: request.coordinator_epoch,
                transaction_version: i16::from(request.transaction_version),
            },
        }
    }
}

/// The outcome of the one marker in a response to WriteTxnMarkers.
pub(crate) fn marker_code(response: &ResponseKind) -> Result<(), ErrorCode> {
    let ResponseKind::WriteTxnMarkers(response) = response else {
        return Err(ErrorCode::UnknownServerError);
    };
    let topics = response.markers.iter().flat_map(|marker| &marker.topics);
    let mut partitions = topics.flat_map(|topic| &topic.partitions);
    match partitions.next() {
        Some(partition) if partition.error_code == ErrorCode::None.code() => Ok(()),
        Some(partition) => Err(ErrorCode::from_code(partition.error_code)),
        None => Err(ErrorCode::UnknownServerError),
    }
}

const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
