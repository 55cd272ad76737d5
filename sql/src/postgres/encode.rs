//! Values in PostgreSQL's text and binary formats.

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, DecimalType as _, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::{BufMut as _, BytesMut};
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{FieldFormat, FieldInfo};
use pgwire::messages::data::DataRow;

use crate::error::SqlError;
use crate::formats::cells::Cells;
use crate::formats::json_text;
use crate::types::SqlType;

/// Microseconds from 1970 to 2000, where PostgreSQL's clock begins.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// Days from 1970 to 2000.
const EPOCH_DAYS: i32 = 10_957;

/// The columns of a result as PostgreSQL describes them.
pub(super) fn fields(schema: &SchemaRef, format: Option<&Format>) -> Vec<FieldInfo> {
    let fields = schema.fields().iter().enumerate();
    fields
        .map(|(index, field)| {
            let format = match format {
                Some(Format::Individual(codes)) if index >= codes.len() => FieldFormat::Text,
                Some(format) => format.format_for(index),
                None => FieldFormat::Text,
            };
            let data_type = postgres_type(field.data_type());
            FieldInfo::new(field.name().clone(), None, None, data_type, format)
        })
        .collect()
}

/// The type that PostgreSQL has for an Arrow type.
pub(super) fn postgres_type(data_type: &DataType) -> Type {
    match SqlType::from_arrow(data_type) {
        Some(SqlType::Boolean) => Type::BOOL,
        Some(SqlType::Int) => Type::INT4,
        Some(SqlType::BigInt) => Type::INT8,
        Some(SqlType::Double) => Type::FLOAT8,
        Some(SqlType::Decimal { .. }) => Type::NUMERIC,
        Some(SqlType::Bytes) => Type::BYTEA,
        Some(SqlType::Timestamp) => Type::TIMESTAMP,
        Some(SqlType::Date) => Type::DATE,
        Some(SqlType::Time) => Type::TIME,
        Some(SqlType::Array(_) | SqlType::Map(_, _) | SqlType::Struct(_)) => Type::JSON,
        Some(SqlType::Varchar) | None => Type::TEXT,
    }
}

/// The rows of a batch.
///
/// # Errors
/// If a column cannot be turned into one of our types.
pub(super) fn rows(batch: &RecordBatch, fields: &[FieldInfo]) -> Result<Vec<DataRow>, SqlError> {
    let arrays = batch
        .columns()
        .iter()
        .map(canonical)
        .collect::<Result<Vec<_>, _>>()?;
    let columns = arrays
        .iter()
        .map(|array| Cells::new(array.as_ref()))
        .collect::<Result<Vec<_>, _>>()?;
    let row = |row| {
        let mut data = BytesMut::with_capacity(columns.len() * 16);
        for (cells, field) in columns.iter().zip(fields) {
            let at = data.len();
            data.put_i32(-1);
            if cells.is_null(row) {
                continue;
            }
            match field.format() {
                FieldFormat::Text => write_text(cells, row, &mut data),
                FieldFormat::Binary => write_binary(cells, row, &mut data),
            }
            let length = (data.len() - at - 4) as i32;
            data[at..at + 4].copy_from_slice(&length.to_be_bytes());
        }
        DataRow::new(data, columns.len() as i16)
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

/// A column in one of our types; what has none becomes text.
fn canonical(array: &ArrayRef) -> Result<ArrayRef, SqlError> {
    match SqlType::from_arrow(array.data_type()) {
        Some(sql_type) if &sql_type.to_arrow() == array.data_type() => Ok(array.clone()),
        Some(sql_type) => Ok(cast(array, &sql_type.to_arrow())?),
        None => {
            let options = FormatOptions::default().with_display_error(true);
            let formatter = ArrayFormatter::try_new(array.as_ref(), &options)?;
            let text = |row| (!array.is_null(row)).then(|| formatter.value(row).to_string());
            let texts: arrow::array::StringArray = (0..array.len()).map(text).collect();
            Ok(std::sync::Arc::new(texts))
        }
    }
}

fn write_text(cells: &Cells<'_>, row: usize, out: &mut BytesMut) {
    match cells {
        Cells::Boolean(array) => out.put_u8(if array.value(row) { b't' } else { b'f' }),
        Cells::Int(array) => out.put_slice(array.value(row).to_string().as_bytes()),
        Cells::BigInt(array) => out.put_slice(array.value(row).to_string().as_bytes()),
        Cells::Double(array) => out.put_slice(double_text(array.value(row)).as_bytes()),
        Cells::Decimal(array) => {
            let (precision, scale) = (array.precision(), array.scale());
            let text = Decimal128Type::format_decimal(array.value(row), precision, scale);
            out.put_slice(text.as_bytes());
        }
        Cells::Varchar(array) => out.put_slice(array.value(row).as_bytes()),
        Cells::Bytes(array) => {
            out.put_slice(b"\\x");
            for byte in array.value(row) {
                out.put_slice(format!("{byte:02x}").as_bytes());
            }
        }
        Cells::Timestamp(array) => put_moment(array.value_as_datetime(row), out),
        Cells::Date(array) => put_moment(array.value_as_date(row), out),
        Cells::Time(array) => put_moment(array.value_as_time(row), out),
        Cells::Array(..) | Cells::Map(..) | Cells::Struct(..) => {
            out.put_slice(&json_text(cells, row));
        }
    }
}

fn write_binary(cells: &Cells<'_>, row: usize, out: &mut BytesMut) {
    match cells {
        Cells::Boolean(array) => out.put_u8(u8::from(array.value(row))),
        Cells::Int(array) => out.put_i32(array.value(row)),
        Cells::BigInt(array) => out.put_i64(array.value(row)),
        Cells::Double(array) => out.put_f64(array.value(row)),
        Cells::Decimal(array) => put_numeric(array.value(row), array.scale(), out),
        Cells::Bytes(array) => out.put_slice(array.value(row)),
        Cells::Timestamp(array) => {
            let micros = array.value(row).saturating_mul(1_000);
            out.put_i64(micros.saturating_sub(EPOCH_MICROS));
        }
        Cells::Date(array) => out.put_i32(array.value(row).saturating_sub(EPOCH_DAYS)),
        Cells::Time(array) => out.put_i64(i64::from(array.value(row)) * 1_000),
        // Text and JSON are the same in both formats.
        Cells::Varchar(_) | Cells::Array(..) | Cells::Map(..) | Cells::Struct(..) => {
            write_text(cells, row, out);
        }
    }
}

fn double_text(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        value.to_string()
    }
}

/// Values outside of the calendar are shown as nothing rather than as an error.
fn put_moment(moment: Option<impl std::fmt::Display>, out: &mut BytesMut) {
    if let Some(moment) = moment {
        out.put_slice(moment.to_string().as_bytes());
    }
}

/// PostgreSQL's binary NUMERIC: digits to the base 10,000.
fn put_numeric(value: i128, scale: i8, out: &mut BytesMut) {
    let scale = u32::try_from(scale).unwrap_or(0);
    let negative = value < 0;
    let mut text = value.unsigned_abs().to_string();
    let width = scale as usize + 1;
    if text.len() < width {
        text = format!("{text:0>width$}");
    }
    let (whole, fraction) = text.split_at(text.len() - scale as usize);
    let whole = format!("{whole:0>width$}", width = whole.len().div_ceil(4) * 4);
    let fraction = format!(
        "{fraction:0<width$}",
        width = fraction.len().div_ceil(4) * 4
    );
    let groups: Vec<i16> = [whole.as_bytes(), fraction.as_bytes()]
        .concat()
        .chunks(4)
        .map(|digits| {
            digits
                .iter()
                .fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0'))
        })
        .collect();
    let mut weight = whole.len() as i16 / 4 - 1;
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let mut digits = &groups[leading..];
    weight -= leading as i16;
    while let Some((0, rest)) = digits.split_last() {
        digits = rest;
    }
    if digits.is_empty() {
        weight = 0;
    }
    out.put_i16(digits.len() as i16);
    out.put_i16(weight);
    out.put_u16(if negative { 0x4000 } else { 0 });
    out.put_u16(scale as u16);
    for digit in digits {
        out.put_i16(*digit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(value: i128, scale: i8) -> Vec<i16> {
        let mut out = BytesMut::new();
        put_numeric(value, scale, &mut out);
        out.chunks(2)
            .map(|pair| i16::from_be_bytes([pair[0], pair[1]]))
            .collect()
    }

    #[test]
    fn numerics_are_groups_of_four_digits() {
        assert_eq!(numeric(0, 2), [0, 0, 0, 2]);
        assert_eq!(numeric(12_345_678, 4), [2, 0, 0, 4, 1234, 5678]);
        assert_eq!(numeric(-150, 2), [2, 0, 0x4000, 2, 1, 5000]);
        assert_eq!(numeric(1, 3), [1, -1, 0, 3, 10]);
        assert_eq!(numeric(1, 6), [1, -2, 0, 6, 100]);
        assert_eq!(numeric(100_000_000, 0), [1, 2, 0, 0, 1]);
    }
}
