//! Sliding windows.

use std::time::Duration;

use super::windows::{HasGrace, NeedsGrace, millis, sealed::SetGrace};

/// Windows that slide with the records: there is one for each set of records of a key that lie
/// no further apart than the given time. Both ends of a window belong to it (KIP-450).
///
/// Records without a value are dropped, unlike with other windows, as in Kafka Streams.
///
/// ```
/// use std::time::Duration;
///
/// use moldau_streams::Sliding;
///
/// let windows = Sliding::of(Duration::from_secs(60)).grace(Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sliding {
    pub(crate) difference_ms: i64,
    pub(crate) grace_ms: i64,
}

impl Sliding {
    /// Windows for records that lie at most this far apart.
    pub fn of(difference: Duration) -> NeedsGrace<Self> {
        NeedsGrace::new(Self {
            difference_ms: millis(difference),
            grace_ms: 0,
        })
    }
}

impl HasGrace for Sliding {}

impl SetGrace for Sliding {
    fn set_grace_ms(&mut self, grace_ms: i64) {
        self.grace_ms = grace_ms;
    }
}
