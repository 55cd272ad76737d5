//! KAFKA: one primitive in the bytes of Kafka's own serializers; numbers are big-endian.

use std::borrow::Cow;

use super::cells::Cells;
use super::{Datum, DecodeError};
use crate::types::SqlType;

/// Reads the one column.
#[derive(Debug)]
pub struct KafkaDecoder {
    sql_type: SqlType,
}

/// Whether a type has a serializer.
pub(super) fn can_hold(sql_type: &SqlType) -> bool {
    matches!(
        sql_type,
        SqlType::Boolean
            | SqlType::Int
            | SqlType::BigInt
            | SqlType::Double
            | SqlType::Varchar
            | SqlType::Bytes
    )
}

impl KafkaDecoder {
    pub(super) fn new(sql_type: SqlType) -> Self {
        Self { sql_type }
    }

    pub(super) fn decode<'a>(
        &self,
        bytes: &'a [u8],
        slots: &mut [Datum<'a>],
    ) -> Result<(), DecodeError> {
        let wrong_length = || {
            DecodeError::new(format!(
                "{} bytes are not a {} in the format KAFKA",
                bytes.len(),
                self.sql_type
            ))
        };
        let datum = match self.sql_type {
            SqlType::Int => {
                let bytes = bytes.try_into().map_err(|_| wrong_length())?;
                Datum::Integer(i64::from(i32::from_be_bytes(bytes)))
            }
            SqlType::BigInt => {
                let bytes = bytes.try_into().map_err(|_| wrong_length())?;
                Datum::Integer(i64::from_be_bytes(bytes))
            }
            SqlType::Double => {
                let bytes = bytes.try_into().map_err(|_| wrong_length())?;
                Datum::Double(f64::from_be_bytes(bytes))
            }
            SqlType::Boolean => match bytes {
                [0] => Datum::Boolean(false),
                [1] => Datum::Boolean(true),
                _ => return Err(wrong_length()),
            },
            SqlType::Bytes => Datum::Bytes(Cow::Borrowed(bytes)),
            _ => match std::str::from_utf8(bytes) {
                Ok(text) => Datum::Text(Cow::Borrowed(text)),
                Err(_) => return Err(DecodeError::new("the bytes are not UTF-8")),
            },
        };
        if let Some(slot) = slots.first_mut() {
            *slot = datum;
        }
        Ok(())
    }
}

/// Writes one cell; `false` if it is null.
pub(super) fn write_value(cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) -> bool {
    if cells.is_null(row) {
        return false;
    }
    match cells {
        Cells::Boolean(array) => out.push(u8::from(array.value(row))),
        Cells::Int(array) => out.extend_from_slice(&array.value(row).to_be_bytes()),
        Cells::BigInt(array) => out.extend_from_slice(&array.value(row).to_be_bytes()),
        Cells::Double(array) => out.extend_from_slice(&array.value(row).to_be_bytes()),
        Cells::Varchar(array) => out.extend_from_slice(array.value(row).as_bytes()),
        Cells::Bytes(array) => out.extend_from_slice(array.value(row)),
        // `Format::check` refuses all other types before anything is written.
        _ => return false,
    }
    true
}
