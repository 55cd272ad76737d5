//! A fetched record batch.

use moldau_protocol::batch::{BatchError, Record, RecordBatch};

use crate::topic_partition::TopicPartition;

/// A record batch as the broker sent it, not decoded yet. Never a control batch, never aborted data
/// under [`Isolation::ReadCommitted`](crate::Isolation::ReadCommitted).
#[derive(Clone, Debug)]
pub struct FetchedBatch {
    /// Where it comes from.
    pub topic_partition: TopicPartition,
    /// The batch.
    pub batch: RecordBatch,
    /// Records below this offset were read before; [`records`](Self::records) leaves them out.
    pub start_offset: i64,
    /// First offset of the partition that consumers could not read yet, when the batch was fetched.
    pub high_watermark: i64,
}

impl FetchedBatch {
    /// The records from `start_offset` on, decoded one by one in place: keys and values are slices of the batch
    /// (of its decompressed form if it was compressed).
    ///
    /// # Errors
    ///
    /// The batch cannot be decompressed, or uses an unknown compression.
    pub fn records(
        &self,
    ) -> Result<impl Iterator<Item = Result<Record, BatchError>> + use<>, BatchError> {
        let start_offset = self.start_offset;
        Ok(self.batch.records()?.filter(move |record| {
            record
                .as_ref()
                .map_or(true, |record| record.offset >= start_offset)
        }))
    }

    /// The offset after the last one of this batch: what to commit when the batch is done.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.batch.last_offset() + 1
    }

    /// Size of the batch on the wire, in bytes.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        self.batch.size_in_bytes()
    }
}
