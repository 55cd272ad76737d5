//! What is sent, and what is known about it afterwards.

use bytes::Bytes;
use moldau_protocol::KString;
use moldau_protocol::batch::RecordHeader;

/// A record on its way to a topic.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ProducerRecord {
    /// The topic.
    pub topic: KString,
    /// The partition; `None` leaves the choice to the partitioner.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; `None` is now.
    pub timestamp: Option<i64>,
    /// The key; `None` is Kafka's null.
    pub key: Option<Bytes>,
    /// The value; `None` is Kafka's null, a tombstone in compacted topics.
    pub value: Option<Bytes>,
    /// Headers, in order; keys may repeat.
    pub headers: Vec<RecordHeader>,
}

impl ProducerRecord {
    /// A record for `topic` with a key and a value, sent now, to the partition that the key gives.
    pub fn new(topic: impl Into<KString>, key: Option<Bytes>, value: Option<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            key,
            value,
            ..Self::default()
        }
    }
}

/// Where a record was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The topic.
    pub topic: KString,
    /// The partition.
    pub partition: i32,
    /// The record's offset; -1 where the broker did not tell (acks 0, or a repeat that it had dropped).
    pub offset: i64,
    /// The record's timestamp in milliseconds: its own, or the broker's for topics with `LogAppendTime`.
    pub timestamp: i64,
}
