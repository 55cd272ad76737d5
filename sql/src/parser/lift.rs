//! Takes the clauses that only streams have out of the tokens of a `SELECT`.
//!
//! `WINDOW TUMBLING (..)`, `PARTITION BY ..`, `EMIT CHANGES [LIMIT n]` are recognised outside of
//! parentheses only, so the `PARTITION BY` of an `OVER (..)` stays where it is.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::ast::TumblingWindow;
use super::cursor::{Cursor, is_word, position};
use crate::error::{Position, SqlError};

/// What was taken out, and what is left.
#[derive(Debug)]
pub(super) struct Lifted {
    pub(super) plain: Vec<TokenWithSpan>,
    pub(super) window: Option<TumblingWindow>,
    pub(super) partition_by: Option<Vec<TokenWithSpan>>,
    pub(super) emit_changes: bool,
    pub(super) limit: Option<u64>,
}

/// Splits the tokens that `cursor` has not read yet.
pub(super) fn lift(cursor: &mut Cursor<'_>) -> Result<Lifted, SqlError> {
    let mut lifted = Lifted {
        plain: Vec::new(),
        window: None,
        partition_by: None,
        emit_changes: false,
        limit: None,
    };
    let mut depth = 0_usize;
    while let Some(token) = cursor.peek() {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        if is_word(token, "EMIT") && is_emit_clause(cursor) {
            if depth > 0 {
                return Err(SqlError::syntax("EMIT CHANGES inside of parentheses")
                    .at(cursor.position())
                    .with_hint("EMIT CHANGES ends the whole statement"));
            }
            return lift_emit(cursor, lifted);
        }
        if depth == 0 && is_word(token, "WINDOW") && is_window_clause(cursor) {
            lift_window(cursor, &mut lifted)?;
        } else if depth == 0 && is_word(token, "PARTITION") && is_partition_clause(cursor) {
            lift_partition_by(cursor, &mut lifted)?;
        } else if is_word(token, "WITHIN") && is_join_window(cursor) {
            return Err(
                SqlError::unsupported("joins of streams within a time (WITHIN)")
                    .at(cursor.position()),
            );
        } else if let Some(token) = cursor.advance() {
            lifted.plain.push(token.clone());
        }
    }
    Ok(lifted)
}

fn is_emit_clause(cursor: &Cursor<'_>) -> bool {
    matches!(
        cursor.peek_word(1).as_deref(),
        Some("CHANGES" | "FINAL" | "ON")
    )
}

fn is_window_clause(cursor: &Cursor<'_>) -> bool {
    matches!(
        cursor.peek_word(1).as_deref(),
        Some("TUMBLING" | "HOPPING" | "SESSION")
    ) && cursor.peek_nth(2) == Some(&Token::LParen)
}

fn is_partition_clause(cursor: &Cursor<'_>) -> bool {
    cursor.peek_word(1).as_deref() == Some("BY")
}

fn is_join_window(cursor: &Cursor<'_>) -> bool {
    matches!(
        cursor.peek_nth(1),
        Some(Token::Number(_, _) | Token::LParen)
    )
}

fn lift_emit(cursor: &mut Cursor<'_>, mut lifted: Lifted) -> Result<Lifted, SqlError> {
    let place = cursor.position();
    cursor.advance();
    if !cursor.eat_word("CHANGES") {
        return Err(SqlError::unsupported("EMIT FINAL")
            .at(place)
            .with_hint("EMIT CHANGES gives every new result of a window"));
    }
    lifted.emit_changes = true;
    if cursor.eat_word("LIMIT") {
        lifted.limit = Some(cursor.integer("how many rows to emit")?);
    }
    cursor.expect_end()?;
    Ok(lifted)
}

fn lift_window(cursor: &mut Cursor<'_>, lifted: &mut Lifted) -> Result<(), SqlError> {
    let place = cursor.position();
    cursor.advance();
    let kind = cursor.peek_word(0).unwrap_or_default();
    if kind != "TUMBLING" {
        return Err(SqlError::unsupported(format!("{kind} windows"))
            .at(place)
            .with_hint("tumbling windows are there: WINDOW TUMBLING (SIZE 1 MINUTE)"));
    }
    cursor.advance();
    cursor.expect(&Token::LParen)?;
    cursor.expect_word("SIZE")?;
    let mut window = TumblingWindow {
        size_ms: parse_duration(cursor)?,
        grace_ms: None,
        retention_ms: None,
    };
    if window.size_ms == 0 {
        return Err(SqlError::invalid("a window has no length").at(place));
    }
    while cursor.eat(&Token::Comma) {
        if cursor.eat_words(&["GRACE", "PERIOD"]) {
            window.grace_ms = Some(parse_duration(cursor)?);
        } else if cursor.eat_word("RETENTION") {
            window.retention_ms = Some(parse_duration(cursor)?);
        } else {
            return Err(cursor.expected("GRACE PERIOD or RETENTION"));
        }
    }
    cursor.expect(&Token::RParen)?;
    if lifted.window.replace(window).is_some() {
        return Err(SqlError::syntax("two WINDOW clauses").at(place));
    }
    Ok(())
}

/// `10 SECONDS` in milliseconds.
fn parse_duration(cursor: &mut Cursor<'_>) -> Result<i64, SqlError> {
    let place = cursor.position();
    let count = cursor.integer("a number of time units")?;
    let Some(word) = cursor.peek_word(0) else {
        return Err(cursor.expected("a unit of time, for example SECONDS"));
    };
    let unit_ms: i64 = match word.trim_end_matches('S') {
        "MILLISECOND" => 1,
        "SECOND" => 1_000,
        "MINUTE" => 60_000,
        "HOUR" => 3_600_000,
        "DAY" => 86_400_000,
        _ => {
            return Err(cursor
                .expected("a unit of time")
                .with_hint("units are MILLISECONDS, SECONDS, MINUTES, HOURS, DAYS"));
        }
    };
    cursor.advance();
    i64::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(unit_ms))
        .ok_or_else(|| SqlError::invalid(format!("{count} {word} is too long")).at(place))
}

fn lift_partition_by(cursor: &mut Cursor<'_>, lifted: &mut Lifted) -> Result<(), SqlError> {
    let place = cursor.position();
    cursor.advance();
    cursor.advance();
    let mut tokens = Vec::new();
    let mut depth = 0_usize;
    while let Some(token) = cursor.peek() {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && ends_partition_by(token) {
            break;
        }
        if let Some(token) = cursor.advance() {
            tokens.push(token.clone());
        }
    }
    if tokens.is_empty() {
        return Err(cursor.expected("what to partition by"));
    }
    if lifted.partition_by.replace(tokens).is_some() {
        return Err(SqlError::syntax("two PARTITION BY clauses").at(place));
    }
    Ok(())
}

fn ends_partition_by(token: &Token) -> bool {
    [
        "GROUP", "HAVING", "EMIT", "LIMIT", "ORDER", "WHERE", "WINDOW",
    ]
    .iter()
    .any(|word| is_word(token, word))
}

/// Where a list of tokens begins.
pub(super) fn start(tokens: &[TokenWithSpan], end: Position) -> Position {
    tokens
        .first()
        .map_or(end, |token| position(token.span.start))
}
