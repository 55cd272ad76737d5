//! Batches for tests.

use moldau_protocol::compression::Compression;

use super::BatchSummary;
use crate::ids::{Offset, ProducerEpoch, ProducerId};
use crate::producer_state::Marker;

/// A batch of this many records without a producer id.
pub(crate) fn batch(record_count: i32) -> BatchSummary {
    BatchSummary {
        base_offset: Offset(0),
        last_offset_delta: record_count - 1,
        record_count,
        magic: 2,
        compression: Some(Compression::None),
        size_in_bytes: 61 + 10 * record_count as usize,
        log_append_time: false,
        transactional: false,
        control: false,
        base_timestamp: -1,
        max_timestamp: -1,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: -1,
        marker: None,
        guard: None,
    }
}

/// A batch of an idempotent producer with epoch 0.
pub(crate) fn idempotent(producer_id: i64, base_sequence: i32, record_count: i32) -> BatchSummary {
    BatchSummary {
        producer_id: ProducerId(producer_id),
        producer_epoch: ProducerEpoch(0),
        base_sequence,
        ..batch(record_count)
    }
}

/// The same in a transaction.
pub(crate) fn transactional(
    producer_id: i64,
    base_sequence: i32,
    record_count: i32,
) -> BatchSummary {
    BatchSummary {
        transactional: true,
        ..idempotent(producer_id, base_sequence, record_count)
    }
}

/// The marker of coordinator epoch 0 that ends a producer's transaction.
pub(crate) fn marker(producer_id: i64, producer_epoch: i16, committed: bool) -> BatchSummary {
    BatchSummary {
        transactional: true,
        control: true,
        base_sequence: -1,
        producer_epoch: ProducerEpoch(producer_epoch),
        marker: Some(Marker {
            committed,
            coordinator_epoch: 0,
            transaction_version: 0,
        }),
        ..idempotent(producer_id, 0, 1)
    }
}
