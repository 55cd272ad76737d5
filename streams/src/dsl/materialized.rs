//! How a table is kept.

use std::time::Duration;

/// How a table is kept, where the defaults do not fit. A `&str` is a store name.
#[derive(Clone, Debug)]
pub struct Materialized {
    pub(crate) name: Option<String>,
    pub(crate) caching: bool,
    pub(crate) logging: bool,
    pub(crate) retention: Option<Duration>,
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
