//! Running an application against a cluster: threads, group membership, restore and commits.

mod assignor;
mod global;
mod inputs;
mod reporter;
mod restore;
mod setup;
mod shared;
mod streams;
mod task_set;
mod thread;

pub use streams::{Streams, StreamsHandle};
