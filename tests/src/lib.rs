//! moldau-tests.
