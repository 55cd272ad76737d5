//! The settings of source `generator`.

use serde_json::Value as Json;

use crate::config::quantity;
use crate::config::reader::{Fields, Keys, Reader};
use crate::config::tree::{Entry, Node, Value};

/// Which fields are made up, and how many records a second.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GeneratorSpec {
    pub(crate) fields: Vec<(String, FieldGenerator)>,
    pub(crate) records_per_second: f64,
    /// Ends after so many records, over all restarts.
    pub(crate) count: Option<u64>,
    pub(crate) seed: u64,
}

/// How one field is made up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FieldGenerator {
    Sequence {
        start: i64,
        step: i64,
    },
    /// Both ends included.
    Integer {
        min: i64,
        max: i64,
    },
    Float {
        min: f64,
        max: f64,
        decimals: u32,
    },
    Choice(Vec<Json>),
    /// The time at which the record is made, in milliseconds since 1970.
    Timestamp,
    /// So many words.
    Text {
        words: u32,
    },
    Constant(Json),
}

impl GeneratorSpec {
    pub(crate) fn read(reader: &mut Reader<'_, '_>, node: &Node) -> Self {
        let fields = reader.fields(node, "source `generator`", KEYS);
        let mut generators = Vec::new();
        match fields.node("fields") {
            None => reader.missing(&fields, "fields", "fields: { id: sequence }"),
            Some(node) => {
                for entry in reader.any_fields(node, "`fields` of `generator`").entries() {
                    if let Some(generator) = FieldGenerator::read(reader, entry) {
                        generators.push((entry.key.clone(), generator));
                    }
                }
            }
        }
        let rate = reader
            .quantity(&fields, "rate", quantity::rate)
            .unwrap_or(1.0);
        if rate > MAX_RATE {
            reader.report.error(
                fields.place,
                format!("`rate` must not exceed {MAX_RATE} a second"),
            );
        }
        let count = reader.integer(&fields, "count", 1..=i64::MAX);
        let seed = reader.integer(&fields, "seed", 0..=i64::MAX);
        Self {
            fields: generators,
            records_per_second: rate,
            count: count.and_then(|count| u64::try_from(count).ok()),
            seed: seed.and_then(|seed| u64::try_from(seed).ok()).unwrap_or(0),
        }
    }
}

impl FieldGenerator {
    /// A word (`id: sequence`) or a map with one key (`id: { sequence: { start: 10 } }`).
    fn read(reader: &mut Reader<'_, '_>, entry: &Entry) -> Option<Self> {
        let what = format!("field `{}`", entry.key);
        if let Value::Text(word) = &entry.value.value {
            return match word.as_str() {
                "sequence" => Some(Self::Sequence { start: 1, step: 1 }),
                "timestamp" => Some(Self::Timestamp),
                "text" => Some(Self::Text {
                    words: DEFAULT_WORDS,
                }),
                _ => {
                    let message = format!("{what}: `{word}` needs settings or is no generator");
                    reader
                        .report
                        .error_with_hint(entry.value.place, message, GENERATOR_HINT);
                    None
                }
            };
        }
        let fields = reader.fields(&entry.value, &what, GENERATOR_KEYS);
        let [inner] = fields.entries() else {
            let message = format!("{what} needs exactly one generator");
            reader
                .report
                .error_with_hint(entry.value.place, message, GENERATOR_HINT);
            return None;
        };
        match inner.key.as_str() {
            "sequence" => {
                let fields = reader.fields(&inner.value, "`sequence`", SEQUENCE_KEYS);
                let start = reader
                    .integer(&fields, "start", i64::MIN..=i64::MAX)
                    .unwrap_or(1);
                let step = reader
                    .integer(&fields, "step", i64::MIN..=i64::MAX)
                    .unwrap_or(1);
                Some(Self::Sequence { start, step })
            }
            "integer" => {
                let fields = reader.fields(&inner.value, "`integer`", RANGE_KEYS);
                let min = reader
                    .integer(&fields, "min", i64::MIN..=i64::MAX)
                    .unwrap_or(0);
                let max = reader.integer(&fields, "max", i64::MIN..=i64::MAX);
                let max = max.unwrap_or_else(|| min.saturating_add(DEFAULT_SPAN));
                check_range(reader, &fields, min <= max);
                Some(Self::Integer { min, max })
            }
            "float" => Some(Self::read_float(reader, &inner.value)),
            "choice" => Self::read_choice(reader, &inner.value),
            "timestamp" => Some(Self::Timestamp),
            "text" => {
                let fields = reader.fields(&inner.value, "`text`", TEXT_KEYS);
                let words = reader.integer(&fields, "words", 1..=MAX_WORDS);
                let words = words.and_then(|words| u32::try_from(words).ok());
                Some(Self::Text {
                    words: words.unwrap_or(DEFAULT_WORDS),
                })
            }
            "constant" => scalar(reader, &inner.value).map(Self::Constant),
            _ => None,
        }
    }

    fn read_float(reader: &mut Reader<'_, '_>, node: &Node) -> Self {
        let fields = reader.fields(node, "`float`", FLOAT_KEYS);
        let mut number = |key: &str, default: f64| {
            let node = fields.node(key)?;
            Some(
                reader
                    .number_of(node, &format!("`{key}`"))
                    .unwrap_or(default),
            )
        };
        let min = number("min", 0.0).unwrap_or(0.0);
        let max = number("max", min + 1.0).unwrap_or(min + 1.0);
        let decimals = reader.integer(&fields, "decimals", 0..=15);
        let decimals = decimals
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(2);
        check_range(reader, &fields, min <= max);
        Self::Float { min, max, decimals }
    }

    fn read_choice(reader: &mut Reader<'_, '_>, node: &Node) -> Option<Self> {
        let Value::List(items) = &node.value else {
            reader
                .report
                .error_with_hint(node.place, "`choice` must be a list", "choice: [a, b]");
            return None;
        };
        if items.is_empty() {
            reader.report.error(node.place, "`choice` is empty");
        }
        Some(Self::Choice(
            items
                .iter()
                .filter_map(|item| scalar(reader, item))
                .collect(),
        ))
    }
}

fn check_range(reader: &mut Reader<'_, '_>, fields: &Fields<'_>, in_order: bool) {
    if !in_order {
        reader.report.error(
            fields.place,
            format!("{}: `min` is above `max`", fields.what),
        );
    }
}

/// A plain value keeps its kind from the document.
fn scalar(reader: &mut Reader<'_, '_>, node: &Node) -> Option<Json> {
    match &node.value {
        Value::Null => Some(Json::Null),
        Value::Bool(value) => Some(Json::from(*value)),
        Value::Integer(value) => Some(Json::from(*value)),
        Value::Float(value) => Some(Json::from(*value)),
        Value::Text(_) => reader.text_of(node, "the value").map(Json::from),
        Value::List(_) | Value::Map(_) => {
            reader
                .report
                .error(node.place, "only plain values can stand here");
            None
        }
    }
}

const MAX_RATE: f64 = 1_000_000.0;
const DEFAULT_WORDS: u32 = 5;
const MAX_WORDS: i64 = 10_000;
const DEFAULT_SPAN: i64 = 100;
const GENERATOR_HINT: &str = "use sequence, integer, float, choice, timestamp, text or constant: { integer: { min: 0, max: 9 } }";
const KEYS: Keys = Keys {
    known: &["fields", "rate", "count", "seed"],
    aliases: &[
        ("interval", "`rate`"),
        ("max.messages", "`count`"),
        ("iterations", "`count`"),
    ],
    later: &["key"],
};
const GENERATOR_KEYS: Keys = Keys {
    known: &[
        "sequence",
        "integer",
        "float",
        "choice",
        "timestamp",
        "text",
        "constant",
    ],
    aliases: &[
        ("int", "`integer`"),
        ("number", "`float`"),
        ("options", "`choice`"),
        ("words", "`text`"),
    ],
    later: &["uuid", "regex", "object"],
};
const SEQUENCE_KEYS: Keys = Keys {
    known: &["start", "step"],
    aliases: &[],
    later: &[],
};
const RANGE_KEYS: Keys = Keys {
    known: &["min", "max"],
    aliases: &[],
    later: &[],
};
const FLOAT_KEYS: Keys = Keys {
    known: &["min", "max", "decimals"],
    aliases: &[],
    later: &[],
};
const TEXT_KEYS: Keys = Keys {
    known: &["words"],
    aliases: &[],
    later: &[],
};
