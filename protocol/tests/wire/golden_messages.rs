//! Messages that Kafka's own classes wrote: every API, side and version.

use std::collections::BTreeSet;

use moldau_protocol::ApiKey;
use serde_json::Value;

use crate::debug_tree;
use crate::golden::{Decoded, Golden, Side};
use crate::schema_codec::{Schemas, base64};

#[test]
fn every_golden_message_is_decoded_and_encoded_to_the_same_bytes() {
    for golden in Golden::all() {
        let (decoded, left) = golden
            .decode(golden.bytes.clone())
            .unwrap_or_else(|error| panic!("{}: {error}", golden.title()));
        assert_eq!(left, 0, "{}: all bytes are read", golden.title());
        assert_eq!(
            decoded.encode(golden.version),
            golden.bytes,
            "{}",
            golden.title()
        );
    }
}

#[test]
fn every_value_of_a_decoded_message_is_the_golden_one() {
    for golden in Golden::all() {
        let (decoded, _) = golden.decode(golden.bytes.clone()).expect("golden bytes");
        let text = match decoded {
            Decoded::Request(request) => format!("{request:?}"),
            Decoded::Response(response) => format!("{response:?}"),
        };
        compare(&golden.json, &debug_tree::parse(&text), &golden.title());
    }
}

#[test]
fn the_json_of_every_golden_message_gives_its_bytes() {
    let schemas = Schemas::read();
    for golden in Golden::all() {
        let name = format!("{}{:?}", golden.api, golden.side);
        let bytes = schemas.encode(&name, golden.version, &golden.json);
        assert_eq!(bytes, golden.bytes, "{}", golden.title());
    }
}

#[test]
fn goldens_exist_for_every_api_side_and_version() {
    let goldens: BTreeSet<_> = Golden::all()
        .iter()
        .map(|golden| (golden.key, golden.side, golden.version))
        .collect();
    for key in ApiKey::iter() {
        for version in key.valid_versions().iter() {
            for side in [Side::Request, Side::Response] {
                assert!(
                    goldens.contains(&(key, side, version)),
                    "{} {side:?} version {version}",
                    key.name()
                );
            }
        }
    }
}

/// Every value of the JSON is in the decoded tree, under the same name and at the same place.
fn compare(json: &Value, decoded: &Value, place: &str) {
    match (json, decoded) {
        (Value::Object(fields), Value::Object(decoded)) => {
            for (name, value) in fields {
                let place = format!("{place}: {name}");
                let found = decoded
                    .get(&name.to_lowercase())
                    .unwrap_or_else(|| panic!("{place} is missing"));
                compare(value, found, &place);
            }
        }
        (Value::Array(values), Value::Array(decoded)) => {
            assert_eq!(values.len(), decoded.len(), "{place}");
            for (value, found) in values.iter().zip(decoded) {
                compare(value, found, place);
            }
        }
        // Bytes: base64 in the JSON, numbers in the tree.
        (Value::String(text), Value::Array(decoded)) => {
            let numbers: Vec<_> = base64(text).into_iter().map(Value::from).collect();
            assert_eq!(&numbers, decoded, "{place}");
        }
        // Kafka keeps an unsigned port in a wider type and writes its lowest 16 bits.
        (Value::Number(number), Value::String(decoded)) if place.ends_with("port") => {
            let number = number.as_i64().expect("integer");
            assert!(
                [number, number & 0xffff].contains(&decoded.parse().expect("integer")),
                "{place}"
            );
        }
        (Value::Number(number), Value::String(decoded)) => {
            assert_eq!(&number.to_string(), decoded, "{place}");
        }
        (Value::Bool(truth), Value::String(decoded)) => {
            assert_eq!(&truth.to_string(), decoded, "{place}")
        }
        (json, decoded) => assert_eq!(json, decoded, "{place}"),
    }
}
