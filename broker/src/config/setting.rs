//! One broker setting: its name, its type, and how it is read and shown.

use std::fmt::Display;

use super::BrokerConfig;

/// A setting of the broker by its Kafka name.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The name, for example `num.partitions`.
    pub name: &'static str,
    /// The type that clients are told in DescribeConfigs.
    pub kind: SettingKind,
    /// The topic setting that this one is the default of.
    pub topic_name: Option<&'static str>,
    /// Assigns the value.
    pub(crate) write: fn(&mut BrokerConfig, &Self, &str) -> Result<(), ConfigError>,
    /// Shows the value; `None` when it is not set.
    pub(crate) read: fn(&BrokerConfig) -> Option<String>,
}

/// The type of a setting's value, with the codes of DescribeConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say what they are")]
pub enum SettingKind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
}

/// Why a setting was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No setting has this name.
    #[error("setting `{name}` is unknown{hint}")]
    Unknown {
        /// The name as given.
        name: String,
        /// Empty, or the name that was probably meant.
        hint: String,
    },
    /// The value does not fit the setting.
    #[error("setting `{name}`: value `{value}` is not allowed\nhint: give {allowed}")]
    Invalid {
        /// The setting.
        name: String,
        /// The value as given.
        value: String,
        /// What would be allowed.
        allowed: String,
    },
}

impl ConfigError {
    pub(crate) fn invalid(name: &str, value: &dyn Display, allowed: &str) -> Self {
        Self::Invalid {
            name: name.to_owned(),
            value: value.to_string(),
            allowed: allowed.to_owned(),
        }
    }

    pub(crate) fn unknown(name: &str) -> Self {
        let hint = super::SETTINGS
            .iter()
            .map(|setting| (distance(name, setting.name), setting.name))
            .min()
            .filter(|(distance, _)| *distance <= MAX_TYPO_DISTANCE)
            .map_or_else(String::new, |(_, name)| {
                format!("\nhint: did you mean `{name}`?")
            });
        Self::Unknown {
            name: name.to_owned(),
            hint,
        }
    }
}

/// A name with more wrong letters than this is not taken for a typing mistake.
const MAX_TYPO_DISTANCE: usize = 4;

/// Levenshtein distance of two names.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<u8> = right.bytes().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.bytes().enumerate() {
        let mut diagonal = i;
        let mut previous = i + 1;
        for (cell, r) in row.iter_mut().skip(1).zip(&right) {
            let change = diagonal + usize::from(l != *r);
            diagonal = *cell;
            previous = change.min(previous + 1).min(*cell + 1);
            *cell = previous;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distance_counts_changed_missing_and_added_letters() {
        assert_eq!(distance("num.partitions", "num.partitions"), 0);
        assert_eq!(distance("num.partition", "num.partitions"), 1);
        assert_eq!(distance("nun.partitons", "num.partitions"), 2);
        assert_eq!(distance("", "abc"), 3);
    }
}
