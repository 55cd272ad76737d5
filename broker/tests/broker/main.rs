//! The broker as clients see it: frames over TCP, and typed requests through the dispatcher.
//!
//! Each test starts its own broker on a free port with an empty data directory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admin;
mod cluster_admin;
mod compaction;
mod connection;
mod consumer_groups;
mod dispatcher;
mod failing_disk;
mod fetching;
mod fixture;
mod groups;
mod idempotence;
mod list_offsets;
mod metadata;
mod producing;
mod restart;
mod settings;
mod settings_document;
mod takeover;
mod transaction_client;
mod transaction_races;
mod transactions;
mod versions;
