//! The deterministic state machines of the Moldau broker.
//!
//! Nothing here reads a clock, a file or a socket, draws random numbers or waits: callers pass
//! `now_ms`, fresh ids and events, and get back what to write, whom to answer and when to call
//! again. The same events always give the same actions, so every rule is tested without IO.
//!
//! - [`coordinator`]: one partition of `__consumer_offsets`: classic [`group`]s, groups of the newer
//!   protocol ([`consumer_group`]) and their committed [`offsets`]
//! - [`partition`]: the leader's view of one partition, and the checks of a produced batch
//! - [`fetch_session`]: what fetching clients asked for and were told (KIP-227)
//! - [`producer_state`]: idempotent and transactional producers of one partition
//! - [`transaction`]: one partition of `__transaction_state` and its transactions
//! - [`metadata`]: the records of the metadata log, the image they build, and the controller's
//!   decisions
//! - [`config`]: topic and broker settings

pub mod config;
pub mod consumer_group;
pub mod coordinator;
pub mod fetch_session;
pub mod group;
pub mod ids;
pub mod metadata;
pub mod offsets;
pub mod partition;
pub mod producer_state;
pub mod transaction;

mod rejection;

pub use rejection::Rejection;
