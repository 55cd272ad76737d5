//! The binary as a user has it: files in, addresses out, signals, mistakes.

mod mistakes;
mod moldau;
mod pipeline;
mod servers;
