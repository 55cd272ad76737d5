//! Result rows to records of the sink.

use bytes::Bytes;
use moldau_client::KString;
use moldau_client::partitioner::partition_for_key;
use moldau_streams::runtime::{OutputRecord, TaskContext};

use super::layout::SinkLayout;
use crate::catalog::source::Source;
use crate::error::SqlError;
use crate::formats::{Encoder, Place};
use crate::plan::continuous::{ContinuousPlan, OutputKey};
use crate::rows::{Chunk, RowKind};

/// Writes the rows of a query to its sink.
#[derive(Debug, Clone)]
pub(super) struct SinkWriter {
    topic: KString,
    partitions: i32,
    key: KeyBytes,
    value: Encoder,
    value_indices: Vec<usize>,
    windowed: bool,
}

#[derive(Debug, Clone)]
enum KeyBytes {
    /// Those of the chunk.
    Chunk,
    /// Made of columns.
    Columns(Encoder, Vec<usize>),
}

impl SinkWriter {
    pub(super) fn new(
        plan: &ContinuousPlan,
        layout: &SinkLayout,
        sink: &Source,
        partitions: i32,
    ) -> Self {
        let from_columns = match &plan.output.key {
            OutputKey::Group(_) => false,
            OutputKey::Columns(_, _) => true,
            OutputKey::Input(indices) => {
                !indices.is_empty()
                    && (plan.source.key_format != sink.key_format || renames_key(plan, layout))
            }
        };
        let key = if from_columns {
            let encoder = sink.key_format.encoder(&layout.key_columns, Place::Key);
            KeyBytes::Columns(encoder, layout.key_indices.clone())
        } else {
            KeyBytes::Chunk
        };
        Self {
            topic: KString::from(sink.topic.clone()),
            partitions,
            key,
            value: sink
                .value_format
                .encoder(&layout.value_columns, Place::Value),
            value_indices: layout.value_indices.clone(),
            windowed: sink.window_size_ms.is_some(),
        }
    }

    /// Sends all rows but the old ones of updates; gives how many.
    pub(super) fn write(&self, chunk: &Chunk, task: &mut TaskContext<'_>) -> Result<u64, SqlError> {
        let values: Vec<_> = self
            .value_indices
            .iter()
            .map(|index| chunk.batch.column(*index).clone())
            .collect();
        let value = self.value.bind(&values)?;
        let key_arrays: Vec<_> = match &self.key {
            KeyBytes::Chunk => Vec::new(),
            KeyBytes::Columns(_, indices) => indices
                .iter()
                .map(|index| chunk.batch.column(*index).clone())
                .collect(),
        };
        let key_encoder = match &self.key {
            KeyBytes::Chunk => None,
            KeyBytes::Columns(encoder, _) => Some(encoder.bind(&key_arrays)?),
        };
        let mut sent = 0;
        let mut bytes = Vec::new();
        for row in 0..chunk.len() {
            let kind = chunk.kind(row);
            if kind == RowKind::UpdateBefore {
                continue;
            }
            let key = match &key_encoder {
                None => chunk.keys.get(row).cloned().flatten(),
                Some(encoder) => {
                    bytes.clear();
                    encoder
                        .write(row, &mut bytes)
                        .then(|| Bytes::copy_from_slice(&bytes))
                }
            };
            bytes.clear();
            let present = kind != RowKind::Delete && value.write(row, &mut bytes);
            task.send(OutputRecord {
                topic: self.topic.clone(),
                partition: self.partition(key.as_ref()),
                timestamp: chunk.rowtimes[row],
                key,
                value: present.then(|| Bytes::copy_from_slice(&bytes)),
                headers: Vec::new(),
            });
            sent += 1;
        }
        Ok(sent)
    }

    /// All windows of a key lie in one partition, so the start of the window does not count.
    fn partition(&self, key: Option<&Bytes>) -> Option<i32> {
        if !self.windowed {
            return None;
        }
        let (base, _) = key?.split_last_chunk::<8>()?;
        Some(partition_for_key(base, self.partitions))
    }
}

/// A JSON key of several columns holds their names, which an alias changes.
fn renames_key(plan: &ContinuousPlan, layout: &SinkLayout) -> bool {
    layout.key_columns.len() > 1 && layout.key_columns != plan.source.key_columns
}
