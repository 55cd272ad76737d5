//! Settings from a file: a Kafka `server.properties` as it is, or YAML.
//!
//! All mistakes of a file are reported at once, each with its line. What has no effect here, because a single node has
//! nothing to tune by it, is no mistake: it gives a note.

mod listeners;
mod properties;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use moldau_core::config::{Support, broker_setting};

use super::BrokerConfig;

/// Why a file of settings was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// It cannot be read.
    #[error("read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It has mistakes: one line for each, with the file's name and the line in it.
    #[error("{0}")]
    Mistakes(String),
}

/// How the text of a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// `name=value`, as Kafka's `server.properties`.
    Properties,
    /// `name: value`; maps inside maps stand for the dots in names.
    Yaml,
}

impl FileFormat {
    /// YAML for `.yaml` and `.yml`, else properties.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension {
            Some("yaml" | "yml") => Self::Yaml,
            _ => Self::Properties,
        }
    }
}

/// One setting of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    value: String,
    line: usize,
}

/// Something to say about a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Remark {
    line: usize,
    text: String,
}

/// What reading a file brings to light.
#[derive(Debug, Default)]
struct Remarks {
    mistakes: Vec<Remark>,
    notes: Vec<Remark>,
}

impl Remarks {
    fn mistake(&mut self, line: usize, text: impl fmt::Display) {
        self.mistakes.push(Remark {
            line,
            text: text.to_string(),
        });
    }

    fn note(&mut self, line: usize, text: impl fmt::Display) {
        self.notes.push(Remark {
            line,
            text: text.to_string(),
        });
    }
}

impl BrokerConfig {
    /// Takes over the settings of a file; gives notes about those that have no effect here.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or has mistakes; the settings are then partly taken over and must not be used.
    pub fn apply_file(&mut self, path: &Path) -> Result<Vec<String>, ConfigFileError> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigFileError::Read {
            path: origin.clone(),
            source,
        })?;
        self.apply_text(&text, FileFormat::of(path), &origin)
    }

    /// As [`BrokerConfig::apply_file`], from a text; `origin` is its name in messages.
    ///
    /// # Errors
    ///
    /// The text has mistakes.
    pub fn apply_text(
        &mut self,
        text: &str,
        format: FileFormat,
        origin: &str,
    ) -> Result<Vec<String>, ConfigFileError> {
        let mut remarks = Remarks::default();
        let entries = match format {
            FileFormat::Properties => properties::parse(text),
            FileFormat::Yaml => yaml::parse(text, &mut remarks),
        };
        let settings = last_of_each(entries, format, &mut remarks);
        apply(self, &settings, &mut remarks);
        let show = |mut remarks: Vec<Remark>| {
            remarks.sort();
            let line = |remark: Remark| format!("{origin}:{}: {}", remark.line, remark.text);
            remarks.into_iter().map(line).collect::<Vec<_>>()
        };
        if remarks.mistakes.is_empty() {
            Ok(show(remarks.notes))
        } else {
            Err(ConfigFileError::Mistakes(show(remarks.mistakes).join("\n")))
        }
    }
}

/// The settings by name. In properties a later line wins, as in Kafka; in YAML a repeated name is a mistake.
fn last_of_each(
    entries: Vec<Entry>,
    format: FileFormat,
    remarks: &mut Remarks,
) -> BTreeMap<String, Entry> {
    let mut settings: BTreeMap<String, Entry> = BTreeMap::new();
    for entry in entries {
        let line = entry.line;
        let Some(earlier) = settings.insert(entry.name.clone(), entry) else {
            continue;
        };
        let (name, first) = (earlier.name, earlier.line);
        if format == FileFormat::Yaml {
            remarks.mistake(
                line,
                format_args!("\"{name}\" stands in line {first} already"),
            );
        } else {
            remarks.note(
                line,
                format_args!("\"{name}\" in line {first} does not count; this one does"),
            );
        }
    }
    settings
}

fn apply(config: &mut BrokerConfig, settings: &BTreeMap<String, Entry>, remarks: &mut Remarks) {
    let taken = listeners::apply(config, settings, remarks);
    // Older names first, so that the newer ones win.
    let old = settings
        .values()
        .filter(|entry| OLDER_NAMES.contains(&&*entry.name));
    let new = settings
        .values()
        .filter(|entry| !OLDER_NAMES.contains(&&*entry.name));
    for entry in old.chain(new) {
        if !taken.contains(&*entry.name) {
            apply_one(config, entry, remarks);
        }
    }
}

fn apply_one(config: &mut BrokerConfig, entry: &Entry, remarks: &mut Remarks) {
    let Entry { name, value, line } = entry;
    if name.starts_with("listener.name.") {
        remarks.mistake(
            *line,
            format_args!(
                "\"{name}\": settings of single listeners are not supported; leave it out"
            ),
        );
        return;
    }
    if let Some(problem) = several_nodes(name, value) {
        remarks.mistake(*line, problem);
        return;
    }
    if let Some(Support::Ignored(reason)) = broker_setting(name).map(|setting| setting.support) {
        remarks.note(*line, format_args!("\"{name}\" has no effect: {reason}"));
        return;
    }
    if let Err(error) = config.set(name, value) {
        remarks.mistake(*line, error);
    }
}

/// A quorum of more than this node.
fn several_nodes(name: &str, value: &str) -> Option<String> {
    let nodes = value.split(',').filter(|node| !node.trim().is_empty());
    let is_quorum = QUORUM_SETTINGS.contains(&name);
    (is_quorum && nodes.count() > 1).then(|| {
        format!("\"{name}\": a cluster of several nodes is not supported; name this node alone, or leave it out")
    })
}

/// Settings of which Kafka has a newer name that wins.
const OLDER_NAMES: [&str; 2] = ["broker.id", "log.dir"];

/// Settings that list the nodes of the quorum.
const QUORUM_SETTINGS: [&str; 2] = [
    "controller.quorum.bootstrap.servers",
    "controller.quorum.voters",
];

/// Names that [`listeners`] has dealt with.
type Taken = BTreeSet<&'static str>;

#[cfg(test)]
mod tests;
