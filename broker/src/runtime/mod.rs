//! Partitions at work: their writers, their syncs, what readers see of them, and who waits for them.
//!
//! - [`Partition`]: one partition of this node; readers use its published offsets and log snapshot without a lock
//! - [`Writers`]: the threads that append; each partition belongs to one of them
//! - [`Syncs`]: the threads that bring what was appended to the disk, for all partitions together (group commit)
//! - [`TailCache`]: the newest batches in memory
//! - [`Partitions`]: every partition of this node by topic

mod append;
mod open;
mod partition;
mod partitions;
mod sync;
mod tail;
mod waiters;
mod writer;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use append::{Append, AppendResult, Appended};
pub(crate) use partition::Partition;
pub(crate) use partitions::{Partitions, Topic};
pub(crate) use sync::Syncs;
pub(crate) use tail::{MAX_COPIED, TailCache};
pub(crate) use waiters::Waiter;
pub(crate) use writer::{Slot, WriterShared, Writers};

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Locks a mutex whose data stays usable when a holder panicked: the panic itself is what is reported.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
