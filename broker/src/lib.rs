//! The Moldau broker: a Kafka broker in one process, to be started by a program or embedded in one.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use moldau_broker::{Broker, BrokerConfig};
//!
//! let broker = Broker::start(BrokerConfig::new("./data")).await?;
//! println!("listening on {:?}", broker.kafka_addresses());
//! broker.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! This crate is the shell around `moldau-core`, which decides, and `moldau-log`, which stores:
//! - `net`: sockets, one task per connection; responses in order, requests pipelined
//! - [`handlers`]: one file per API and the dispatch table
//! - `runtime`: writer threads, group commit, tail cache, waiting fetches
//! - `coordinator`: consumer groups over `__consumer_offsets`
//! - `metadata`: the metadata log and the image that everything follows
//!
//! `unsafe` is used in `net::sendfile` alone, for system calls without a safe form.

mod alarm;
mod background;
mod broker;
pub mod config;
mod coordinator;
mod data_dir;
mod file_limit;
pub mod handlers;
mod in_process;
mod memory;
mod metadata;
pub mod metrics;
mod net;
mod node;
mod producer_ids;
mod runtime;
mod shutdown;

pub use broker::{Broker, BrokerError, BrokerHandle, StartError};
pub use config::{AdvertisedAddress, BrokerConfig, ConfigError, ConfigFileError};
pub use data_dir::DataDirError;
pub use metadata::ReplayError;
pub use metrics::{BrokerMetrics, MetricsSnapshot};
