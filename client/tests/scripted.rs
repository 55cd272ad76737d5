//! The client against a broker that lives in the test: it keeps records in memory, checks sequence numbers
//! as brokers do, and fails where the test's script says so. Time is virtual, so nothing here waits.
//!
//! Every request and response goes through its bytes, in the versions that the test allows.

#![expect(
    clippy::unwrap_used,
    reason = "a step that fails is the result of its test"
)]

#[path = "scripted/broker.rs"]
mod broker;
#[path = "scripted/coordinator.rs"]
mod coordinator;
#[path = "scripted/log.rs"]
mod log;
#[path = "scripted/transactions.rs"]
mod transactions;

#[path = "scripted/consumer.rs"]
mod consumer;
#[path = "scripted/epochs.rs"]
mod epochs;
#[path = "scripted/group.rs"]
mod group;
#[path = "scripted/producer.rs"]
mod producer;
#[path = "scripted/tcp.rs"]
mod tcp;
#[path = "scripted/transaction.rs"]
mod transaction;
