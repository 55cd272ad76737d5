//! DELIMITED: fields in the order of the columns, quoted as in CSV (RFC 4180).
//!
//! An empty field is null; an empty text is written as `""`.

use std::borrow::Cow;
use std::io::Write as _;

use arrow::datatypes::Decimal128Type;
use arrow::datatypes::DecimalType as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::cells::Cells;
use super::{Datum, DecodeError, text};
use crate::types::{Column, SqlType};

/// Reads the wanted fields of a line.
#[derive(Debug)]
pub struct DelimitedDecoder {
    delimiter: char,
    /// For each column its type and the slot of a wanted one.
    columns: Vec<(SqlType, String, Option<usize>)>,
}

impl DelimitedDecoder {
    pub(super) fn new(columns: &[Column], delimiter: char, wanted: &[usize]) -> Self {
        let columns = columns.iter().enumerate().map(|(index, column)| {
            let slot = wanted.iter().position(|want| *want == index);
            (column.sql_type.clone(), column.name.clone(), slot)
        });
        Self {
            delimiter,
            columns: columns.collect(),
        }
    }

    pub(super) fn decode<'a>(
        &self,
        bytes: &'a [u8],
        slots: &mut [Datum<'a>],
    ) -> Result<(), DecodeError> {
        let line = std::str::from_utf8(bytes)
            .map_err(|_| DecodeError::new("the bytes are not UTF-8"))?
            .trim_end_matches(['\r', '\n']);
        let mut rest = Some(line);
        let mut count = 0;
        while let Some(text) = rest {
            let (field, after) = next_field(text, self.delimiter)?;
            rest = after;
            if let Some((sql_type, name, slot)) = self.columns.get(count)
                && let Some(slot) = slot.and_then(|slot| slots.get_mut(slot))
                && let Some(field) = field
            {
                *slot = text::parse(field, sql_type)
                    .map_err(|error| DecodeError::new(format!("column `{name}`: {error}")))?;
            }
            count += 1;
        }
        if count == self.columns.len() {
            Ok(())
        } else {
            Err(DecodeError::new(format!(
                "{count} fields, but {} columns",
                self.columns.len()
            )))
        }
    }
}

/// A field (`None` if empty) and what follows its delimiter.
type NextField<'a> = (Option<Cow<'a, str>>, Option<&'a str>);

fn next_field(line: &str, delimiter: char) -> Result<NextField<'_>, DecodeError> {
    let Some(quoted) = line.strip_prefix('"') else {
        let (field, rest) = match line.split_once(delimiter) {
            Some((field, rest)) => (field, Some(rest)),
            None => (line, None),
        };
        return Ok(((!field.is_empty()).then_some(Cow::Borrowed(field)), rest));
    };
    let mut end = 0;
    loop {
        let Some(at) = quoted[end..].find('"') else {
            return Err(DecodeError::new("a quoted field has no end"));
        };
        end += at;
        let after = &quoted[end + 1..];
        if after.starts_with('"') {
            end += 2;
            continue;
        }
        let field = &quoted[..end];
        let field = if field.contains('"') {
            Cow::Owned(field.replace("\"\"", "\""))
        } else {
            Cow::Borrowed(field)
        };
        return match after.strip_prefix(delimiter) {
            Some(rest) => Ok((Some(field), Some(rest))),
            None if after.is_empty() => Ok((Some(field), None)),
            None => Err(DecodeError::new("text after the end of a quoted field")),
        };
    }
}

/// Writes one row without a line end.
pub(super) fn write_row(columns: &[Cells<'_>], delimiter: char, row: usize, out: &mut Vec<u8>) {
    let mut encoded = [0; 4];
    let delimiter = delimiter.encode_utf8(&mut encoded);
    for (index, cells) in columns.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(delimiter.as_bytes());
        }
        if !cells.is_null(row) {
            write_field(cells, row, delimiter, out);
        }
    }
}

fn write_field(cells: &Cells<'_>, row: usize, delimiter: &str, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = match cells {
        Cells::Boolean(array) => write!(out, "{}", array.value(row)),
        Cells::Int(array) => write!(out, "{}", array.value(row)),
        Cells::BigInt(array) => write!(out, "{}", array.value(row)),
        Cells::Double(array) => write!(out, "{}", array.value(row)),
        Cells::Decimal(array) => write!(
            out,
            "{}",
            Decimal128Type::format_decimal(array.value(row), array.precision(), array.scale())
        ),
        Cells::Varchar(array) => {
            write_text(array.value(row), delimiter, out);
            Ok(())
        }
        Cells::Bytes(array) => write!(out, "{}", STANDARD.encode(array.value(row))),
        Cells::Timestamp(array) => write!(out, "{}", array.value(row)),
        Cells::Date(array) => write!(out, "{}", array.value(row)),
        Cells::Time(array) => write!(out, "{}", array.value(row)),
        // `Format::check` refuses nested types before anything is written.
        Cells::Array(..) | Cells::Map(..) | Cells::Struct(..) => Ok(()),
    };
}

fn write_text(text: &str, delimiter: &str, out: &mut Vec<u8>) {
    if text.is_empty() || text.contains(delimiter) || text.contains(['"', '\n', '\r']) {
        out.push(b'"');
        out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}
