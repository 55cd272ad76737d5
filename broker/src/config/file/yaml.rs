//! Settings as YAML: a map of names; maps inside it stand for the dots in names, lists for the commas in values.
//!
//! ```yaml
//! node.id: 1
//! log:
//!   retention:
//!     ms: 3600000
//!   dirs: /var/lib/moldau
//! listeners: [PLAINTEXT://:9092]
//! ```

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use super::{Entry, Remarks};

/// The settings of the text, in its order; mistakes go to `remarks`.
pub(super) fn parse(text: &str, remarks: &mut Remarks) -> Vec<Entry> {
    // Repeated names pass through, because they are reported with both places.
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
    };
    let parsed: Result<Spanned<Value>, serde_saphyr::Error> =
        serde_saphyr::from_str_with_options(text, options);
    let mut entries = Vec::new();
    match parsed.map(|document| document.value) {
        Ok(Value::Map(map)) => flatten("", map, &mut entries, remarks),
        Ok(Value::Null) => {}
        Ok(Value::Scalar(_) | Value::List(_)) => {
            remarks.mistake(
                1,
                "the file must be a map of settings, such as `node.id: 1`",
            );
        }
        Err(error) => {
            let line = error
                .location()
                .map_or(1, |location| line_of(location.line()));
            let message = error.without_snippet().to_string();
            // The parser ends its sentence with the place, which is shown apart.
            let sentence = message
                .rsplit_once(" at line ")
                .map_or(&*message, |(left, _)| left);
            remarks.mistake(line, sentence);
        }
    }
    entries
}

fn flatten(prefix: &str, map: Vec<Pair>, entries: &mut Vec<Entry>, remarks: &mut Remarks) {
    for Pair { name, value, line } in map {
        let name = format!("{prefix}{name}");
        let value = match value {
            Value::Map(inner) => {
                flatten(&format!("{name}."), inner, entries, remarks);
                continue;
            }
            Value::Null => String::new(),
            Value::Scalar(text) => text,
            Value::List(items) => match joined(items) {
                Some(text) => text,
                None => {
                    remarks.mistake(
                        line,
                        format_args!("\"{name}\": a list holds plain values only"),
                    );
                    continue;
                }
            },
        };
        entries.push(Entry { name, value, line });
    }
}

fn joined(items: Vec<Value>) -> Option<String> {
    let text = |item| match item {
        Value::Scalar(text) => Some(text),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    };
    let items: Option<Vec<String>> = items.into_iter().map(text).collect();
    Some(items?.join(","))
}

fn line_of(line: u64) -> usize {
    usize::try_from(line).unwrap_or(usize::MAX)
}

enum Value {
    Null,
    Scalar(String),
    List(Vec<Self>),
    Map(Vec<Pair>),
}

struct Pair {
    name: String,
    value: Value,
    line: usize,
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Scalar(value.trim().to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Value>()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            pairs.push(Pair {
                line: line_of(key.referenced.line()),
                name: key.value,
                value: map.next_value::<Value>()?,
            });
        }
        Ok(Value::Map(pairs))
    }
}
