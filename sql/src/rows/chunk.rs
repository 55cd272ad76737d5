//! What flows between the operators of a continuous query.

use arrow::array::{BooleanArray, RecordBatch, UInt64Array};
use arrow::compute;
use bytes::Bytes;

use crate::error::SqlError;

/// Rows with what they mean and where they come from.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The columns.
    pub batch: RecordBatch,
    /// Event time of each row in milliseconds.
    pub rowtimes: Vec<i64>,
    /// What each row does to a table. `None`: all rows are [`RowKind::Insert`].
    pub kinds: Option<Vec<RowKind>>,
    /// The bytes of each row's key.
    pub keys: Vec<Option<Bytes>>,
}

/// What a row does to the table that the changes add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// `+I`: a row that was not there.
    Insert,
    /// `-U`: the old row of an update; comes right before its `+U`.
    UpdateBefore,
    /// `+U`: the new row of an update.
    UpdateAfter,
    /// `-D`: the row with this key is gone; only key columns hold values.
    Delete,
}

impl Chunk {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a row does.
    pub fn kind(&self, row: usize) -> RowKind {
        match &self.kinds {
            Some(kinds) => kinds.get(row).copied().unwrap_or(RowKind::Insert),
            None => RowKind::Insert,
        }
    }

    /// The rows for which `keep` is true.
    ///
    /// # Errors
    /// If Arrow cannot filter a column.
    pub fn filter(self, keep: &BooleanArray) -> Result<Self, SqlError> {
        let rows: Vec<usize> = (0..keep.len())
            .filter(|row| keep.value(*row) && !arrow::array::Array::is_null(keep, *row))
            .collect();
        if rows.len() == self.len() {
            return Ok(self);
        }
        let batch = compute::filter_record_batch(&self.batch, keep)?;
        Ok(self.select(batch, &rows))
    }

    /// The rows with these indices, in this order.
    ///
    /// # Errors
    /// If Arrow cannot take rows of a column.
    pub fn take(self, rows: &[usize]) -> Result<Self, SqlError> {
        let indices: UInt64Array = rows.iter().map(|row| *row as u64).collect();
        let batch = compute::take_record_batch(&self.batch, &indices)?;
        Ok(self.select(batch, rows))
    }

    /// Only the first rows.
    #[must_use]
    pub fn head(mut self, rows: usize) -> Self {
        if rows < self.len() {
            self.batch = self.batch.slice(0, rows);
            self.rowtimes.truncate(rows);
            self.keys.truncate(rows);
            if let Some(kinds) = &mut self.kinds {
                kinds.truncate(rows);
            }
        }
        self
    }

    /// The first rows and the others.
    pub fn split_at(self, middle: usize) -> (Self, Self) {
        let others = self.len().saturating_sub(middle);
        let tail = Self {
            batch: self.batch.slice(middle.min(self.len()), others),
            rowtimes: self.rowtimes.get(middle..).unwrap_or_default().to_vec(),
            kinds: self
                .kinds
                .as_ref()
                .map(|kinds| kinds.get(middle..).unwrap_or_default().to_vec()),
            keys: self.keys.get(middle..).unwrap_or_default().to_vec(),
        };
        (self.head(middle), tail)
    }

    fn select(self, batch: RecordBatch, rows: &[usize]) -> Self {
        Self {
            batch,
            rowtimes: rows.iter().map(|row| self.rowtimes[*row]).collect(),
            kinds: self
                .kinds
                .map(|kinds| rows.iter().map(|row| kinds[*row]).collect()),
            keys: if self.keys.is_empty() {
                Vec::new()
            } else {
                rows.iter().map(|row| self.keys[*row].clone()).collect()
            },
        }
    }
}
