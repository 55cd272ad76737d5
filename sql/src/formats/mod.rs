//! Bytes of keys and values to columns, and back.
//!
//! A decoder reads one record into [`Datum`]s for the wanted columns only; a row enters the column
//! builders once all of it is good, so a bad record leaves no trace in a batch.

pub mod cells;
pub mod datum;
mod delimited;
mod json;
mod kafka;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use arrow::array::ArrayRef;

use crate::error::SqlError;
use crate::types::{Column, SqlType};
use cells::Cells;
pub use datum::{ColumnBuilder, Datum};

/// How the columns of a key or of a value lie in its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// A JSON object; a lone key column is the bare JSON value.
    Json,
    /// Fields in the order of the columns, as in a CSV file.
    Delimited {
        /// What separates two fields.
        delimiter: char,
    },
    /// One primitive in the form of Kafka's own serializers.
    Kafka,
    /// No columns.
    None,
}

/// Where the bytes stand in the record; the formats differ a little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// Why a record cannot be read; one line, lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError(String);

/// Reads the wanted columns out of the bytes of a key or value.
#[derive(Debug)]
pub enum Decoder {
    /// JSON.
    Json(json::JsonDecoder),
    /// Separated fields.
    Delimited(delimited::DelimitedDecoder),
    /// One primitive.
    Kafka(kafka::KafkaDecoder),
    /// Nothing is wanted.
    Nothing,
}

/// Writes columns as the bytes of a key or value.
#[derive(Debug, Clone)]
pub struct Encoder {
    format: Format,
    place: Place,
    names: Vec<Vec<u8>>,
}

/// An encoder over the columns of one batch.
#[derive(Debug)]
pub struct BoundEncoder<'a> {
    encoder: &'a Encoder,
    columns: Vec<Cells<'a>>,
}

impl Format {
    /// Whether this format can hold `columns` at `place`.
    ///
    /// # Errors
    /// If it cannot, with what can.
    pub fn check(&self, columns: &[Column], place: Place) -> Result<(), SqlError> {
        let part = match place {
            Place::Key => "key",
            Place::Value => "value",
        };
        match self {
            Self::Json => Ok(()),
            Self::Delimited { .. } => match columns.iter().find(|c| is_nested(&c.sql_type)) {
                Some(column) => Err(SqlError::invalid(format!(
                    "column `{}` of type {} cannot be written as DELIMITED",
                    column.name, column.sql_type
                ))
                .with_hint("use JSON")),
                None => Ok(()),
            },
            Self::Kafka => match columns {
                [] => Ok(()),
                [column] if kafka::can_hold(&column.sql_type) => Ok(()),
                [column] => Err(SqlError::invalid(format!(
                    "{part} column `{}` of type {} cannot be written in the format KAFKA",
                    column.name, column.sql_type
                ))
                .with_hint(
                    "KAFKA holds INT, BIGINT, DOUBLE, BOOLEAN, VARCHAR and BYTES; use JSON",
                )),
                _ => Err(SqlError::invalid(format!(
                    "{} {part} columns do not fit into the format KAFKA, which holds one",
                    columns.len()
                ))
                .with_hint(match place {
                    Place::Key => "add KEY_FORMAT = 'JSON'",
                    Place::Value => "add VALUE_FORMAT = 'JSON'",
                })),
            },
            Self::None => match columns {
                [] => Ok(()),
                _ => Err(SqlError::invalid(format!(
                    "the {part} has columns, but its format is NONE"
                ))),
            },
        }
    }

    /// A decoder of those of `columns` that are wanted, in the order of `wanted`.
    pub fn decoder(&self, columns: &[Column], place: Place, wanted: &[usize]) -> Decoder {
        if wanted.is_empty() {
            return Decoder::Nothing;
        }
        match self {
            Self::Json => {
                let bare = place == Place::Key && columns.len() == 1;
                Decoder::Json(json::JsonDecoder::new(columns, bare, wanted))
            }
            Self::Delimited { delimiter } => Decoder::Delimited(delimited::DelimitedDecoder::new(
                columns, *delimiter, wanted,
            )),
            Self::Kafka => match columns.first() {
                Some(column) => Decoder::Kafka(kafka::KafkaDecoder::new(column.sql_type.clone())),
                None => Decoder::Nothing,
            },
            Self::None => Decoder::Nothing,
        }
    }

    /// An encoder of all of `columns`.
    pub fn encoder(&self, columns: &[Column], place: Place) -> Encoder {
        Encoder {
            format: self.clone(),
            place,
            names: columns
                .iter()
                .map(|column| json::quoted(&column.name))
                .collect(),
        }
    }
}

impl Decoder {
    /// Reads one record. `slots` has one entry for each wanted column, all [`Datum::Null`].
    ///
    /// # Errors
    /// If the bytes are not what the format and the types say.
    pub fn decode<'a>(
        &mut self,
        bytes: &'a [u8],
        slots: &mut [Datum<'a>],
    ) -> Result<(), DecodeError> {
        match self {
            Self::Json(decoder) => decoder.decode(bytes, slots),
            Self::Delimited(decoder) => decoder.decode(bytes, slots),
            Self::Kafka(decoder) => decoder.decode(bytes, slots),
            Self::Nothing => Ok(()),
        }
    }
}

impl Encoder {
    /// Prepares to write the rows of one batch; the arrays are in the order of the columns.
    ///
    /// # Errors
    /// If an array has a type that no column has.
    pub fn bind<'a>(&'a self, arrays: &'a [ArrayRef]) -> Result<BoundEncoder<'a>, SqlError> {
        let columns = arrays
            .iter()
            .map(|array| Cells::new(array.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(BoundEncoder {
            encoder: self,
            columns,
        })
    }
}

impl BoundEncoder<'_> {
    /// Appends the bytes of one row. `false`: the row has no bytes, that is a null key or value.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) -> bool {
        match &self.encoder.format {
            Format::Json if self.encoder.place == Place::Key && self.columns.len() == 1 => {
                let column = &self.columns[0];
                let present = !column.is_null(row);
                if present {
                    json::write_value(column, row, out);
                }
                present
            }
            Format::Json => {
                json::write_object(&self.encoder.names, &self.columns, row, out);
                true
            }
            Format::Delimited { delimiter } => {
                delimited::write_row(&self.columns, *delimiter, row, out);
                true
            }
            Format::Kafka => match self.columns.first() {
                Some(column) => kafka::write_value(column, row, out),
                None => false,
            },
            Format::None => false,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::Delimited { .. } => "DELIMITED",
            Self::Kafka => "KAFKA",
            Self::None => "NONE",
        })
    }
}

impl FromStr for Format {
    type Err = SqlError;

    fn from_str(text: &str) -> Result<Self, SqlError> {
        match text.to_ascii_uppercase().as_str() {
            "JSON" => Ok(Self::Json),
            "DELIMITED" => Ok(Self::Delimited { delimiter: ',' }),
            "KAFKA" => Ok(Self::Kafka),
            "NONE" => Ok(Self::None),
            other @ ("AVRO" | "PROTOBUF" | "PROTOBUF_NOSR" | "JSON_SR") => {
                Err(SqlError::unsupported(format!("the format {other}"))
                    .with_hint("formats are JSON, DELIMITED and KAFKA"))
            }
            other => Err(SqlError::invalid(format!("unknown format `{other}`"))
                .with_hint("formats are JSON, DELIMITED and KAFKA")),
        }
    }
}

impl DecodeError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

/// A nested value as JSON.
pub(crate) fn json_text(cells: &Cells<'_>, row: usize) -> Vec<u8> {
    let mut out = Vec::new();
    json::write_value(cells, row, &mut out);
    out
}

fn is_nested(sql_type: &SqlType) -> bool {
    matches!(
        sql_type,
        SqlType::Array(_) | SqlType::Map(_, _) | SqlType::Struct(_)
    )
}
