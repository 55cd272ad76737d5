//! moldau-connect.
