//! Checks a text without running it.

use std::fmt;

use crate::error::SqlError;
use crate::parser::parse_each;

/// A mistake in a text.
#[derive(Debug, Clone)]
pub struct Mistake {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Reads all statements of a text and gives the mistakes in order. Names and types are not looked
/// up, as there is no catalog.
pub fn check(text: &str) -> Vec<Mistake> {
    let failed = parse_each(text).into_iter().filter_map(Result::err);
    failed.map(Mistake::from).collect()
}

impl From<SqlError> for Mistake {
    fn from(error: SqlError) -> Self {
        let (line, column) = match error.position() {
            Some(position) => (position.line as usize, position.column as usize),
            None => (1, 1),
        };
        Self {
            line,
            column,
            message: error.message().to_owned(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}
