//! What can go wrong with a statement, and where in its text.

use std::fmt;

use datafusion::error::DataFusionError;

/// Why a statement was refused or failed.
///
/// The message is lower case and names the object; the hint, where there is one, says what to do.
#[derive(Debug, Clone)]
pub struct SqlError {
    kind: SqlErrorKind,
    message: String,
    hint: Option<String>,
    position: Option<Position>,
}

/// Groups of errors that call for different reactions; each has one SQLSTATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlErrorKind {
    /// The text is not a statement we can read.
    Syntax,
    /// The statement is understood, but this version cannot run it.
    Unsupported,
    /// A stream, table, topic or query that does not exist.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The statement contradicts itself, the catalog or the types of its columns.
    Invalid,
    /// A stream or table is still used by a query.
    InUse,
    /// The cluster did not do what we asked; trying again may help.
    Cluster,
    /// The user or the client ended the statement.
    Cancelled,
    /// The engine is shutting down.
    Closed,
    /// A defect of the engine itself.
    Internal,
}

/// A place in the text of a statement; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
}

impl SqlError {
    /// An error of `kind`, without place and hint.
    pub fn new(kind: SqlErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            position: None,
        }
    }

    /// Text that is not a statement.
    pub fn syntax(message: impl Into<String>) -> Self {
        Self::new(SqlErrorKind::Syntax, message)
    }

    /// A feature that is not there yet: the message begins with `not supported yet: `.
    pub fn unsupported(feature: impl fmt::Display) -> Self {
        Self::new(
            SqlErrorKind::Unsupported,
            format!("not supported yet: {feature}"),
        )
    }

    /// A missing object.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(SqlErrorKind::NotFound, message)
    }

    /// A statement that cannot be right.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(SqlErrorKind::Invalid, message)
    }

    /// A defect of the engine.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(SqlErrorKind::Internal, message)
    }

    /// A failure of the cluster behind us.
    pub fn cluster(message: impl Into<String>) -> Self {
        Self::new(SqlErrorKind::Cluster, message)
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the place, unless one is known already.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.position.get_or_insert(position);
        self
    }

    /// Which reaction the error calls for.
    pub fn kind(&self) -> SqlErrorKind {
        self.kind
    }

    /// What happened, without place and hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Where in the text the error lies.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// DataFusion wraps errors in contexts and diagnostics; the innermost one is what the user needs.
    pub(crate) fn from_datafusion(error: &DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast_ref::<Self>() {
                Some(ours) => ours.clone(),
                None => Self::cluster(first_line(&inner.to_string())),
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                Self::from_datafusion(inner)
            }
            DataFusionError::Shared(inner) => Self::from_datafusion(inner),
            DataFusionError::Collection(errors) => match errors.first() {
                Some(first) => Self::from_datafusion(first),
                None => Self::internal("an empty list of errors"),
            },
            DataFusionError::SQL(parser, _) => Self::syntax(first_line(&parser.to_string())),
            DataFusionError::NotImplemented(what) => {
                Self::unsupported(lower_first(&first_line(what)))
            }
            DataFusionError::Plan(what) | DataFusionError::Configuration(what) => {
                Self::invalid(lower_first(&first_line(what)))
            }
            DataFusionError::SchemaError(what, _) => {
                Self::invalid(lower_first(&first_line(&what.to_string())))
            }
            DataFusionError::ArrowError(what, _) => {
                Self::invalid(lower_first(&first_line(&what.to_string())))
            }
            DataFusionError::Execution(what) => Self::invalid(lower_first(&first_line(what))),
            DataFusionError::Internal(what) => Self::internal(first_line(what)),
            other => Self::invalid(lower_first(&first_line(&other.to_string()))),
        }
    }

    /// The five characters that PostgreSQL's clients know the error by.
    pub fn sqlstate(&self) -> &'static str {
        match self.kind {
            SqlErrorKind::Syntax => "42601",
            SqlErrorKind::Unsupported => "0A000",
            SqlErrorKind::NotFound => "42P01",
            SqlErrorKind::AlreadyExists => "42P07",
            SqlErrorKind::Invalid => "42000",
            SqlErrorKind::InUse => "2BP01",
            SqlErrorKind::Cluster => "58030",
            SqlErrorKind::Cancelled => "57014",
            SqlErrorKind::Closed => "57P01",
            SqlErrorKind::Internal => "XX000",
        }
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = self.position {
            write!(f, "line {}:{}: ", position.line, position.column)?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SqlError {}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> Self {
        Self::from_datafusion(&error)
    }
}

impl From<moldau_client::ClientError> for SqlError {
    fn from(error: moldau_client::ClientError) -> Self {
        let text = error.to_string();
        match text.split_once("\n  hint: ") {
            Some((message, hint)) => Self::cluster(message).with_hint(hint),
            None => Self::cluster(text),
        }
    }
}

impl From<moldau_streams::runtime::StreamsError> for SqlError {
    fn from(error: moldau_streams::runtime::StreamsError) -> Self {
        let text = error.to_string();
        match text.split_once("\n  hint: ") {
            Some((message, hint)) => Self::cluster(message).with_hint(hint),
            None => Self::cluster(text),
        }
    }
}

impl From<arrow::error::ArrowError> for SqlError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::invalid(first_line(&error.to_string()))
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
