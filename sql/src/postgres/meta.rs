//! Answers to what tools ask PostgreSQL's own catalog.

use crate::engine::{Session, StatementResult};
use crate::error::SqlError;
use crate::parser::SourceKind;

/// The answer to a query of a tool's own, such as psql's `\d`; `None` if it is not one.
pub(super) fn answer(session: &Session, text: &str) -> Option<Result<StatementResult, SqlError>> {
    if !text.contains("pg_catalog.") {
        return None;
    }
    if text.contains("pg_catalog.pg_class")
        && text.contains("\"Name\"")
        && text.contains("\"Owner\"")
    {
        return Some(relations(session, text));
    }
    if text.contains("pg_catalog.pg_database") && text.contains("\"Owner\"") {
        let row = vec![
            Some(crate::plan::CATALOG_NAME.to_owned()),
            Some("moldau".to_owned()),
        ];
        return Some(StatementResult::table(&["Name", "Owner"], &[row]));
    }
    Some(Err(SqlError::unsupported("queries of pg_catalog")
        .with_hint(
            "SHOW STREAMS, SHOW TABLES and DESCRIBE name tell what there is",
        )))
}

fn relations(session: &Session, text: &str) -> Result<StatementResult, SqlError> {
    let catalog = session.engine().catalog();
    // `\dt` asks for tables alone, `\d` also for views and others.
    let tables_only =
        text.contains("relkind IN ('r','p','')") || text.contains("relkind IN ('r','p')");
    let rows: Vec<_> = catalog
        .sources
        .values()
        .filter(|source| !tables_only || source.kind == SourceKind::Table)
        .map(|source| {
            vec![
                Some(crate::plan::PUBLIC_SCHEMA.to_owned()),
                Some(source.name.clone()),
                Some(source.kind.name().to_owned()),
                Some("moldau".to_owned()),
            ]
        })
        .collect();
    StatementResult::table(&["Schema", "Name", "Type", "Owner"], &rows)
}
