//! What a statement gives.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::Stream;

use crate::error::SqlError;

/// Batches of rows, until the end or until dropped.
pub type RowStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, SqlError>> + Send>>;

/// What one statement gives.
pub enum StatementResult {
    /// It is done; one line says what was done.
    Message(String),
    /// Rows. Those of a push query have no end: drop the stream to end the query.
    Rows {
        /// The columns.
        schema: SchemaRef,
        /// The rows.
        rows: RowStream,
    },
}

impl StatementResult {
    /// A message.
    pub fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }

    /// A small table of texts.
    ///
    /// # Errors
    /// If the rows have not as many cells as there are names, which is a defect.
    pub fn table(names: &[&str], rows: &[Vec<Option<String>>]) -> Result<Self, SqlError> {
        let fields: Vec<Field> = names
            .iter()
            .map(|name| Field::new(*name, DataType::Utf8, true))
            .collect();
        let columns = (0..names.len()).map(|column| {
            let cells = rows.iter().map(|row| row.get(column).cloned().flatten());
            Arc::new(cells.collect::<StringArray>()) as ArrayRef
        });
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect())?;
        Ok(Self::Rows {
            schema,
            rows: Box::pin(futures::stream::iter([Ok(batch)])),
        })
    }
}

impl fmt::Debug for StatementResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(text) => f.debug_tuple("Message").field(text).finish(),
            Self::Rows { schema, .. } => f
                .debug_struct("Rows")
                .field("schema", schema)
                .finish_non_exhaustive(),
        }
    }
}
