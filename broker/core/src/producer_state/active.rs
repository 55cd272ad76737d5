//! The producers of a partition as DescribeProducers tells them (KIP-664).

use super::ProducerStates;
use crate::ids::{Offset, ProducerEpoch, ProducerId};

/// What is known of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its latest epoch.
    pub epoch: ProducerEpoch,
    /// The last sequence number; -1 if no batch of the epoch is known.
    pub last_sequence: i32,
    /// The largest timestamp of its last batch, in milliseconds; -1 is none.
    pub last_timestamp: i64,
    /// The epoch of the coordinator that wrote the last marker; -1 is none.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub transaction_start: Option<Offset>,
}

impl ProducerStates {
    /// All producers, ordered by id.
    pub fn active(&self) -> impl Iterator<Item = ActiveProducer> + '_ {
        self.producers.iter().map(|(id, entry)| ActiveProducer {
            producer_id: *id,
            epoch: entry.epoch,
            last_sequence: entry.last_sequence(),
            last_timestamp: entry.last_timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            transaction_start: entry.transaction_start,
        })
    }
}
