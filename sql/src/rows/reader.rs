//! Records of a stream or table to a chunk with the wanted columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;

use super::chunk::{Chunk, RowKind};
use crate::catalog::source::{Origin, Pseudo, Source};
use crate::error::SqlError;
use crate::formats::{ColumnBuilder, Datum, DecodeError, Decoder, Place};
use crate::parser::SourceKind;
use crate::types::SqlType;

/// One record as the log or the runtime gives it.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// The record's timestamp in milliseconds.
    pub timestamp: i64,
    /// Key bytes.
    pub key: Option<&'a Bytes>,
    /// Value bytes.
    pub value: Option<&'a Bytes>,
}

/// A record that was left out, and why.
#[derive(Debug, Clone)]
pub struct BadRecord {
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// What is wrong with it.
    pub error: DecodeError,
}

/// Decodes the wanted columns of a source, record by record into columns.
#[derive(Debug)]
pub struct RowReader {
    kind: SourceKind,
    schema: SchemaRef,
    outputs: Vec<Output>,
    types: Vec<SqlType>,
    key: Decoder,
    key_slots: usize,
    value: Decoder,
    /// The source declares value columns, so a null value is no row of a stream.
    has_values: bool,
    /// Slot of the column with the event time.
    rowtime: Option<usize>,
    /// The key ends with the start of a window of this length.
    key_window_ms: Option<i64>,
    /// The query cuts time into windows of this length.
    query_window_ms: Option<i64>,
    keep_keys: bool,
    bad: Vec<BadRecord>,
}

#[derive(Debug, Clone, Copy)]
enum Output {
    /// A decoded column. Slots of the key come before those of the value.
    Slot(usize),
    Pseudo(Pseudo),
}

/// Of so many bad records of one call the reasons are kept.
const MAX_BAD_RECORDS: usize = 16;

impl RowReader {
    /// A reader of the columns of [`Source::table_columns`] with the indices `wanted`.
    pub fn new(source: &Source, query_window_ms: Option<i64>, wanted: &[usize]) -> Self {
        let columns = source.table_columns(query_window_ms.is_some());
        let columns: Vec<_> = wanted.iter().filter_map(|at| columns.get(*at)).collect();
        let mut keys = Vec::new();
        let mut values = Vec::new();
        for column in &columns {
            match column.origin {
                Origin::Key(index) if !keys.contains(&index) => keys.push(index),
                Origin::Value(index) if !values.contains(&index) => values.push(index),
                _ => {}
            }
        }
        let rowtime = source
            .timestamp_column
            .as_ref()
            .and_then(|name| event_time_slot(source, name, &mut keys, &mut values));
        let outputs = columns.iter().map(|column| match column.origin {
            Origin::Key(index) => Output::Slot(slot_of(&keys, index)),
            Origin::Value(index) => Output::Slot(keys.len() + slot_of(&values, index)),
            Origin::Pseudo(pseudo) => Output::Pseudo(pseudo),
        });
        let key_types = keys.iter().map(|at| &source.key_columns[*at].sql_type);
        let value_types = values.iter().map(|at| &source.value_columns[*at].sql_type);
        Self {
            kind: source.kind,
            schema: Arc::new(Schema::new(
                columns
                    .iter()
                    .map(|column| column.field.clone())
                    .collect::<Vec<_>>(),
            )),
            outputs: outputs.collect(),
            types: key_types.chain(value_types).cloned().collect(),
            key: source
                .key_format
                .decoder(&source.key_columns, Place::Key, &keys),
            key_slots: keys.len(),
            value: source
                .value_format
                .decoder(&source.value_columns, Place::Value, &values),
            has_values: !source.value_columns.is_empty(),
            rowtime: rowtime.map(|(in_key, slot)| if in_key { slot } else { keys.len() + slot }),
            key_window_ms: source.window_size_ms,
            query_window_ms,
            keep_keys: false,
            bad: Vec::new(),
        }
    }

    /// Also keeps the bytes of the keys.
    #[must_use]
    pub fn keeping_keys(mut self) -> Self {
        self.keep_keys = true;
        self
    }

    /// The wanted columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The last bad records since the last call.
    pub fn take_bad(&mut self) -> Vec<BadRecord> {
        std::mem::take(&mut self.bad)
    }

    /// Reads records into one chunk. Records that cannot be read are left out and counted.
    ///
    /// A null value is no row of a stream; in a table it deletes the row with its key.
    ///
    /// # Errors
    /// If the columns do not make a batch, which is a defect.
    pub fn read<'a>(
        &mut self,
        records: impl Iterator<Item = RecordView<'a>>,
    ) -> Result<(Chunk, u64), SqlError> {
        let mut rows = Rows::new(self, records.size_hint().0);
        let mut slots = vec![Datum::Null; self.types.len()];
        let mut bad_count = 0;
        for record in records {
            let deletes = record.value.is_none();
            if deletes && self.kind == SourceKind::Stream && self.has_values {
                continue;
            }
            if record.key.is_none() && self.kind == SourceKind::Table {
                continue;
            }
            match self.decode(&record, &mut slots) {
                Ok(window_start) => rows.push(self, &record, &mut slots, window_start),
                Err(error) => {
                    bad_count += 1;
                    if self.bad.len() < MAX_BAD_RECORDS {
                        self.bad.push(BadRecord {
                            partition: record.partition,
                            offset: record.offset,
                            error,
                        });
                    }
                    slots.fill(Datum::Null);
                }
            }
        }
        Ok((rows.finish(self)?, bad_count))
    }

    /// Fills the slots and gives the start of the window in the key.
    fn decode<'a>(
        &mut self,
        record: &RecordView<'a>,
        slots: &mut [Datum<'a>],
    ) -> Result<i64, DecodeError> {
        let (key_slots, value_slots) = slots.split_at_mut(self.key_slots);
        let mut window_start = 0;
        if let Some(key) = record.key {
            let mut key = key.as_ref();
            if self.key_window_ms.is_some() {
                let (base, start) = key.split_last_chunk::<8>().ok_or_else(|| {
                    DecodeError::new("a key that is too short for the start of a window")
                })?;
                window_start = i64::from_be_bytes(*start);
                key = base;
            }
            self.key
                .decode(key, key_slots)
                .map_err(|error| DecodeError::new(format!("key: {error}")))?;
        }
        if let Some(value) = record.value {
            self.value.decode(value, value_slots)?;
        }
        Ok(window_start)
    }
}

/// The columns of a chunk while they grow.
struct Rows {
    columns: Vec<ColumnBuilder>,
    rowtimes: Vec<i64>,
    kinds: Option<Vec<RowKind>>,
    keys: Vec<Option<Bytes>>,
}

impl Rows {
    fn new(reader: &RowReader, capacity: usize) -> Self {
        let columns = reader.outputs.iter().map(|output| match output {
            Output::Slot(slot) => ColumnBuilder::new(&reader.types[*slot], capacity),
            Output::Pseudo(pseudo) => {
                let sql_type = SqlType::from_arrow(&pseudo.data_type());
                ColumnBuilder::new(&sql_type.unwrap_or(SqlType::Varchar), capacity)
            }
        });
        Self {
            columns: columns.collect(),
            rowtimes: Vec::with_capacity(capacity),
            kinds: (reader.kind == SourceKind::Table).then(|| Vec::with_capacity(capacity)),
            keys: Vec::new(),
        }
    }

    fn push<'a>(
        &mut self,
        reader: &RowReader,
        record: &RecordView<'a>,
        slots: &mut [Datum<'a>],
        key_window_start: i64,
    ) {
        let rowtime = match reader.rowtime.map(|slot| &slots[slot]) {
            Some(Datum::Integer(ms)) => *ms,
            _ => record.timestamp,
        };
        let window = match (reader.key_window_ms, reader.query_window_ms) {
            (Some(size), _) => (key_window_start, key_window_start.saturating_add(size)),
            (None, Some(size)) => {
                let start = rowtime - rowtime.rem_euclid(size);
                (start, start.saturating_add(size))
            }
            (None, None) => (0, 0),
        };
        let facts = Facts {
            record,
            rowtime,
            window,
        };
        for (output, column) in reader.outputs.iter().zip(&mut self.columns) {
            match output {
                Output::Slot(slot) => {
                    column.append(std::mem::replace(&mut slots[*slot], Datum::Null))
                }
                Output::Pseudo(pseudo) => column.append(facts.datum(*pseudo)),
            }
        }
        slots.fill(Datum::Null);
        self.rowtimes.push(rowtime);
        if let Some(kinds) = &mut self.kinds {
            kinds.push(if record.value.is_some() {
                RowKind::UpdateAfter
            } else {
                RowKind::Delete
            });
        }
        if reader.keep_keys {
            self.keys.push(record.key.cloned());
        }
    }

    fn finish(mut self, reader: &RowReader) -> Result<Chunk, SqlError> {
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rowtimes.len()));
        Ok(Chunk {
            batch: RecordBatch::try_new_with_options(Arc::clone(&reader.schema), arrays, &options)?,
            rowtimes: self.rowtimes,
            kinds: self.kinds,
            keys: self.keys,
        })
    }
}

struct Facts<'r, 'a> {
    record: &'r RecordView<'a>,
    rowtime: i64,
    window: (i64, i64),
}

impl<'a> Facts<'_, 'a> {
    fn datum(&self, pseudo: Pseudo) -> Datum<'a> {
        match pseudo {
            Pseudo::Partition => Datum::Integer(i64::from(self.record.partition)),
            Pseudo::Offset => Datum::Integer(self.record.offset),
            Pseudo::Timestamp => Datum::Integer(self.record.timestamp),
            Pseudo::Key => text(self.record.key),
            Pseudo::Value => text(self.record.value),
            Pseudo::Rowtime => Datum::Integer(self.rowtime),
            Pseudo::WindowStart | Pseudo::WindowStartTime => Datum::Integer(self.window.0),
            Pseudo::WindowEnd | Pseudo::WindowEndTime => Datum::Integer(self.window.1),
        }
    }
}

fn text(bytes: Option<&Bytes>) -> Datum<'_> {
    match bytes {
        Some(bytes) => Datum::Text(String::from_utf8_lossy(bytes)),
        None => Datum::Null,
    }
}

fn slot_of(wanted: &[usize], index: usize) -> usize {
    wanted.iter().position(|at| *at == index).unwrap_or(0)
}

/// Makes sure that the column with the event time is decoded; true if it is in the key.
fn event_time_slot(
    source: &Source,
    name: &str,
    keys: &mut Vec<usize>,
    values: &mut Vec<usize>,
) -> Option<(bool, usize)> {
    let place = |columns: &[crate::types::Column]| columns.iter().position(|c| c.name == name);
    let (in_key, index, wanted) = match place(&source.value_columns) {
        Some(index) => (false, index, values),
        None => (true, place(&source.key_columns)?, keys),
    };
    if !wanted.contains(&index) {
        wanted.push(index);
    }
    Some((in_key, slot_of(wanted, index)))
}
