//! Moldau's connectors: records from outside into topics, and out of topics to the outside, as a
//! `moldau.yaml` describes it.
//!
//! ```no_run
//! # async fn run(client: moldau_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use moldau_connect::config::{Document, ParseContext};
//! use moldau_connect::{Connect, ConnectConfig};
//!
//! let text = std::fs::read_to_string("moldau.yaml")?;
//! let document = Document::parse(&text, "moldau.yaml", &ParseContext::new("./moldau-data"))?;
//! let connect = Connect::start(client, document.connectors, ConnectConfig::new("./moldau-data"));
//! println!("{:?}", connect.status());
//! connect.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! - [`config`]: the document, and what is wrong with it
//! - `connectors`: one folder each: `file`, `generator`, `host_metrics`, `object`
//! - `transforms`, `condition`, `formats`: what happens to records on the way
//! - `runtime`: keeps connectors going, and their progress exact

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
