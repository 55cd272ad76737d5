//! Rows as text and as JSON, for terminals and pages.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Value};

use crate::formats::{Format, Place};
use crate::types::{Column, SqlType};

/// The text of one value; `None` is NULL.
pub fn cell(array: &dyn Array, row: usize) -> Option<String> {
    if row >= array.len() || array.is_null(row) {
        return None;
    }
    let options = FormatOptions::default().with_display_error(true);
    let formatter = ArrayFormatter::try_new(array, &options).ok()?;
    Some(formatter.value(row).to_string())
}

/// One row as JSON, with the types that topics have.
pub fn row_json(batch: &RecordBatch, row: usize) -> Map<String, Value> {
    let schema = batch.schema();
    let mut object = Map::new();
    for (field, array) in schema.fields().iter().zip(batch.columns()) {
        let value = json_value(array, row)
            .or_else(|| cell(array.as_ref(), row).map(Value::String))
            .unwrap_or(Value::Null);
        object.insert(field.name().clone(), value);
    }
    object
}

fn json_value(array: &ArrayRef, row: usize) -> Option<Value> {
    let sql_type = SqlType::from_arrow(array.data_type())?;
    if matches!(sql_type, SqlType::Timestamp | SqlType::Date | SqlType::Time) {
        return None;
    }
    let array = arrow::compute::cast(&array.slice(row, 1), &sql_type.to_arrow()).ok()?;
    let encoder = Format::Json.encoder(&[Column::new("value", sql_type)], Place::Key);
    let arrays = [array];
    let mut bytes = Vec::new();
    if !encoder.bind(&arrays).ok()?.write(0, &mut bytes) {
        return Some(Value::Null);
    }
    serde_json::from_slice(&bytes).ok()
}
