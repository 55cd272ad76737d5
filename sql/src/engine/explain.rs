//! `EXPLAIN` of continuous queries.

use super::Engine;
use super::result::StatementResult;
use crate::catalog::source::Origin;
use crate::error::SqlError;
use crate::parser::{Statement, StreamSelect, parse};
use crate::plan::continuous::{self, ContinuousPlan, DEFAULT_GRACE_MS, OutputKey, Stage};

/// `EXPLAIN id`.
pub(super) async fn query(engine: &Engine, id: &str) -> Result<StatementResult, SqlError> {
    let catalog = engine.catalog();
    let record = catalog.query(id)?;
    let mut lines = vec![format!("query {id}: {}", record.sql)];
    if let Some(status) = engine.queries().into_iter().find(|status| status.id == id) {
        lines.push(format!(
            "state {}, {} records in, {} rows out",
            status.state.name(),
            status.records_in,
            status.records_out
        ));
        lines.extend(status.error.map(|error| format!("last problem: {error}")));
    }
    let parsed = parse(&record.sql)?.into_iter().next();
    if let Some(Statement::CreateAs(create)) = parsed.map(|parsed| parsed.statement) {
        lines.extend(describe(engine, &create.select).await?);
    }
    table(lines)
}

/// `EXPLAIN SELECT .. EMIT CHANGES` and `EXPLAIN CREATE .. AS SELECT ..`.
pub(super) async fn statement(
    engine: &Engine,
    statement: &Statement,
) -> Result<StatementResult, SqlError> {
    match statement {
        Statement::PushQuery(select) => table(describe(engine, select).await?),
        Statement::CreateAs(create) => table(describe(engine, &create.select).await?),
        _ => Err(SqlError::invalid("only queries can be explained")),
    }
}

fn table(lines: Vec<String>) -> Result<StatementResult, SqlError> {
    let rows: Vec<Vec<Option<String>>> = lines.into_iter().map(|line| vec![Some(line)]).collect();
    StatementResult::table(&["plan"], &rows)
}

async fn describe(engine: &Engine, select: &StreamSelect) -> Result<Vec<String>, SqlError> {
    let plan = continuous::plan(engine.planner(), select, &engine.catalog()).await?;
    let mut lines = vec![format!(
        "read {} (topic {}): {}",
        plan.source,
        plan.source.topic,
        read_columns(&plan)
    )];
    lines.extend(plan.before.iter().map(stage));
    if let Some(aggregate) = &plan.aggregate {
        if !aggregate.is_keyed_by_source {
            lines.push("repartition by the group".to_owned());
        }
        let groups: Vec<&str> = aggregate
            .group_columns
            .iter()
            .map(|c| c.name.as_str())
            .collect();
        let calls: Vec<&str> = aggregate
            .calls
            .iter()
            .map(|call| call.function.name())
            .collect();
        let window = match aggregate.window {
            Some(window) => format!(
                ", tumbling window of {} ms, grace {} ms",
                window.size_ms,
                window.grace_ms.unwrap_or(DEFAULT_GRACE_MS)
            ),
            None => String::new(),
        };
        lines.push(format!(
            "aggregate by {}: {}{window}",
            groups.join(", "),
            calls.join(", ")
        ));
    }
    lines.extend(plan.after.iter().map(stage));
    lines.push(format!("write {}, key: {}", plan.output.kind, key(&plan)));
    Ok(lines)
}

fn read_columns(plan: &ContinuousPlan) -> String {
    let columns = plan.source.table_columns(true);
    let names: Vec<String> = plan
        .wanted
        .iter()
        .filter_map(|index| columns.get(*index))
        .map(|column| match column.origin {
            Origin::Key(_) => format!("{} (key)", column.field.name()),
            Origin::Value(_) | Origin::Pseudo(_) => column.field.name().clone(),
        })
        .collect();
    names.join(", ")
}

fn stage(stage: &Stage) -> String {
    match stage {
        Stage::Filter(predicate) => format!("filter {predicate}"),
        Stage::Project {
            expressions,
            schema,
        } => {
            let columns: Vec<String> = expressions
                .iter()
                .zip(schema.fields())
                .map(|(expression, field)| format!("{expression} AS {}", field.name()))
                .collect();
            format!("project {}", columns.join(", "))
        }
    }
}

fn key(plan: &ContinuousPlan) -> String {
    match &plan.output.key {
        OutputKey::Input(_) => "that of the input".to_owned(),
        OutputKey::Columns(_, columns) => {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            names.join(", ")
        }
        OutputKey::Group(_) => "the group".to_owned(),
    }
}
