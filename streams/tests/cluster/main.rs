//! Applications on a real cluster: our broker in this process, or, where `MOLDAU_TEST_KAFKA` is
//! set to `host:port`, whatever listens there; the answers are the same.

mod cluster;
mod crash;
mod exactly_once;
mod failures;
mod group;
mod hand_over;
mod jobs;
mod queries;
