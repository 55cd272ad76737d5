//! Running an application against a cluster: threads, group membership, restore and commits.

mod assignor;
mod assignor_data;
mod commit;
mod core;
mod current_plan;
mod global;
mod http;
mod inputs;
mod latency;
mod look_up;
mod process_id;
mod queries;
mod reporter;
mod restore;
mod setup;
mod shared;
mod source_watch;
mod standby;
mod streams;
mod task_set;
mod thread;
mod writer;

pub use streams::{Streams, StreamsHandle};
