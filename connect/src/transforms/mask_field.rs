//! `mask_field`: hides the content of fields.

use serde_json::Value;

use super::{TransformError, object, paths};
use crate::config::reader::{Keys, Reader};
use crate::config::tree::Node;
use crate::field_path::FieldPath;
use crate::record::ConnectRecord;

/// Replaces each field that is there: by `with`, or by the empty value of its kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MaskField {
    fields: Vec<FieldPath>,
    with: Option<String>,
}

impl MaskField {
    pub(super) fn read(reader: &mut Reader<'_, '_>, node: &Node) -> Self {
        let fields = reader.fields(node, "transform `mask_field`", KEYS);
        if fields.find("fields").is_none() {
            reader.missing(&fields, "fields", "fields: [iban]");
        }
        let with = fields
            .node("with")
            .and_then(|node| reader.text_of(node, "`with`"));
        Self {
            fields: paths(reader, &fields, "fields"),
            with,
        }
    }

    pub(super) fn apply(&self, record: &mut ConnectRecord) -> Result<(), TransformError> {
        let value = object(STEP, record)?;
        for path in &self.fields {
            if let Some(field) = path.find_mut(value) {
                *field = self.masked(field);
            }
        }
        Ok(())
    }

    fn masked(&self, value: &Value) -> Value {
        match (&self.with, value) {
            (_, Value::Null) => Value::Null,
            (Some(with), _) => Value::String(with.clone()),
            (None, Value::Bool(_)) => Value::Bool(false),
            (None, Value::Number(_)) => Value::from(0),
            (None, Value::String(_)) => Value::String(String::new()),
            (None, Value::Array(_)) => Value::Array(Vec::new()),
            (None, Value::Object(_)) => Value::Object(serde_json::Map::new()),
        }
    }
}

const STEP: &str = "mask_field";
const KEYS: Keys = Keys {
    known: &["fields", "with"],
    aliases: &[("replacement", "`with`"), ("field", "`fields`")],
    later: &[],
};
