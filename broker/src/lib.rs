//! moldau-broker.
