//! The local driver: an application's tasks on in-memory topics, with a virtual clock.

mod config;
mod driver;
mod topics;
mod turns;

pub use config::{CommitMode, LocalConfig};
pub use driver::LocalDriver;
pub use topics::{LocalRecord, LocalTopicRecord};
