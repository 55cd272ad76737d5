//! The messages and batches that Kafka wrote, as inputs of targets.

use std::fs;

use bytes::Bytes;
use moldau_protocol::{ApiKey, Message};
use serde_json::Value;

/// The golden data for a target; none for targets without any.
///
/// # Panics
/// The golden data is not there, or damaged.
#[must_use]
pub fn golden(target: &str) -> Vec<Vec<u8>> {
    let (file, side) = match target {
        "requests" | "frames" => ("golden.jsonl", "request"),
        "responses" => ("golden.jsonl", "response"),
        "batches" => ("record-batches.jsonl", ""),
        _ => return Vec::new(),
    };
    let path = super::folder().join("golden").join(file);
    let text = fs::read_to_string(path).expect("the golden data is there");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object in each line"));
    let lines = lines.filter(|line: &Value| side.is_empty() || line["side"] == side);
    let inputs = lines.map(|line| input(target, &line));
    // The largest only take time.
    inputs.filter(|input| input.len() < 4_096).collect()
}

fn input(target: &str, line: &Value) -> Vec<u8> {
    let bytes = from_hex(line["hex"].as_str().expect("hex"));
    if target == "batches" {
        return [&[1], &bytes[..]].concat();
    }
    let number = |name: &str| {
        let number = line[name].as_i64().and_then(|n| i16::try_from(n).ok());
        number.expect("a small number")
    };
    let (key, version) = (number("key"), number("version"));
    if target == "frames" {
        let header = request_header(key, version);
        return [&header, &bytes[..]].concat();
    }
    [&key.to_be_bytes(), &version.to_be_bytes(), &bytes[..]].concat()
}

/// What stands in front of a request of this API and version.
pub(super) fn request_header(key: i16, version: i16) -> Bytes {
    let header = moldau_protocol::messages::RequestHeader {
        request_api_key: key,
        request_api_version: version,
        correlation_id: 7,
        client_id: Some("fuzz".into()),
        ..Default::default()
    };
    let api = ApiKey::from_i16(key).expect("an API of the schemas");
    let header = header.to_bytes(api.request_header_version(version));
    header.expect("a header of short strings")
}

/// A whole request as it goes over a connection, length included.
///
/// # Panics
/// There is no such API.
#[must_use]
pub fn request_frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let header = request_header(key, version);
    let length = i32::try_from(header.len() + body.len()).expect("a small request");
    [&length.to_be_bytes(), &header[..], body].concat()
}

fn from_hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(pair, 16).expect("hex digits")
    };
    pairs.map(byte).collect()
}
