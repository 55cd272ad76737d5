//! What topics have when they do not say otherwise: Kafka's defaults and the changes of this node.

use std::collections::BTreeMap;
use std::sync::Arc;

use moldau_protocol::types::KString;

use super::setting::Setting;
use super::{
    BrokerValues, ConfigError, topic_settings, validate_broker_setting, validate_topic_setting,
};

/// The defaults of topic settings on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicDefaults {
    /// Values by the name of the TOPIC setting.
    changed: BTreeMap<&'static str, KString>,
}

/// A broker setting that gives the default of a topic setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BrokerSynonym {
    /// The broker setting.
    pub(super) name: &'static str,
    /// Milliseconds in its unit; 1 if the unit is that of the topic setting.
    pub(super) unit_ms: i64,
}

impl TopicDefaults {
    /// Takes over those broker settings that are defaults of topic settings; others are skipped.
    ///
    /// # Errors
    /// A value is invalid or not supported.
    pub fn from_broker_settings(values: &BTreeMap<KString, KString>) -> Result<Self, ConfigError> {
        for (name, value) in values {
            if topic_settings()
                .iter()
                .any(|topic| broker_synonyms(topic).any(|synonym| *name == synonym.name))
            {
                validate_broker_setting(name, value)?;
            }
        }
        Ok(Self::from_values(&BrokerValues {
            fixed: Arc::new(values.clone()),
            ..BrokerValues::default()
        }))
    }

    /// The defaults that follow from broker settings, whose values have been checked when they were set.
    #[must_use]
    pub fn from_values(values: &BrokerValues) -> Self {
        let mut defaults = Self::default();
        for topic in topic_settings() {
            let set = broker_synonyms(topic)
                .find_map(|synonym| Some((synonym, values.value(synonym.name)?)));
            if let Some((synonym, value)) = set {
                defaults
                    .changed
                    .insert(topic.name, synonym.in_topic_unit(value));
            }
        }
        defaults
    }

    /// Changes the default of one topic setting, given by its topic name.
    ///
    /// # Errors
    /// The name is unknown, or the value is invalid or not supported.
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

impl BrokerSynonym {
    /// The value in the unit of the topic setting; -1 is "no limit" in every unit.
    pub(super) fn in_topic_unit(self, value: &KString) -> KString {
        match value.trim().parse::<i64>() {
            Ok(number) if self.unit_ms != 1 && number != NO_LIMIT => {
                number.saturating_mul(self.unit_ms).to_string().into()
            }
            _ => value.clone(),
        }
    }
}

/// The broker settings that give the default of `topic`, the strongest first.
pub(super) fn broker_synonyms(topic: &Setting) -> impl Iterator<Item = BrokerSynonym> {
    let fine = topic.synonym;
    let coarse = COARSE_SETTINGS
        .into_iter()
        .filter(move |(_, finer, _)| fine == Some(*finer))
        .map(|(name, _, unit_ms)| BrokerSynonym { name, unit_ms });
    let fine = fine.map(|name| BrokerSynonym { name, unit_ms: 1 });
    fine.into_iter().chain(coarse)
}

/// Broker settings in a coarser unit: their name, the setting that is stronger, and milliseconds in the unit.
const COARSE_SETTINGS: [(&str, &str, i64); 4] = [
    ("log.retention.minutes", "log.retention.ms", 60_000),
    ("log.retention.hours", "log.retention.ms", 3_600_000),
    ("log.roll.hours", "log.roll.ms", 3_600_000),
    ("log.roll.jitter.hours", "log.roll.jitter.ms", 3_600_000),
];

const NO_LIMIT: i64 = -1;
