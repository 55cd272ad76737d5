//! Reads a range of one partition.

use std::time::{Duration, Instant};

use moldau_client::{Client, ConsumerConfig, OffsetReset, Record, TopicPartition};

use super::bounds::PartitionRange;
use crate::error::SqlError;

/// One poll waits no longer than this.
const POLL_TIMEOUT: Duration = Duration::from_millis(500);
/// A scan that gets nothing for so long fails.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The records of a range, batch by batch.
#[derive(Debug)]
pub(crate) struct RangeReader {
    consumer: moldau_client::Consumer,
    partition: TopicPartition,
    end: i64,
    position: i64,
}

impl RangeReader {
    pub(crate) fn new(
        client: &Client,
        topic: &str,
        range: PartitionRange,
    ) -> Result<Self, SqlError> {
        let partition = TopicPartition::new(topic, range.partition);
        let mut consumer = client.consumer(ConsumerConfig {
            auto_offset_reset: OffsetReset::Earliest,
            ..ConsumerConfig::default()
        });
        consumer.assign(vec![partition.clone()]);
        consumer.seek(&partition, range.start)?;
        Ok(Self {
            consumer,
            partition,
            end: range.end,
            position: range.start,
        })
    }

    /// The next records; `None` at the end of the range.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Record>>, SqlError> {
        let started = Instant::now();
        while self.position < self.end {
            let poll = self.consumer.poll(POLL_TIMEOUT).await?;
            let mut records = Vec::new();
            for batch in &poll.batches {
                self.position = self.position.max(batch.next_offset());
                for record in batch.records().map_err(damaged)? {
                    let record = record.map_err(damaged)?;
                    if record.offset < self.end {
                        records.push(record);
                    }
                }
            }
            // Markers and aborted records move the position without giving a batch.
            if let Some(position) = self.consumer.position(&self.partition) {
                self.position = self.position.max(position);
            }
            if !records.is_empty() {
                return Ok(Some(records));
            }
            if started.elapsed() > STALL_TIMEOUT {
                return Err(SqlError::cluster(format!(
                    "{} gave no records for {} s at offset {} of {}",
                    self.partition,
                    STALL_TIMEOUT.as_secs(),
                    self.position,
                    self.end
                )));
            }
        }
        Ok(None)
    }
}

fn damaged(error: impl std::fmt::Display) -> SqlError {
    SqlError::cluster(format!("a record batch cannot be read: {error}"))
}
