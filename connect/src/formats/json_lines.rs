//! One JSON value a line.
//!
//! A value that is JSON in one line already is written byte for byte; only what has line breaks
//! inside, or was transformed, is written anew.

use bytes::Bytes;
use moldau_client::{KString, RecordHeader};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::config::connector::ValueDecoding;
use crate::config::reader::{Fields, Reader};
use crate::config::suggest;
use crate::record::ConnectRecord;

/// What a line holds: the value alone, or an object with the fields of the envelope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LineFormat {
    /// Empty: the value alone.
    envelope: Vec<Field>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Key,
    Value,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
}

/// A record cannot be written in this format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value is no JSON: {0}")]
pub(crate) struct FormatError(pub(crate) String);

/// A record as it was read from its topic.
#[derive(Debug, Clone)]
pub(crate) struct StoredRecord {
    pub(crate) topic: KString,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<RecordHeader>,
}

impl LineFormat {
    /// Reads the key `envelope` of a sink.
    pub(crate) fn read(reader: &mut Reader<'_, '_>, fields: &Fields<'_>) -> Self {
        let mut envelope = Vec::new();
        for (name, place) in reader.texts(fields, "envelope") {
            match FIELDS.iter().find(|(known, _)| *known == name) {
                Some((_, field)) if !envelope.contains(field) => envelope.push(*field),
                Some(_) => reader.report.error(place, format!("`{name}` stands twice")),
                None => {
                    let names = FIELDS.map(|(name, _)| name);
                    let hint = suggest::closest(&name, names).map_or_else(
                        || format!("there are: {}", names.join(", ")),
                        |name| format!("did you mean `{name}`?"),
                    );
                    let message = format!("`{name}` is no field of the envelope");
                    reader.report.error_with_hint(place, message, hint);
                }
            }
        }
        Self { envelope }
    }

    /// Appends the line of a record that no transform has touched.
    ///
    /// # Errors
    /// When the value is to be JSON and is not; nothing is appended then.
    pub(crate) fn append_stored(
        &self,
        out: &mut Vec<u8>,
        record: &StoredRecord,
        decoding: ValueDecoding,
    ) -> Result<(), FormatError> {
        let verbatim = self.envelope.is_empty() && decoding == ValueDecoding::Json;
        if let (true, Some(value)) = (verbatim, &record.value)
            && !value.iter().any(|byte| matches!(byte, b'\n' | b'\r'))
        {
            serde_json::from_slice::<IgnoredAny>(value).map_err(|e| FormatError(e.to_string()))?;
            out.extend_from_slice(value);
            out.push(b'\n');
            return Ok(());
        }
        let record = record.decode(decoding)?;
        self.append(out, &record);
        Ok(())
    }

    /// Appends the line of a record.
    pub(crate) fn append(&self, out: &mut Vec<u8>, record: &ConnectRecord) {
        let line = if self.envelope.is_empty() {
            record.value.to_string()
        } else {
            let mut object = Map::new();
            for field in &self.envelope {
                object.insert(field.name().to_owned(), field.value(record));
            }
            Value::Object(object).to_string()
        };
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
}

impl StoredRecord {
    /// The record with its value as JSON.
    ///
    /// # Errors
    /// When the value is to be JSON and is not.
    pub(crate) fn decode(&self, decoding: ValueDecoding) -> Result<ConnectRecord, FormatError> {
        let value = match (&self.value, decoding) {
            (None, _) => Value::Null,
            (Some(bytes), ValueDecoding::Json) => {
                serde_json::from_slice(bytes).map_err(|error| FormatError(error.to_string()))?
            }
            (Some(bytes), ValueDecoding::Text) => text(bytes),
        };
        Ok(ConnectRecord {
            topic: self.topic.clone(),
            position: Some(crate::record::RecordPosition {
                partition: self.partition,
                offset: self.offset,
            }),
            timestamp: self.timestamp,
            key: self.key.clone(),
            value,
            headers: self.headers.clone(),
        })
    }
}

impl Field {
    fn name(self) -> &'static str {
        FIELDS
            .iter()
            .find(|(_, field)| *field == self)
            .map_or("", |(name, _)| name)
    }

    fn value(self, record: &ConnectRecord) -> Value {
        match self {
            Self::Key => record.key.as_ref().map_or(Value::Null, |key| text(key)),
            Self::Value => record.value.clone(),
            Self::Topic => Value::from(&*record.topic),
            Self::Partition => record
                .position
                .map_or(Value::Null, |p| Value::from(p.partition)),
            Self::Offset => record
                .position
                .map_or(Value::Null, |p| Value::from(p.offset)),
            Self::Timestamp => Value::from(record.timestamp),
            Self::Headers => Value::Array(record.headers.iter().map(header).collect()),
        }
    }
}

/// A list of pairs, because header names may repeat and their order counts.
fn header(header: &RecordHeader) -> Value {
    let value = header
        .value
        .as_ref()
        .map_or(Value::Null, |value| text(value));
    Value::Array(vec![Value::from(&*header.key), value])
}

fn text(bytes: &[u8]) -> Value {
    Value::from(String::from_utf8_lossy(bytes))
}

const FIELDS: [(&str, Field); 7] = [
    ("key", Field::Key),
    ("value", Field::Value),
    ("topic", Field::Topic),
    ("partition", Field::Partition),
    ("offset", Field::Offset),
    ("timestamp", Field::Timestamp),
    ("headers", Field::Headers),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(value: Option<&'static str>) -> StoredRecord {
        StoredRecord {
            topic: KString::from("orders"),
            partition: 1,
            offset: 5,
            timestamp: 99,
            key: Some(Bytes::from_static(b"k")),
            value: value.map(|value| Bytes::from_static(value.as_bytes())),
            headers: vec![RecordHeader {
                key: KString::from("h"),
                value: None,
            }],
        }
    }

    fn line(format: &LineFormat, value: Option<&'static str>, decoding: ValueDecoding) -> String {
        let mut out = Vec::new();
        format
            .append_stored(&mut out, &stored(value), decoding)
            .expect("writable");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn json_in_one_line_is_written_byte_for_byte() {
        let format = LineFormat::default();
        let json = ValueDecoding::Json;
        assert_eq!(
            line(&format, Some("{ \"b\":1.0,  \"a\":1e2}"), json),
            "{ \"b\":1.0,  \"a\":1e2}\n"
        );
        assert_eq!(
            line(&format, Some("{\n \"b\": 1\r\n}"), json),
            "{\"b\":1}\n"
        );
        assert_eq!(line(&format, None, json), "null\n");
    }

    #[test]
    fn text_becomes_a_json_text() {
        let format = LineFormat::default();
        assert_eq!(
            line(&format, Some("a \"b\"\nc"), ValueDecoding::Text),
            "\"a \\\"b\\\"\\nc\"\n"
        );
    }

    #[test]
    fn the_envelope_holds_the_fields_in_the_order_asked_for() {
        let envelope = FIELDS.iter().rev().map(|(_, field)| *field).collect();
        let expected = r#"{"headers":[["h",null]],"timestamp":99,"offset":5,"partition":1,"topic":"orders","value":{"a":1},"key":"k"}"#;
        let written = line(
            &LineFormat { envelope },
            Some("{\"a\":1}"),
            ValueDecoding::Json,
        );
        assert_eq!(written.trim_end(), expected);
    }

    #[test]
    fn what_is_no_json_is_refused_and_appends_nothing() {
        let mut out = Vec::new();
        let record = stored(Some("{oops"));
        let result = LineFormat::default().append_stored(&mut out, &record, ValueDecoding::Json);
        assert!(result.is_err_and(|error| error.to_string().contains("no JSON")));
        assert!(out.is_empty());
    }
}
