//! Rows on their way to the partition of their group.
//!
//! The key of such a record is that of the group; the value holds the arguments of the aggregates
//! as a [`RowCodec`] row, and the timestamp is the event time.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use moldau_client::KString;
use moldau_streams::runtime::{OutputRecord, Record, TaskContext};

use crate::error::SqlError;
use crate::formats::{ColumnBuilder, Datum, DecodeError, Decoder, Encoder, Format, Place};
use crate::plan::continuous::{AggregatePlan, Stage};
use crate::rows::{Chunk, RowCodec};
use crate::types::SqlType;

/// Writes the inputs of an aggregate.
#[derive(Debug, Clone)]
pub(super) struct RepartitionWriter {
    topic: KString,
    key: Encoder,
    groups: usize,
    codec: RowCodec,
}

/// Reads them back.
#[derive(Debug)]
pub(super) struct RepartitionReader {
    key: Decoder,
    groups: usize,
    codec: RowCodec,
    types: Vec<SqlType>,
    schema: SchemaRef,
}

impl RepartitionWriter {
    pub(super) fn new(
        topic: &str,
        plan: &AggregatePlan,
        key_format: &Format,
    ) -> Result<Self, SqlError> {
        Ok(Self {
            topic: KString::from(topic.to_owned()),
            key: key_format.encoder(&plan.group_columns, Place::Key),
            groups: plan.group_columns.len(),
            codec: argument_codec(plan)?,
        })
    }

    pub(super) fn write(&self, chunk: &Chunk, task: &mut TaskContext<'_>) -> Result<(), SqlError> {
        let (groups, arguments) = chunk.batch.columns().split_at(self.groups);
        let key = self.key.bind(groups)?;
        let cells = self.codec.bind(arguments)?;
        let mut bytes = Vec::new();
        for row in 0..chunk.len() {
            if groups.iter().any(|group| group.is_null(row)) {
                continue;
            }
            bytes.clear();
            if !key.write(row, &mut bytes) {
                continue;
            }
            let key = Bytes::copy_from_slice(&bytes);
            bytes.clear();
            RowCodec::encode(&cells, row, &mut bytes);
            let value = Bytes::copy_from_slice(&bytes);
            task.send(OutputRecord::new(
                self.topic.clone(),
                Some(key),
                Some(value),
                chunk.rowtimes[row],
            ));
        }
        Ok(())
    }
}

impl RepartitionReader {
    pub(super) fn new(plan: &AggregatePlan, key_format: &Format) -> Result<Self, SqlError> {
        let wanted: Vec<usize> = (0..plan.group_columns.len()).collect();
        let Stage::Project { schema, .. } = &plan.inputs else {
            return Err(SqlError::internal(
                "the inputs of an aggregate are no projection",
            ));
        };
        let columns = plan.group_columns.iter().chain(&plan.arguments);
        Ok(Self {
            key: key_format.decoder(&plan.group_columns, Place::Key, &wanted),
            groups: wanted.len(),
            codec: argument_codec(plan)?,
            types: columns.map(|column| column.sql_type.clone()).collect(),
            schema: Arc::clone(schema),
        })
    }

    pub(super) fn read(&mut self, records: &[Record]) -> Result<Chunk, SqlError> {
        let mut builders: Vec<ColumnBuilder> = self
            .types
            .iter()
            .map(|sql_type| ColumnBuilder::new(sql_type, records.len()))
            .collect();
        let mut slots = vec![Datum::Null; self.types.len()];
        let mut rowtimes = Vec::with_capacity(records.len());
        for record in records {
            let (Some(key), Some(value)) = (&record.key, &record.value) else {
                continue;
            };
            let (groups, arguments) = slots.split_at_mut(self.groups);
            self.key
                .decode(key, groups)
                .and_then(|()| self.codec.decode(value, arguments))
                .map_err(|error| damaged(record, &error))?;
            for (builder, slot) in builders.iter_mut().zip(&mut slots) {
                builder.append(std::mem::replace(slot, Datum::Null));
            }
            rowtimes.push(record.timestamp);
        }
        let arrays: Vec<ArrayRef> = builders.iter_mut().map(ColumnBuilder::finish).collect();
        Ok(Chunk {
            batch: RecordBatch::try_new(Arc::clone(&self.schema), arrays)?,
            rowtimes,
            kinds: None,
            keys: Vec::new(),
        })
    }
}

fn argument_codec(plan: &AggregatePlan) -> Result<RowCodec, SqlError> {
    let types = plan.arguments.iter().map(|column| column.sql_type.clone());
    RowCodec::new(types.collect())
}

fn damaged(record: &Record, error: &DecodeError) -> SqlError {
    SqlError::internal(format!(
        "record {} of partition {} of a repartition topic: {error}",
        record.offset, record.partition
    ))
}
