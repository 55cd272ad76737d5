//! Stream processing on Kafka topics: Kafka Streams' semantics, names and bytes, in Rust.
//!
//! [`runtime`] assigns tasks to partitions, feeds them records in timestamp order, keeps their
//! stores in changelog topics and commits; it knows nothing of what a record means.

pub mod runtime;
mod wire;

pub use wire::{KString, RecordHeader};
