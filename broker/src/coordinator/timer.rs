//! One task that calls coordinators when their time-outs are due.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::machine::Machine;
use super::shard::Shard;
use crate::runtime::now_ms;

/// Knows when the next coordinator is due.
#[derive(Debug)]
pub(super) struct Timer {
    /// When the task wakes, in milliseconds.
    next: AtomicI64,
    earlier: Notify,
}

impl Default for Timer {
    fn default() -> Self {
        Self {
            next: AtomicI64::new(i64::MAX),
            earlier: Notify::new(),
        }
    }
}

impl Timer {
    /// A coordinator wants to be called at `due`.
    pub(super) fn earliest(&self, due: i64) {
        if due < self.next.load(Ordering::Acquire) {
            self.next.store(due, Ordering::Release);
            self.earlier.notify_one();
        }
    }

    /// Calls what is due, for ever.
    pub(super) async fn run<M: Machine>(&self, shards: impl Fn() -> Vec<Arc<Shard<M>>>) {
        loop {
            let next = self.next.load(Ordering::Acquire);
            let wait = u64::try_from(next.saturating_sub(now_ms())).unwrap_or(0);
            if wait > 0 {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(wait.min(MAX_SLEEP_MS))) => {}
                    () = self.earlier.notified() => continue,
                }
            }
            // Whoever becomes due while the shards are called lowers it again.
            self.next.store(i64::MAX, Ordering::Release);
            let now_ms = now_ms();
            for shard in shards() {
                let due = shard.due.load(Ordering::Acquire);
                if due <= now_ms {
                    shard.time_out().await;
                } else {
                    self.earliest(due);
                }
            }
        }
    }
}

/// The task looks at the clock at least this often, because the clock can be set.
const MAX_SLEEP_MS: u64 = 60_000;
