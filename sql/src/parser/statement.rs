//! Which statement it is, and the small ones.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::*;
use super::cursor::Cursor;
use super::{create, query};
use crate::error::SqlError;

/// Reads one statement to its end.
pub(super) fn parse_statement(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let first = cursor.peek_word(0).unwrap_or_default();
    let second = cursor.peek_word(1).unwrap_or_default();
    match (first.as_str(), second.as_str()) {
        ("CREATE", _) => create::parse_create(cursor),
        ("INSERT", _) => query::parse_insert(cursor),
        ("SHOW" | "LIST", _) => parse_show(cursor),
        ("DESCRIBE" | "DESC", _) => parse_describe(cursor),
        ("PRINT", _) => parse_print(cursor),
        ("DROP", "STREAM" | "TABLE") => parse_drop(cursor),
        ("TERMINATE", _) => parse_terminate(cursor),
        ("SET", _) => parse_set(cursor),
        ("UNSET" | "RESET", _) => parse_unset(cursor),
        ("EXPLAIN", _) => parse_explain(cursor),
        ("BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "DISCARD", _) => {
            Ok(Statement::Transaction(first))
        }
        ("SELECT" | "WITH" | "VALUES", _) => query::parse_select_statement(cursor),
        ("PAUSE" | "RESUME", _) => Err(SqlError::unsupported(format!("{first} of a query"))
            .with_hint("TERMINATE the query and create it again")),
        ("ASSERT" | "DEFINE" | "UNDEFINE" | "RUN" | "SPOOL" | "ALTER", _) => {
            Err(SqlError::unsupported(format!("the statement {first}")))
        }
        ("DROP" | "UPDATE" | "DELETE" | "MERGE" | "TRUNCATE" | "COPY", _) => Err(
            SqlError::unsupported(format!("the statement {first} {second}").trim_end())
                .with_hint("records of a topic are changed by INSERT INTO .. VALUES only"),
        ),
        _ => query::parse_select_statement(cursor),
    }
}

fn parse_show(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let list = cursor.at_word("LIST");
    cursor.advance();
    let position = cursor.position();
    let all = cursor.eat_word("ALL");
    let Some(word) = cursor.peek_word(0) else {
        return Err(cursor.expected("TOPICS, STREAMS, TABLES or QUERIES"));
    };
    cursor.advance();
    let show = match word.as_str() {
        "TOPICS" => Show::Topics { all },
        "STREAMS" => Show::Streams,
        "TABLES" => Show::Tables,
        "QUERIES" => Show::Queries,
        "PROPERTIES" => Show::Properties,
        "FUNCTIONS" => Show::Functions,
        "CONNECTORS" | "TYPES" | "VARIABLES" => {
            return Err(SqlError::unsupported(format!("SHOW {word}")).at(position));
        }
        _ if list => {
            return Err(
                SqlError::syntax(format!("cannot list `{}`", word.to_lowercase()))
                    .at(position)
                    .with_hint("LIST TOPICS | STREAMS | TABLES | QUERIES | PROPERTIES | FUNCTIONS"),
            );
        }
        _ => return parse_show_variable(cursor, &word, all),
    };
    cursor.eat_word("EXTENDED");
    cursor.expect_end()?;
    Ok(Statement::Show(show))
}

/// `SHOW server_version`, `SHOW transaction isolation level`, `SHOW datafusion.execution.batch_size`.
fn parse_show_variable(
    cursor: &mut Cursor<'_>,
    first: &str,
    all: bool,
) -> Result<Statement, SqlError> {
    let mut name = if all {
        "all".to_owned()
    } else {
        first.to_lowercase()
    };
    while let Some(token) = cursor.advance() {
        match &token.token {
            Token::Period => name.push('.'),
            Token::Word(word) => {
                if !name.ends_with('.') {
                    name.push(' ');
                }
                name.push_str(&word.value.to_lowercase());
            }
            _ => return Err(SqlError::syntax(format!("cannot show `{name}{token}`"))),
        }
    }
    Ok(Statement::ShowVariable(name))
}

fn parse_describe(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.advance();
    let position = cursor.position();
    if matches!(
        cursor.peek_word(0).as_deref(),
        Some("FUNCTION" | "CONNECTOR" | "STREAMS" | "TABLES")
    ) && cursor.peek_nth(1).is_some()
    {
        let what = cursor.peek_word(0).unwrap_or_default();
        return Err(SqlError::unsupported(format!("DESCRIBE {what}")).at(position));
    }
    let leading = cursor.at_word("EXTENDED") && cursor.peek_nth(1).is_some();
    if leading {
        cursor.advance();
    }
    let name = cursor.name("the name of a stream or table")?;
    let extended = cursor.eat_word("EXTENDED") || leading;
    cursor.expect_end()?;
    Ok(Statement::Describe(Describe { name, extended }))
}

fn parse_print(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.advance();
    let mut topic = cursor.verbatim("the name of a topic")?;
    // Topic names may hold `.` and `-`, which are tokens of their own when not quoted.
    while let Some(Token::Period | Token::Minus) = cursor.peek() {
        let separator = if cursor.eat(&Token::Period) { '.' } else { '-' };
        cursor.eat(&Token::Minus);
        topic.push(separator);
        topic.push_str(&cursor.verbatim("the rest of the topic's name")?);
    }
    let from_beginning = cursor.eat_words(&["FROM", "BEGINNING"]);
    let interval = if cursor.eat_word("INTERVAL") || cursor.eat_word("SAMPLE") {
        Some(cursor.integer("how many records make one step")?.max(1))
    } else {
        None
    };
    let limit = if cursor.eat_word("LIMIT") {
        Some(cursor.integer("how many records to print")?)
    } else {
        None
    };
    cursor.expect_end()?;
    Ok(Statement::Print(Print {
        topic,
        from_beginning,
        interval,
        limit,
    }))
}

fn parse_drop(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.advance();
    let kind = create::parse_kind(cursor)?;
    let if_exists = cursor.eat_words(&["IF", "EXISTS"]);
    let name = cursor.name("the name of a stream or table")?;
    let delete_topic = cursor.eat_words(&["DELETE", "TOPIC"]);
    cursor.expect_end()?;
    Ok(Statement::Drop(DropSource {
        kind,
        if_exists,
        name,
        delete_topic,
    }))
}

fn parse_terminate(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.advance();
    let query_word = cursor.at_word("QUERY") && cursor.peek_nth(1).is_some();
    if query_word {
        cursor.advance();
    }
    let target = if cursor.eat_word("ALL") {
        TerminateTarget::All
    } else {
        TerminateTarget::Query(cursor.verbatim("the id of a query, or ALL")?.to_lowercase())
    };
    cursor.expect_end()?;
    Ok(Statement::Terminate(target))
}

fn parse_set(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.advance();
    if cursor.at_word("SESSION") || cursor.at_word("LOCAL") {
        cursor.advance();
    }
    if cursor.eat_words(&["TIME", "ZONE"]) {
        let value = setting_value(cursor)?;
        return Ok(Statement::Set(SetVariable {
            name: "timezone".to_owned(),
            value,
        }));
    }
    let name = setting_name(cursor)?;
    if !cursor.eat(&Token::Eq) && !cursor.eat_word("TO") && !name.starts_with("transaction") {
        return Err(cursor.expected("`=` and a value"));
    }
    let value = setting_value(cursor)?;
    Ok(Statement::Set(SetVariable { name, value }))
}

fn parse_unset(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.advance();
    let name = setting_name(cursor)?;
    cursor.expect_end()?;
    Ok(Statement::Unset(name))
}

/// `'auto.offset.reset'` or `datafusion.execution.batch_size`.
fn setting_name(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    let mut name = cursor.verbatim("the name of a setting")?.to_lowercase();
    while cursor.eat(&Token::Period) {
        name.push('.');
        name.push_str(
            &cursor
                .verbatim("the rest of the setting's name")?
                .to_lowercase(),
        );
    }
    Ok(name)
}

/// All that is left: a string, a number, a word or a list of them.
fn setting_value(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    if cursor.is_at_end() {
        return Err(cursor.expected("a value"));
    }
    let mut value = String::new();
    while let Some(token) = cursor.advance() {
        match &token.token {
            Token::SingleQuotedString(text) => value.push_str(text),
            Token::Word(word) => {
                if !value.is_empty() && !value.ends_with([',', '-']) {
                    value.push(' ');
                }
                value.push_str(&word.value);
            }
            other => value.push_str(&other.to_string()),
        }
    }
    Ok(value)
}

fn parse_explain(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let only_one_word = cursor.peek_nth(2).is_none();
    if only_one_word && let Some(Token::Word(_) | Token::SingleQuotedString(_)) = cursor.peek_nth(1)
    {
        cursor.advance();
        let id = cursor.verbatim("the id of a query")?.to_lowercase();
        return Ok(Statement::Explain(Explain::Query(id)));
    }
    match cursor.peek_word(1).as_deref() {
        Some("CREATE") => {
            cursor.advance();
            let inner = parse_statement(cursor)?;
            Ok(Statement::Explain(Explain::Statement(Box::new(inner))))
        }
        Some("SELECT" | "WITH") => query::parse_explain_select(cursor),
        _ => query::parse_plain(cursor),
    }
}
