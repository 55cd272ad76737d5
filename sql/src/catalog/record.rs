//! What the catalog topic holds: one JSON record an object.
//!
//! Key `source/<name>` or `query/<id>`; a null value removes the object. The value has a `version`.
//! Keys of other kinds, and members we do not know, belong to later versions and are left alone.

use serde::{Deserialize, Serialize};

use super::source::Source;
use crate::error::SqlError;
use crate::formats::Format;
use crate::parser::{SourceKind, parse_type_text};
use crate::types::Column;

/// The version of records that we write. Records of a later one are refused.
pub const VERSION: u32 = 1;

/// A persistent query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryRecord {
    /// Version of the record.
    pub version: u32,
    /// Its id, for example `csas_big_orders_3`; also names its application and its topics.
    pub id: String,
    /// The statement.
    pub sql: String,
    /// The stream or table that it feeds.
    pub sink: String,
    /// The streams and tables that it reads.
    pub sources: Vec<String>,
    /// Where it begins when it has no committed offsets: `earliest` or `latest`.
    pub start_at: String,
}

/// A stream or table as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceRecord {
    version: u32,
    name: String,
    kind: String,
    topic: String,
    key_format: String,
    value_format: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delimiter: Option<char>,
    key_columns: Vec<ColumnRecord>,
    value_columns: Vec<ColumnRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp_column: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window_size_ms: Option<i64>,
    sql: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query_id: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ColumnRecord {
    name: String,
    #[serde(rename = "type")]
    sql_type: String,
}

impl SourceRecord {
    /// The record of a stream or table.
    pub fn new(source: &Source) -> Self {
        let delimiter = match source.value_format {
            Format::Delimited { delimiter } => Some(delimiter),
            _ => None,
        };
        Self {
            version: VERSION,
            name: source.name.clone(),
            kind: source.kind.name().to_owned(),
            topic: source.topic.clone(),
            key_format: source.key_format.to_string(),
            value_format: source.value_format.to_string(),
            delimiter,
            key_columns: source.key_columns.iter().map(column_record).collect(),
            value_columns: source.value_columns.iter().map(column_record).collect(),
            timestamp_column: source.timestamp_column.clone(),
            window_size_ms: source.window_size_ms,
            sql: source.sql.clone(),
            query_id: source.query_id.clone(),
        }
    }

    /// The stream or table of a record.
    ///
    /// # Errors
    /// If the record is of a later version or was damaged.
    pub fn into_source(self) -> Result<Source, SqlError> {
        if self.version > VERSION {
            return Err(SqlError::unsupported(format!(
                "`{}` was written by a later version (record version {})",
                self.name, self.version
            )));
        }
        let kind = match self.kind.as_str() {
            "stream" => SourceKind::Stream,
            "table" => SourceKind::Table,
            other => return Err(SqlError::invalid(format!("unknown kind `{other}`"))),
        };
        let mut value_format: Format = self.value_format.parse()?;
        if let (Format::Delimited { delimiter }, Some(written)) =
            (&mut value_format, self.delimiter)
        {
            *delimiter = written;
        }
        Ok(Source {
            name: self.name,
            kind,
            topic: self.topic,
            key_format: self.key_format.parse()?,
            value_format,
            key_columns: columns(self.key_columns)?,
            value_columns: columns(self.value_columns)?,
            timestamp_column: self.timestamp_column,
            window_size_ms: self.window_size_ms,
            sql: self.sql,
            query_id: self.query_id,
        })
    }
}

fn column_record(column: &Column) -> ColumnRecord {
    ColumnRecord {
        name: column.name.clone(),
        sql_type: column.sql_type.to_string(),
    }
}

fn columns(records: Vec<ColumnRecord>) -> Result<Vec<Column>, SqlError> {
    records
        .into_iter()
        .map(|record| Ok(Column::new(record.name, parse_type_text(&record.sql_type)?)))
        .collect()
}
