//! Ids for idempotent producers, unique in the cluster.
//!
//! The controller hands out blocks; what is left of a block at a restart is never used.

use moldau_protocol::ErrorCode;
use tokio::sync::Mutex;

use crate::metadata::Metadata;

/// The block that this node hands out.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    block: Mutex<std::ops::Range<i64>>,
}

impl ProducerIds {
    /// An id that no producer of the cluster ever had.
    ///
    /// # Errors
    ///
    /// When the controller cannot give a new block.
    pub(crate) async fn next(&self, metadata: &Metadata) -> Result<i64, ErrorCode> {
        let mut block = self.block.lock().await;
        if block.is_empty() {
            let fresh = metadata
                .decide(|controller, _| controller.allocate_producer_ids(BLOCK_SIZE))
                .await?;
            *block = fresh.first.0..fresh.first.0 + fresh.count;
        }
        block.next().ok_or(ErrorCode::UnknownServerError)
    }
}

/// Ids of one block, as many as Kafka's.
const BLOCK_SIZE: i64 = 1000;
