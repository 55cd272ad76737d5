//! moldau-sql.
