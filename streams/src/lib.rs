//! moldau-streams.
