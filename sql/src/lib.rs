//! Continuous and historical SQL over Kafka topics.
//!
//! Statements are read by [`parser`]; [`plan`] turns a `SELECT` into a bounded DataFusion plan or
//! into the stages of a continuous query, which [`operators`] run chunk by chunk. [`formats`] and
//! [`rows`] stand between bytes and columns.

pub mod catalog;
pub mod error;
pub mod formats;
pub mod operators;
pub mod parser;
pub mod plan;
pub mod rows;
pub mod types;

pub use error::{Position, SqlError, SqlErrorKind};
