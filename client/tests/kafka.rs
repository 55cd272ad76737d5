//! The client against a real cluster, named by the environment variable `MOLDAU_TEST_KAFKA` (`host:port`).
//!
//! Without it every test says that it is skipped and passes: the same ground is covered by unit tests
//! and, against our own broker, by the workspace's end-to-end tests.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a step that fails is the result of its test, and a skipped test says so"
)]

#[path = "kafka/cluster.rs"]
mod cluster;

#[path = "kafka/admin.rs"]
mod admin;
#[path = "kafka/consumer.rs"]
mod consumer;
#[path = "kafka/group.rs"]
mod group;
#[path = "kafka/producer.rs"]
mod producer;
#[path = "kafka/rebalance.rs"]
mod rebalance;
#[path = "kafka/transaction.rs"]
mod transaction;
