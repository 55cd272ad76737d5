//! Moldau's Kafka client: a producer, a consumer with group membership, and an admin client.
//!
//! It is batch-first: [`Consumer::poll`] yields whole record batches as slices of what the
//! broker sent, and [`Producer::send`] copies a record once, into its partition's batch.
//! A [`Client`] shares metadata and connections between all of them and speaks either TCP to
//! any Kafka 3.9+ compatible cluster or, without sockets and serialisation, straight to a broker in
//! the same process.
//!
//! ```no_run
//! use moldau_client::{Client, ClientConfig, ProducerConfig, ProducerRecord};
//!
//! # async fn example() -> Result<(), moldau_client::ClientError> {
//! let client = Client::connect(ClientConfig::new("localhost:9092")).await?;
//! let producer = client.producer(ProducerConfig::default());
//! let delivery = producer.send(ProducerRecord::new("orders", Some("42".into()), Some("paid".into()))).await?;
//! println!("stored at offset {}", delivery.await?.offset);
//! producer.close().await;
//! # Ok(())
//! # }
//! ```

pub mod admin;
mod backoff;
mod client;
mod config;
pub mod consumer;
mod coordinator;
mod error;
mod metadata;
mod offsets;
pub mod partitioner;
pub mod producer;
mod topic_partition;
mod transport;

pub use moldau_protocol::batch::{Compression, Record, RecordHeader};
pub use moldau_protocol::{ErrorCode, KString};

pub use crate::admin::Admin;
pub use crate::client::{Client, Target};
pub use crate::config::ClientConfig;
pub use crate::consumer::{
    Consumer, ConsumerConfig, FetchedBatch, Isolation, OffsetReset, Poll, Rebalance, SeekTo,
};
pub use crate::error::ClientError;
pub use crate::metadata::{BrokerEndpoint, ClusterMetadata, PartitionMetadata, TopicMetadata};
pub use crate::offsets::GroupMetadata;
pub use crate::producer::{
    Acks, Delivery, Producer, ProducerConfig, ProducerRecord, RecordMetadata, TransactionalProducer,
};
pub use crate::topic_partition::{OffsetAndMetadata, TopicPartition};
