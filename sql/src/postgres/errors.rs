//! Our errors in PostgreSQL's form.

use pgwire::error::{ErrorInfo, PgWireError};

use crate::error::SqlError;

/// An error with SQLSTATE, hint and place; `text` is the whole query that was sent.
pub(super) fn to_pgwire(error: &SqlError, text: &str) -> PgWireError {
    let mut info = ErrorInfo::new(
        "ERROR".to_owned(),
        error.sqlstate().to_owned(),
        error.message().to_owned(),
    );
    info.hint = error.hint().map(str::to_owned);
    info.position = error.position().and_then(|place| {
        let before: usize = text
            .split_inclusive('\n')
            .take(usize::try_from(place.line).ok()?.checked_sub(1)?)
            .map(|line| line.chars().count())
            .sum();
        Some((before + usize::try_from(place.column).ok()?).to_string())
    });
    PgWireError::UserError(Box::new(info))
}
