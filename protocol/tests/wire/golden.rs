//! The golden data: messages and batches with the bytes that Kafka writes for them.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use moldau_protocol::{ApiKey, DecodeError, Decoder, Encoder, RequestKind, ResponseKind};
use serde_json::Value;

/// One golden message.
pub(crate) struct Golden {
    pub(crate) api: String,
    pub(crate) key: ApiKey,
    pub(crate) side: Side,
    pub(crate) version: i16,
    pub(crate) json: Value,
    pub(crate) bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Request,
    Response,
}

/// A request or a response.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a test has few of them")]
pub(crate) enum Decoded {
    Request(RequestKind),
    Response(ResponseKind),
}

impl Golden {
    /// All golden messages: every API, side and version at least once.
    pub(crate) fn all() -> Vec<Self> {
        lines("golden.jsonl")
            .into_iter()
            .map(|line| Self::read(&line))
            .collect()
    }

    fn read(line: &Value) -> Self {
        let number = |name: &str| line[name].as_i64().expect("number") as i16;
        Self {
            api: line["api"].as_str().expect("api").to_owned(),
            key: ApiKey::from_i16(number("key")).expect("known API"),
            side: if line["side"] == "request" {
                Side::Request
            } else {
                Side::Response
            },
            version: number("version"),
            json: line["json"].clone(),
            bytes: from_hex(&line["hex"]),
        }
    }

    /// What a failed assertion says first.
    pub(crate) fn title(&self) -> String {
        format!("{} {:?} version {}", self.api, self.side, self.version)
    }

    /// Decodes other bytes as this message; also tells how many bytes were left.
    pub(crate) fn decode(&self, bytes: Bytes) -> Result<(Decoded, usize), DecodeError> {
        let mut input = Decoder::new(bytes);
        let decoded = match self.side {
            Side::Request => {
                Decoded::Request(RequestKind::decode(self.key, self.version, &mut input)?)
            }
            Side::Response => {
                Decoded::Response(ResponseKind::decode(self.key, self.version, &mut input)?)
            }
        };
        Ok((decoded, input.remaining()))
    }
}

impl Decoded {
    pub(crate) fn encode(&self, version: i16) -> Bytes {
        let mut output = Encoder::new();
        let written = match self {
            Self::Request(request) => request.encode(&mut output, version),
            Self::Response(response) => response.encode(&mut output, version),
        };
        written.expect("what was decoded can be encoded");
        output.finish().to_bytes().expect("no records in files")
    }
}

/// The objects of a file, one in each line.
pub(crate) fn lines(file: &str) -> Vec<Value> {
    text(file)
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object in each line"))
        .collect()
}

pub(crate) fn text(file: &str) -> String {
    let path = folder("../tests/golden").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

pub(crate) fn folder(below: &str) -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests")).join(below)
}

pub(crate) fn from_hex(value: &Value) -> Bytes {
    let digits = value.as_str().expect("hex").as_bytes();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(pair, 16).expect("hex digits")
    };
    digits.chunks(2).map(byte).collect()
}
