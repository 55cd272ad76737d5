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
            name: format!("{application_id}-{name}{REPARTITION_SUFFIX}"),
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
    format!("{application_id}-{store}{CHANGELOG_SUFFIX}")
}

/// Whether a topic is one that the application makes for itself.
pub(crate) fn is_internal(application_id: &str, topic: &str) -> bool {
    let rest = topic.strip_prefix(application_id);
    let rest = rest.and_then(|rest| rest.strip_prefix('-'));
    rest.is_some_and(|rest| rest.ends_with(CHANGELOG_SUFFIX) || rest.ends_with(REPARTITION_SUFFIX))
}

/// What the names of repartition topics end with.
pub(crate) const REPARTITION_SUFFIX: &str = "-repartition";
/// What the names of changelogs end with.
const CHANGELOG_SUFFIX: &str = "-changelog";

fn configs(special: &[(&str, &str)]) -> Vec<(String, String)> {
    special
        .iter()
        .chain(&[("message.timestamp.type", "CreateTime")])
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// `windowstore.changelog.additional.retention.ms`: slack for clocks that differ.
const ADDITIONAL_RETENTION_MS: i64 = 24 * 60 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(topic: &InternalTopic, name: &str, special: &[(&str, &str)]) {
        assert_eq!(topic.name, name);
        assert_eq!(topic.configs, configs(special), "{name}");
    }

    #[test]
    fn changelogs_of_windows_are_compacted_and_deleted_a_day_after_the_stores_retention() {
        let topic = InternalTopic::window_changelog("app", "w", 60_000);
        let settings = [
            ("cleanup.policy", "compact,delete"),
            ("retention.ms", "86460000"),
        ];
        check(&topic, "app-w-changelog", &settings);
    }

    #[test]
    fn changelogs_of_stream_joins_are_deleted_and_never_compacted() {
        let topic = InternalTopic::join_changelog("app", "j", 60_000);
        let settings = [("cleanup.policy", "delete"), ("retention.ms", "86460000")];
        check(&topic, "app-j-changelog", &settings);
    }

    #[test]
    fn changelogs_of_versions_are_not_compacted_within_history_and_a_day() {
        let topic = InternalTopic::versioned_changelog("app", "v", 60_000);
        let settings = [
            ("cleanup.policy", "compact"),
            ("min.compaction.lag.ms", "86460000"),
        ];
        check(&topic, "app-v-changelog", &settings);
    }

    #[test]
    fn repartition_topics_keep_all_until_it_is_read() {
        let topic = InternalTopic::repartition("app", "x");
        let settings = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "-1"),
            ("segment.bytes", "52428800"),
        ];
        check(&topic, "app-x-repartition", &settings);
    }
}
