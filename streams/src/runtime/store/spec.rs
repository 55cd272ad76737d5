//! What a sub-topology says about a store.

use crate::runtime::internal_topic::InternalTopic;

/// A store of a sub-topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSpec {
    /// Name, unique in the application.
    pub name: String,
    /// What it holds.
    pub kind: StoreKind,
    /// Topic that keeps its changes; `None` for a store that may start empty each time.
    pub changelog: Option<InternalTopic>,
    /// Memory or disk.
    pub place: StorePlace,
}

/// Where a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StorePlace {
    /// On disk if the application has a state directory and the store a changelog, else in memory.
    #[default]
    AsConfigured,
    /// In memory, also with a state directory.
    InMemory,
    /// On disk; a task without a state directory does not start.
    Persistent,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Values by key.
    KeyValue,
    /// Values by key and window start.
    Window {
        /// How long, in event time, a window stays after its start.
        retention_ms: i64,
    },
    /// Updates of a table that are held back, by key. Kept like a key-value store, with a mark
    /// of the format's version on its changelog records.
    SuppressBuffer,
    /// Values by key and time, several with one key and time: a side of a stream-stream join.
    JoinWindow {
        /// How long, in event time, a value stays after its time.
        retention_ms: i64,
    },
    /// Values by key and session.
    Session {
        /// How long, in event time, a session stays after its end.
        retention_ms: i64,
    },
    /// Values by key, with those that were valid before (KIP-889).
    Versioned {
        /// How far back, in event time, versions are known.
        history_ms: i64,
    },
}

impl StoreSpec {
    /// A store with the changelog that Kafka Streams would give it.
    #[must_use]
    pub fn new(application_id: &str, name: &str, kind: StoreKind) -> Self {
        let changelog = match kind {
            StoreKind::KeyValue | StoreKind::SuppressBuffer => {
                InternalTopic::changelog(application_id, name)
            }
            StoreKind::Window { retention_ms } | StoreKind::Session { retention_ms } => {
                InternalTopic::window_changelog(application_id, name, retention_ms)
            }
            StoreKind::JoinWindow { retention_ms } => {
                InternalTopic::join_changelog(application_id, name, retention_ms)
            }
            StoreKind::Versioned { history_ms } => {
                InternalTopic::versioned_changelog(application_id, name, history_ms)
            }
        };
        Self {
            name: name.to_owned(),
            kind,
            changelog: Some(changelog),
            place: StorePlace::AsConfigured,
        }
    }

    /// Whether it is on disk if there is a state directory.
    pub(super) fn is_persistent(&self) -> bool {
        self.changelog.is_some() && self.place != StorePlace::InMemory
    }

    /// A key-value store with a changelog.
    #[must_use]
    pub fn key_value(application_id: &str, name: &str) -> Self {
        Self::new(application_id, name, StoreKind::KeyValue)
    }

    /// A window store with a changelog. Windows stay at least size and grace.
    #[must_use]
    pub fn window(application_id: &str, name: &str, retention_ms: i64) -> Self {
        Self::new(application_id, name, StoreKind::Window { retention_ms })
    }
}

impl StoreKind {
    /// What it is called in messages.
    pub(in crate::runtime::store) const fn name(self) -> &'static str {
        match self {
            Self::KeyValue => "key-value store",
            Self::SuppressBuffer => "suppression buffer",
            Self::Window { .. } => "window store",
            Self::JoinWindow { .. } => "window store of a join",
            Self::Session { .. } => "session store",
            Self::Versioned { .. } => "versioned store",
        }
    }
}
