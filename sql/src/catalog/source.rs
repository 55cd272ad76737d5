//! A stream or table: a topic with names and types for what lies in its records.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::formats::Format;
use crate::parser::SourceKind;
use crate::types::{Column, SqlType};

/// A stream or table of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Unique among streams and tables.
    pub name: String,
    /// Stream or table.
    pub kind: SourceKind,
    /// Where the records lie.
    pub topic: String,
    /// How the key columns lie in the key.
    pub key_format: Format,
    /// How the value columns lie in the value.
    pub value_format: Format,
    /// Columns in the key, in order.
    pub key_columns: Vec<Column>,
    /// Columns in the value, in order.
    pub value_columns: Vec<Column>,
    /// The column that holds the event time, if it is not the record's timestamp.
    pub timestamp_column: Option<String>,
    /// Length of the windows, if the key ends with the start of a window.
    pub window_size_ms: Option<i64>,
    /// The statement that made it.
    pub sql: String,
    /// The query that feeds it.
    pub query_id: Option<String>,
}

/// A column of a stream or table as queries see it.
#[derive(Debug, Clone)]
pub struct TableColumn {
    /// Name and Arrow type.
    pub field: Field,
    /// Where its values come from.
    pub origin: Origin,
    /// Whether `SELECT *` leaves it out.
    pub hidden: bool,
}

/// Where the values of a column come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A column of the key, by its index.
    Key(usize),
    /// A column of the value, by its index.
    Value(usize),
    /// The record or its window.
    Pseudo(Pseudo),
}

/// What a record has besides its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pseudo {
    /// `_partition`, `rowpartition`.
    Partition,
    /// `_offset`, `rowoffset`.
    Offset,
    /// `_timestamp`: the record's timestamp as TIMESTAMP.
    Timestamp,
    /// `_key`: the bytes of the key as text.
    Key,
    /// `_value`: the bytes of the value as text.
    Value,
    /// `rowtime`: the event time as BIGINT.
    Rowtime,
    /// `windowstart` as BIGINT.
    WindowStart,
    /// `windowend` as BIGINT.
    WindowEnd,
    /// `_window_start` as TIMESTAMP.
    WindowStartTime,
    /// `_window_end` as TIMESTAMP.
    WindowEndTime,
}

impl Source {
    /// A topic that was never declared: nothing but pseudo columns.
    pub fn undeclared(topic: &str) -> Self {
        Self {
            name: topic.to_owned(),
            kind: SourceKind::Stream,
            topic: topic.to_owned(),
            key_format: Format::None,
            value_format: Format::None,
            key_columns: Vec::new(),
            value_columns: Vec::new(),
            timestamp_column: None,
            window_size_ms: None,
            sql: String::new(),
            query_id: None,
        }
    }

    /// All columns in the order of `SELECT *`, then the hidden ones.
    ///
    /// `windowed`: the query itself has a window, so that its bounds are columns of the input.
    /// A declared column hides the pseudo column of the same name.
    pub fn table_columns(&self, windowed: bool) -> Vec<TableColumn> {
        let keys = self.key_columns.iter().enumerate();
        let values = self.value_columns.iter().enumerate();
        let mut columns: Vec<TableColumn> = keys
            .map(|(index, column)| TableColumn {
                field: column.to_field(),
                origin: Origin::Key(index),
                hidden: false,
            })
            .collect();
        let key_count = columns.len();
        columns.extend(values.map(|(index, column)| TableColumn {
            field: column.to_field(),
            origin: Origin::Value(index),
            hidden: false,
        }));
        let undeclared = columns.is_empty();
        let mut window_bounds = Vec::new();
        for pseudo in Pseudo::ALL {
            for name in pseudo.names() {
                let wanted = !pseudo.is_window() || windowed || self.window_size_ms.is_some();
                if !wanted || columns.iter().any(|column| column.field.name() == name) {
                    continue;
                }
                let bound = matches!(pseudo, Pseudo::WindowStart | Pseudo::WindowEnd);
                let column = TableColumn {
                    field: Field::new(*name, pseudo.data_type(), true),
                    origin: Origin::Pseudo(pseudo),
                    hidden: !undeclared
                        || matches!(pseudo, Pseudo::Rowtime)
                        || *name != pseudo.names()[0],
                };
                if bound && self.window_size_ms.is_some() {
                    window_bounds.push(TableColumn {
                        hidden: false,
                        ..column
                    });
                } else {
                    columns.push(column);
                }
            }
        }
        columns.splice(key_count..key_count, window_bounds);
        columns
    }

    /// The Arrow schema of [`Self::table_columns`].
    pub fn table_schema(&self, windowed: bool) -> SchemaRef {
        let columns = self.table_columns(windowed);
        Arc::new(Schema::new(
            columns
                .into_iter()
                .map(|column| column.field)
                .collect::<Vec<_>>(),
        ))
    }

    /// Names that `SELECT *` leaves out.
    pub fn hidden_columns(&self, windowed: bool) -> Vec<String> {
        let columns = self.table_columns(windowed);
        let hidden = columns.into_iter().filter(|column| column.hidden);
        hidden.map(|column| column.field.name().clone()).collect()
    }

    /// The declared column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.key_columns
            .iter()
            .chain(&self.value_columns)
            .find(|column| column.name == name)
    }
}

impl Pseudo {
    /// All of them, in the order in which an undeclared topic shows them.
    pub const ALL: [Self; 10] = [
        Self::Partition,
        Self::Offset,
        Self::Timestamp,
        Self::Key,
        Self::Value,
        Self::Rowtime,
        Self::WindowStart,
        Self::WindowEnd,
        Self::WindowStartTime,
        Self::WindowEndTime,
    ];

    /// Its names.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Partition => &["_partition", "rowpartition"],
            Self::Offset => &["_offset", "rowoffset"],
            Self::Timestamp => &["_timestamp"],
            Self::Key => &["_key"],
            Self::Value => &["_value"],
            Self::Rowtime => &["rowtime"],
            Self::WindowStart => &["windowstart"],
            Self::WindowEnd => &["windowend"],
            Self::WindowStartTime => &["_window_start"],
            Self::WindowEndTime => &["_window_end"],
        }
    }

    /// Its type.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Partition => DataType::Int32,
            Self::Offset | Self::Rowtime | Self::WindowStart | Self::WindowEnd => DataType::Int64,
            Self::Timestamp | Self::WindowStartTime | Self::WindowEndTime => {
                DataType::Timestamp(TimeUnit::Millisecond, None)
            }
            Self::Key | Self::Value => DataType::Utf8,
        }
    }

    /// Whether it exists only where there are windows.
    pub fn is_window(self) -> bool {
        matches!(
            self,
            Self::WindowStart | Self::WindowEnd | Self::WindowStartTime | Self::WindowEndTime
        )
    }

    /// The pseudo column of a name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|pseudo| pseudo.names().contains(&name))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// Type of `rowtime` and of the column that `TIMESTAMP = '..'` names.
pub fn is_event_time(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::BigInt | SqlType::Timestamp)
}
