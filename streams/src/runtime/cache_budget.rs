//! The memory that all write-back caches of an application share.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Memory that the write-back caches of all tasks share.
///
/// A cache adds what it takes and gives back what it frees; the one that sees the budget
/// exceeded writes its own content back. So the sum stays near the limit without a lock.
#[derive(Debug)]
pub struct CacheBudget {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
}

impl CacheBudget {
    /// A budget of `limit_bytes`; 0 switches caching off.
    #[must_use]
    pub const fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            used_bytes: AtomicUsize::new(0),
        }
    }

    /// Whether there is a cache at all. If not, tables emit each single update.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.limit_bytes > 0
    }

    /// Takes `bytes`; false means that the budget is exceeded and the caller should free its part.
    #[must_use]
    pub fn take(&self, bytes: usize) -> bool {
        let before = self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= self.limit_bytes
    }

    /// Whether more is in use than there is.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.used_bytes() > self.limit_bytes
    }

    /// Gives back what was taken.
    pub fn give_back(&self, bytes: usize) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes in use now.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }
}
