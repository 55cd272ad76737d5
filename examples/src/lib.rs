//! moldau-examples.
