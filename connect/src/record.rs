//! A record between its source and its sink.

use bytes::Bytes;
use moldau_client::{KString, RecordHeader};
use serde_json::Value;

/// A record with its value as JSON, as the transforms see it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ConnectRecord {
    pub(crate) topic: KString,
    /// Known for records that were read from a topic.
    pub(crate) position: Option<RecordPosition>,
    /// Milliseconds since 1970.
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Value,
    pub(crate) headers: Vec<RecordHeader>,
}

/// Where a record stands in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordPosition {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

#[cfg(test)]
impl ConnectRecord {
    /// A record of topic `topic` for tests.
    pub(crate) fn of(value: Value) -> Self {
        Self {
            topic: KString::from("topic"),
            position: Some(RecordPosition {
                partition: 2,
                offset: 7,
            }),
            timestamp: 1_000,
            key: Some(Bytes::from_static(b"the key")),
            value,
            headers: Vec::new(),
        }
    }
}
