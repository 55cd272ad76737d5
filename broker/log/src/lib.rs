//! moldau-log.
