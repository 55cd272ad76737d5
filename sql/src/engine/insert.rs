//! `INSERT INTO .. VALUES`.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, Int64Array, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::DataType;
use bytes::Bytes;
use datafusion::physical_plan::collect;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{self, Expr, Parens, Query, SetExpr, Values};
use moldau_client::{ProducerConfig, ProducerRecord};

use super::Engine;
use super::result::StatementResult;
use crate::catalog::nearest;
use crate::catalog::source::Source;
use crate::error::SqlError;
use crate::formats::Place;
use crate::parser::{Insert, SourceKind};
use crate::plan::from_plan_error;
use crate::types::{Column, SqlType};

/// Name that sets the timestamp of the record.
const ROWTIME: &str = "rowtime";

/// Evaluates the rows, writes them and waits until they are stored.
pub(super) async fn run(engine: &Engine, insert: Insert) -> Result<StatementResult, SqlError> {
    let catalog = engine.catalog();
    let source = Arc::clone(catalog.source(&insert.name)?);
    if source.window_size_ms.is_some() {
        return Err(SqlError::unsupported(format!(
            "INSERT into the windowed {source}"
        )));
    }
    let targets = targets(&source, &insert)?;
    let count = insert.rows.len();
    let batch = evaluate(engine, insert.rows, &source).await?;
    let rows = Rows::new(&source, &targets, &batch)?;
    let records = rows.records()?;
    let producer = engine.client().producer(ProducerConfig {
        linger_ms: 0,
        ..ProducerConfig::default()
    });
    let sent = async {
        let mut deliveries = Vec::with_capacity(records.len());
        for record in records {
            deliveries.push(producer.send(record).await?);
        }
        for delivery in deliveries {
            delivery.await?;
        }
        Ok::<(), SqlError>(())
    }
    .await;
    producer.close().await;
    sent?;
    Ok(StatementResult::message(format!("INSERT 0 {count}")))
}

/// The columns that the values are for, in their order.
fn targets(source: &Source, insert: &Insert) -> Result<Vec<Column>, SqlError> {
    let declared = || source.key_columns.iter().chain(&source.value_columns);
    let targets: Vec<Column> = if insert.columns.is_empty() {
        declared().cloned().collect()
    } else {
        let find = |name: &String| match source.column(name) {
            Some(column) => Ok(column.clone()),
            None if name == ROWTIME => Ok(Column::new(ROWTIME, SqlType::BigInt)),
            None => {
                let error = SqlError::invalid(format!("{source} has no column `{name}`"));
                Err(match nearest(name, declared().map(|c| c.name.as_str())) {
                    Some(similar) => error.with_hint(format!("did you mean `{similar}`?")),
                    None => error,
                })
            }
        };
        insert.columns.iter().map(find).collect::<Result<_, _>>()?
    };
    for (index, column) in targets.iter().enumerate() {
        if targets[..index]
            .iter()
            .any(|other| other.name == column.name)
        {
            return Err(SqlError::invalid(format!(
                "column `{}` is named twice",
                column.name
            )));
        }
    }
    for row in &insert.rows {
        if row.len() != targets.len() {
            return Err(SqlError::invalid(format!(
                "{} values for {} columns",
                row.len(),
                targets.len()
            )));
        }
    }
    Ok(targets)
}

/// Evaluates the rows of expressions as one `VALUES`.
async fn evaluate(
    engine: &Engine,
    rows: Vec<Vec<Expr>>,
    source: &Source,
) -> Result<RecordBatch, SqlError> {
    let values = Values {
        explicit_row: false,
        value_keyword: false,
        rows: rows.into_iter().map(Parens::with_empty_span).collect(),
    };
    let query = Query {
        with: None,
        body: Box::new(SetExpr::Values(values)),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    };
    let mut options = engine.planner().options();
    // A literal for a DECIMAL column must not pass through a DOUBLE.
    options.sql_parser.parse_float_as_decimal = source
        .key_columns
        .iter()
        .chain(&source.value_columns)
        .any(|column| matches!(column.sql_type, SqlType::Decimal { .. }));
    let statement = ast::Statement::Query(Box::new(query));
    let resolver = Arc::new(crate::plan::tables::SchemasOnly { windowed: false });
    let planned = engine
        .planner()
        .plan(
            DataFusionStatement::Statement(Box::new(statement)),
            &engine.catalog(),
            resolver,
            Some(&options),
        )
        .await?;
    let physical = planned
        .state
        .create_physical_plan(&planned.plan)
        .await
        .map_err(|error| from_plan_error(&error))?;
    let schema = physical.schema();
    let batches = collect(physical, planned.state.task_ctx()).await?;
    Ok(concat_batches(&schema, &batches)?)
}

/// The values as columns of the source.
struct Rows<'a> {
    source: &'a Source,
    keys: Vec<ArrayRef>,
    values: Vec<ArrayRef>,
    rowtimes: Option<Int64Array>,
    count: usize,
}

impl<'a> Rows<'a> {
    fn new(source: &'a Source, targets: &[Column], batch: &RecordBatch) -> Result<Self, SqlError> {
        let array = |column: &Column| -> Result<ArrayRef, SqlError> {
            let data_type = column.sql_type.to_arrow();
            match targets.iter().position(|target| target.name == column.name) {
                Some(index) => typed(batch.column(index), &data_type, &column.name),
                None => Ok(new_null_array(&data_type, batch.num_rows())),
            }
        };
        let rowtimes = match targets.iter().position(|target| target.name == ROWTIME) {
            Some(index) if source.column(ROWTIME).is_none() => {
                let array = typed(batch.column(index), &DataType::Int64, ROWTIME)?;
                Some(arrow::array::AsArray::as_primitive(&array).clone())
            }
            _ => None,
        };
        Ok(Self {
            source,
            keys: source
                .key_columns
                .iter()
                .map(array)
                .collect::<Result<_, _>>()?,
            values: source
                .value_columns
                .iter()
                .map(array)
                .collect::<Result<_, _>>()?,
            rowtimes,
            count: batch.num_rows(),
        })
    }

    fn records(&self) -> Result<Vec<ProducerRecord>, SqlError> {
        let source = self.source;
        let key_encoder = source.key_format.encoder(&source.key_columns, Place::Key);
        let value_encoder = source
            .value_format
            .encoder(&source.value_columns, Place::Value);
        let keys = key_encoder.bind(&self.keys)?;
        let values = value_encoder.bind(&self.values)?;
        let mut records = Vec::with_capacity(self.count);
        for row in 0..self.count {
            let no_key = self.keys.is_empty() || self.keys.iter().all(|key| key.is_null(row));
            if no_key && source.kind == SourceKind::Table {
                return Err(
                    SqlError::invalid(format!("row {} for {source} has no key", row + 1))
                        .with_hint("give a value for each PRIMARY KEY column"),
                );
            }
            let mut bytes = Vec::new();
            let key = (!no_key && keys.write(row, &mut bytes)).then(|| Bytes::from(bytes));
            let mut bytes = Vec::new();
            let value = values.write(row, &mut bytes).then(|| Bytes::from(bytes));
            let mut record = ProducerRecord::new(source.topic.clone(), key, value);
            record.timestamp = match &self.rowtimes {
                Some(rowtimes) if !rowtimes.is_null(row) => Some(rowtimes.value(row)),
                _ => None,
            };
            records.push(record);
        }
        Ok(records)
    }
}

/// Casts, and fails rather than turning a value into null.
fn typed(array: &ArrayRef, data_type: &DataType, name: &str) -> Result<ArrayRef, SqlError> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, data_type, &options)
        .map_err(|error| SqlError::invalid(format!("column `{name}`: {error}")))
}
