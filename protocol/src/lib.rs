//! moldau-protocol.
