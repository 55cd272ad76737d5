//! The YAML document as a tree that remembers where each value stands.
//!
//! Reading the whole text into this tree first, and the settings out of the tree afterwards, lets one run report every mistake of a
//! document, each with its place, instead of the first one only.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

/// Where a piece of the document stands. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// First byte in the text; together with `byte_len` the source of the scalar as written.
    pub(crate) byte_offset: usize,
    pub(crate) byte_len: usize,
}

/// One value of the document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// What a [`Node`] holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One `key: value` of a map, in the order of the document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) value: Node,
}

impl Node {
    /// Parses `text`; an empty document is `Null`.
    ///
    /// # Errors
    /// When the text is not YAML: the message and the place, if the parser knows it.
    pub(crate) fn parse(text: &str) -> Result<Self, (String, Option<Place>)> {
        // Repeated keys pass through, because the reader reports them with both places.
        let options = serde_saphyr::options! {
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            strict_booleans: true,
        };
        let spanned: Result<Spanned<Value>, serde_saphyr::Error> =
            serde_saphyr::from_str_with_options(text, options);
        spanned.map(Self::from).map_err(|error| {
            let error = error.without_snippet();
            let message = error.to_string();
            // The parser ends its sentence with the place, which is shown apart.
            let message = message
                .rsplit_once(" at line ")
                .map_or(message.as_str(), |(sentence, _)| sentence);
            (message.to_owned(), error.location().map(Place::from))
        })
    }

    /// What the value is, as the user would call it.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        let span = location.span();
        let narrow = |value: u64| usize::try_from(value).unwrap_or(0);
        Self {
            line: narrow(location.line()),
            column: narrow(location.column()),
            byte_offset: span.byte_offset().map_or(0, narrow),
            byte_len: span.byte_len().map_or(0, narrow),
        }
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self {
            value: spanned.value,
            place: spanned.referenced.into(),
        }
    }
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
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or_else(|_| Value::Text(value.to_string()), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Value>>()? {
            items.push(item.into());
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = map.next_value::<Spanned<Value>>()?;
            entries.push(Entry {
                key: key.value,
                key_place: key.referenced.into(),
                value: value.into(),
            });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(node: &'a Node, key: &str) -> &'a Entry {
        let Value::Map(entries) = &node.value else {
            panic!("{node:?} is no map")
        };
        entries
            .iter()
            .find(|entry| entry.key == key)
            .expect("the key is there")
    }

    #[test]
    fn keys_and_values_know_their_place() {
        let node =
            Node::parse("version: 1\nmap:\n  flush.size: 1_000\n  name: 'q'\n").expect("parse");
        let flush = entry(&entry(&node, "map").value, "flush.size");
        assert_eq!(
            (
                flush.key_place.line,
                flush.key_place.column,
                flush.key_place.byte_len
            ),
            (3, 3, 10)
        );
        assert_eq!((flush.value.place.line, flush.value.place.column), (3, 15));
        assert_eq!(flush.value.value, Value::Integer(1000));
    }

    #[test]
    fn a_block_string_begins_at_its_first_text_line() {
        let node = Node::parse("version: 1\nsql: |\n  SELECT 1;\n  SELECT 2;\n").expect("parse");
        let sql = entry(&node, "sql");
        assert_eq!(
            sql.value.value,
            Value::Text("SELECT 1;\nSELECT 2;\n".to_owned())
        );
        assert_eq!((sql.value.place.line, sql.value.place.column), (3, 3));
    }

    #[test]
    fn country_codes_and_switch_words_stay_text() {
        let node = Node::parse("[no, off, y, NO, true]").expect("parse");
        let Value::List(items) = node.value else {
            panic!("a list")
        };
        let kinds: Vec<_> = items.iter().map(Node::kind).collect();
        assert_eq!(kinds, ["text", "text", "text", "text", "true or false"]);
    }

    #[test]
    fn a_text_that_is_not_yaml_gives_the_message_and_the_place() {
        let (message, place) = Node::parse("a: [1\nb: 2\n").expect_err("not YAML");
        assert_eq!(message, "illegal placement of ':' indicator");
        assert_eq!(place.map(|place| (place.line, place.column)), Some((2, 2)));
    }

    #[test]
    fn an_empty_text_is_null() {
        assert_eq!(Node::parse("").expect("parse").value, Value::Null);
    }
}
