//! `SELECT` in its kinds, and `INSERT .. VALUES`.

use datafusion::sql::parser::{DFParserBuilder, Statement as DataFusionStatement};
use datafusion::sql::sqlparser::ast::{
    self, Expr, LimitClause, ObjectNamePart, Query, SetExpr, TableObject, Value,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::ast::*;
use super::cursor::Cursor;
use super::from_parser_error;
use super::lift::{Lifted, lift, start};
use crate::error::{Position, SqlError};

/// More rows in one `INSERT` than this are refused.
const MAX_INSERT_ROWS: usize = 100_000;
/// More operators and parentheses without a comma between them than this are refused.
const MAX_OPERATORS: usize = 500;

/// A statement that begins with `SELECT`, `WITH` or `VALUES`, or one we know nothing about.
pub(super) fn parse_select_statement(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let lifted = lift(cursor)?;
    let statement = parse_sql(&lifted.plain, cursor.end())?;
    let Some(query) = as_query(&statement) else {
        if lifted.emit_changes {
            return Err(SqlError::syntax("EMIT CHANGES belongs to SELECT"));
        }
        return Ok(Statement::DataFusion(Box::new(statement)));
    };
    let select = stream_select(query.clone(), &lifted, cursor.end())?;
    Ok(if select.emit_changes {
        Statement::PushQuery(select)
    } else {
        Statement::Query(select)
    })
}

/// The `SELECT` behind `AS`.
pub(super) fn parse_select(cursor: &mut Cursor<'_>) -> Result<StreamSelect, SqlError> {
    let place = cursor.position();
    let lifted = lift(cursor)?;
    let statement = parse_sql(&lifted.plain, cursor.end())?;
    match as_query(&statement) {
        Some(query) => stream_select(query.clone(), &lifted, cursor.end()),
        None => Err(SqlError::syntax("expected SELECT after AS").at(place)),
    }
}

/// `EXPLAIN SELECT ..`; DataFusion explains it unless it is a continuous query.
pub(super) fn parse_explain_select(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let whole = cursor.rest();
    cursor.advance();
    let mut inner = Cursor::new(cursor.rest(), cursor.end());
    let statement = parse_select_statement(&mut inner)?;
    match statement {
        Statement::PushQuery(_) => Ok(Statement::Explain(Explain::Statement(Box::new(statement)))),
        _ => parse_sql(whole, cursor.end())
            .map(|statement| Statement::DataFusion(Box::new(statement))),
    }
}

/// A statement that is DataFusion's as it stands.
pub(super) fn parse_plain(cursor: &Cursor<'_>) -> Result<Statement, SqlError> {
    let statement = parse_sql(cursor.rest(), cursor.end())?;
    Ok(Statement::DataFusion(Box::new(statement)))
}

/// `INSERT INTO name [(columns)] VALUES (..), (..)`.
pub(super) fn parse_insert(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let statement = parse_sql(cursor.rest(), cursor.end())?;
    let DataFusionStatement::Statement(statement) = statement else {
        return Err(SqlError::syntax("expected INSERT INTO .. VALUES"));
    };
    let ast::Statement::Insert(insert) = *statement else {
        return Err(SqlError::syntax("expected INSERT INTO .. VALUES"));
    };
    let TableObject::TableName(name) = &insert.table else {
        return Err(SqlError::syntax("expected the name of a stream or table"));
    };
    let name = single_name(name)?;
    let columns = insert
        .columns
        .iter()
        .map(single_name)
        .collect::<Result<Vec<_>, _>>()?;
    let Some(SetExpr::Values(values)) = insert.source.as_ref().map(|query| query.body.as_ref())
    else {
        return Err(SqlError::unsupported("INSERT INTO .. SELECT").with_hint(
            "INSERT INTO .. VALUES writes single rows; CREATE STREAM .. AS SELECT feeds a topic",
        ));
    };
    if values.rows.len() > MAX_INSERT_ROWS {
        return Err(SqlError::invalid(format!(
            "INSERT of {} rows is more than {MAX_INSERT_ROWS}",
            values.rows.len()
        )));
    }
    let rows = values.rows.iter().map(|row| row.content.clone()).collect();
    Ok(Statement::Insert(Insert {
        name,
        columns,
        rows,
    }))
}

fn parse_sql(tokens: &[TokenWithSpan], end: Position) -> Result<DataFusionStatement, SqlError> {
    check_length(tokens)?;
    let result = DFParserBuilder::new(tokens.to_vec())
        .build()
        .and_then(|mut parser| {
            let mut statements = parser.parse_statements()?;
            Ok(statements.pop_front())
        });
    match result {
        Ok(Some(statement)) => Ok(statement),
        Ok(None) => Err(SqlError::syntax("expected a statement").at(start(tokens, end))),
        Err(error) => Err(from_parse_failure(&error, end)),
    }
}

/// An expression like `1 + 1 + ..` makes a tree as deep as it is long, and what walks the tree needs
/// stack for each level.
fn check_length(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut operators = 0;
    for token in tokens {
        match &token.token {
            Token::Comma => operators = 0,
            Token::Word(word) if !matches!(word.keyword, Keyword::AND | Keyword::OR) => {}
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Period => {}
            _ => operators += 1,
        }
        if operators > MAX_OPERATORS {
            return Err(SqlError::syntax(format!(
                "expression with more than {MAX_OPERATORS} operators"
            ))
            .at(super::cursor::position(token.span.start))
            .with_hint("use IN (..) for long lists of alternatives"));
        }
    }
    Ok(())
}

fn from_parse_failure(error: &datafusion::error::DataFusionError, end: Position) -> SqlError {
    match error.find_root() {
        datafusion::error::DataFusionError::SQL(parser, _) => from_parser_error(parser, end),
        datafusion::error::DataFusionError::Diagnostic(_, inner) => from_parse_failure(inner, end),
        other => SqlError::syntax(other.strip_backtrace()).at(end),
    }
}

fn as_query(statement: &DataFusionStatement) -> Option<&Query> {
    match statement {
        DataFusionStatement::Statement(statement) => match statement.as_ref() {
            ast::Statement::Query(query) => Some(query),
            _ => None,
        },
        _ => None,
    }
}

fn stream_select(
    mut query: Query,
    lifted: &Lifted,
    end: Position,
) -> Result<StreamSelect, SqlError> {
    let partition_by = match &lifted.partition_by {
        Some(tokens) => Some(parse_expressions(tokens, end)?),
        None => None,
    };
    let mut limit = lifted.limit;
    if lifted.emit_changes && limit.is_none() {
        limit = take_limit(&mut query)?;
    }
    Ok(StreamSelect {
        query: Box::new(query),
        window: lifted.window,
        partition_by,
        emit_changes: lifted.emit_changes,
        limit,
    })
}

/// `LIMIT` may also stand before `EMIT CHANGES`.
fn take_limit(query: &mut Query) -> Result<Option<u64>, SqlError> {
    let refuse = || SqlError::syntax("LIMIT of a continuous query is one whole number");
    match query.limit_clause.take() {
        None => Ok(None),
        Some(LimitClause::LimitOffset {
            limit: Some(Expr::Value(value)),
            offset: None,
            limit_by,
        }) if limit_by.is_empty() => match &value.value {
            Value::Number(text, _) => text.parse().map(Some).map_err(|_| refuse()),
            _ => Err(refuse()),
        },
        Some(_) => Err(refuse()),
    }
}

fn parse_expressions(tokens: &[TokenWithSpan], end: Position) -> Result<Vec<Expr>, SqlError> {
    let mut parser = Parser::new(&GenericDialect).with_tokens_with_locations(tokens.to_vec());
    parser
        .parse_comma_separated(Parser::parse_expr)
        .map_err(|error| from_parser_error(&error, end))
}

fn single_name(name: &ast::ObjectName) -> Result<String, SqlError> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Ok(fold(ident)),
        _ => Err(SqlError::syntax(format!(
            "name `{name}` has more than one part"
        ))),
    }
}
