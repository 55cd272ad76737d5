//! A batch on its way: open, then sealed, then built into the bytes that are sent.

use std::sync::Arc;

use bytes::Bytes;
use moldau_protocol::batch::{BatchError, RecordBatch, RecordBatchBuilder};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::error::ClientError;
use crate::producer::accumulator::CLOSED;
use crate::producer::delivery::{BatchOutcome, Delivery};
use crate::producer::record::ProducerRecord;

/// A batch that records are still added to.
#[derive(Debug)]
pub(crate) struct OpenBatch {
    builder: RecordBatchBuilder,
    batch: BatchParts,
}

/// What a batch keeps from its opening to its outcome.
#[derive(Debug)]
struct BatchParts {
    id: u64,
    outcome: Arc<BatchOutcome>,
    created_at: Instant,
    record_count: u32,
    /// Gives the batch's share of `buffer_memory` back when the batch is done.
    _memory: OwnedSemaphorePermit,
}

impl OpenBatch {
    pub(crate) fn new(
        id: u64,
        builder: RecordBatchBuilder,
        outcome: Arc<BatchOutcome>,
        memory: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            builder,
            batch: BatchParts {
                id,
                outcome,
                created_at: Instant::now(),
                record_count: 0,
                _memory: memory,
            },
        }
    }

    pub(crate) const fn created_at(&self) -> Instant {
        self.batch.created_at
    }

    /// Whether a record of `size` bytes still fits into `limit`. The first one always does.
    pub(crate) fn has_room(&self, size: usize, limit: usize) -> bool {
        self.batch.record_count == 0 || self.builder.estimated_size() + size <= limit
    }

    /// Bytes so far, before compression.
    pub(crate) fn size(&self) -> usize {
        self.builder.estimated_size()
    }

    /// Copies a record into the batch.
    pub(crate) fn append(&mut self, record: &ProducerRecord, timestamp: i64) -> Delivery {
        self.builder.append(
            timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
            &record.headers,
        );
        let index = self.batch.record_count;
        self.batch.record_count += 1;
        Delivery::new(Arc::clone(&self.batch.outcome), index, timestamp)
    }

    pub(crate) fn seal(self) -> Batch {
        Batch {
            content: Content::Sealed(Box::new(self.builder)),
            sequence: None,
            order: 0,
            attempts: 0,
            batch: self.batch,
        }
    }
}

/// A batch that no record is added to any more.
#[derive(Debug)]
pub(crate) struct Batch {
    content: Content,
    /// Producer and first sequence number, once the batch was about to be sent.
    pub(crate) sequence: Option<BatchSequence>,
    /// Place among the batches of its partition, given when it is sent for the first time.
    pub(crate) order: u64,
    pub(crate) attempts: u32,
    batch: BatchParts,
}

/// The numbers by which a broker recognises a repeated batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchSequence {
    pub(crate) producer: ProducerId,
    pub(crate) base_sequence: i32,
}

/// Id and epoch that the broker gave to this producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerId {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

#[derive(Debug)]
enum Content {
    Sealed(Box<RecordBatchBuilder>),
    Built {
        bytes: Bytes,
        sequence: Option<BatchSequence>,
    },
    /// Building failed.
    Spoiled,
}

impl Batch {
    pub(crate) const fn id(&self) -> u64 {
        self.batch.id
    }

    pub(crate) const fn record_count(&self) -> u32 {
        self.batch.record_count
    }

    pub(crate) const fn created_at(&self) -> Instant {
        self.batch.created_at
    }

    /// How many bytes are to be sent; before they are compressed, at most so many.
    pub(crate) fn size(&self) -> usize {
        match &self.content {
            Content::Sealed(builder) => builder.estimated_size(),
            Content::Built { bytes, .. } => bytes.len(),
            Content::Spoiled => 0,
        }
    }

    /// The bytes to send, compressed, with the current sequence numbers.
    pub(crate) fn bytes(&mut self) -> Result<Bytes, ClientError> {
        let content = std::mem::replace(&mut self.content, Content::Spoiled);
        let bytes = match content {
            Content::Sealed(builder) => build(*builder, self.sequence),
            Content::Built { bytes, sequence } if sequence == self.sequence => bytes,
            Content::Built { bytes, .. } => renumber(bytes, self.sequence)?,
            Content::Spoiled => {
                return Err(ClientError::protocol(
                    "record batch",
                    "it could not be built before",
                ));
            }
        };
        self.content = Content::Built {
            bytes: bytes.clone(),
            sequence: self.sequence,
        };
        Ok(bytes)
    }

    pub(crate) const fn outcome(&self) -> &Arc<BatchOutcome> {
        &self.batch.outcome
    }
}

/// A batch that is dropped before its outcome is known will never be sent: its producer's task has ended.
impl Drop for BatchParts {
    fn drop(&mut self) {
        self.outcome.complete(Err(CLOSED));
    }
}

fn build(builder: RecordBatchBuilder, sequence: Option<BatchSequence>) -> Bytes {
    let builder = match sequence {
        Some(sequence) => builder.producer(
            sequence.producer.id,
            sequence.producer.epoch,
            sequence.base_sequence,
        ),
        None => builder,
    };
    builder.build()
}

/// Builds a batch again with other sequence numbers: its producer id was replaced between two attempts.
fn renumber(bytes: Bytes, sequence: Option<BatchSequence>) -> Result<Bytes, ClientError> {
    let again = |bytes| -> Result<RecordBatchBuilder, BatchError> {
        let batch = RecordBatch::parse(bytes)?;
        let mut builder = RecordBatchBuilder::new(batch.compression()?);
        for record in batch.records()? {
            let record = record?;
            builder.append(
                record.timestamp,
                record.key.as_deref(),
                record.value.as_deref(),
                &record.headers,
            );
        }
        Ok(builder)
    };
    match again(bytes) {
        Ok(builder) => Ok(build(builder, sequence)),
        Err(error) => Err(ClientError::protocol("record batch", error)),
    }
}

/// Most bytes that a record can take in a batch.
pub(crate) fn record_size_bound(record: &ProducerRecord) -> usize {
    RecordBatchBuilder::size_of_record(
        record.key.as_deref(),
        record.value.as_deref(),
        &record.headers,
    )
}
