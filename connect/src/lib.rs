//! moldau-connect.
mod condition;
pub mod config;
mod connectors;
mod field_path;
mod formats;
mod record;
mod template;
mod transforms;
