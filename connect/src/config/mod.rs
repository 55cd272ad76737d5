//! `moldau.yaml`: the whole document, its settings, and what is wrong with it.

pub(crate) mod diagnostics;
pub(crate) mod placeholders;
pub(crate) mod quantity;
pub(crate) mod reader;
pub(crate) mod secret;
pub(crate) mod suggest;
pub(crate) mod tree;
