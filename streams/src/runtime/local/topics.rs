//! In-memory topics.

use std::collections::BTreeMap;

use bytes::Bytes;
use moldau_client::RecordHeader;
use moldau_client::partitioner::partition_for_key;

use super::config::LocalConfig;
use crate::runtime::error::StreamsError;
use crate::runtime::plan::Plan;

/// A record to write to a local topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalRecord {
    /// Partition, or `None` to let the key decide; without a key it is partition 0.
    pub partition: Option<i32>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Key.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Vec<RecordHeader>,
}

impl LocalRecord {
    /// A record without headers whose partition follows from the key.
    #[must_use]
    pub fn new(key: Option<Bytes>, value: Option<Bytes>, timestamp: i64) -> Self {
        Self {
            timestamp,
            key,
            value,
            ..Self::default()
        }
    }
}

/// A record as it lies in a local topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalTopicRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Key.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Vec<RecordHeader>,
}

/// All topics of a local run.
#[derive(Debug, Default)]
pub(super) struct Topics {
    topics: BTreeMap<String, Topic>,
}

#[derive(Debug)]
struct Topic {
    /// For each partition, where its records lie in `records`.
    partitions: Vec<Vec<usize>>,
    /// All records of all partitions, in the order they were written.
    records: Vec<LocalTopicRecord>,
}

impl Topics {
    /// Creates the topics that do not exist yet: the external ones, and the internal ones of a plan.
    pub(super) fn create_all(&mut self, external: &BTreeMap<String, i32>, plan: &Plan) {
        for (topic, partitions) in external {
            self.create(topic, *partitions);
        }
        for (topic, partitions) in &plan.internal_topics {
            self.create(&topic.name, *partitions);
        }
    }

    fn create(&mut self, name: &str, partitions: i32) {
        if self.topics.contains_key(name) {
            return;
        }
        let partitions = usize::try_from(partitions.max(1)).unwrap_or(1);
        self.topics.entry(name.to_owned()).or_insert_with(|| Topic {
            partitions: vec![Vec::new(); partitions],
            records: Vec::new(),
        });
    }

    /// Appends a record; a topic that does not exist is created.
    pub(super) fn append(
        &mut self,
        name: &str,
        record: LocalRecord,
        config: &LocalConfig,
    ) -> Result<(), StreamsError> {
        self.create(name, config.partitions_of(name));
        let Some(topic) = self.topics.get_mut(name) else {
            return Ok(());
        };
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let by_key = || {
            record
                .key
                .as_deref()
                .map(|key| partition_for_key(key, count))
        };
        let partition = record.partition.or_else(by_key).unwrap_or(0);
        let index = usize::try_from(partition).ok();
        let Some(places) = index.and_then(|index| topic.partitions.get_mut(index)) else {
            return Err(StreamsError::topology(format!(
                "topic \"{name}\" has no partition {partition}, it has {count}"
            )));
        };
        let offset = i64::try_from(places.len()).unwrap_or(i64::MAX);
        places.push(topic.records.len());
        topic.records.push(LocalTopicRecord {
            partition,
            offset,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers,
        });
        Ok(())
    }

    /// Partition of a key in a topic that may not exist yet.
    pub(super) fn partition_of(&self, name: &str, key: &[u8], config: &LocalConfig) -> i32 {
        let topic = self.topics.get(name);
        let count = topic.and_then(|topic| i32::try_from(topic.partitions.len()).ok());
        partition_for_key(
            key,
            count.unwrap_or_else(|| config.partitions_of(name)).max(1),
        )
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    /// Offset of the next record of a partition.
    pub(super) fn end_offset(&self, name: &str, partition: i32) -> i64 {
        let partitions = self.topics.get(name).map(|topic| &topic.partitions);
        let places = partitions.and_then(|all| all.get(usize::try_from(partition).ok()?));
        places.map_or(0, |places| i64::try_from(places.len()).unwrap_or(i64::MAX))
    }

    pub(super) fn records(&self, name: &str) -> &[LocalTopicRecord] {
        self.topics.get(name).map_or(&[], |topic| &topic.records)
    }

    /// Records of one partition from an offset on.
    pub(super) fn read(
        &self,
        name: &str,
        partition: i32,
        from: i64,
    ) -> impl Iterator<Item = &LocalTopicRecord> {
        let topic = self.topics.get(name);
        let places = topic.and_then(|topic| {
            let places = topic.partitions.get(usize::try_from(partition).ok()?)?;
            places.get(usize::try_from(from).ok()?..)
        });
        let records = self.records(name);
        places
            .unwrap_or_default()
            .iter()
            .map(|place| &records[*place])
    }
}
