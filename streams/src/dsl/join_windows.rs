//! A window around a stream: the right side of a stream-stream join.

use std::time::Duration;

use super::data::Data;
use super::kstream::KStream;
use super::windows::{HasGrace, NeedsGrace, millis, sealed::SetGrace};

/// How far apart two records may be to be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JoinWindows {
    pub(crate) before_ms: i64,
    pub(crate) after_ms: i64,
    pub(crate) grace_ms: i64,
}

impl JoinWindows {
    /// How long a record may find partners, or wait for them.
    pub(crate) const fn retention_ms(&self) -> i64 {
        let size_ms = self.before_ms.saturating_add(self.after_ms);
        size_ms.saturating_add(self.grace_ms)
    }
}

/// A stream whose records are joined with those of another that are near them in time.
#[derive(Clone, Debug)]
#[must_use = "a window around a stream does nothing until another stream is joined with it"]
pub struct StreamWindow<K, V> {
    pub(super) stream: KStream<K, V>,
    pub(super) windows: JoinWindows,
    pub(super) stored: StreamJoined,
}

impl<K: Data, V: Data> KStream<K, V> {
    /// This stream as the right side of a join with another: its records may be up to
    /// `difference` older or younger than those of the left side.
    ///
    /// Grace is how long, in event time, late records are waited for before a left or outer join
    /// tells that a record has found no partner.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use moldau_streams::{Builder, Str, Topic};
    ///
    /// const ORDERS: Topic<Str, i64> = Topic::new("orders");
    /// const PAYMENTS: Topic<Str, i64> = Topic::new("payments");
    /// const OPEN: Topic<Str, i64> = Topic::new("open");
    ///
    /// let builder = Builder::new("settlement");
    /// let payments = builder.stream(&PAYMENTS);
    /// let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    /// builder
    ///     .stream(&ORDERS)
    ///     .join(payments.within(minutes(10)).grace(minutes(1)))
    ///     .left()
    ///     .by(|order, payment| order - payment.unwrap_or(&0))
    ///     .to(&OPEN);
    /// ```
    pub fn within(&self, difference: Duration) -> NeedsGrace<StreamWindow<K, V>> {
        NeedsGrace::new(StreamWindow {
            stream: self.clone(),
            windows: JoinWindows {
                before_ms: millis(difference),
                after_ms: millis(difference),
                grace_ms: 0,
            },
            stored: StreamJoined::default(),
        })
    }
}

impl<K, V> NeedsGrace<StreamWindow<K, V>> {
    /// The right record may be up to this much older than the left one.
    pub fn before(mut self, difference: Duration) -> Self {
        self.windows_mut().windows.before_ms = millis(difference);
        self
    }

    /// The right record may be up to this much younger than the left one.
    pub fn after(mut self, difference: Duration) -> Self {
        self.windows_mut().windows.after_ms = millis(difference);
        self
    }
}

impl<K, V> StreamWindow<K, V> {
    /// Keeps the records of both sides in stores with names or settings of their own.
    pub fn stored_as(self, stored: impl Into<StreamJoined>) -> Self {
        Self {
            stored: stored.into(),
            ..self
        }
    }
}

impl<K, V> HasGrace for StreamWindow<K, V> {}

impl<K, V> SetGrace for StreamWindow<K, V> {
    fn set_grace_ms(&mut self, grace_ms: i64) {
        self.windows.grace_ms = grace_ms;
    }
}

/// How a stream-stream join keeps its records, where the defaults do not fit. A `&str` is what
/// the names of its stores begin with.
#[derive(Clone, Debug)]
pub struct StreamJoined {
    pub(crate) store_name: Option<String>,
    pub(crate) logging: bool,
}

impl StreamJoined {
    /// Stores whose names begin with this.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            store_name: Some(name.into()),
            ..Self::default()
        }
    }

    /// Keeps no changelogs: the stores are empty after each restart or move.
    #[must_use]
    pub const fn without_changelog(mut self) -> Self {
        self.logging = false;
        self
    }
}

impl Default for StreamJoined {
    fn default() -> Self {
        Self {
            store_name: None,
            logging: true,
        }
    }
}

impl From<&str> for StreamJoined {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}

impl From<String> for StreamJoined {
    fn from(name: String) -> Self {
        Self::named(name)
    }
}
