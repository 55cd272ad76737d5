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
}

impl StoreSpec {
    /// A key-value store with a changelog.
    #[must_use]
    pub fn key_value(application_id: &str, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: StoreKind::KeyValue,
            changelog: Some(InternalTopic::changelog(application_id, name)),
        }
    }

    /// A window store with a changelog. Windows stay at least size and grace.
    #[must_use]
    pub fn window(application_id: &str, name: &str, retention_ms: i64) -> Self {
        Self {
            name: name.to_owned(),
            kind: StoreKind::Window { retention_ms },
            changelog: Some(InternalTopic::window_changelog(
                application_id,
                name,
                retention_ms,
            )),
        }
    }
}
