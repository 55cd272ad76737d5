//! What `suppress` waits for, and how much it may hold back.

use std::time::Duration;

use super::windowed::{WindowBounds, Windowed};
use super::windows::millis;

/// How long a table's updates are held back (KIP-328).
///
/// Time is event time alone: what is held back is emitted when later records come.
#[derive(Clone, Debug)]
pub struct Suppressed<K> {
    pub(crate) wait: Wait,
    /// The time that an update counts from: its own, or the end of its window.
    pub(crate) time_of: fn(&K, i64) -> i64,
    pub(crate) buffer: BufferConfig,
}

/// How long updates wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    UntilWindowCloses,
    TimeLimit(i64),
}

impl<K, W: WindowBounds> Suppressed<Windowed<K, W>> {
    /// Emits each window once, with its final result, when it closes. A window that was removed
    /// before, such as a session that went into another, is not emitted at all.
    ///
    /// The buffer must not emit early: that would not be the final result.
    #[must_use]
    pub fn until_window_closes(buffer: StrictBuffer) -> Self {
        Self {
            wait: Wait::UntilWindowCloses,
            time_of: |key, _| key.window.end(),
            buffer: buffer.0,
        }
    }
}

impl<K> Suppressed<K> {
    /// Emits only the last update of each key within `limit` after the first one.
    #[must_use]
    pub fn until_time_limit(limit: Duration, buffer: impl Into<BufferConfig>) -> Self {
        Self {
            wait: Wait::TimeLimit(millis(limit)),
            time_of: |_, timestamp| timestamp,
            buffer: buffer.into(),
        }
    }
}

/// How much is held back at most, and what happens when it is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferConfig {
    pub(crate) max_records: Option<u64>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) emits_early: bool,
    pub(crate) logging: bool,
}

/// A buffer that never emits early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrictBuffer(BufferConfig);

/// A buffer with a bound that emits its oldest records early when it is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EagerBuffer(BufferConfig);

impl StrictBuffer {
    /// As much as comes.
    #[must_use]
    pub const fn unbounded() -> Self {
        Self(BufferConfig {
            max_records: None,
            max_bytes: None,
            emits_early: false,
            logging: true,
        })
    }

    /// Keeps no changelog: what is held back is lost with a restart or move.
    #[must_use]
    pub const fn without_changelog(mut self) -> Self {
        self.0.logging = false;
        self
    }
}

impl EagerBuffer {
    /// At most this many keys.
    #[must_use]
    pub const fn max_records(records: u64) -> Self {
        Self(BufferConfig {
            max_records: Some(records),
            emits_early: true,
            ..StrictBuffer::unbounded().0
        })
    }

    /// At most this much memory for keys, values and headers.
    #[must_use]
    pub const fn max_bytes(bytes: u64) -> Self {
        Self(BufferConfig {
            max_bytes: Some(bytes),
            emits_early: true,
            ..StrictBuffer::unbounded().0
        })
    }

    /// And at most this much memory for keys, values and headers.
    #[must_use]
    pub const fn and_max_bytes(mut self, bytes: u64) -> Self {
        self.0.max_bytes = Some(bytes);
        self
    }

    /// Fails the application when the buffer is full, instead of emitting early.
    #[must_use]
    pub const fn shut_down_when_full(self) -> StrictBuffer {
        StrictBuffer(BufferConfig {
            emits_early: false,
            ..self.0
        })
    }

    /// Keeps no changelog: what is held back is lost with a restart or move.
    #[must_use]
    pub const fn without_changelog(mut self) -> Self {
        self.0.logging = false;
        self
    }
}

impl From<StrictBuffer> for BufferConfig {
    fn from(buffer: StrictBuffer) -> Self {
        buffer.0
    }
}

impl From<EagerBuffer> for BufferConfig {
    fn from(buffer: EagerBuffer) -> Self {
        buffer.0
    }
}
