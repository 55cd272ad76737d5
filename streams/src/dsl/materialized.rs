//! How a table is kept.

use std::time::Duration;

use super::windows::millis;
use crate::runtime::{StoreKind, StorePlace};

/// How a table is kept, where the defaults do not fit. A `&str` is a store name.
#[derive(Clone, Debug)]
pub struct Materialized {
    pub(crate) name: Option<String>,
    pub(crate) caching: bool,
    pub(crate) logging: bool,
    pub(crate) retention: Option<Duration>,
    /// How far back former values are known; `None` if only the last one is.
    pub(crate) history: Option<Duration>,
    pub(crate) place: StorePlace,
}

impl Materialized {
    /// A store with this name; its changelog is `<application id>-<name>-changelog`.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            ..Self::default()
        }
    }

    /// A versioned store with this name (KIP-889): it knows the value of a key as of any time
    /// within `history`, in event time. A stream that joins the table finds what was valid at the
    /// record's time. Late updates change the past, older ones than `history` are dropped.
    /// Versions are not cached, so every update is emitted.
    #[must_use]
    pub fn versioned(name: impl Into<String>, history: Duration) -> Self {
        Self {
            history: Some(history),
            ..Self::named(name)
        }
    }

    /// Keeps the store in memory, also where the application has a state directory.
    #[must_use]
    pub const fn in_memory(mut self) -> Self {
        self.place = StorePlace::InMemory;
        self
    }

    /// Keeps the store on disk; an application without a state directory does not start.
    #[must_use]
    pub const fn persistent(mut self) -> Self {
        self.place = StorePlace::Persistent;
        self
    }

    /// The store of a table without windows.
    pub(crate) fn table_kind(&self) -> StoreKind {
        match self.history {
            Some(history) => StoreKind::Versioned {
                history_ms: millis(history),
            },
            None => StoreKind::KeyValue,
        }
    }

    /// Emits every single update, not only the last one of each key at commit.
    #[must_use]
    pub const fn every_update(mut self) -> Self {
        self.caching = false;
        self
    }

    /// Keeps no changelog: the store is empty after each restart or move.
    #[must_use]
    pub const fn without_changelog(mut self) -> Self {
        self.logging = false;
        self
    }

    /// Keeps windows for this long in event time; at least their size and grace.
    #[must_use]
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }
}

impl Default for Materialized {
    fn default() -> Self {
        Self {
            name: None,
            caching: true,
            logging: true,
            retention: None,
            history: None,
            place: StorePlace::AsConfigured,
        }
    }
}

impl From<&str> for Materialized {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}

impl From<String> for Materialized {
    fn from(name: String) -> Self {
        Self::named(name)
    }
}
