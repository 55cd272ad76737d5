//! Records on their way into and out of a task.

use bytes::Bytes;
use moldau_client::{KString, ProducerRecord, RecordHeader};

/// A record of one source partition; key, value and headers are slices of the fetched batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Partition it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Milliseconds since 1970, as the producer or the broker set it.
    pub timestamp: i64,
    /// Key, `None` for a null key.
    pub key: Option<Bytes>,
    /// Value, `None` for a null value (a tombstone in a table).
    pub value: Option<Bytes>,
    /// Headers in order; names may repeat. An empty list allocates nothing.
    pub headers: Vec<RecordHeader>,
}

/// A record that a task writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputRecord {
    /// Topic to write to.
    pub topic: KString,
    /// Partition, or `None` to let the key decide as Java's default partitioner does.
    pub partition: Option<i32>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Key, `None` for a null key.
    pub key: Option<Bytes>,
    /// Value, `None` for a tombstone.
    pub value: Option<Bytes>,
    /// Headers in order.
    pub headers: Vec<RecordHeader>,
}

impl From<OutputRecord> for ProducerRecord {
    fn from(record: OutputRecord) -> Self {
        Self {
            topic: record.topic,
            partition: record.partition,
            timestamp: Some(record.timestamp),
            key: record.key,
            value: record.value,
            headers: record.headers,
        }
    }
}

impl OutputRecord {
    /// A record without headers whose partition follows from the key.
    #[must_use]
    pub fn new(topic: KString, key: Option<Bytes>, value: Option<Bytes>, timestamp: i64) -> Self {
        Self {
            topic,
            partition: None,
            timestamp,
            key,
            value,
            headers: Vec::new(),
        }
    }
}
