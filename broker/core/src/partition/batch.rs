//! What the leader needs to know of a record batch: the values of its header.

use moldau_protocol::batch::{BatchHeader, EndTransactionMarker, RecordBatch, TimestampType};
use moldau_protocol::compression::Compression;

use crate::ids::{Offset, ProducerEpoch, ProducerId};
use crate::producer_state::{Marker, VerificationGuard};

/// The header of one record batch; its records stay opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSummary {
    /// Offset of the first record; what a producer sends here has no meaning.
    pub base_offset: Offset,
    /// Offset of the last record, counted from the first.
    pub last_offset_delta: i32,
    /// How many records the batch has.
    pub record_count: i32,
    /// The version of the format; 2 is the only one in use.
    pub magic: i8,
    /// The codec, or `None` if its number is unknown.
    pub compression: Option<Compression>,
    /// All bytes of the batch, header included.
    pub size_in_bytes: usize,
    /// Whether the header says that a broker stamped the records.
    pub log_append_time: bool,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
    /// Whether the batch holds a control record, which only brokers write.
    pub control: bool,
    /// Timestamp of the first record; -1 is none.
    pub base_timestamp: i64,
    /// The largest timestamp of all records; -1 is none.
    pub max_timestamp: i64,
    /// The idempotent producer, or [`ProducerId::NONE`].
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// Sequence number of the first record; -1 without a producer id.
    pub base_sequence: i32,
    /// What a control batch says that ends a transaction. Not part of the header.
    pub marker: Option<Marker>,
    /// Set on transactional batches of clients where the partition must be known to the
    /// transaction's coordinator (KIP-890). Not part of the header.
    pub guard: Option<VerificationGuard>,
}

impl BatchSummary {
    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// The offset after the last record.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.last_offset() + 1
    }

    /// Sequence number of the last record; after `i32::MAX` comes 0.
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        add_to_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// Whether the producer asked for duplicates to be found.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.producer_id != ProducerId::NONE
    }
}

impl From<&BatchHeader> for BatchSummary {
    fn from(header: &BatchHeader) -> Self {
        Self {
            base_offset: Offset(header.base_offset),
            last_offset_delta: header.last_offset_delta,
            record_count: header.record_count,
            magic: header.magic,
            compression: header.compression().ok(),
            size_in_bytes: header.size_in_bytes(),
            log_append_time: header.timestamp_type() == TimestampType::LogAppendTime,
            transactional: header.is_transactional(),
            control: header.is_control(),
            base_timestamp: header.base_timestamp,
            max_timestamp: header.max_timestamp,
            producer_id: ProducerId(header.producer_id),
            producer_epoch: ProducerEpoch(header.producer_epoch),
            base_sequence: header.base_sequence,
            marker: None,
            guard: None,
        }
    }
}

/// Reads the marker of a control batch as well.
impl From<&RecordBatch> for BatchSummary {
    fn from(batch: &RecordBatch) -> Self {
        let marker = if batch.is_control() {
            EndTransactionMarker::from_batch(batch).ok().flatten()
        } else {
            None
        };
        Self {
            marker: marker.map(Marker::from),
            ..Self::from(batch.header())
        }
    }
}

/// A sequence number `steps` later; sequence numbers go from 0 to `i32::MAX` and start over.
#[must_use]
pub(crate) const fn add_to_sequence(sequence: i32, steps: i32) -> i32 {
    sequence.wrapping_add(steps) & i32::MAX
}
