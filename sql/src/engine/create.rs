//! `CREATE STREAM` and `CREATE TABLE`.

use std::sync::Arc;

use moldau_client::admin::NewTopic;

use super::catalog_log::Change;
use super::properties::Properties;
use super::result::StatementResult;
use super::{CatalogChange, Engine};
use crate::catalog::Catalog;
use crate::catalog::record::{QueryRecord, VERSION};
use crate::catalog::source::{Source, is_event_time};
use crate::continuous::{SinkLayout, sink_columns};
use crate::error::{SqlError, SqlErrorKind};
use crate::formats::{Format, Place};
use crate::parser::{ColumnKey, CreateAs, CreateSource, SourceKind};
use crate::plan::continuous::{self, ContinuousPlan, OutputKey};
use crate::types::{Column, SqlType};

/// `CREATE STREAM | TABLE name (columns) WITH (..)`.
pub(super) async fn source(
    engine: &Engine,
    create: CreateSource,
    text: String,
) -> Result<StatementResult, SqlError> {
    let properties = Properties::read(&create.properties)?;
    let source = declared_source(&create, &properties, text)?;
    let mut change = engine.change().await?;
    let catalog = engine.catalog();
    if let Some(existing) = catalog.sources.get(&source.name) {
        if create.if_not_exists {
            return Ok(StatementResult::message(format!(
                "{existing} exists already"
            )));
        }
        check_replaceable(&catalog, existing, create.or_replace)?;
    }
    ensure_topic(engine, &source, &properties, None).await?;
    let message = format!("{source} created over topic `{}`", source.topic);
    change
        .commit(&[Change::PutSource(Arc::new(source))])
        .await?;
    Ok(StatementResult::message(message))
}

/// `CREATE STREAM | TABLE name AS SELECT ..`.
pub(super) async fn from_select(
    engine: &Engine,
    create: CreateAs,
    text: String,
    start_at: Option<String>,
) -> Result<StatementResult, SqlError> {
    let properties = Properties::read(&create.properties)?;
    refuse_for_query(&properties)?;
    let mut change = engine.change().await?;
    let catalog = engine.catalog();
    if let Some(existing) = catalog.sources.get(&create.name) {
        if create.if_not_exists {
            return Ok(StatementResult::message(format!(
                "{existing} exists already"
            )));
        }
        check_replaceable(&catalog, existing, create.or_replace)?;
    }
    let plan = continuous::plan(engine.planner(), &create.select, &catalog).await?;
    check_kind(&create, &plan)?;
    let id = query_id(&change, &create);
    let sink = Arc::new(sink_source(&create, &properties, &plan, text.clone(), &id)?);
    let partitions = engine.client().partition_count(&plan.source.topic).await?;
    if partitions.is_none() {
        return Err(SqlError::not_found(format!(
            "topic `{}` of the {} does not exist",
            plan.source.topic, plan.source
        )));
    }
    ensure_topic(engine, &sink, &properties, partitions).await?;
    let record = Arc::new(QueryRecord {
        version: VERSION,
        id: id.clone(),
        sql: text,
        sink: sink.name.clone(),
        sources: vec![plan.source.name.clone()],
        start_at: start_at.unwrap_or_else(|| "earliest".to_owned()),
    });
    let replaced = replaced_query(&catalog, &create.name);
    let mut changes: Vec<Change> = replaced.iter().cloned().map(Change::RemoveQuery).collect();
    changes.push(Change::PutSource(Arc::clone(&sink)));
    changes.push(Change::PutQuery(Arc::clone(&record)));
    change.commit(&changes).await?;
    if let Some(old) = &replaced {
        engine.remove_query(old).await;
    }
    engine.start_query(&record);
    Ok(StatementResult::message(format!(
        "{sink} created, fed by query {id}"
    )))
}

pub(crate) fn declared_source(
    create: &CreateSource,
    properties: &Properties,
    text: String,
) -> Result<Source, SqlError> {
    let (mut key_columns, mut value_columns) = (Vec::new(), Vec::new());
    for column in &create.columns {
        let is_key = column.key != ColumnKey::None;
        let declared = Column::new(&column.name, column.sql_type.clone());
        if is_key {
            &mut key_columns
        } else {
            &mut value_columns
        }
        .push(declared);
    }
    if create.kind == SourceKind::Table && key_columns.is_empty() {
        return Err(
            SqlError::invalid(format!("table `{}` has no key", create.name))
                .with_hint("mark its key columns with PRIMARY KEY"),
        );
    }
    let key_format = properties
        .key_format
        .clone()
        .unwrap_or_else(|| default_key_format(&key_columns));
    let value_format = properties.value_format.clone().unwrap_or(Format::Json);
    key_format.check(&key_columns, Place::Key)?;
    value_format.check(&value_columns, Place::Value)?;
    let source = Source {
        name: create.name.clone(),
        kind: create.kind,
        topic: properties
            .topic
            .clone()
            .unwrap_or_else(|| create.name.clone()),
        key_format,
        value_format,
        key_columns,
        value_columns,
        timestamp_column: None,
        window_size_ms: properties.window_size_ms,
        sql: text,
        query_id: None,
    };
    with_event_time(source, properties)
}

fn with_event_time(mut source: Source, properties: &Properties) -> Result<Source, SqlError> {
    let Some((name, position)) = &properties.timestamp else {
        return Ok(source);
    };
    match source.column(name) {
        Some(column) if is_event_time(&column.sql_type) => {
            source.timestamp_column = Some(name.clone());
            Ok(source)
        }
        Some(column) => Err(SqlError::invalid(format!(
            "TIMESTAMP column `{name}` is {}, not TIMESTAMP or BIGINT",
            column.sql_type
        ))
        .at(*position)),
        None => Err(
            SqlError::invalid(format!("TIMESTAMP column `{name}` is not declared")).at(*position),
        ),
    }
}

fn refuse_for_query(properties: &Properties) -> Result<(), SqlError> {
    if properties.timestamp.is_some() {
        return Err(SqlError::unsupported(
            "the property TIMESTAMP of CREATE .. AS SELECT",
        ));
    }
    if properties.window_size_ms.is_some() {
        return Err(SqlError::invalid("WINDOW_SIZE of CREATE .. AS SELECT")
            .with_hint("the window is written in the query"));
    }
    Ok(())
}

fn check_kind(create: &CreateAs, plan: &ContinuousPlan) -> Result<(), SqlError> {
    match (create.kind, plan.output.kind) {
        (SourceKind::Stream, SourceKind::Table) if plan.aggregate.is_some() => Err(
            SqlError::invalid("the result of GROUP BY is a table, not a stream")
                .with_hint("write CREATE TABLE"),
        ),
        (SourceKind::Stream, SourceKind::Table) => Err(SqlError::invalid(format!(
            "{} is a table, so this query is one",
            plan.source
        ))
        .with_hint("write CREATE TABLE")),
        (SourceKind::Table, SourceKind::Stream) => Err(SqlError::invalid(
            "the result of this query is a stream: its rows do not replace each other",
        )
        .with_hint("write CREATE STREAM, or add GROUP BY")),
        _ => Ok(()),
    }
}

pub(crate) fn sink_source(
    create: &CreateAs,
    properties: &Properties,
    plan: &ContinuousPlan,
    text: String,
    query_id: &str,
) -> Result<Source, SqlError> {
    let SinkLayout {
        key_columns,
        value_columns,
        ..
    } = sink_columns(plan)?;
    let inherited = plan.source.key_format.clone();
    let fits = inherited != Format::None && inherited.check(&key_columns, Place::Key).is_ok();
    let key_format = match &properties.key_format {
        Some(format) => format.clone(),
        None if fits && !matches!(plan.output.key, OutputKey::Columns(_, _)) => inherited,
        None => default_key_format(&key_columns),
    };
    let value_format = match (&properties.value_format, &plan.source.value_format) {
        (Some(format), _) => format.clone(),
        (None, Format::None | Format::Kafka) => Format::Json,
        (None, inherited) => inherited.clone(),
    };
    key_format.check(&key_columns, Place::Key)?;
    value_format.check(&value_columns, Place::Value)?;
    let window = plan
        .aggregate
        .as_ref()
        .and_then(|aggregate| aggregate.window);
    Ok(Source {
        name: create.name.clone(),
        kind: create.kind,
        topic: properties
            .topic
            .clone()
            .unwrap_or_else(|| create.name.clone()),
        key_format,
        value_format,
        key_columns,
        value_columns,
        timestamp_column: None,
        window_size_ms: match window {
            Some(window) => Some(window.size_ms),
            None if plan.aggregate.is_none() => plan.source.window_size_ms,
            None => None,
        },
        sql: text,
        query_id: Some(query_id.to_owned()),
    })
}

/// KAFKA holds one primitive; everything else is JSON.
fn default_key_format(columns: &[Column]) -> Format {
    let primitive = |column: &Column| {
        !matches!(
            column.sql_type,
            SqlType::Decimal { .. } | SqlType::Timestamp | SqlType::Date | SqlType::Time
        ) && Format::Kafka
            .check(std::slice::from_ref(column), Place::Key)
            .is_ok()
    };
    match columns {
        [] => Format::Kafka,
        [column] if primitive(column) => Format::Kafka,
        _ => Format::Json,
    }
}

fn check_replaceable(
    catalog: &Catalog,
    existing: &Source,
    or_replace: bool,
) -> Result<(), SqlError> {
    if !or_replace {
        return Err(SqlError::new(
            SqlErrorKind::AlreadyExists,
            format!("{existing} exists already"),
        )
        .with_hint("use CREATE OR REPLACE, or IF NOT EXISTS"));
    }
    let reader = catalog
        .queries
        .values()
        .find(|query| query.sources.contains(&existing.name));
    match reader {
        Some(query) => Err(SqlError::new(
            SqlErrorKind::InUse,
            format!("{existing} is read by query {}", query.id),
        )
        .with_hint(format!("TERMINATE {} first", query.id))),
        None => Ok(()),
    }
}

fn replaced_query(catalog: &Catalog, name: &str) -> Option<String> {
    let fed = catalog.queries.values().find(|query| query.sink == name);
    fed.map(|query| query.id.clone())
}

/// As ksqlDB: `csas_name_7`. Also part of a consumer group's and of topics' names.
fn query_id(change: &CatalogChange<'_>, create: &CreateAs) -> String {
    let prefix = match create.kind {
        SourceKind::Stream => "csas",
        SourceKind::Table => "ctas",
    };
    let name: String = create
        .name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    format!("{prefix}_{name}_{}", change.next_number())
}

/// Makes the topic of a stream or table if it is missing.
async fn ensure_topic(
    engine: &Engine,
    source: &Source,
    properties: &Properties,
    source_partitions: Option<i32>,
) -> Result<(), SqlError> {
    let existing = engine.client().partition_count(&source.topic).await?;
    match (existing, properties.partitions) {
        (Some(existing), Some(wanted)) if existing != wanted => {
            return Err(SqlError::invalid(format!(
                "topic `{}` has {existing} partitions, not {wanted}",
                source.topic
            ))
            .with_hint("leave PARTITIONS out for a topic that exists"));
        }
        (Some(_), _) => return Ok(()),
        (None, _) => {}
    }
    let partitions = properties.partitions.or(source_partitions).unwrap_or(-1);
    let mut topic = NewTopic::new(&source.topic, partitions);
    topic.replication_factor = properties.replicas.unwrap_or(-1);
    if source.kind == SourceKind::Table {
        topic = match source.window_size_ms {
            None => topic.config("cleanup.policy", "compact"),
            Some(_) => topic.config("cleanup.policy", "compact,delete"),
        };
    }
    engine.client().admin().ensure_topic(topic).await?;
    Ok(())
}
