//! The memory that all write-back caches of an application share.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::metrics::CacheMetrics;

/// Memory that the write-back caches of all tasks share.
///
/// A cache adds what it takes and gives back what it frees. When the budget is exceeded, a cache
/// with more than its fair share writes its own content back; one with less asks for a commit,
/// at which the others do. So the sum stays near the limit without a lock, and a cache that is
/// large and idle does not starve one that is small and busy.
#[derive(Debug)]
pub struct CacheBudget {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    /// How many caches take from it.
    caches: AtomicUsize,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl CacheBudget {
    /// A budget of `limit_bytes`; 0 switches caching off.
    #[must_use]
    pub const fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            used_bytes: AtomicUsize::new(0),
            caches: AtomicUsize::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
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

    /// Counts a cache that takes from now on.
    pub fn join(&self) {
        self.caches.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a cache no longer.
    pub fn leave(&self) {
        self.caches.fetch_sub(1, Ordering::Relaxed);
    }

    /// What each cache may have even if the budget is exceeded.
    #[must_use]
    pub fn fair_share(&self) -> usize {
        self.limit_bytes / self.caches.load(Ordering::Relaxed).max(1)
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

    /// Adds what a cache has counted by itself since it last did: look-ups that found their entry,
    /// and look-ups that did not.
    pub fn count(&self, hits: u64, misses: u64) {
        self.hits.fetch_add(hits, Ordering::Relaxed);
        self.misses.fetch_add(misses, Ordering::Relaxed);
    }

    /// Figures of all caches.
    #[must_use]
    pub fn metrics(&self) -> CacheMetrics {
        CacheMetrics {
            used_bytes: self.used_bytes() as u64,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }

    /// Bytes in use now.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }
}
