//! The laws that no compiler checks: who may depend on whom, and where things lie.

mod dependencies;
mod files;
mod handlers;
mod traps;
mod workspace;
