//! Text to statements.
//!
//! The text is cut into tokens once and split at semicolons. Statements that plain SQL does not
//! have are read by our own small readers. `SELECT` is DataFusion's: the clauses that only streams
//! have (`WINDOW`, `PARTITION BY`, `EMIT CHANGES`) are lifted out of its tokens first, so that what
//! is left is plain SQL, with every token still knowing its place in the text.

mod ast;
mod column_type;
mod create;
mod cursor;
mod lift;
mod query;
mod statement;

#[cfg(test)]
mod tests;

pub use ast::*;

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::error::{Position, SqlError};
use crate::types::SqlType;
use cursor::{Cursor, position};

/// A text longer than this is refused.
pub const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;

/// Reads all statements of a text.
///
/// # Errors
/// The first statement that cannot be read.
pub fn parse(text: &str) -> Result<Vec<ParsedStatement>, SqlError> {
    parse_each(text).into_iter().collect()
}

/// Reads all statements of a text, each with its own outcome.
pub fn parse_each(text: &str) -> Vec<Result<ParsedStatement, SqlError>> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!(
            "text of {} bytes is longer than {MAX_TEXT_BYTES} bytes",
            text.len()
        );
        return vec![Err(SqlError::syntax(message))];
    }
    let tokens = match Tokenizer::new(&GenericDialect, text).tokenize_with_location() {
        Ok(tokens) => tokens,
        Err(error) => {
            let place = position(error.location);
            let message = error.message.to_lowercase();
            return vec![Err(SqlError::syntax(message).at(place))];
        }
    };
    let words: Vec<TokenWithSpan> = tokens
        .into_iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)))
        .collect();
    let lines = Lines::new(text);
    words
        .split(|token| token.token == Token::SemiColon)
        .filter(|tokens| !tokens.is_empty())
        .map(|tokens| parse_one(tokens, &lines))
        .collect()
}

/// Reads a type, as the catalog keeps it.
///
/// # Errors
/// If the text is not a type.
pub fn parse_type_text(text: &str) -> Result<SqlType, SqlError> {
    let tokens = Tokenizer::new(&GenericDialect, text)
        .tokenize_with_location()
        .map_err(|error| SqlError::syntax(error.message))?;
    let words: Vec<TokenWithSpan> = tokens
        .into_iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)))
        .collect();
    let mut cursor = Cursor::new(&words, Position { line: 1, column: 1 });
    let sql_type = column_type::parse_type(&mut cursor)?;
    cursor.expect_end()?;
    Ok(sql_type)
}

fn parse_one(tokens: &[TokenWithSpan], lines: &Lines<'_>) -> Result<ParsedStatement, SqlError> {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return Err(SqlError::internal("an empty statement was not left out"));
    };
    let end = position(last.span.end);
    let mut cursor = Cursor::new(tokens, end);
    let statement = statement::parse_statement(&mut cursor)
        .map_err(|error| error.at(position(first.span.start)))?;
    Ok(ParsedStatement {
        statement,
        text: lines.slice(first.span.start, last.span.end).to_owned(),
        position: position(first.span.start),
    })
}

/// Turns sqlparser's error into ours; its place stands in the text of the message.
fn from_parser_error(error: &ParserError, end: Position) -> SqlError {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => {
            return SqlError::syntax("statement is nested too deep");
        }
    };
    let (message, place) = match text.rfind(" at Line: ") {
        Some(at) => (&text[..at], parse_place(&text[at..])),
        None => (text, None),
    };
    let message = message
        .replacen("Expected:", "expected", 1)
        .replacen("found:", "found", 1)
        .replace("found EOF", "found the end of the statement");
    SqlError::syntax(message).at(place.unwrap_or(end))
}

/// Reads `at Line: 3, Column: 7`.
fn parse_place(text: &str) -> Option<Position> {
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(str::parse::<u64>);
    let (line, column) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (line > 0).then_some(Position { line, column })
}

/// A text with the places where its lines begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            starts: std::iter::once(0).chain(breaks).collect(),
        }
    }

    fn slice(&self, start: Location, end: Location) -> &'a str {
        self.text
            .get(self.offset(start)..self.offset(end))
            .unwrap_or(self.text)
    }

    fn offset(&self, location: Location) -> usize {
        let line = (location.line as usize).saturating_sub(1);
        let Some(start) = self.starts.get(line) else {
            return self.text.len();
        };
        let rest = &self.text[*start..];
        let column = (location.column as usize).saturating_sub(1);
        rest.char_indices()
            .nth(column)
            .map_or(self.text.len(), |(at, _)| start + at)
    }
}
