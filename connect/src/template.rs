//! Texts with fields in them, such as the key of a record: `${value.country}-${value.id}`.

use std::fmt::Write;

use serde_json::Value;

use crate::field_path::FieldPath;
use crate::record::ConnectRecord;

/// A text made from a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field(FieldPath),
    Topic,
}

impl Template {
    /// # Errors
    /// A sentence for the user when a placeholder is not one of those for records.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, placeholder) = rest.split_at(start);
            if !before.is_empty() {
                parts.push(Part::Literal(before.to_owned()));
            }
            let end = placeholder
                .find('}')
                .ok_or_else(|| format!("`{placeholder}` has no closing brace"))?;
            parts.push(Part::parse(&placeholder[2..end])?);
            rest = &placeholder[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The text for `record`; `None` when one of its fields is missing or null.
    pub(crate) fn render(&self, record: &ConnectRecord) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Topic => text.push_str(&record.topic),
                Part::Field(path) => match path.find(&record.value)? {
                    Value::Null => return None,
                    Value::String(string) => text.push_str(string),
                    other => write!(text, "{other}").ok()?,
                },
            }
        }
        Some(text)
    }
}

impl Part {
    fn parse(name: &str) -> Result<Self, String> {
        match name.split_once('.') {
            None if name == "topic" => Ok(Self::Topic),
            Some(("value", field)) => FieldPath::parse(field).map(Self::Field),
            _ => Err(format!(
                "`${{{name}}}` is no field of a record: use ${{value.FIELD}} or ${{topic}}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(template: &str) -> Option<String> {
        let record =
            ConnectRecord::of(json!({"id": 7, "name": "a b", "none": null, "in": {"x": true}}));
        Template::parse(template)
            .expect("a template")
            .render(&record)
    }

    #[test]
    fn fields_are_written_as_plain_text() {
        assert_eq!(
            render("${value.name}-${value.id}").as_deref(),
            Some("a b-7")
        );
        assert_eq!(
            render("${topic}/${value.in.x}").as_deref(),
            Some("topic/true")
        );
        assert_eq!(render("fixed").as_deref(), Some("fixed"));
    }

    #[test]
    fn a_missing_or_null_field_gives_no_text() {
        assert_eq!(render("a-${value.none}"), None);
        assert_eq!(render("a-${value.missing}"), None);
    }

    #[test]
    fn other_placeholders_are_refused() {
        assert!(Template::parse("${env:HOME}").is_err());
        assert!(Template::parse("${value.}").is_err());
        assert!(Template::parse("${value.x").is_err());
    }
}
