//! `moldau.yaml`: the whole document, its settings, and what is wrong with it.
//!
//! The text becomes a tree that knows the place of each value (`tree`); the settings are read out
//! of it by hand (`reader`), because that reports all mistakes at once, each with its line.

pub(crate) mod connector;
mod connector_keys;
pub(crate) mod diagnostics;
mod document;
pub(crate) mod placeholders;
pub(crate) mod quantity;
pub(crate) mod reader;
pub(crate) mod secret;
pub(crate) mod suggest;
pub(crate) mod topics;
pub(crate) mod tree;

pub use connector::ConnectorSpec;
pub use diagnostics::{Diagnostic, Diagnostics};
pub use document::{Document, SqlBlock, TerminalSpec};
pub use placeholders::{Lookup, ParseContext};
pub use topics::TopicSpec;

#[cfg(test)]
mod tests;
