//! moldau-client.
