//! What a running query counts.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of one query, shared by its tasks.
#[derive(Debug, Default)]
pub struct QueryCounters {
    bad_records: AtomicU64,
    failed_rows: AtomicU64,
    late_rows: AtomicU64,
    rows_out: AtomicU64,
    last_problem: Mutex<Option<String>>,
}

impl QueryCounters {
    /// Records that could not be read.
    pub fn bad_records(&self) -> u64 {
        self.bad_records.load(Ordering::Relaxed)
    }

    /// Rows on which an expression failed.
    pub fn failed_rows(&self) -> u64 {
        self.failed_rows.load(Ordering::Relaxed)
    }

    /// Rows that came after their window had closed.
    pub fn late_rows(&self) -> u64 {
        self.late_rows.load(Ordering::Relaxed)
    }

    /// Rows written to the sink.
    pub fn rows_out(&self) -> u64 {
        self.rows_out.load(Ordering::Relaxed)
    }

    /// The last record or row that was left out, and why.
    pub fn last_problem(&self) -> Option<String> {
        self.last_problem
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn add_bad_records(&self, count: u64) {
        self.bad_records.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn add_failed_rows(&self, count: u64) {
        self.failed_rows.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn add_late_rows(&self, count: u64) {
        self.late_rows.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn add_rows_out(&self, count: u64) {
        self.rows_out.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn set_problem(&self, problem: String) {
        *self
            .last_problem
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(problem);
    }
}
