//! `insert_field`: adds a field with a fixed value or with what is known about the record.

use chrono::{DateTime, SecondsFormat};
use serde_json::Value;

use super::{TransformError, object};
use crate::config::reader::{Keys, Reader};
use crate::config::tree::{Node, Value as NodeValue};
use crate::field_path::FieldPath;
use crate::record::ConnectRecord;

/// Sets one field, also over a field of that name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct InsertField {
    field: FieldPath,
    content: Content,
}

#[derive(Debug, Clone, PartialEq)]
enum Content {
    Fixed(Value),
    From(From),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Timestamp,
    Rfc3339,
    Topic,
    Partition,
    Offset,
    Key,
}

impl InsertField {
    pub(super) fn read(reader: &mut Reader<'_, '_>, node: &Node, is_source: bool) -> Option<Self> {
        let fields = reader.fields(node, "transform `insert_field`", KEYS);
        let name = reader.required_text(&fields, "field", "field: region");
        let field = FieldPath::parse(&name).ok()?;
        let content = match (fields.find("value"), fields.find("from")) {
            (Some(entry), None) => Content::Fixed(fixed(reader, &entry.value)?),
            (None, Some(entry)) => {
                let from = reader.one_of(&fields, "from", &FROM)?;
                if is_source && matches!(from, From::Partition | From::Offset) {
                    let message = "a source does not know the partition and offset of its records";
                    reader.report.error(entry.value.place, message);
                }
                Content::From(from)
            }
            (Some(_), Some(entry)) => {
                let message = "`insert_field` takes `value` or `from`, not both";
                reader.report.error(entry.key_place, message);
                return None;
            }
            (None, None) => {
                reader.missing(&fields, "value", "value: eu");
                return None;
            }
        };
        Some(Self { field, content })
    }

    pub(super) fn apply(&self, record: &mut ConnectRecord) -> Result<(), TransformError> {
        let new = match &self.content {
            Content::Fixed(value) => value.clone(),
            Content::From(from) => from.value(record),
        };
        if self.field.set(object(STEP, record)?, new) {
            return Ok(());
        }
        let message = format!("field `{}` lies inside a plain value", self.field);
        Err(TransformError {
            step: STEP,
            message,
        })
    }
}

impl From {
    fn value(self, record: &ConnectRecord) -> Value {
        match self {
            Self::Timestamp => Value::from(record.timestamp),
            Self::Rfc3339 => DateTime::from_timestamp_millis(record.timestamp)
                .map_or(Value::Null, |time| {
                    Value::from(time.to_rfc3339_opts(SecondsFormat::Millis, true))
                }),
            Self::Topic => Value::from(&*record.topic),
            Self::Partition => record
                .position
                .map_or(Value::Null, |p| Value::from(p.partition)),
            Self::Offset => record
                .position
                .map_or(Value::Null, |p| Value::from(p.offset)),
            Self::Key => record
                .key
                .as_ref()
                .map_or(Value::Null, |key| Value::from(String::from_utf8_lossy(key))),
        }
    }
}

/// A fixed value keeps its kind from the document.
fn fixed(reader: &mut Reader<'_, '_>, node: &Node) -> Option<Value> {
    match &node.value {
        NodeValue::Null => Some(Value::Null),
        NodeValue::Bool(value) => Some(Value::from(*value)),
        NodeValue::Integer(value) => Some(Value::from(*value)),
        NodeValue::Float(value) => Some(Value::from(*value)),
        _ => reader.text_of(node, "`value`").map(Value::from),
    }
}

const STEP: &str = "insert_field";
const FROM: [(&str, From); 6] = [
    ("timestamp", From::Timestamp),
    ("timestamp_rfc3339", From::Rfc3339),
    ("topic", From::Topic),
    ("partition", From::Partition),
    ("offset", From::Offset),
    ("key", From::Key),
];
const KEYS: Keys = Keys {
    known: &["field", "value", "from"],
    aliases: &[
        ("static.field", "`field` with `value`"),
        ("static.value", "`value`"),
        ("timestamp.field", "`field` with `from: timestamp`"),
        ("offset.field", "`field` with `from: offset`"),
        ("topic.field", "`field` with `from: topic`"),
        ("partition.field", "`field` with `from: partition`"),
    ],
    later: &[],
};
