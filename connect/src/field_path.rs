//! The name of a field, possibly inside others: `customer.address.city`.

use std::fmt;

use serde_json::{Map, Value};

/// A dotted field name. A field whose own name contains the dots is found first.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct FieldPath {
    whole: String,
    parts: Vec<String>,
}

impl FieldPath {
    /// # Errors
    /// A sentence for the user when a part is empty.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<String> = text.split('.').map(str::to_owned).collect();
        if parts.iter().any(|part| part.trim().is_empty()) {
            return Err(format!("`{text}` is no field name"));
        }
        Ok(Self {
            whole: text.to_owned(),
            parts,
        })
    }

    /// The value of the field; `None` when it is not there.
    pub(crate) fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        if let Some(found) = value.get(&self.whole) {
            return Some(found);
        }
        self.parts
            .iter()
            .try_fold(value, |value, part| match value {
                Value::Array(items) => items.get(part.parse::<usize>().ok()?),
                _ => value.get(part),
            })
    }

    /// The field, to be changed.
    pub(crate) fn find_mut<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value> {
        if value.get(&self.whole).is_some() {
            return value.get_mut(&self.whole);
        }
        self.parts
            .iter()
            .try_fold(value, |value, part| value.get_mut(part))
    }

    /// Takes the field out; the order of the others stays.
    pub(crate) fn remove(&self, value: &mut Value) -> Option<Value> {
        if let Some(found) = value.as_object_mut()?.shift_remove(&self.whole) {
            return Some(found);
        }
        let (last, parents) = self.parts.split_last()?;
        let parent = parents
            .iter()
            .try_fold(value, |value, part| value.get_mut(part))?;
        parent.as_object_mut()?.shift_remove(last)
    }

    /// Sets the field, creating the objects around it; `false` when a part on the way is there
    /// already and no object.
    pub(crate) fn set(&self, value: &mut Value, new: Value) -> bool {
        let mut here = value;
        let Some((last, parents)) = self.parts.split_last() else {
            return false;
        };
        for part in parents {
            let Some(object) = here.as_object_mut() else {
                return false;
            };
            here = object
                .entry(part.as_str())
                .or_insert_with(|| Value::Object(Map::new()));
        }
        let Some(object) = here.as_object_mut() else {
            return false;
        };
        object.insert(last.clone(), new);
        true
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.whole)
    }
}

impl fmt::Debug for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.whole)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(text: &str) -> FieldPath {
        FieldPath::parse(text).expect("a field name")
    }

    #[test]
    fn a_dotted_name_goes_inside_unless_a_field_has_the_dots_itself() {
        let value = json!({"a": {"b": [10, 20]}, "a.b": "own", "c": {"d": 1}});
        assert_eq!(path("a.b").find(&value), Some(&json!("own")));
        assert_eq!(path("c.d").find(&value), Some(&json!(1)));
        assert_eq!(path("a.b.1").find(&value), Some(&json!(20)));
        assert_eq!(path("a.x").find(&value), None);
        assert_eq!(path("c").find(&json!("text")), None);
    }

    #[test]
    fn setting_creates_what_is_on_the_way() {
        let mut value = json!({"a": 1});
        assert!(path("b.c").set(&mut value, json!(2)));
        assert_eq!(value, json!({"a": 1, "b": {"c": 2}}));
        assert!(!path("a.c").set(&mut value, json!(2)));
    }

    #[test]
    fn removing_keeps_the_order_of_the_others() {
        let mut value = json!({"a": 1, "b": {"x": 1, "y": 2}, "c": 3});
        assert_eq!(path("b.x").remove(&mut value), Some(json!(1)));
        assert_eq!(path("a").remove(&mut value), Some(json!(1)));
        assert_eq!(value.to_string(), r#"{"b":{"y":2},"c":3}"#);
        assert_eq!(path("z").remove(&mut value), None);
    }

    #[test]
    fn an_empty_part_is_refused() {
        assert!(FieldPath::parse("a..b").is_err());
        assert!(FieldPath::parse("").is_err());
    }
}
