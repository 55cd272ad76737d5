//! `cast`: gives fields another type.

use serde_json::Value;

use super::{TransformError, object};
use crate::config::reader::{Keys, Reader};
use crate::config::suggest;
use crate::config::tree::Node;
use crate::field_path::FieldPath;
use crate::record::ConnectRecord;

/// Casts each field that is there; null stays null.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cast {
    fields: Vec<(FieldPath, Type)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Integer,
    Number,
    Boolean,
}

impl Cast {
    pub(super) fn read(reader: &mut Reader<'_, '_>, node: &Node) -> Self {
        let outer = reader.fields(node, "transform `cast`", KEYS);
        let Some(node) = outer.node("fields") else {
            reader.missing(&outer, "fields", "fields: { amount: number }");
            return Self { fields: Vec::new() };
        };
        let mut fields = Vec::new();
        for entry in reader.any_fields(node, "`fields` of `cast`").entries() {
            let Some(word) = reader.text_of(&entry.value, "the type") else {
                continue;
            };
            let found = TYPES.iter().find(|(name, _)| *name == word);
            match (FieldPath::parse(&entry.key), found) {
                (Ok(path), Some((_, kind))) => fields.push((path, *kind)),
                (Err(message), _) => reader.report.error(entry.key_place, message),
                (Ok(_), None) => {
                    let names = TYPES.map(|(name, _)| name);
                    let hint = suggest::closest(&word, names).map_or_else(
                        || "use text, integer, number or boolean".to_owned(),
                        |name| format!("did you mean `{name}`?"),
                    );
                    let message = format!("`{word}` is no type");
                    reader
                        .report
                        .error_with_hint(entry.value.place, message, hint);
                }
            }
        }
        Self { fields }
    }

    pub(super) fn apply(&self, record: &mut ConnectRecord) -> Result<(), TransformError> {
        let value = object(STEP, record)?;
        for (path, kind) in &self.fields {
            let Some(field) = path.find_mut(value) else {
                continue;
            };
            let Some(cast) = kind.cast(field) else {
                let message = format!("field `{path}`: {field} is no {}", kind.name());
                return Err(TransformError {
                    step: STEP,
                    message,
                });
            };
            *field = cast;
        }
        Ok(())
    }
}

impl Type {
    fn cast(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (_, Value::Null) => Some(Value::Null),
            (Self::Text, Value::String(_)) | (Self::Boolean, Value::Bool(_)) => Some(value.clone()),
            (Self::Text, other) => Some(Value::from(other.to_string())),
            (Self::Integer, Value::Number(number)) => match number.as_i64() {
                Some(integer) => Some(Value::from(integer)),
                None => whole(number.as_f64()?),
            },
            (Self::Integer, Value::String(text)) => {
                text.trim().parse::<i64>().ok().map(Value::from)
            }
            (Self::Integer, Value::Bool(value)) => Some(Value::from(i64::from(*value))),
            (Self::Number, Value::Number(number)) => number.as_f64().map(Value::from),
            (Self::Number, Value::String(text)) => {
                let number: f64 = text.trim().parse().ok()?;
                number.is_finite().then(|| Value::from(number))
            }
            (Self::Number, Value::Bool(value)) => Some(Value::from(f64::from(u8::from(*value)))),
            (Self::Boolean, Value::Number(number)) => Some(Value::from(number.as_f64()? != 0.0)),
            (Self::Boolean, Value::String(text)) => match text.trim().to_lowercase().as_str() {
                "true" => Some(Value::from(true)),
                "false" => Some(Value::from(false)),
                _ => None,
            },
            (_, Value::Array(_) | Value::Object(_)) => None,
        }
    }

    fn name(self) -> &'static str {
        TYPES
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("value", |(name, _)| name)
    }
}

/// The number without its fraction, as Kafka's `Cast` and SQL do.
fn whole(number: f64) -> Option<Value> {
    // 2^63, the first double beyond the range.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if !(-LIMIT..LIMIT).contains(&number) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range is checked above"
    )]
    Some(Value::from(number.trunc() as i64))
}

const STEP: &str = "cast";
const TYPES: [(&str, Type); 7] = [
    ("text", Type::Text),
    ("integer", Type::Integer),
    ("number", Type::Number),
    ("boolean", Type::Boolean),
    ("string", Type::Text),
    ("double", Type::Number),
    ("bigint", Type::Integer),
];
const KEYS: Keys = Keys {
    known: &["fields"],
    aliases: &[("spec", "`fields`")],
    later: &[],
};
