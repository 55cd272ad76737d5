//! Filter and projection.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, RecordBatch, RecordBatchOptions,
};
use arrow::compute;
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use crate::error::SqlError;
use crate::plan::continuous::Stage;
use crate::rows::{Chunk, RowKind};

/// Runs one stage over a chunk.
///
/// A row of a table that a filter refuses becomes a deletion, as the row may have passed before.
///
/// # Errors
/// If an expression fails, for example a division by zero.
pub fn apply(stage: &Stage, chunk: Chunk) -> Result<Chunk, SqlError> {
    match stage {
        Stage::Filter(predicate) => filter(predicate.as_ref(), chunk),
        Stage::Project {
            expressions,
            schema,
        } => Ok(Chunk {
            batch: project(expressions, schema, &chunk.batch)?,
            ..chunk
        }),
    }
}

/// The rows for which a predicate is true.
pub(super) fn evaluate_predicate(
    predicate: &dyn PhysicalExpr,
    batch: &RecordBatch,
) -> Result<BooleanArray, SqlError> {
    let array = predicate.evaluate(batch)?.into_array(batch.num_rows())?;
    let Some(mask) = array.as_boolean_opt() else {
        return Err(SqlError::internal("a predicate is not BOOLEAN"));
    };
    if mask.null_count() == 0 {
        return Ok(mask.clone());
    }
    Ok(compute::prep_null_mask_filter(mask))
}

fn filter(predicate: &dyn PhysicalExpr, mut chunk: Chunk) -> Result<Chunk, SqlError> {
    let mask = evaluate_predicate(predicate, &chunk.batch)?;
    match &mut chunk.kinds {
        None => chunk.filter(&mask),
        Some(kinds) => {
            for (row, kind) in kinds.iter_mut().enumerate() {
                if !mask.value(row) {
                    *kind = RowKind::Delete;
                }
            }
            Ok(chunk)
        }
    }
}

/// Evaluates expressions as the columns of a new batch.
pub(super) fn project(
    expressions: &[Arc<dyn PhysicalExpr>],
    schema: &SchemaRef,
    batch: &RecordBatch,
) -> Result<RecordBatch, SqlError> {
    let rows = batch.num_rows();
    let columns = expressions
        .iter()
        .zip(schema.fields())
        .map(|(expression, field)| {
            let array = expression.evaluate(batch)?.into_array(rows)?;
            as_type(array, field.data_type())
        })
        .collect::<Result<Vec<_>, SqlError>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

/// Casts only where planning and evaluation differ, for example in the kind of string array.
pub(super) fn as_type(
    array: ArrayRef,
    data_type: &arrow::datatypes::DataType,
) -> Result<ArrayRef, SqlError> {
    if array.data_type() == data_type {
        Ok(array)
    } else {
        Ok(compute::cast(&array, data_type)?)
    }
}
