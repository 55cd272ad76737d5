//! `replace_field`: keeps, leaves out or renames fields.

use serde_json::{Map, Value};

use super::{TransformError, object, paths};
use crate::config::reader::{Keys, Reader};
use crate::config::tree::Node;
use crate::field_path::FieldPath;
use crate::record::ConnectRecord;

/// Leaves out `exclude`, then keeps only `include` if it is given, then renames.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReplaceField {
    include: Vec<FieldPath>,
    exclude: Vec<FieldPath>,
    rename: Vec<(FieldPath, FieldPath)>,
}

impl ReplaceField {
    pub(super) fn read(reader: &mut Reader<'_, '_>, node: &Node) -> Self {
        let fields = reader.fields(node, "transform `replace_field`", KEYS);
        if fields.entries().is_empty() {
            reader.missing(&fields, "include", "exclude: [password]");
        }
        let include = paths(reader, &fields, "include");
        let exclude = paths(reader, &fields, "exclude");
        let mut rename = Vec::new();
        if let Some(node) = fields.node("rename") {
            for entry in reader.any_fields(node, "`rename`").entries() {
                let Some(new) = reader.text_of(&entry.value, "the new name") else {
                    continue;
                };
                match (FieldPath::parse(&entry.key), FieldPath::parse(&new)) {
                    (Ok(old), Ok(new)) => rename.push((old, new)),
                    (Err(message), _) | (_, Err(message)) => {
                        reader.report.error(entry.key_place, message);
                    }
                }
            }
        }
        Self {
            include,
            exclude,
            rename,
        }
    }

    pub(super) fn apply(&self, record: &mut ConnectRecord) -> Result<(), TransformError> {
        let value = object(STEP, record)?;
        for path in &self.exclude {
            path.remove(value);
        }
        if !self.include.is_empty() {
            let mut kept = Value::Object(Map::new());
            for path in &self.include {
                if let Some(found) = path.remove(value) {
                    path.set(&mut kept, found);
                }
            }
            *value = kept;
        }
        for (old, new) in &self.rename {
            if let Some(found) = old.remove(value)
                && !new.set(value, found)
            {
                let message =
                    format!("cannot rename `{old}` to `{new}`: it lies inside a plain value");
                return Err(TransformError {
                    step: STEP,
                    message,
                });
            }
        }
        Ok(())
    }
}

const STEP: &str = "replace_field";
const KEYS: Keys = Keys {
    known: &["include", "exclude", "rename"],
    aliases: &[
        ("whitelist", "`include`"),
        ("blacklist", "`exclude`"),
        ("renames", "`rename`"),
    ],
    later: &[],
};
