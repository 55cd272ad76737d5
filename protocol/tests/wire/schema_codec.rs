//! A second, independent codec: writes a golden message's JSON as bytes straight from its schema.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::golden::folder;

/// All message schemas by their names.
pub(crate) struct Schemas {
    by_name: BTreeMap<String, Value>,
}

struct Writer<'a> {
    schema: &'a Value,
    version: i64,
    flexible: bool,
    bytes: Vec<u8>,
}

impl Schemas {
    pub(crate) fn read() -> Self {
        let entries = fs::read_dir(folder("schema/message")).expect("schemas");
        let schemas = entries.map(|entry| {
            let text = fs::read_to_string(entry.expect("entry").path()).expect("schema");
            let schema: Value = serde_json::from_str(&text).expect("schema");
            (schema["name"].as_str().expect("name").to_owned(), schema)
        });
        Self {
            by_name: schemas.collect(),
        }
    }

    /// The bytes of a message that is given as JSON.
    pub(crate) fn encode(&self, name: &str, version: i16, json: &Value) -> Vec<u8> {
        let schema = &self.by_name[name];
        let version = i64::from(version);
        let flexible = covers(&schema["flexibleVersions"], version);
        let mut writer = Writer {
            schema,
            version,
            flexible,
            bytes: Vec::new(),
        };
        writer.structure(&schema["fields"], json);
        writer.bytes
    }
}

/// Whether a range such as `3+`, `0-4`, `7` or `none` has the version.
fn covers(range: &Value, version: i64) -> bool {
    let Some(range) = range.as_str().filter(|range| *range != "none") else {
        return false;
    };
    let number = |text: &str| text.parse::<i64>().expect("version");
    match (range.strip_suffix('+'), range.split_once('-')) {
        (Some(min), _) => version >= number(min),
        (None, Some((min, max))) => (number(min)..=number(max)).contains(&version),
        (None, None) => version == number(range),
    }
}

impl Writer<'_> {
    fn structure(&mut self, fields: &Value, json: &Value) {
        let mut tagged = BTreeMap::new();
        let version = self.version;
        for field in fields
            .as_array()
            .expect("fields")
            .iter()
            .filter(|field| covers(&field["versions"], version))
        {
            let name = field["name"].as_str().expect("name");
            let (first, rest) = name.split_at(1);
            let value = json.get(first.to_lowercase() + rest);
            if !covers(&field["taggedVersions"], self.version) {
                self.value(field, value.unwrap_or_else(|| panic!("{name} is missing")));
            } else if let Some(value) = value {
                let outer = std::mem::take(&mut self.bytes);
                self.value(field, value);
                tagged.insert(
                    field["tag"].as_u64().expect("tag"),
                    std::mem::replace(&mut self.bytes, outer),
                );
            }
        }
        if self.flexible {
            self.varint(tagged.len());
            for (tag, bytes) in tagged {
                self.varint(tag as usize);
                self.varint(bytes.len());
                self.bytes.extend(bytes);
            }
        }
    }

    fn value(&mut self, field: &Value, json: &Value) {
        let kind = field["type"].as_str().expect("type");
        let is_struct = kind.starts_with(|letter: char| letter.is_ascii_uppercase());
        if is_struct && covers(&field["nullableVersions"], self.version) {
            self.bytes.push(if json.is_null() { 0xff } else { 1 });
            if json.is_null() {
                return;
            }
        }
        self.typed(kind, field, json);
    }

    fn typed(&mut self, kind: &str, field: &Value, json: &Value) {
        if let Some(element) = kind.strip_prefix("[]") {
            self.length(json.as_array().map(Vec::len), 4);
            for value in json.as_array().into_iter().flatten() {
                self.typed(element, field, value);
            }
            return;
        }
        let number = || json.as_i64().expect("number");
        match kind {
            "bool" => self
                .bytes
                .push(u8::from(json.as_bool().expect("truth value"))),
            "int8" => self.bytes.extend((number() as i8).to_be_bytes()),
            "int16" | "uint16" => self.bytes.extend((number() as i16).to_be_bytes()),
            "int32" | "uint32" => self.bytes.extend((number() as i32).to_be_bytes()),
            "int64" => self.bytes.extend(number().to_be_bytes()),
            "float64" => self
                .bytes
                .extend(json.as_f64().expect("number").to_be_bytes()),
            "uuid" => self.bytes.extend(base64(json.as_str().expect("id"))),
            "string" => {
                self.length(json.as_str().map(str::len), 2);
                self.bytes.extend(json.as_str().unwrap_or_default().bytes());
            }
            "bytes" | "records" => {
                let bytes = json.as_str().map(base64);
                self.length(bytes.as_ref().map(Vec::len), 4);
                self.bytes.extend(bytes.unwrap_or_default());
            }
            name => {
                let common = self.schema["commonStructs"]
                    .as_array()
                    .into_iter()
                    .flatten();
                let common = common.clone().find(|shared| shared["name"] == name);
                self.structure(&common.unwrap_or(field)["fields"], json);
            }
        }
    }

    fn length(&mut self, length: Option<usize>, size: usize) {
        if self.flexible {
            return self.varint(length.map_or(0, |length| length + 1));
        }
        let length = length.map_or(-1, |length| length as i64).to_be_bytes();
        self.bytes.extend(&length[8 - size..]);
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

/// Base64 in either alphabet, padded or not.
pub(crate) fn base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            other => panic!("{other} is no base64"),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}
