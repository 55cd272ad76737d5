//! The records of `__transaction_state`: made here, and read again when a partition is loaded.
//!
//! ```text
//! key    type i16 = 0, transactional id
//! value  version i16 = 1, fields    or nothing: the id expired
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use moldau_protocol::records::transaction_log_key::TransactionLogKey;
use moldau_protocol::records::transaction_log_value::{PartitionsSchema, TransactionLogValue};
use moldau_protocol::types::KString;
use moldau_protocol::{DecodeError, EncodeError, Message, RecordKey, record_type};

use super::{TransactionCoordinator, TransactionMetadata, TransactionState};
use crate::coordinator::{CoordinatorRecord, ReplayError};
use crate::ids::{ProducerEpoch, ProducerId};

impl TransactionCoordinator {
    /// Takes over one record of the partition.
    ///
    /// # Errors
    /// The record is damaged. It changes nothing, so the caller may go on with the next.
    pub fn replay(&mut self, key: &Bytes, value: Option<&Bytes>) -> Result<(), ReplayError> {
        let record_type = record_type(key).unwrap_or(-1);
        if record_type != TransactionLogKey::RECORD_TYPE {
            return Ok(());
        }
        let replayed = read(key, value);
        let (transactional_id, metadata) = replayed.map_err(|source| ReplayError {
            record_type,
            source,
        })?;
        self.put(&transactional_id, metadata);
        Ok(())
    }
}

fn read(
    key: &Bytes,
    value: Option<&Bytes>,
) -> Result<(KString, Option<TransactionMetadata>), DecodeError> {
    let key = TransactionLogKey::decode_key(key.clone())?;
    let transactional_id = key.transactional_id.detached();
    let value = value
        .map(|value| TransactionLogValue::decode_versioned(value.clone()))
        .transpose()?;
    let metadata = value.and_then(|value| metadata_of(&value));
    Ok((transactional_id, metadata))
}

/// `None` for an id that expired.
fn metadata_of(value: &TransactionLogValue) -> Option<TransactionMetadata> {
    let state = TransactionState::from_id(value.transaction_status)
        .filter(|state| *state != TransactionState::Dead)?;
    let partitions = value.transaction_partitions.iter().flatten();
    let partitions = partitions.flat_map(|topic| {
        let name = topic.topic.detached();
        topic
            .partition_ids
            .iter()
            .map(move |index| (name.clone(), *index))
    });
    Some(TransactionMetadata {
        producer_id: ProducerId(value.producer_id),
        previous_producer_id: ProducerId(value.previous_producer_id),
        next_producer_id: ProducerId(value.next_producer_id),
        producer_epoch: ProducerEpoch(value.producer_epoch),
        last_producer_epoch: ProducerEpoch::NONE,
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions: partitions.collect(),
        start_timestamp_ms: value.transaction_start_timestamp_ms,
        last_update_timestamp_ms: value.transaction_last_update_timestamp_ms,
        client_version: value.client_transaction_version,
    })
}

/// The record of an id's state; without any it is the tombstone.
pub(super) fn record(
    transactional_id: &KString,
    metadata: Option<&TransactionMetadata>,
) -> Result<CoordinatorRecord, EncodeError> {
    let key = TransactionLogKey {
        transactional_id: transactional_id.clone(),
    };
    let value = metadata.map(|metadata| value_of(metadata).encode_versioned(VERSION));
    Ok(CoordinatorRecord {
        key: key.encode_key()?,
        value: value.transpose()?,
    })
}

fn value_of(metadata: &TransactionMetadata) -> TransactionLogValue {
    let mut topics: BTreeMap<&KString, Vec<i32>> = BTreeMap::new();
    for (topic, index) in &metadata.partitions {
        topics.entry(topic).or_default().push(*index);
    }
    let topics = topics
        .into_iter()
        .map(|(topic, partition_ids)| PartitionsSchema {
            topic: topic.clone(),
            partition_ids,
            ..Default::default()
        });
    TransactionLogValue {
        producer_id: metadata.producer_id.0,
        previous_producer_id: metadata.previous_producer_id.0,
        next_producer_id: metadata.next_producer_id.0,
        producer_epoch: metadata.producer_epoch.0,
        transaction_timeout_ms: metadata.timeout_ms,
        transaction_status: metadata.state.id(),
        transaction_partitions: (metadata.state != TransactionState::Empty)
            .then(|| topics.collect()),
        transaction_last_update_timestamp_ms: metadata.last_update_timestamp_ms,
        transaction_start_timestamp_ms: metadata.start_timestamp_ms,
        client_transaction_version: metadata.client_version,
        ..Default::default()
    }
}

/// The version that Kafka writes since transaction version 1.
const VERSION: i16 = 1;
