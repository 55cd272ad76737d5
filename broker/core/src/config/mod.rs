//! Topic and broker settings: names, types, defaults, what is valid, and how they are described.

mod broker_settings;
mod describe;
mod flush;
mod setting;
mod topic_config;
mod topic_settings;

use std::collections::BTreeMap;

use moldau_protocol::types::KString;

pub use self::broker_settings::{broker_setting, broker_settings};
pub use self::describe::{ConfigQuery, describe_broker_configs, describe_topic_configs};
pub use self::flush::{FlushMode, FlushSetting};
pub use self::setting::{Rule, Setting, SettingKind, Support};
pub use self::topic_config::{CleanupPolicy, CompressionSetting, TopicConfig};
pub use self::topic_settings::{topic_setting, topic_settings};

pub(crate) use self::setting::list_items;

/// A setting that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no setting of this name.
    #[error("unknown {scope} setting \"{name}\"{hint}")]
    Unknown {
        /// `topic` or `broker`.
        scope: &'static str,
        /// The name asked for.
        name: String,
        /// `; did you mean "…"?`, or nothing.
        hint: String,
    },
    /// The value does not fit the setting, or has no effect here yet.
    #[error("{scope} setting \"{name}\": {reason}")]
    Value {
        /// `topic` or `broker`.
        scope: &'static str,
        /// The setting.
        name: &'static str,
        /// What is wrong with the value.
        reason: String,
    },
}

/// Checks one topic setting.
///
/// # Errors
/// The name is unknown, or the value is invalid or not supported yet.
pub fn validate_topic_setting(name: &str, value: &str) -> Result<&'static Setting, ConfigError> {
    let setting = topic_setting(name).ok_or_else(|| unknown("topic", name, topic_settings()))?;
    setting.check(value).map_err(|reason| ConfigError::Value {
        scope: "topic",
        name: setting.name,
        reason,
    })?;
    Ok(setting)
}

/// Checks one broker setting.
///
/// # Errors
/// The name is unknown, or the value is invalid.
pub fn validate_broker_setting(name: &str, value: &str) -> Result<&'static Setting, ConfigError> {
    let setting = broker_setting(name).ok_or_else(|| unknown("broker", name, broker_settings()))?;
    let scope = "broker";
    setting.check(value).map_err(|reason| ConfigError::Value {
        scope,
        name: setting.name,
        reason,
    })?;
    let topics = topic_settings()
        .iter()
        .filter(|topic| topic.synonym == Some(setting.name));
    for topic in topics {
        topic.check(value).map_err(|reason| ConfigError::Value {
            scope,
            name: setting.name,
            reason,
        })?;
    }
    Ok(setting)
}

/// What topics have when they do not say otherwise: Kafka's defaults and this node's changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicDefaults {
    /// Values by the name of the TOPIC setting.
    changed: BTreeMap<&'static str, KString>,
}

impl TopicDefaults {
    /// Takes over those broker settings that are defaults of topic settings; others are skipped.
    ///
    /// # Errors
    /// A value is invalid or not supported yet.
    pub fn from_broker_settings(values: &BTreeMap<KString, KString>) -> Result<Self, ConfigError> {
        let mut defaults = Self::default();
        for topic in topic_settings() {
            if let Some((name, value)) = topic.synonym.and_then(|name| values.get_key_value(name)) {
                validate_broker_setting(name, value)?;
                defaults.changed.insert(topic.name, value.clone());
            }
        }
        for (name, unit_ms, topic) in COARSE_SETTINGS {
            if let Some(value) = values
                .get(name)
                .filter(|_| !defaults.changed.contains_key(topic))
            {
                validate_broker_setting(name, value)?;
                let number = value.trim().parse::<i64>().unwrap_or(NO_LIMIT);
                // -1 is "no limit" in every unit.
                let ms = if number == NO_LIMIT {
                    NO_LIMIT
                } else {
                    number.saturating_mul(unit_ms)
                };
                defaults.set(topic, ms.to_string().into())?;
            }
        }
        Ok(defaults)
    }

    /// Changes the default of one topic setting, given by its topic name.
    ///
    /// # Errors
    /// The name is unknown, or the value is invalid or not supported yet.
    pub fn set(&mut self, name: &str, value: KString) -> Result<(), ConfigError> {
        let setting = validate_topic_setting(name, &value)?;
        self.changed.insert(setting.name, value);
        Ok(())
    }

    /// The value this node was given for a topic setting's default, if any.
    #[must_use]
    pub fn changed(&self, name: &str) -> Option<&KString> {
        self.changed.get(name)
    }

    /// The default of a topic setting; empty where Kafka has none.
    #[must_use]
    pub fn value(&self, setting: &Setting) -> KString {
        let unchanged = || KString::from_static(setting.default.unwrap_or_default());
        self.changed(setting.name)
            .cloned()
            .unwrap_or_else(unchanged)
    }
}

fn unknown(scope: &'static str, name: &str, settings: &[Setting]) -> ConfigError {
    let nearest = settings
        .iter()
        .map(|setting| (distance(name, setting.name), setting.name))
        .min();
    let hint = match nearest {
        Some((distance, nearest)) if distance <= nearest.len() / 3 => {
            format!("; did you mean \"{nearest}\"?")
        }
        _ => String::new(),
    };
    ConfigError::Unknown {
        scope,
        name: name.to_owned(),
        hint,
    }
}

/// Levenshtein distance: how many letters must be changed, added or left out. Long names are cut.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<u8> = right.bytes().take(MAX_COMPARED_BYTES).collect();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.bytes().take(MAX_COMPARED_BYTES).enumerate() {
        let mut before = line + 1;
        let mut row = vec![before];
        for (pair, other) in above.windows(2).zip(&right) {
            let [diagonal, up] = pair else { continue };
            before = (before + 1)
                .min(up + 1)
                .min(diagonal + usize::from(letter != *other));
            row.push(before);
        }
        above = row;
    }
    above.last().copied().unwrap_or_default()
}

const MAX_COMPARED_BYTES: usize = 100;

/// Broker settings that give the default of a topic setting in a coarser unit, the finer ones first:
/// they count where no finer one is set.
const COARSE_SETTINGS: [(&str, i64, &str); 3] = [
    ("log.retention.minutes", 60_000, "retention.ms"),
    ("log.retention.hours", 3_600_000, "retention.ms"),
    ("log.roll.hours", 3_600_000, "segment.ms"),
];

const NO_LIMIT: i64 = -1;

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
                "topic setting \"remote.storage.enable\": \"true\" is not supported yet; leave it out or use \"false\"",
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
