//! What happens to a record between source and sink: a list of steps, each with an optional
//! condition.

mod cast;
mod insert_field;
mod mask_field;
mod replace_field;

use serde_json::Value;

use crate::condition::Condition;
use crate::config::reader::{Fields, Keys, Reader};
use crate::config::tree::{Node, Value as NodeValue};
use crate::field_path::FieldPath;
use crate::record::ConnectRecord;
use cast::Cast;
use insert_field::InsertField;
use mask_field::MaskField;
use replace_field::ReplaceField;

/// The steps of one connector, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Transforms {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
struct Step {
    kind: Kind,
    when: Option<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Filter(Condition),
    ReplaceField(ReplaceField),
    MaskField(MaskField),
    InsertField(InsertField),
    Cast(Cast),
}

/// A step could not do its work on a record; the connector's error policy decides what follows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("transform {step}: {message}")]
pub(crate) struct TransformError {
    pub(crate) step: &'static str,
    pub(crate) message: String,
}

impl Transforms {
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether a step changes the value, and not only decides about the record.
    pub(crate) fn change_values(&self) -> bool {
        self.steps
            .iter()
            .any(|step| !matches!(step.kind, Kind::Filter(_)))
    }

    /// Runs the steps; `None` when a filter dropped the record.
    ///
    /// # Errors
    /// When a step does not fit the record.
    pub(crate) fn apply(
        &self,
        mut record: ConnectRecord,
    ) -> Result<Option<ConnectRecord>, TransformError> {
        for step in &self.steps {
            if step.when.as_ref().is_some_and(|when| !when.holds(&record)) {
                continue;
            }
            match &step.kind {
                Kind::Filter(condition) if !condition.holds(&record) => return Ok(None),
                Kind::Filter(_) => {}
                Kind::ReplaceField(step) => step.apply(&mut record)?,
                Kind::MaskField(step) => step.apply(&mut record)?,
                Kind::InsertField(step) => step.apply(&mut record)?,
                Kind::Cast(step) => step.apply(&mut record)?,
            }
        }
        Ok(Some(record))
    }

    /// Reads the list under `transforms`.
    pub(crate) fn read(reader: &mut Reader<'_, '_>, node: &Node, is_source: bool) -> Self {
        let NodeValue::List(items) = &node.value else {
            let message = "`transforms` must be a list of steps";
            reader
                .report
                .error_with_hint(node.place, message, "begin each step with `- `");
            return Self::default();
        };
        Self {
            steps: items
                .iter()
                .filter_map(|item| Step::read(reader, item, is_source))
                .collect(),
        }
    }
}

impl Step {
    fn read(reader: &mut Reader<'_, '_>, node: &Node, is_source: bool) -> Option<Self> {
        let fields = reader.fields(node, "a transform", STEP_KEYS);
        let when = fields
            .node("when")
            .and_then(|node| condition(reader, node, "`when`"));
        let mut kinds = fields.entries().iter().filter(|entry| entry.key != "when");
        let Some(entry) = kinds.next() else {
            let message = "a transform needs a kind";
            let hint = format!("use one of: {}", KINDS.join(", "));
            reader.report.error_with_hint(node.place, message, hint);
            return None;
        };
        if let Some(second) = kinds.next() {
            let message = format!(
                "a transform has one kind, not `{}` and `{}`",
                entry.key, second.key
            );
            let hint = "begin a new step with `- `";
            reader
                .report
                .error_with_hint(second.key_place, message, hint);
        }
        let kind = match entry.key.as_str() {
            "filter" => Kind::Filter(condition(reader, &entry.value, "`filter`")?),
            "replace_field" => Kind::ReplaceField(ReplaceField::read(reader, &entry.value)),
            "mask_field" => Kind::MaskField(MaskField::read(reader, &entry.value)),
            "insert_field" => {
                Kind::InsertField(InsertField::read(reader, &entry.value, is_source)?)
            }
            "cast" => Kind::Cast(Cast::read(reader, &entry.value)),
            _ => return None,
        };
        Some(Self { kind, when })
    }
}

/// Reads a condition; a mistake in it is shown at its own column.
fn condition(reader: &mut Reader<'_, '_>, node: &Node, what: &str) -> Option<Condition> {
    let text = reader.verbatim(node, what)?;
    match Condition::parse(&text) {
        Ok(condition) => Some(condition),
        Err(error) => {
            let mut place = node.place;
            let written = reader.report.source_of(place);
            // Where the text stands as it is, perhaps in quotes, the column is exact.
            if let Some(start) = written.find(&text) {
                place.column += written[..start].chars().count() + error.column;
                place.byte_len = 0;
            }
            reader.report.error_with_hint(
                place,
                format!("{what}: {}", error.message),
                CONDITION_HINT,
            );
            None
        }
    }
}

/// Reads field names and reports those that are none.
fn paths(reader: &mut Reader<'_, '_>, fields: &Fields<'_>, key: &str) -> Vec<FieldPath> {
    let mut paths = Vec::new();
    for (text, place) in reader.texts(fields, key) {
        match FieldPath::parse(&text) {
            Ok(path) => paths.push(path),
            Err(message) => reader.report.error(place, format!("`{key}`: {message}")),
        }
    }
    paths
}

/// The value as an object, which the field transforms need.
fn object<'r>(
    step: &'static str,
    record: &'r mut ConnectRecord,
) -> Result<&'r mut Value, TransformError> {
    let kind = match &record.value {
        Value::Object(_) => return Ok(&mut record.value),
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
    };
    Err(TransformError {
        step,
        message: format!("the value is {kind}, not an object with fields"),
    })
}

const KINDS: [&str; 5] = [
    "filter",
    "replace_field",
    "mask_field",
    "insert_field",
    "cast",
];
const STEP_KEYS: Keys = Keys {
    known: &[
        "filter",
        "replace_field",
        "mask_field",
        "insert_field",
        "cast",
        "when",
    ],
    aliases: &[
        ("ReplaceField", "`replace_field`"),
        ("MaskField", "`mask_field`"),
        ("InsertField", "`insert_field`"),
        ("predicate", "`when`"),
        ("where", "`filter`"),
    ],
    later: &[
        "sql",
        "timestamp_converter",
        "insert_header",
        "drop_headers",
        "flatten",
        "route",
    ],
};
const CONDITION_HINT: &str = "for example: value.level = 'ERROR' AND value.code >= 500";

#[cfg(test)]
mod tests;
