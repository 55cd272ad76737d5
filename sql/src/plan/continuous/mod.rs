//! A continuous query: from DataFusion's logical plan to what our operators need.
//!
//! The plan is one line of nodes, from the scan up: filters and projections, at most one aggregate,
//! then filters (`HAVING`) and projections again. While walking up, each column's origin is kept,
//! so that the key of the result is known at the top.

mod aggregate;
mod output;
mod walk;

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::TreeNode as _;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use self::walk::Walk;
use super::tables::SchemasOnly;
use super::{Planner, from_plan_error};
use crate::catalog::Catalog;
use crate::catalog::source::{Pseudo, Source};
use crate::error::SqlError;
use crate::parser::{SourceKind, StreamSelect, TumblingWindow};
use crate::types::{Column, SqlType};

/// How long a window takes late rows if nothing is said, as in ksqlDB.
pub const DEFAULT_GRACE_MS: i64 = 24 * 3_600_000;

/// A continuous query, ready to run.
#[derive(Debug, Clone)]
pub struct ContinuousPlan {
    /// What it reads.
    pub source: Arc<Source>,
    /// The columns it reads: indices of [`Source::table_columns`].
    pub wanted: Vec<usize>,
    /// Work on single rows, before the aggregate.
    pub before: Vec<Stage>,
    /// `GROUP BY`.
    pub aggregate: Option<AggregatePlan>,
    /// Work on single rows, after the aggregate.
    pub after: Vec<Stage>,
    /// What comes out.
    pub output: Output,
}

/// Work on the rows of one chunk.
#[derive(Debug, Clone)]
pub enum Stage {
    /// Keeps the rows for which it is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Computes new columns.
    Project {
        /// One expression a column.
        expressions: Vec<Arc<dyn PhysicalExpr>>,
        /// The new columns.
        schema: SchemaRef,
    },
}

/// What a `GROUP BY` needs.
#[derive(Debug, Clone)]
pub struct AggregatePlan {
    /// Computes the group columns, then the arguments of the aggregates.
    pub inputs: Stage,
    /// Columns that make a group.
    pub group_columns: Vec<Column>,
    /// Arguments and filters of the aggregates.
    pub arguments: Vec<Column>,
    /// The window, if there is one.
    pub window: Option<TumblingWindow>,
    /// The aggregates; their arguments are columns of `inputs`.
    pub calls: Vec<AggregateCall>,
    /// Columns of the result.
    pub schema: SchemaRef,
    /// Where they come from.
    pub layout: Vec<AggregateOutput>,
    /// The group columns are the key of the source, so rows are with their group already.
    pub is_keyed_by_source: bool,
}

/// One aggregate function.
#[derive(Debug, Clone)]
pub struct AggregateCall {
    /// The function with its arguments.
    pub function: Arc<AggregateFunctionExpr>,
    /// `FILTER (WHERE ..)`.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// Types of its state, as they are stored.
    pub state: Vec<SqlType>,
}

/// A column of an aggregate's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregateOutput {
    /// A group column.
    Group(usize),
    /// A bound of the window.
    Window(Pseudo),
    /// The result of a function.
    Call(usize),
}

/// The result of a continuous query.
#[derive(Debug, Clone)]
pub struct Output {
    /// Columns of the select list.
    pub columns: Vec<Column>,
    /// Where the key of a result row comes from.
    pub key: OutputKey,
    /// Whether rows replace each other by key.
    pub kind: SourceKind,
}

/// The key of a result row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputKey {
    /// That of the input record; if its columns are selected, they are these.
    Input(Vec<usize>),
    /// `PARTITION BY`: these columns; some may lie behind the select list.
    Columns(Vec<usize>, Vec<Column>),
    /// That of the group; its columns are these, `None` where one is not selected.
    Group(Vec<Option<usize>>),
}

/// Plans a continuous query.
///
/// # Errors
/// If a name or type is wrong, or the query has a part that cannot run continuously yet.
pub async fn plan(
    planner: &Planner,
    select: &StreamSelect,
    catalog: &Arc<Catalog>,
) -> Result<ContinuousPlan, SqlError> {
    let windowed = select.window.is_some();
    let resolver = Arc::new(SchemasOnly { windowed });
    let planned = planner.plan_select(select, catalog, resolver, None).await?;
    let state = &planned.state;
    let plan = state
        .analyzer()
        .execute_and_check(planned.plan, state.config_options(), |_, _| {})
        .map_err(|error| from_plan_error(&error))?;
    let nodes = chain(&plan)?;
    let partition_keys = select.partition_by.as_ref().map_or(0, Vec::len);
    Walk::start(state, catalog, select, &nodes)?.run(&nodes, partition_keys)
}

/// The nodes from the scan up.
fn chain(plan: &LogicalPlan) -> Result<Vec<&LogicalPlan>, SqlError> {
    let mut nodes = Vec::new();
    let mut node = plan;
    loop {
        nodes.push(node);
        node = match node {
            LogicalPlan::Projection(inner) => &inner.input,
            LogicalPlan::Filter(inner) => &inner.input,
            LogicalPlan::SubqueryAlias(inner) => &inner.input,
            LogicalPlan::Aggregate(inner) => &inner.input,
            LogicalPlan::TableScan(_) => break,
            other => return Err(refuse(other)),
        };
    }
    nodes.reverse();
    for node in &nodes {
        for expression in node.expressions() {
            refuse_expression(&expression)?;
        }
    }
    Ok(nodes)
}

fn refuse(node: &LogicalPlan) -> SqlError {
    let feature = match node {
        LogicalPlan::Join(_) => "joins in a continuous query",
        LogicalPlan::Union(_) => "UNION in a continuous query",
        LogicalPlan::Sort(_) => "ORDER BY in a continuous query",
        LogicalPlan::Limit(_) => {
            "LIMIT in a continuous query; push queries take LIMIT at their end"
        }
        LogicalPlan::Distinct(_) => "DISTINCT in a continuous query",
        LogicalPlan::Window(_) => "OVER (..) in a continuous query",
        LogicalPlan::Unnest(_) => "UNNEST in a continuous query",
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => {
            return SqlError::invalid("a continuous query reads one stream or table")
                .with_hint("name it in FROM");
        }
        other => {
            return SqlError::unsupported(format!("{} in a continuous query", other.display()));
        }
    };
    SqlError::unsupported(feature)
        .with_hint("without EMIT CHANGES the query runs over what is in the topics now")
}

fn refuse_expression(expression: &Expr) -> Result<(), SqlError> {
    let found = expression.exists(|inner| {
        Ok(matches!(
            inner,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::OuterReferenceColumn(_, _)
        ))
    })?;
    if found {
        Err(SqlError::unsupported("subqueries in a continuous query"))
    } else {
        Ok(())
    }
}

fn column_of(name: &str, data_type: &DataType) -> Result<Column, SqlError> {
    match SqlType::from_arrow(data_type) {
        Some(sql_type) => Ok(Column::new(name, sql_type)),
        None => Err(
            SqlError::unsupported(format!("column `{name}` of type {data_type}"))
                .with_hint("CAST it to a column type, for example VARCHAR"),
        ),
    }
}
