//! The statements we run ourselves; everything else is DataFusion's.

use std::fmt;

use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{Expr, Ident, Query};

use crate::error::Position;
use crate::types::SqlType;

/// One statement of a text, with the part of the text it was read from.
#[derive(Debug, Clone)]
pub struct ParsedStatement {
    /// What to do.
    pub statement: Statement,
    /// The statement's own text, without the semicolon.
    pub text: String,
    /// Where it begins.
    pub position: Position,
}

/// A statement.
#[derive(Debug, Clone)]
pub enum Statement {
    /// `CREATE STREAM | TABLE name (columns) WITH (..)`.
    CreateSource(CreateSource),
    /// `CREATE STREAM | TABLE name WITH (..) AS SELECT ..`.
    CreateAs(CreateAs),
    /// `INSERT INTO name (columns) VALUES (..), (..)`.
    Insert(Insert),
    /// `SHOW | LIST ..`.
    Show(Show),
    /// `SHOW name`: the value of a session variable.
    ShowVariable(String),
    /// `DESCRIBE name [EXTENDED]`.
    Describe(Describe),
    /// `PRINT topic ..`.
    Print(Print),
    /// `DROP STREAM | TABLE ..`.
    Drop(DropSource),
    /// `TERMINATE id | ALL`.
    Terminate(TerminateTarget),
    /// `SET 'name' = 'value'`, `SET name = value`, `SET name TO value`.
    Set(SetVariable),
    /// `UNSET 'name'`, `RESET name`.
    Unset(String),
    /// `EXPLAIN id` and `EXPLAIN SELECT .. EMIT CHANGES`.
    Explain(Explain),
    /// `BEGIN`, `COMMIT`, `ROLLBACK` and the like: accepted, without effect.
    Transaction(String),
    /// `SELECT .. EMIT CHANGES`.
    PushQuery(StreamSelect),
    /// `SELECT` over what is there now, possibly with a window.
    Query(StreamSelect),
    /// Anything else that DataFusion knows.
    DataFusion(Box<DataFusionStatement>),
}

/// Stream or table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceKind {
    /// Every record is a row of its own.
    Stream,
    /// A record replaces the row with the same key; a null value deletes it.
    Table,
}

impl SourceKind {
    /// `stream` or `table`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Table => "table",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `CREATE [OR REPLACE] STREAM | TABLE [IF NOT EXISTS] name (columns) WITH (..)`.
#[derive(Debug, Clone)]
pub struct CreateSource {
    /// Stream or table.
    pub kind: SourceKind,
    /// `OR REPLACE` was given.
    pub or_replace: bool,
    /// `IF NOT EXISTS` was given.
    pub if_not_exists: bool,
    /// The new name.
    pub name: String,
    /// Columns in the order written.
    pub columns: Vec<ColumnDefinition>,
    /// The `WITH` clause.
    pub properties: Vec<Property>,
}

/// A column of a `CREATE`.
#[derive(Debug, Clone)]
pub struct ColumnDefinition {
    /// Name.
    pub name: String,
    /// Type.
    pub sql_type: SqlType,
    /// `KEY` or `PRIMARY KEY`.
    pub key: ColumnKey,
    /// Where the column is written.
    pub position: Position,
}

/// Whether a column lies in the key of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKey {
    /// In the value.
    None,
    /// `KEY`: in the key, of a stream.
    Key,
    /// `PRIMARY KEY`: in the key, of a table.
    PrimaryKey,
}

/// `NAME = 'value'` in a `WITH` clause; the name is in upper case.
#[derive(Debug, Clone)]
pub struct Property {
    /// Name in upper case.
    pub name: String,
    /// Value as text.
    pub value: String,
    /// Where the name is written.
    pub position: Position,
}

/// `CREATE [OR REPLACE] STREAM | TABLE [IF NOT EXISTS] name [WITH (..)] AS SELECT ..`.
#[derive(Debug, Clone)]
pub struct CreateAs {
    /// Stream or table.
    pub kind: SourceKind,
    /// `OR REPLACE` was given.
    pub or_replace: bool,
    /// `IF NOT EXISTS` was given.
    pub if_not_exists: bool,
    /// The new name.
    pub name: String,
    /// The `WITH` clause.
    pub properties: Vec<Property>,
    /// The query that feeds it.
    pub select: StreamSelect,
}

/// A `SELECT`, with the clauses that plain SQL does not have taken out of it.
#[derive(Debug, Clone)]
pub struct StreamSelect {
    /// The rest: plain SQL.
    pub query: Box<Query>,
    /// `WINDOW TUMBLING (..)`.
    pub window: Option<TumblingWindow>,
    /// `PARTITION BY ..`.
    pub partition_by: Option<Vec<Expr>>,
    /// `EMIT CHANGES` was written.
    pub emit_changes: bool,
    /// `LIMIT` of a query that ends with `EMIT CHANGES`.
    pub limit: Option<u64>,
}

/// `WINDOW TUMBLING (SIZE n unit [, RETENTION n unit] [, GRACE PERIOD n unit])`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TumblingWindow {
    /// Length of a window in milliseconds, at least 1.
    pub size_ms: i64,
    /// How long after its end, in stream time, a window still takes rows. `None`: not written.
    pub grace_ms: Option<i64>,
    /// How long windows are kept, in milliseconds. `None`: not written.
    pub retention_ms: Option<i64>,
}

/// `INSERT INTO name [(columns)] VALUES (..), (..)`.
#[derive(Debug, Clone)]
pub struct Insert {
    /// Stream or table.
    pub name: String,
    /// Columns, if written.
    pub columns: Vec<String>,
    /// Rows of expressions.
    pub rows: Vec<Vec<Expr>>,
}

/// What `SHOW` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Topics of the cluster.
    Topics {
        /// `ALL`: with the internal ones.
        all: bool,
    },
    /// Streams of the catalog.
    Streams,
    /// Tables of the catalog.
    Tables,
    /// Running queries.
    Queries,
    /// Settings of the session.
    Properties,
    /// Functions that expressions may call.
    Functions,
}

/// `DESCRIBE name [EXTENDED]`.
#[derive(Debug, Clone)]
pub struct Describe {
    /// Stream or table.
    pub name: String,
    /// `EXTENDED` was given.
    pub extended: bool,
}

/// `PRINT topic [FROM BEGINNING] [INTERVAL n] [LIMIT n]`.
#[derive(Debug, Clone)]
pub struct Print {
    /// The topic; case is kept.
    pub topic: String,
    /// Start at the first record rather than at the end.
    pub from_beginning: bool,
    /// Show every n-th record only.
    pub interval: Option<u64>,
    /// End after so many.
    pub limit: Option<u64>,
}

/// `DROP STREAM | TABLE [IF EXISTS] name [DELETE TOPIC]`.
#[derive(Debug, Clone)]
pub struct DropSource {
    /// Stream or table.
    pub kind: SourceKind,
    /// `IF EXISTS` was given.
    pub if_exists: bool,
    /// The name.
    pub name: String,
    /// `DELETE TOPIC` was given.
    pub delete_topic: bool,
}

/// What `TERMINATE` ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminateTarget {
    /// Every query.
    All,
    /// The query with this id.
    Query(String),
}

/// `SET name = value`.
#[derive(Debug, Clone)]
pub struct SetVariable {
    /// Name, as written.
    pub name: String,
    /// Value as text.
    pub value: String,
}

/// What `EXPLAIN` explains.
#[derive(Debug, Clone)]
pub enum Explain {
    /// A running query.
    Query(String),
    /// A statement.
    Statement(Box<Statement>),
}

/// The name that an identifier stands for: as written if quoted, else in lower case.
pub fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() {
        ident.value.clone()
    } else {
        ident.value.to_lowercase()
    }
}
