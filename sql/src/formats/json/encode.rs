//! Cells to JSON.

use std::io::Write as _;

use arrow::datatypes::{Decimal128Type, DecimalType as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::formats::cells::Cells;

/// A name as a JSON string.
pub(in crate::formats) fn quoted(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 2);
    write_text(name, &mut out);
    out
}

/// Writes one row as an object; null members are written as `null`.
pub(in crate::formats) fn write_object(
    names: &[Vec<u8>],
    columns: &[Cells<'_>],
    row: usize,
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    for (index, (name, cells)) in names.iter().zip(columns).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name);
        out.push(b':');
        write_value(cells, row, out);
    }
    out.push(b'}');
}

/// Writes one cell.
pub(in crate::formats) fn write_value(cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) {
    if cells.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    match cells {
        Cells::Boolean(array) if array.value(row) => out.extend_from_slice(b"true"),
        Cells::Boolean(_) => out.extend_from_slice(b"false"),
        Cells::Int(array) => write_integer(i64::from(array.value(row)), out),
        Cells::BigInt(array) => write_integer(array.value(row), out),
        Cells::Double(array) => write_double(array.value(row), out),
        Cells::Decimal(array) => {
            let (precision, scale) = (array.precision(), array.scale());
            let text = Decimal128Type::format_decimal(array.value(row), precision, scale);
            out.extend_from_slice(text.as_bytes());
        }
        Cells::Varchar(array) => write_text(array.value(row), out),
        Cells::Bytes(array) => {
            out.push(b'"');
            out.extend_from_slice(STANDARD.encode(array.value(row)).as_bytes());
            out.push(b'"');
        }
        Cells::Timestamp(array) => write_integer(array.value(row), out),
        Cells::Date(array) => write_integer(i64::from(array.value(row)), out),
        Cells::Time(array) => write_integer(i64::from(array.value(row)), out),
        Cells::Array(array, items) => {
            let offsets = array.value_offsets();
            out.push(b'[');
            for (index, item) in (offsets[row]..offsets[row + 1]).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(items, item as usize, out);
            }
            out.push(b']');
        }
        Cells::Map(array, keys, values) => {
            let offsets = array.value_offsets();
            out.push(b'{');
            for (index, entry) in (offsets[row]..offsets[row + 1]).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(keys, entry as usize, out);
                out.push(b':');
                write_value(values, entry as usize, out);
            }
            out.push(b'}');
        }
        Cells::Struct(_, fields) => {
            out.push(b'{');
            for (index, (name, cells)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(name);
                out.push(b':');
                write_value(cells, row, out);
            }
            out.push(b'}');
        }
    }
}

fn write_integer(value: i64, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = serde_json::to_writer(out, &value);
}

/// JSON has no NaN and no infinity; they become strings, which the decoder reads back.
fn write_double(value: f64, out: &mut Vec<u8>) {
    let _ = if value.is_finite() {
        serde_json::to_writer(out, &value).map_err(std::io::Error::from)
    } else {
        write!(out, "\"{value}\"")
    };
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, text);
}
