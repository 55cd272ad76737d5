//! moldau-core.
