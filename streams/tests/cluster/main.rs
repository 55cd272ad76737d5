//! Applications on a real cluster: our broker in this process, or, where `MOLDAU_TEST_KAFKA` is
//! set to `host:port`, whatever listens there; the answers are the same.

#![expect(
    clippy::print_stdout,
    reason = "the crash tests say their seed and what they have measured"
)]

mod cluster;
mod crash;
mod exactly_once;
mod failures;
mod full_disk;
mod group;
mod hand_over;
mod histories;
mod instance;
mod jobs;
mod mistakes;
mod orders;
mod outward;
mod patterns;
mod queries;
mod shutdown;
