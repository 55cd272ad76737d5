//! The schema files: Kafka's message definitions as JSON.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

/// One message as its file says.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Schema {
    /// Number of the API, or the type of an internal record.
    pub api_key: Option<i16>,
    /// What kind of message it is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The message's name.
    pub name: String,
    /// Versions that exist.
    pub valid_versions: Versions,
    /// Versions with compact lengths and tagged fields.
    #[serde(default)]
    pub flexible_versions: Versions,
    /// Fields in the order of the wire.
    pub fields: Vec<Field>,
    /// Structures that several fields share.
    #[serde(default)]
    pub common_structs: Vec<Struct>,
}

/// What kind of message a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Sent to a broker.
    Request,
    /// Sent back.
    Response,
    /// In front of every request or response.
    Header,
    /// Carried in other messages or files.
    Data,
    /// Key of a coordinator's record.
    CoordinatorKey,
    /// Value of a coordinator's record.
    CoordinatorValue,
    /// Record of a metadata log.
    Metadata,
}

/// A structure that several fields share.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Struct {
    /// The structure's name.
    pub name: String,
    /// Its fields in the order of the wire.
    pub fields: Vec<Field>,
}

/// One field.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Field {
    /// The field's name.
    pub name: String,
    /// Its type as text, for example `[]string`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Versions that have the field.
    pub versions: Option<Versions>,
    /// Versions in which it may be null.
    #[serde(default)]
    pub nullable_versions: Versions,
    /// Versions in which it is a tagged field.
    #[serde(default)]
    pub tagged_versions: Versions,
    /// Its tag.
    pub tag: Option<u32>,
    /// Its default, as text, number or truth value.
    #[serde(default, deserialize_with = "present")]
    pub default: Option<Value>,
    /// Whether a version without the field may drop it.
    #[serde(default, deserialize_with = "truth")]
    pub ignorable: bool,
    /// Its own rule for compact lengths, instead of the message's.
    pub flexible_versions: Option<Versions>,
    /// What the field means, if the schema says.
    pub about: Option<String>,
    /// Fields of the structure that it defines.
    #[serde(default)]
    pub fields: Vec<Self>,
}

/// A range of versions; empty if `min` is above `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    /// Lowest version.
    pub min: i16,
    /// Highest version.
    pub max: i16,
}

impl Schema {
    /// Reads all schemas of a folder, in the order of their names. Those without any version are
    /// left out: Kafka has given up their APIs.
    ///
    /// # Errors
    /// A file cannot be read or is no schema.
    pub(crate) fn read_all(folder: &Path) -> Result<Vec<Self>> {
        let mut schemas = Vec::new();
        for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                let text = fs::read_to_string(&path)?;
                let schema =
                    Self::parse(&text).with_context(|| format!("read {}", path.display()))?;
                schemas.push(schema);
            }
        }
        schemas.retain(|schema| !schema.valid_versions.is_empty());
        schemas.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(schemas)
    }

    /// Reads one schema; lines that begin with `//` are comments.
    ///
    /// # Errors
    /// The text is no schema.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        Ok(serde_json::from_str(&lines.collect::<Vec<_>>().join("\n"))?)
    }
}

impl Field {
    /// Versions that have the field, among those of the message.
    #[must_use]
    pub(crate) fn versions(&self) -> Versions {
        self.versions.unwrap_or(self.tagged_versions)
    }
}

impl Versions {
    /// No version.
    pub(crate) const NONE: Self = Self { min: 0, max: -1 };

    /// Whether there is no version.
    #[must_use]
    pub(crate) const fn is_empty(self) -> bool {
        self.min > self.max
    }

    /// The versions in both ranges.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        let both = Self {
            min: self.min.max(other.min),
            max: self.max.min(other.max),
        };
        if both.is_empty() { Self::NONE } else { both }
    }

    /// Whether every version of `other` is in this range.
    #[must_use]
    pub(crate) fn covers(self, other: Self) -> bool {
        self.and(other) == other
    }

    /// As text for documentation: `3–5`, `from 3`.
    #[must_use]
    pub(crate) fn describe(self, valid: Self) -> String {
        if self.min == self.max {
            format!("version {}", self.min)
        } else if self.max == valid.max {
            format!("version {} and later", self.min)
        } else {
            format!("versions {} to {}", self.min, self.max)
        }
    }

    fn parse(text: &str) -> Result<Self> {
        if text == "none" {
            return Ok(Self::NONE);
        }
        if let Some(min) = text.strip_suffix('+') {
            return Ok(Self {
                min: min.parse()?,
                max: i16::MAX,
            });
        }
        let (min, max) = text.split_once('-').unwrap_or((text, text));
        let range = Self {
            min: min.parse()?,
            max: max.parse()?,
        };
        if range.is_empty() {
            bail!("version range \"{text}\" is empty");
        }
        Ok(range)
    }
}

impl Default for Versions {
    fn default() -> Self {
        Self::NONE
    }
}

impl<'de> Deserialize<'de> for Versions {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Keeps a default of `null` apart from no default.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Some schemas write truth values as text.
fn truth<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value == Value::Bool(true) || value == "true")
}
