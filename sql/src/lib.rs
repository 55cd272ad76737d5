//! Continuous and historical SQL over Kafka topics.
//!
//! An [`Engine`] keeps streams, tables and queries in a topic and runs the queries. A [`Session`]
//! runs statements: [`parser`] reads them; [`plan`] turns a `SELECT` into a bounded DataFusion plan
//! over [`scan`]s of topics, or into the stages of a [`continuous`] query, which [`operators`] run
//! chunk by chunk. [`formats`] and [`rows`] stand between bytes and columns.

pub mod catalog;
mod check;
pub mod continuous;
pub mod engine;
pub mod error;
pub mod formats;
pub mod operators;
pub mod parser;
pub mod plan;
mod postgres;
pub mod render;
pub mod rows;
pub mod scan;
pub mod types;

pub use check::{Mistake, check};
pub use engine::{
    Engine, EngineConfig, QueryState, QueryStatus, RowStream, Session, StatementResult,
};
pub use error::{Position, SqlError, SqlErrorKind};
