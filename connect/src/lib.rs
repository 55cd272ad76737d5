//! moldau-connect.
mod condition;
pub mod config;
mod field_path;
mod record;
mod template;
mod transforms;
