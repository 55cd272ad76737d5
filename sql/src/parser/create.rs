//! `CREATE STREAM` and `CREATE TABLE`, over a topic and from a query.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::*;
use super::column_type::parse_type;
use super::cursor::Cursor;
use super::query;
use crate::error::SqlError;

/// More columns than this are refused.
const MAX_COLUMNS: usize = 4_096;

/// Reads a whole `CREATE` statement.
pub(super) fn parse_create(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.advance();
    let or_replace = cursor.eat_words(&["OR", "REPLACE"]);
    refuse_other_objects(cursor)?;
    let kind = parse_kind(cursor)?;
    let if_not_exists = cursor.eat_words(&["IF", "NOT", "EXISTS"]);
    let name = cursor.name(&format!("the name of the {kind}"))?;
    if cursor.peek() == Some(&Token::Period) {
        return Err(
            SqlError::syntax(format!("name `{name}.` has more than one part"))
                .at(cursor.position())
                .with_hint("streams and tables have one flat list of names"),
        );
    }
    let columns = if cursor.peek() == Some(&Token::LParen) {
        Some(parse_columns(cursor, kind)?)
    } else {
        None
    };
    let properties = parse_properties(cursor)?;
    if cursor.at_word("AS") {
        if columns.is_some() {
            return Err(cursor
                .expected("no AS after a list of columns")
                .with_hint("columns of CREATE .. AS SELECT follow from the query"));
        }
        cursor.advance();
        let select = query::parse_select(cursor)?;
        return Ok(Statement::CreateAs(CreateAs {
            kind,
            or_replace,
            if_not_exists,
            name,
            properties,
            select,
        }));
    }
    cursor.expect_end()?;
    let Some(columns) = columns else {
        return Err(cursor
            .expected("a list of columns or AS SELECT")
            .with_hint(format!(
                "for example CREATE {} {name} (id BIGINT {}, text VARCHAR) \
                 WITH (KAFKA_TOPIC = '{name}', VALUE_FORMAT = 'JSON')",
                kind.name().to_uppercase(),
                match kind {
                    SourceKind::Stream => "KEY",
                    SourceKind::Table => "PRIMARY KEY",
                }
            )));
    };
    Ok(Statement::CreateSource(CreateSource {
        kind,
        or_replace,
        if_not_exists,
        name,
        columns,
        properties,
    }))
}

/// Reads `STREAM` or `TABLE`.
pub(super) fn parse_kind(cursor: &mut Cursor<'_>) -> Result<SourceKind, SqlError> {
    if cursor.eat_word("STREAM") {
        Ok(SourceKind::Stream)
    } else if cursor.eat_word("TABLE") {
        Ok(SourceKind::Table)
    } else {
        Err(cursor.expected("STREAM or TABLE"))
    }
}

fn refuse_other_objects(cursor: &Cursor<'_>) -> Result<(), SqlError> {
    let Some(word) = cursor.peek_word(0) else {
        return Ok(());
    };
    let hint = match word.as_str() {
        "SOURCE" | "SINK" if cursor.peek_word(1).as_deref() == Some("CONNECTOR") => {
            "connectors are written in moldau.yaml"
        }
        "SOURCE" => "leave SOURCE out; a stream or table over a topic may be read by all",
        "MATERIALIZED" | "VIEW" => "write CREATE TABLE .. AS SELECT: it is kept up to date",
        "EXTERNAL" => "write CREATE STREAM .. WITH (KAFKA_TOPIC = '..')",
        "TYPE" | "FUNCTION" | "SCHEMA" | "DATABASE" | "INDEX" => "there is no such object here",
        _ => return Ok(()),
    };
    Err(SqlError::unsupported(format!("CREATE {word}"))
        .at(cursor.position())
        .with_hint(hint))
}

fn parse_columns(
    cursor: &mut Cursor<'_>,
    kind: SourceKind,
) -> Result<Vec<ColumnDefinition>, SqlError> {
    cursor.expect(&Token::LParen)?;
    let mut columns: Vec<ColumnDefinition> = Vec::new();
    loop {
        let column = parse_column(cursor, kind)?;
        if columns.iter().any(|other| other.name == column.name) {
            return Err(
                SqlError::invalid(format!("column `{}` is named twice", column.name))
                    .at(column.position),
            );
        }
        if columns.len() == MAX_COLUMNS {
            return Err(SqlError::invalid(format!(
                "more than {MAX_COLUMNS} columns"
            )));
        }
        columns.push(column);
        if !cursor.eat(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(columns)
}

fn parse_column(cursor: &mut Cursor<'_>, kind: SourceKind) -> Result<ColumnDefinition, SqlError> {
    let position = cursor.position();
    let name = cursor.name("the name of a column")?;
    let sql_type = parse_type(cursor)?;
    let key_position = cursor.position();
    let key = if cursor.eat_words(&["PRIMARY", "KEY"]) {
        ColumnKey::PrimaryKey
    } else if cursor.eat_word("KEY") {
        ColumnKey::Key
    } else {
        ColumnKey::None
    };
    match (kind, key) {
        (SourceKind::Stream, ColumnKey::PrimaryKey) => {
            return Err(SqlError::invalid(format!(
                "column `{name}` of a stream cannot be PRIMARY KEY"
            ))
            .at(key_position)
            .with_hint("write KEY: rows of a stream do not replace each other"));
        }
        (SourceKind::Table, ColumnKey::Key) => {
            return Err(
                SqlError::invalid(format!("column `{name}` of a table cannot be KEY"))
                    .at(key_position)
                    .with_hint("write PRIMARY KEY"),
            );
        }
        _ => {}
    }
    if matches!(cursor.peek_word(0).as_deref(), Some("HEADERS" | "HEADER")) {
        return Err(SqlError::unsupported("columns of record headers").at(cursor.position()));
    }
    Ok(ColumnDefinition {
        name,
        sql_type,
        key,
        position,
    })
}

/// `WITH (NAME = value, ..)`; the clause may be missing.
fn parse_properties(cursor: &mut Cursor<'_>) -> Result<Vec<Property>, SqlError> {
    let mut properties: Vec<Property> = Vec::new();
    if !cursor.eat_word("WITH") {
        return Ok(properties);
    }
    cursor.expect(&Token::LParen)?;
    loop {
        let position = cursor.position();
        let name = cursor.verbatim("the name of a property")?.to_uppercase();
        cursor.expect(&Token::Eq)?;
        let value = match cursor.peek() {
            Some(Token::Number(text, _)) => text.clone(),
            Some(Token::Word(word)) => word.value.clone(),
            Some(Token::SingleQuotedString(text)) => text.clone(),
            _ => return Err(cursor.expected("a value: a string in single quotes or a number")),
        };
        cursor.advance();
        if properties.iter().any(|other| other.name == name) {
            return Err(SqlError::invalid(format!("property {name} is given twice")).at(position));
        }
        properties.push(Property {
            name,
            value,
            position,
        });
        if !cursor.eat(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(properties)
}
