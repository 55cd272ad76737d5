//! A partition's name, and a committed position in it.

use std::fmt;

use moldau_protocol::KString;

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: KString,
    /// Number of the partition, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names partition `partition` of `topic`; the name is copied.
    #[must_use]
    pub fn new(topic: &str, partition: i32) -> Self {
        Self {
            topic: KString::copy_from(topic),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.topic, self.partition)
    }
}

/// A group's position in a partition: the next offset to read, with what the member noted beside it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct OffsetAndMetadata {
    /// The next offset to read: one more than the last record that is done.
    pub offset: i64,
    /// Leader epoch of the last record that is done, where known; guards against truncated logs.
    pub leader_epoch: Option<i32>,
    /// Free text of the member, stored with the offset (at most 4 KiB by Kafka's default).
    pub metadata: KString,
}

impl OffsetAndMetadata {
    /// A position without epoch and metadata.
    #[must_use]
    pub fn new(offset: i64) -> Self {
        Self {
            offset,
            ..Self::default()
        }
    }
}
