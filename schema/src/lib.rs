//! moldau-schema.
