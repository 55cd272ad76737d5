//! moldau-log: one partition's log on disk.
//!
//! A [`Log`] belongs to the one writer of its partition. It appends record batches as they are,
//! rolls segments, keeps the sparse indexes, and recovers after a crash. Readers hold a
//! [`LogReader`] and read from an immutable [`LogSnapshot`] without a lock. A [`SyncHandle`]
//! makes what was appended durable from another thread (group commit).
//!
//! The files are Kafka's own, so that a data directory can be opened by either:
//!
//! ```text
//! <data directory>/                           LogDirectory
//!   .lock  .kafka_cleanshutdown  meta.properties
//!   recovery-point-offset-checkpoint  log-start-offset-checkpoint  replication-offset-checkpoint
//!   <topic>-<partition>/                      Log
//!     00000000000000000000.log                record batches, one after another
//!     00000000000000000000.index              offset index: where a batch lies
//!     00000000000000000000.timeindex          time index: the largest timestamp so far
//!     00000000000000000000.txnindex           aborted transactions, where there are any
//!     00000000000000000042.snapshot           state of the idempotent producers below offset 42
//!     leader-epoch-checkpoint  partition.metadata
//! ```
//!
//! All file access goes through [`Storage`]: [`FileStorage`] is the file system, [`SimStorage`]
//! a disk in memory that crashes, tears writes and runs full as a test wishes.
//!
//! Offsets and epochs are plain integers here, as they are in the messages of the protocol.

mod checkpoint;
mod compact;
mod config;
mod directory;
mod error;
mod index;
mod leader_epochs;
mod log;
mod names;
mod partition_metadata;
mod producer_snapshot;
mod segment;
mod snapshot;
mod storage;
mod sync;
mod timestamps;

pub use compact::{
    Cleanable, CleanableRequest, CleanedSegment, Compaction, CompactionError, CompactionProgress,
    CompactionRequest, LastRecord, Pace, Stopped,
};
pub use config::LogConfig;
pub use directory::LogDirectory;
pub use error::{Failure, LogError};
pub use index::AbortedTransaction;
pub use leader_epochs::{EpochEndOffset, EpochEntry, LeaderEpochs};
pub use log::{
    AppendBatch, AppendedAt, Log, LogStart, OnCorruption, RecoveryObserver, RecoveryReport,
    Retention, Truncation,
};
pub use names::TopicPartition;
pub use snapshot::{LogReader, LogSnapshot, ReadRequest, ReadSlice};
pub use storage::{
    DirectoryEntry, DiskFile, FileStorage, SimFile, SimLock, SimOperation, SimStorage, Storage,
    StorageFile,
};
#[cfg(feature = "faults")]
pub use storage::{Faults, set_faults};
pub use sync::SyncHandle;
pub use timestamps::TimestampOffset;
