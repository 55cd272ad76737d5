//! The part of each partition that a scan reads.

use moldau_client::admin::OffsetSpec;
use moldau_client::{Client, TopicPartition};

use crate::error::SqlError;

/// Offsets of one partition: `start` is read, `end` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionRange {
    /// The partition.
    pub partition: i32,
    /// The first offset that is read.
    pub start: i64,
    /// The first offset that is not read.
    pub end: i64,
}

impl PartitionRange {
    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }
}

/// Looks up what all partitions of a topic hold now; `None` if there is no such topic.
///
/// # Errors
/// If the cluster does not answer.
pub async fn pin(client: &Client, topic: &str) -> Result<Option<Vec<PartitionRange>>, SqlError> {
    let Some(count) = client.partition_count(topic).await? else {
        return Ok(None);
    };
    let partitions: Vec<TopicPartition> = (0..count)
        .map(|partition| TopicPartition::new(topic, partition))
        .collect();
    let starts = offsets(client, &partitions, OffsetSpec::Earliest).await?;
    let ends = offsets(client, &partitions, OffsetSpec::Latest).await?;
    let ranges = starts.into_iter().zip(ends).zip(0..count);
    let ranges = ranges.map(|((start, end), partition)| PartitionRange {
        partition,
        start: start.unwrap_or(0),
        end: end.unwrap_or(0),
    });
    Ok(Some(ranges.collect()))
}

/// Leaves out what was written before a time. Records may be out of order, so this only narrows.
///
/// # Errors
/// If the cluster does not answer.
pub(super) async fn skip_before(
    client: &Client,
    topic: &str,
    timestamp: i64,
    ranges: &mut [PartitionRange],
) -> Result<(), SqlError> {
    let partitions: Vec<TopicPartition> = ranges
        .iter()
        .map(|range| TopicPartition::new(topic, range.partition))
        .collect();
    let first = offsets(client, &partitions, OffsetSpec::Timestamp(timestamp)).await?;
    for (range, first) in ranges.iter_mut().zip(first) {
        // Without such a record there is nothing to read.
        range.start = range.start.max(first.unwrap_or(range.end));
    }
    Ok(())
}

async fn offsets(
    client: &Client,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Result<Vec<Option<i64>>, SqlError> {
    let wanted: Vec<_> = partitions
        .iter()
        .map(|partition| (partition.clone(), spec))
        .collect();
    let listed = client.admin().list_offsets(&wanted).await?;
    let offset = |partition| {
        let listed = listed.get(partition)?;
        (listed.offset >= 0).then_some(listed.offset)
    };
    Ok(partitions.iter().map(offset).collect())
}
