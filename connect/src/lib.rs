//! moldau-connect.
mod condition;
pub mod config;
mod connectors;
mod field_path;
mod formats;
mod record;
mod runtime;
mod template;
mod transforms;

pub use runtime::{
    Connect, ConnectConfig, ConnectHandle, ConnectorState, ConnectorStatus, StatusReader,
};
