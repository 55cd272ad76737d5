//! Settings of a producer.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use moldau_protocol::batch::Compression;

use crate::error::ClientError;

/// Settings of a [`Producer`](crate::Producer). Names and defaults are Kafka 4's.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// Which replicas must have a record before it counts as delivered (all in-sync ones).
    pub acks: Acks,
    /// Whether the broker drops repeats that retries cause, and keeps the order (true).
    ///
    /// Needs [`Acks::All`]; with other acks it has no effect.
    pub enable_idempotence: bool,
    /// Compression of whole batches (none).
    pub compression: Compression,
    /// How long a batch that is not full waits for more records (5 ms). [`flush`](crate::Producer::flush) ends the wait.
    pub linger_ms: u64,
    /// Size at which a batch is full, in bytes before compression (16 KiB). A larger record gets a batch of its own.
    pub batch_size: usize,
    /// Memory for records that are not delivered yet, in bytes (32 MiB); [`send`](crate::Producer::send) waits when it is used up.
    pub buffer_memory: usize,
    /// Largest produce request, and so the largest record, in bytes (1 MiB).
    pub max_request_size: usize,
    /// From `send` to the answer with all retries, in milliseconds (120,000).
    pub delivery_timeout_ms: u64,
    /// How long `send` may wait for buffer memory or for the topic's metadata, and each call of a transactional producer
    /// for its coordinators (60,000 ms).
    pub max_block_ms: u64,
    /// Unanswered produce requests per broker (5; more than 5 breaks idempotence and counts as 5).
    pub max_in_flight: usize,
    /// First wait before a failed batch is sent again (100 ms); doubles up to `retry_backoff_max_ms`.
    pub retry_backoff_ms: u64,
    /// Longest wait before a failed batch is sent again (1,000 ms).
    pub retry_backoff_max_ms: u64,
    /// Chooses the partition of records that do not name one.
    pub partitioner: Partitioner,
    /// Longest time that a transaction may stay open before its coordinator aborts it (60,000 ms). Only for
    /// [`TransactionalProducer`](crate::TransactionalProducer).
    pub transaction_timeout_ms: u64,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            enable_idempotence: true,
            compression: Compression::None,
            linger_ms: 5,
            batch_size: 16_384,
            buffer_memory: 32 * 1024 * 1024,
            max_request_size: 1024 * 1024,
            delivery_timeout_ms: 120_000,
            max_block_ms: 60_000,
            max_in_flight: 5,
            retry_backoff_ms: 100,
            retry_backoff_max_ms: 1_000,
            partitioner: Partitioner::Default,
            transaction_timeout_ms: 60_000,
        }
    }
}

/// Which replicas must have a record before it counts as delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Nobody answers: a record counts as delivered once it is written to the connection, its offset is unknown (-1).
    None,
    /// The leader has it.
    Leader,
    /// All in-sync replicas have it.
    All,
}

impl Acks {
    /// The value in a produce request.
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

impl FromStr for Acks {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        match text {
            "0" => Ok(Self::None),
            "1" => Ok(Self::Leader),
            "all" | "-1" => Ok(Self::All),
            _ => Err(ClientError::Config {
                setting: "acks",
                reason: format!("\"{text}\" is not one of `0`, `1`, `all`"),
            }),
        }
    }
}

/// Chooses the partition of records that do not name one.
#[derive(Clone, Default)]
pub enum Partitioner {
    /// Kafka's: murmur2 of the key; without a key one partition until its batch is full, then another at random.
    #[default]
    Default,
    /// As [`Default`](Self::Default), but keys are ignored.
    IgnoreKeys,
    /// A function of key, value and number of partitions; what it gives is taken modulo the number.
    Custom(Arc<PartitionFunction>),
}

/// Function of [`Partitioner::Custom`]: key, value and number of partitions to a partition.
pub type PartitionFunction = dyn Fn(Option<&[u8]>, Option<&[u8]>, i32) -> i32 + Send + Sync;

impl fmt::Debug for Partitioner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Default => "Default",
            Self::IgnoreKeys => "IgnoreKeys",
            Self::Custom(_) => "Custom",
        })
    }
}
