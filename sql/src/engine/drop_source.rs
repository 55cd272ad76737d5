//! `DROP` and `TERMINATE`.

use super::Engine;
use super::catalog_log::Change;
use super::result::StatementResult;
use crate::error::{SqlError, SqlErrorKind};
use crate::parser::{DropSource, TerminateTarget};

/// `DROP STREAM | TABLE ..`. The query that feeds it ends with it.
pub(super) async fn run(engine: &Engine, drop: DropSource) -> Result<StatementResult, SqlError> {
    let mut change = engine.change().await?;
    let catalog = engine.catalog();
    if drop.if_exists && !catalog.sources.contains_key(&drop.name) {
        return Ok(StatementResult::message(format!(
            "{} `{}` does not exist",
            drop.kind, drop.name
        )));
    }
    let source = catalog.source_of(drop.kind, &drop.name)?;
    let readers: Vec<&str> = catalog
        .queries
        .values()
        .filter(|query| query.sources.contains(&drop.name))
        .map(|query| query.id.as_str())
        .collect();
    if !readers.is_empty() {
        return Err(SqlError::new(
            SqlErrorKind::InUse,
            format!("{source} is read by {}", readers.join(", ")),
        )
        .with_hint("TERMINATE the query, or DROP what it feeds, first"));
    }
    let writers: Vec<String> = catalog
        .queries
        .values()
        .filter(|query| query.sink == drop.name)
        .map(|query| query.id.clone())
        .collect();
    let mut changes: Vec<Change> = writers.iter().cloned().map(Change::RemoveQuery).collect();
    changes.push(Change::RemoveSource(drop.name.clone()));
    change.commit(&changes).await?;
    for id in &writers {
        engine.remove_query(id).await;
    }
    if !drop.delete_topic {
        return Ok(StatementResult::message(format!("{source} dropped")));
    }
    let deleted = engine
        .client()
        .admin()
        .delete_topics(&[source.topic.as_str()])
        .await?;
    for (_, result) in deleted {
        result?;
    }
    Ok(StatementResult::message(format!(
        "{source} and topic `{}` dropped",
        source.topic
    )))
}

/// `TERMINATE id | ALL`. The stream or table stays, with what is in its topic.
pub(super) async fn terminate(
    engine: &Engine,
    target: TerminateTarget,
) -> Result<StatementResult, SqlError> {
    let mut change = engine.change().await?;
    let catalog = engine.catalog();
    let ids: Vec<String> = match target {
        TerminateTarget::All => catalog.queries.keys().cloned().collect(),
        TerminateTarget::Query(id) => vec![catalog.query(&id)?.id.clone()],
    };
    let changes: Vec<Change> = ids.iter().cloned().map(Change::RemoveQuery).collect();
    change.commit(&changes).await?;
    for id in &ids {
        engine.remove_query(id).await;
    }
    Ok(StatementResult::message(match ids.as_slice() {
        [] => "no query runs".to_owned(),
        ids => format!("terminated {}", ids.join(", ")),
    }))
}
