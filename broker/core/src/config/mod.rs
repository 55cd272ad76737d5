//! Topic and broker settings: names, types, defaults, what is valid, and how they are described.

mod broker_settings;
mod broker_values;
mod describe;
mod document;
mod flush;
mod group_settings;
mod hint;
mod setting;
mod topic_config;
mod topic_defaults;
mod topic_settings;

use std::collections::BTreeMap;
use std::fmt;

use moldau_protocol::types::KString;

pub use self::broker_settings::{broker_setting, broker_settings};
pub use self::broker_values::BrokerValues;
pub use self::describe::{
    ConfigQuery, describe_broker_configs, describe_cluster_configs, describe_group_configs,
    describe_topic_configs,
};
pub use self::document::settings_document;
pub use self::flush::{FlushMode, FlushSetting};
pub use self::group_settings::{group_setting, group_settings};
use self::hint::hint;
pub use self::setting::{Rule, Setting, SettingKind, Support};
pub use self::topic_config::{CleanupPolicy, CompressionSetting, TopicConfig};
pub use self::topic_defaults::TopicDefaults;
pub use self::topic_settings::{topic_setting, topic_settings};

pub(crate) use self::setting::list_items;

/// A setting that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no setting of this name.
    #[error("unknown {scope} setting \"{name}\"{hint}")]
    Unknown {
        /// Whose setting.
        scope: Scope,
        /// The name asked for.
        name: String,
        /// `; did you mean "…"?`, or nothing.
        hint: String,
    },
    /// The value does not fit the setting, or is not supported.
    #[error("{scope} setting \"{name}\": {reason}")]
    Value {
        /// Whose setting.
        scope: Scope,
        /// The setting.
        name: &'static str,
        /// What is wrong with the value.
        reason: String,
    },
}

/// What kind of thing a setting is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A topic.
    Topic,
    /// A broker.
    Broker,
    /// A group.
    Group,
}

impl Scope {
    /// Every setting of it, ordered by name.
    #[must_use]
    pub fn settings(self) -> &'static [Setting] {
        match self {
            Self::Topic => topic_settings(),
            Self::Broker => broker_settings(),
            Self::Group => group_settings(),
        }
    }

    /// The row of one setting.
    #[must_use]
    pub fn setting(self, name: &str) -> Option<&'static Setting> {
        match self {
            Self::Topic => topic_setting(name),
            Self::Broker => broker_setting(name),
            Self::Group => group_setting(name),
        }
    }

    /// Checks one setting.
    ///
    /// # Errors
    /// The name is unknown, or the value is invalid or not supported.
    pub fn validate(self, name: &str, value: &str) -> Result<&'static Setting, ConfigError> {
        let setting = self.setting(name).ok_or_else(|| ConfigError::Unknown {
            scope: self,
            name: name.to_owned(),
            hint: hint(self, name),
        })?;
        let refused = |reason| ConfigError::Value {
            scope: self,
            name: setting.name,
            reason,
        };
        setting.check(value).map_err(refused)?;
        if self == Self::Broker {
            let topics = topic_settings()
                .iter()
                .filter(|topic| topic.synonym == Some(setting.name));
            for topic in topics {
                topic.check(value).map_err(refused)?;
            }
        }
        Ok(setting)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "topic",
            Self::Broker => "broker",
            Self::Group => "group",
        })
    }
}

/// Checks one topic setting.
///
/// # Errors
/// The name is unknown, or the value is invalid or not supported.
pub fn validate_topic_setting(name: &str, value: &str) -> Result<&'static Setting, ConfigError> {
    Scope::Topic.validate(name, value)
}

/// Checks the settings of one topic against each other.
///
/// # Errors
/// Two of them contradict each other.
pub fn validate_topic_settings(
    overrides: &BTreeMap<KString, KString>,
    defaults: &TopicDefaults,
) -> Result<(), ConfigError> {
    let config = TopicConfig::resolve(Some(overrides), defaults);
    if config.min_compaction_lag_ms > config.max_compaction_lag_ms {
        return Err(ConfigError::Value {
            scope: Scope::Topic,
            name: "min.compaction.lag.ms",
            reason: format!(
                "{} is more than max.compaction.lag.ms, {}",
                config.min_compaction_lag_ms, config.max_compaction_lag_ms
            ),
        });
    }
    Ok(())
}

/// Checks the settings of one group against the limits that the broker has for them.
///
/// # Errors
/// One is out of its limits.
pub fn validate_group_settings(
    overrides: &BTreeMap<KString, KString>,
    broker: &BrokerValues,
) -> Result<(), ConfigError> {
    let limit = |name: &str| -> Option<i64> {
        let default = || broker_setting(name).and_then(|setting| setting.default);
        let text = broker.value(name).map(|value| &**value).or_else(default)?;
        text.trim().parse().ok()
    };
    for (name, least, most) in GROUP_LIMITS {
        let value = overrides
            .get(name)
            .and_then(|value| value.trim().parse().ok());
        let Some(value): Option<i64> = value else {
            continue;
        };
        let reason = if limit(least).is_some_and(|limit| value < limit) {
            format!("{value} is less than {least} of the broker")
        } else if limit(most).is_some_and(|limit| value > limit) {
            format!("{value} is more than {most} of the broker")
        } else {
            continue;
        };
        return Err(ConfigError::Value {
            scope: Scope::Group,
            name,
            reason,
        });
    }
    Ok(())
}

/// Checks one broker setting.
///
/// # Errors
/// The name is unknown, or the value is invalid or not supported.
pub fn validate_broker_setting(name: &str, value: &str) -> Result<&'static Setting, ConfigError> {
    Scope::Broker.validate(name, value)
}

/// Group settings, and the broker settings that bound them.
const GROUP_LIMITS: [(&str, &str, &str); 3] = [
    (
        "consumer.assignment.interval.ms",
        "group.consumer.min.assignment.interval.ms",
        "group.consumer.max.assignment.interval.ms",
    ),
    (
        "consumer.heartbeat.interval.ms",
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
    ),
    (
        "consumer.session.timeout.ms",
        "group.consumer.min.session.timeout.ms",
        "group.consumer.max.session.timeout.ms",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_refused_with_the_reason_and_what_to_do() {
        for (name, value, expected) in [
            (
                "retention.ms",
                "-2",
                "topic setting \"retention.ms\": -2 is too small; the least is -1",
            ),
            (
                "retention.ms",
                "1d",
                "topic setting \"retention.ms\": \"1d\" is not a whole number of 64 bits",
            ),
            (
                "retension.ms",
                "1",
                "unknown topic setting \"retension.ms\"; did you mean \"retention.ms\"?",
            ),
            ("colour", "red", "unknown topic setting \"colour\""),
            (
                "cleanup.policy",
                "",
                "topic setting \"cleanup.policy\": the list is empty; use one or more of compact, delete",
            ),
            (
                "cleanup.policy",
                "delete,delete",
                "topic setting \"cleanup.policy\": \"delete\" is listed twice",
            ),
            (
                "remote.storage.enable",
                "true",
                "topic setting \"remote.storage.enable\": \"true\" is not supported; leave it out or use \"false\"",
            ),
            (
                "flush",
                "soon",
                "topic setting \"flush\": \"soon\" is not auto, commit, os or an interval such as 100ms",
            ),
            (
                "min.cleanable.dirty.ratio",
                "1.5",
                "topic setting \"min.cleanable.dirty.ratio\": 1.5 is not from 0 to 1",
            ),
        ] {
            let refused = validate_topic_setting(name, value)
                .map(|setting| setting.name)
                .unwrap_err();
            assert_eq!(refused.to_string(), expected);
        }
    }

    #[test]
    fn values_that_are_the_default_in_other_words_are_fine_where_nothing_else_is_supported() {
        assert!(validate_topic_setting("remote.storage.enable", "false").is_ok());
        assert!(validate_topic_setting("compression.zstd.level", "3").is_ok());
        assert!(validate_topic_setting("cleanup.policy", "compact, delete").is_ok());
    }

    #[test]
    fn broker_settings_are_checked_by_the_rule_of_the_topic_setting_they_stand_for() {
        assert!(validate_broker_setting("log.retention.ms", "60000").is_ok());
        let refused = validate_broker_setting("log.segment.bytes", "12")
            .map(|setting| setting.name)
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            "broker setting \"log.segment.bytes\": 12 is too small; the least is 1048576"
        );
    }

    #[test]
    fn retention_can_be_given_in_coarser_units_which_finer_ones_beat() {
        let retention_ms = |settings: &[(&'static str, &'static str)]| {
            let values = settings
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect();
            TopicConfig::resolve(None, &TopicDefaults::from_broker_settings(&values).unwrap())
                .retention_ms
        };
        assert_eq!(retention_ms(&[("log.retention.hours", "1")]), 3_600_000);
        assert_eq!(retention_ms(&[("log.retention.hours", "-1")]), -1);
        assert_eq!(
            retention_ms(&[("log.retention.hours", "1"), ("log.retention.minutes", "2")]),
            120_000
        );
        assert_eq!(
            retention_ms(&[("log.retention.ms", "7"), ("log.retention.minutes", "2")]),
            7
        );
    }

    #[test]
    fn a_broker_setting_changes_the_default_of_its_topic_setting() {
        let values = BTreeMap::from([
            ("log.retention.ms".into(), "60000".into()),
            ("node.id".into(), "7".into()),
        ]);
        let defaults = TopicDefaults::from_broker_settings(&values).unwrap();
        assert_eq!(
            defaults.changed("retention.ms").map(|value| value.as_str()),
            Some("60000")
        );
        assert_eq!(TopicConfig::resolve(None, &defaults).retention_ms, 60_000);
    }
}
