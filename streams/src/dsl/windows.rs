//! Tumbling and hopping windows, and the grace that all windows need.

use std::time::Duration;

/// Windows whose grace is not said yet.
///
/// Grace is how long, in event time, a window takes late records after its end. It has no
/// default, because both choices lose something: records, or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "say the grace: `.grace(..)` or `.no_grace()`"]
pub struct NeedsGrace<W> {
    windows: W,
}

/// Windows that have a grace.
pub trait HasGrace: sealed::SetGrace {}

impl<W: HasGrace> NeedsGrace<W> {
    pub(crate) const fn new(windows: W) -> Self {
        Self { windows }
    }

    pub(crate) const fn windows_mut(&mut self) -> &mut W {
        &mut self.windows
    }

    /// Takes records that are late by up to `grace`.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> W {
        self.windows.set_grace_ms(millis(grace));
        self.windows
    }

    /// Closes each window at its end: later records are dropped.
    #[must_use]
    pub fn no_grace(self) -> W {
        self.grace(Duration::ZERO)
    }
}

/// Windows of one size that lie side by side: each record is in exactly one.
///
/// ```
/// use std::time::Duration;
///
/// use moldau_streams::Tumbling;
///
/// let minutes = Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(10));
/// let strict = Tumbling::of(Duration::from_secs(60)).no_grace();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tumbling {
    pub(crate) windows: TimeWindows,
}

impl Tumbling {
    /// Windows of this size, in whole milliseconds and at least one.
    pub fn of(size: Duration) -> NeedsGrace<Self> {
        let size_ms = millis(size).max(1);
        NeedsGrace::new(Self {
            windows: TimeWindows {
                size_ms,
                advance_ms: size_ms,
                grace_ms: 0,
            },
        })
    }
}

/// Windows of one size that begin at equal distances and overlap: each record is in several.
///
/// ```
/// use std::time::Duration;
///
/// use moldau_streams::Hopping;
///
/// let last_hour = Hopping::of(Duration::from_secs(3_600))
///     .advance_by(Duration::from_secs(60))
///     .no_grace();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hopping {
    pub(crate) windows: TimeWindows,
}

/// Hopping windows whose distance is not said yet.
#[derive(Clone, Copy, Debug)]
#[must_use = "say how far apart the windows begin: `.advance_by(..)`"]
pub struct HoppingSize {
    size_ms: i64,
}

impl Hopping {
    /// Windows of this size, in whole milliseconds and at least one.
    pub fn of(size: Duration) -> HoppingSize {
        HoppingSize {
            size_ms: millis(size).max(1),
        }
    }
}

impl HoppingSize {
    /// The next window begins this much later than the one before: at least a millisecond and at
    /// most the windows' size. Building a topology with another distance fails.
    pub fn advance_by(self, advance: Duration) -> NeedsGrace<Hopping> {
        NeedsGrace::new(Hopping {
            windows: TimeWindows {
                size_ms: self.size_ms,
                advance_ms: millis(advance),
                grace_ms: 0,
            },
        })
    }
}

/// Tumbling or hopping windows; the former advance by their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeWindows {
    pub(crate) size_ms: i64,
    pub(crate) advance_ms: i64,
    pub(crate) grace_ms: i64,
}

impl TimeWindows {
    /// Starts of all windows that `timestamp` is in, oldest first.
    pub(crate) fn starts_of(&self, timestamp: i64) -> impl Iterator<Item = i64> + use<> {
        let advance = self.advance_ms.max(1);
        let first = (timestamp - self.size_ms + advance).max(0) / advance * advance;
        std::iter::successors(Some(first), move |start| start.checked_add(advance))
            .take_while(move |start| *start <= timestamp)
    }

    /// What is wrong with these windows.
    pub(crate) fn mistake(&self) -> Option<String> {
        let fits = (1..=self.size_ms).contains(&self.advance_ms);
        (!fits).then(|| {
            format!(
                "hopping windows of {} ms advance by {} ms\n  hint: advance by at least 1 ms and at most their size",
                self.size_ms, self.advance_ms
            )
        })
    }
}

impl HasGrace for Tumbling {}
impl HasGrace for Hopping {}

impl sealed::SetGrace for Tumbling {
    fn set_grace_ms(&mut self, grace_ms: i64) {
        self.windows.grace_ms = grace_ms;
    }
}

impl sealed::SetGrace for Hopping {
    fn set_grace_ms(&mut self, grace_ms: i64) {
        self.windows.grace_ms = grace_ms;
    }
}

pub(crate) mod sealed {
    /// Windows that take a grace.
    pub trait SetGrace {
        /// Sets the grace in milliseconds.
        fn set_grace_ms(&mut self, grace_ms: i64);
    }
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(size_ms: i64, advance_ms: i64, timestamp: i64) -> Vec<i64> {
        let windows = TimeWindows {
            size_ms,
            advance_ms,
            grace_ms: 0,
        };
        windows.starts_of(timestamp).collect()
    }

    #[test]
    fn a_record_is_in_one_tumbling_window_and_in_several_hopping_ones() {
        assert_eq!(starts(10, 10, 19), [10]);
        assert_eq!(starts(10, 5, 19), [10, 15]);
        assert_eq!(starts(10, 3, 19), [12, 15, 18]);
        assert_eq!(starts(10, 10, 20), [20]);
    }

    #[test]
    fn no_window_begins_before_time_zero() {
        assert_eq!(starts(10, 5, 3), [0]);
        assert_eq!(starts(12, 5, 6), [0, 5]);
        assert_eq!(starts(10, 10, 0), [0]);
    }
}
