//! Topics that the runtime creates for an application, with Kafka Streams' names and settings.

/// A topic that belongs to the application: the runtime creates it when it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalTopic {
    /// Full name: `<application id>-<name>-repartition` or `<application id>-<store>-changelog`.
    pub name: String,
    /// How many partitions it gets.
    pub partitions: PartitionCount,
    /// Topic settings.
    pub configs: Vec<(String, String)>,
}

/// How many partitions an internal topic gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionCount {
    /// A changelog gets one partition per task. A repartition topic gets as many as the topics it
    /// is joined with, else as many as the largest source of the sub-topologies that write it.
    Derived,
    /// Exactly this many.
    Fixed(i32),
}

impl InternalTopic {
    /// The topic between a change of key and the sub-topology that needs the new key.
    #[must_use]
    pub fn repartition(application_id: &str, name: &str) -> Self {
        Self {
            name: format!("{application_id}-{name}-repartition"),
            partitions: PartitionCount::Derived,
            configs: configs(&[
                ("cleanup.policy", "delete"),
                ("retention.ms", "-1"),
                ("segment.bytes", "52428800"),
            ]),
        }
    }

    /// The changelog of a key-value store: compacted, the last value of each key stays.
    #[must_use]
    pub fn changelog(application_id: &str, store: &str) -> Self {
        Self {
            name: changelog_name(application_id, store),
            partitions: PartitionCount::Derived,
            configs: configs(&[("cleanup.policy", "compact")]),
        }
    }

    /// The changelog of a window store: compacted, and old windows are deleted one day after the
    /// store itself forgets them.
    #[must_use]
    pub fn window_changelog(application_id: &str, store: &str, retention_ms: i64) -> Self {
        let retention = retention_ms.saturating_add(ADDITIONAL_RETENTION_MS);
        Self {
            name: changelog_name(application_id, store),
            partitions: PartitionCount::Derived,
            configs: configs(&[
                ("cleanup.policy", "compact,delete"),
                ("retention.ms", &retention.to_string()),
            ]),
        }
    }

    /// The changelog of a side of a stream-stream join. No two records have one key, so it is
    /// not compacted.
    #[must_use]
    pub fn join_changelog(application_id: &str, store: &str, retention_ms: i64) -> Self {
        let retention = retention_ms.saturating_add(ADDITIONAL_RETENTION_MS);
        Self {
            name: changelog_name(application_id, store),
            partitions: PartitionCount::Derived,
            configs: configs(&[
                ("cleanup.policy", "delete"),
                ("retention.ms", &retention.to_string()),
            ]),
        }
    }

    /// The changelog of a versioned store: compacted, but not before a version has left the
    /// history.
    #[must_use]
    pub fn versioned_changelog(application_id: &str, store: &str, history_ms: i64) -> Self {
        let lag = history_ms.saturating_add(ADDITIONAL_RETENTION_MS);
        Self {
            name: changelog_name(application_id, store),
            partitions: PartitionCount::Derived,
            configs: configs(&[
                ("cleanup.policy", "compact"),
                ("min.compaction.lag.ms", &lag.to_string()),
            ]),
        }
    }
}

fn changelog_name(application_id: &str, store: &str) -> String {
    format!("{application_id}-{store}-changelog")
}

fn configs(special: &[(&str, &str)]) -> Vec<(String, String)> {
    special
        .iter()
        .chain(&[("message.timestamp.type", "CreateTime")])
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// `windowstore.changelog.additional.retention.ms`: slack for clocks that differ.
const ADDITIONAL_RETENTION_MS: i64 = 24 * 60 * 60 * 1000;
