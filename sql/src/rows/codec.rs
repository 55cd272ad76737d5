//! Our own bytes for a row of scalars: states of aggregates and rows that change partition.
//!
//! ```text
//! row    = version (1 byte, 1)  column*
//! column = 0                                null
//!        | 1 boolean (1 byte)
//!        | 1 int, date, time (4 bytes)      little-endian, as all numbers here
//!        | 1 bigint, timestamp, double (8 bytes)
//!        | 1 decimal (16 bytes)
//!        | 1 length (4 bytes) bytes         varchar, bytes
//! ```
//! A row is valid if every column is there and nothing follows.

use std::borrow::Cow;

use arrow::array::ArrayRef;

use crate::error::SqlError;
use crate::formats::cells::Cells;
use crate::formats::{Datum, DecodeError};
use crate::types::SqlType;

/// Writes and reads rows of certain types.
#[derive(Debug, Clone)]
pub struct RowCodec {
    types: Vec<SqlType>,
}

impl RowCodec {
    /// A codec for rows of these types.
    ///
    /// # Errors
    /// If a type is not a scalar.
    pub fn new(types: Vec<SqlType>) -> Result<Self, SqlError> {
        let nested = types.iter().find(|sql_type| {
            matches!(
                sql_type,
                SqlType::Array(_) | SqlType::Map(_, _) | SqlType::Struct(_)
            )
        });
        match nested {
            Some(sql_type) => Err(SqlError::unsupported(format!(
                "values of type {sql_type} in the state of a continuous query"
            ))),
            None => Ok(Self { types }),
        }
    }

    /// Types of the columns.
    pub fn types(&self) -> &[SqlType] {
        &self.types
    }

    /// The cells of arrays in the order of the types.
    ///
    /// # Errors
    /// If an array is of another type.
    pub fn bind<'a>(&self, arrays: &'a [ArrayRef]) -> Result<Vec<Cells<'a>>, SqlError> {
        arrays
            .iter()
            .map(|array| Cells::new(array.as_ref()))
            .collect()
    }

    /// Appends the bytes of one row.
    pub fn encode(columns: &[Cells<'_>], row: usize, out: &mut Vec<u8>) {
        out.push(VERSION);
        for cells in columns {
            if cells.is_null(row) {
                out.push(0);
                continue;
            }
            out.push(1);
            match cells {
                Cells::Boolean(array) => out.push(u8::from(array.value(row))),
                Cells::Int(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
                Cells::Date(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
                Cells::Time(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
                Cells::BigInt(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
                Cells::Timestamp(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
                Cells::Double(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
                Cells::Decimal(array) => out.extend_from_slice(&array.value(row).to_le_bytes()),
                Cells::Varchar(array) => write_bytes(array.value(row).as_bytes(), out),
                Cells::Bytes(array) => write_bytes(array.value(row), out),
                // `new` refuses nested types.
                Cells::Array(..) | Cells::Map(..) | Cells::Struct(..) => {}
            }
        }
    }

    /// Reads one row into `slots`, one for each column.
    ///
    /// # Errors
    /// If the bytes are not such a row.
    pub fn decode<'a>(&self, bytes: &'a [u8], slots: &mut [Datum<'a>]) -> Result<(), DecodeError> {
        let mut rest = bytes;
        if take::<1>(&mut rest)? != [VERSION] {
            return Err(DecodeError::new("a row of an unknown version"));
        }
        for (sql_type, slot) in self.types.iter().zip(slots) {
            *slot = match take::<1>(&mut rest)? {
                [0] => Datum::Null,
                _ => read(sql_type, &mut rest)?,
            };
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::new("a row with bytes after its end"))
        }
    }
}

const VERSION: u8 = 1;

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (bytes, after) = rest.split_first_chunk::<N>().ok_or_else(cut)?;
    *rest = after;
    Ok(*bytes)
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let length = u32::from_le_bytes(take(rest)?) as usize;
    let (bytes, after) = rest.split_at_checked(length).ok_or_else(cut)?;
    *rest = after;
    Ok(bytes)
}

fn read<'a>(sql_type: &SqlType, rest: &mut &'a [u8]) -> Result<Datum<'a>, DecodeError> {
    Ok(match sql_type {
        SqlType::Boolean => Datum::Boolean(take::<1>(rest)? != [0]),
        SqlType::Int | SqlType::Date | SqlType::Time => {
            Datum::Integer(i64::from(i32::from_le_bytes(take(rest)?)))
        }
        SqlType::BigInt | SqlType::Timestamp => Datum::Integer(i64::from_le_bytes(take(rest)?)),
        SqlType::Double => Datum::Double(f64::from_le_bytes(take(rest)?)),
        SqlType::Decimal { .. } => Datum::Decimal(i128::from_le_bytes(take(rest)?)),
        SqlType::Varchar => match std::str::from_utf8(take_bytes(rest)?) {
            Ok(text) => Datum::Text(Cow::Borrowed(text)),
            Err(_) => return Err(DecodeError::new("a text that is not UTF-8")),
        },
        SqlType::Bytes => Datum::Bytes(Cow::Borrowed(take_bytes(rest)?)),
        SqlType::Array(_) | SqlType::Map(_, _) | SqlType::Struct(_) => {
            return Err(DecodeError::new("a nested value in a row of scalars"));
        }
    })
}

fn cut() -> DecodeError {
    DecodeError::new("a row that is cut short")
}
