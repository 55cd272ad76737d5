//! `SHOW` and `DESCRIBE`.

use std::collections::{BTreeMap, BTreeSet};

use super::Engine;
use super::result::StatementResult;
use super::session::AUTO_OFFSET_RESET;
use crate::catalog::source::Source;
use crate::error::SqlError;
use crate::parser::{Describe, Show, SourceKind};

/// `SHOW | LIST ..`.
pub(super) async fn show(
    engine: &Engine,
    variables: &BTreeMap<String, String>,
    what: Show,
) -> Result<StatementResult, SqlError> {
    match what {
        Show::Topics { all } => topics(engine, all).await,
        Show::Streams => sources(engine, SourceKind::Stream),
        Show::Tables => sources(engine, SourceKind::Table),
        Show::Queries => queries(engine),
        Show::Properties => {
            let mut known = BTreeMap::from([(AUTO_OFFSET_RESET.to_owned(), "latest".to_owned())]);
            known.extend(variables.clone());
            let rows: Vec<_> = known
                .into_iter()
                .map(|(name, value)| row([name, value]))
                .collect();
            StatementResult::table(&["property", "value"], &rows)
        }
        Show::Functions => functions(engine),
    }
}

/// The columns that a `SHOW` gives.
pub(crate) fn columns(what: Show) -> &'static [&'static str] {
    match what {
        Show::Topics { .. } => &TOPIC_COLUMNS,
        Show::Streams | Show::Tables => &SOURCE_COLUMNS,
        Show::Queries => &QUERY_COLUMNS,
        Show::Properties => &["property", "value"],
        Show::Functions => &["function", "kind"],
    }
}

/// The columns of `DESCRIBE`.
pub(crate) const DESCRIBE_COLUMNS: [&str; 3] = ["name", "type", "key"];

const TOPIC_COLUMNS: [&str; 3] = ["topic", "partitions", "replicas"];
const SOURCE_COLUMNS: [&str; 5] = ["name", "topic", "key_format", "value_format", "windowed"];
const QUERY_COLUMNS: [&str; 8] = [
    "id",
    "state",
    "sink",
    "records_in",
    "rows_out",
    "left_out",
    "problem",
    "sql",
];

/// `DESCRIBE name [EXTENDED]`.
pub(super) async fn describe(
    engine: &Engine,
    describe: &Describe,
) -> Result<StatementResult, SqlError> {
    let catalog = engine.catalog();
    let source = catalog.source(&describe.name)?;
    let key = match source.kind {
        SourceKind::Stream => "key",
        SourceKind::Table => "primary key",
    };
    let mut rows: Vec<Vec<Option<String>>> = Vec::new();
    for column in &source.key_columns {
        rows.push(row([
            column.name.clone(),
            column.sql_type.to_string(),
            key.to_owned(),
        ]));
    }
    if source.window_size_ms.is_some() {
        for name in ["windowstart", "windowend"] {
            rows.push(row([
                name.to_owned(),
                "BIGINT".to_owned(),
                "window".to_owned(),
            ]));
        }
    }
    for column in &source.value_columns {
        rows.push(vec![
            Some(column.name.clone()),
            Some(column.sql_type.to_string()),
            None,
        ]);
    }
    if describe.extended {
        rows.extend(details(engine, source).await?);
    }
    StatementResult::table(&DESCRIBE_COLUMNS, &rows)
}

async fn details(engine: &Engine, source: &Source) -> Result<Vec<Vec<Option<String>>>, SqlError> {
    let partitions = engine.client().partition_count(&source.topic).await?;
    let mut facts = vec![
        ("topic", source.topic.clone()),
        (
            "partitions",
            partitions.map_or("the topic does not exist".to_owned(), |count| {
                count.to_string()
            }),
        ),
        ("key format", source.key_format.to_string()),
        ("value format", source.value_format.to_string()),
    ];
    facts.extend(
        source
            .timestamp_column
            .clone()
            .map(|name| ("event time", name)),
    );
    facts.extend(
        source
            .window_size_ms
            .map(|ms| ("window", format!("{ms} ms"))),
    );
    facts.push(("statement", source.sql.clone()));
    let catalog = engine.catalog();
    let statuses = engine.queries();
    for query in catalog.queries_of(&source.name) {
        let role = if query.sink == source.name {
            "written by"
        } else {
            "read by"
        };
        let status = statuses.iter().find(|status| status.id == query.id);
        let text = match status {
            Some(status) => format!(
                "{}: {}, {} records in, {} rows out, {} bad records, {} failed rows, {} late rows{}",
                query.id,
                status.state.name(),
                status.records_in,
                status.records_out,
                status.bad_records,
                status.failed_rows,
                status.late_rows,
                status
                    .error
                    .as_ref()
                    .map_or(String::new(), |error| format!(", {error}"))
            ),
            None => query.id.clone(),
        };
        facts.push((role, text));
    }
    let fact = |(name, value): (&str, String)| vec![Some(format!("# {name}")), Some(value), None];
    Ok(facts.into_iter().map(fact).collect())
}

async fn topics(engine: &Engine, all: bool) -> Result<StatementResult, SqlError> {
    let mut listings = engine.client().admin().list_topics().await?;
    listings.sort_by(|left, right| left.name.cmp(&right.name));
    let rows: Vec<_> = listings
        .into_iter()
        .filter(|topic| all || !(topic.is_internal || is_ours(engine, &topic.name)))
        .map(|topic| {
            let replicas = topic
                .partitions
                .first()
                .map_or(0, |first| first.replicas.len());
            row([
                topic.name,
                topic.partitions.len().to_string(),
                replicas.to_string(),
            ])
        })
        .collect();
    StatementResult::table(&TOPIC_COLUMNS, &rows)
}

fn is_ours(engine: &Engine, topic: &str) -> bool {
    topic == engine.config().catalog_topic
        || topic.starts_with(&engine.config().application_prefix)
        || topic.starts_with("__")
}

fn sources(engine: &Engine, kind: SourceKind) -> Result<StatementResult, SqlError> {
    let catalog = engine.catalog();
    let rows: Vec<_> = catalog
        .sources
        .values()
        .filter(|source| source.kind == kind)
        .map(|source| {
            row([
                source.name.clone(),
                source.topic.clone(),
                source.key_format.to_string(),
                source.value_format.to_string(),
                source.window_size_ms.is_some().to_string(),
            ])
        })
        .collect();
    StatementResult::table(&SOURCE_COLUMNS, &rows)
}

fn queries(engine: &Engine) -> Result<StatementResult, SqlError> {
    let rows: Vec<_> = engine
        .queries()
        .into_iter()
        .map(|status| {
            let left_out = status.bad_records + status.failed_rows + status.late_rows;
            let mut cells = row([
                status.id,
                status.state.name().to_owned(),
                status.sink,
                status.records_in.to_string(),
                status.records_out.to_string(),
                left_out.to_string(),
            ]);
            cells.push(status.error);
            cells.push(Some(status.sql));
            cells
        })
        .collect();
    StatementResult::table(&QUERY_COLUMNS, &rows)
}

fn functions(engine: &Engine) -> Result<StatementResult, SqlError> {
    let state = engine.planner().bare_session();
    let scalar = state
        .scalar_functions()
        .keys()
        .map(|name| (name.clone(), "scalar"));
    let aggregate = state
        .aggregate_functions()
        .keys()
        .map(|name| (name.clone(), "aggregate"));
    let window = state
        .window_functions()
        .keys()
        .map(|name| (name.clone(), "window"));
    let all: BTreeSet<_> = scalar.chain(aggregate).chain(window).collect();
    let rows: Vec<_> = all
        .into_iter()
        .map(|(name, kind)| row([name, kind.to_owned()]))
        .collect();
    StatementResult::table(&["function", "kind"], &rows)
}

fn row<const N: usize>(cells: [String; N]) -> Vec<Option<String>> {
    cells.into_iter().map(Some).collect()
}
