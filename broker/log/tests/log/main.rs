//! The log as its writer, its readers and a crash see it.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, in its fixtures as well"
)]

mod appends;
mod batches;
mod compaction;
mod compaction_model;
mod compaction_swap;
mod compaction_transactions;
mod crashes;
mod directory;
mod epochs;
mod failures;
mod files;
mod hostile;
mod reads;
mod recovery;
mod retention;
mod revival;
mod simulation;
mod syncs;
mod timestamps;
mod transactions;
mod truncation;
