//! The walk over a continuous query's plan, from the scan to the top.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column as ColumnName, DFSchema, DFSchemaRef};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, cast};
use datafusion::physical_expr::PhysicalExpr;
use indexmap::IndexSet;

use super::super::{TOPIC_SCHEMA, from_plan_error};
use super::{AggregatePlan, ContinuousPlan, OutputKey, Stage, column_of, refuse};
use crate::catalog::Catalog;
use crate::catalog::source::Source;
use crate::error::SqlError;
use crate::parser::{StreamSelect, TumblingWindow};

/// Where a column of the plan comes from, as far as keys need to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A column of the source: index of [`Source::table_columns`].
    Source(usize),
    /// A group column.
    Group(usize),
    /// Anything computed.
    Computed,
}

/// The walk from the scan to the top.
pub(super) struct Walk<'a> {
    pub(super) state: &'a SessionState,
    pub(super) window: Option<TumblingWindow>,
    pub(super) schema: DFSchemaRef,
    pub(super) origins: Vec<Origin>,
    pub(super) source: Arc<Source>,
    pub(super) wanted: Vec<usize>,
    pub(super) before: Vec<Stage>,
    pub(super) aggregate: Option<AggregatePlan>,
    pub(super) after: Vec<Stage>,
}

impl<'a> Walk<'a> {
    pub(super) fn start(
        state: &'a SessionState,
        catalog: &Catalog,
        select: &StreamSelect,
        nodes: &[&LogicalPlan],
    ) -> Result<Self, SqlError> {
        let Some(LogicalPlan::TableScan(scan)) = nodes.first() else {
            return Err(SqlError::internal("the plan has no scan"));
        };
        let name = scan.table_name.table();
        let source = if scan.table_name.schema() == Some(TOPIC_SCHEMA) {
            Arc::new(Source::undeclared(name))
        } else {
            Arc::clone(catalog.source(name)?)
        };
        let columns = source.table_columns(select.window.is_some());
        let used = columns_of_scan(nodes);
        let wanted: Vec<usize> = (0..columns.len())
            .filter(|index| used.contains(columns[*index].field.name()))
            .collect();
        let fields = wanted.iter().map(|index| {
            let field = Arc::new(columns[*index].field.clone());
            (Some(scan.table_name.clone()), field)
        });
        let schema = DFSchema::new_with_metadata(fields.collect(), Default::default())?;
        Ok(Self {
            state,
            window: select.window,
            schema: Arc::new(schema),
            origins: wanted.iter().map(|index| Origin::Source(*index)).collect(),
            source,
            wanted,
            before: Vec::new(),
            aggregate: None,
            after: Vec::new(),
        })
    }

    pub(super) fn run(
        mut self,
        nodes: &[&LogicalPlan],
        partition_keys: usize,
    ) -> Result<ContinuousPlan, SqlError> {
        let mut top_expressions: &[Expr] = &[];
        for node in &nodes[1..] {
            match node {
                LogicalPlan::SubqueryAlias(alias) => {
                    let schema = self.schema.as_arrow();
                    self.schema = Arc::new(DFSchema::try_from_qualified_schema(
                        alias.alias.clone(),
                        schema,
                    )?);
                }
                LogicalPlan::Filter(filter) => {
                    let stage = Stage::Filter(self.physical(&filter.predicate)?);
                    self.stages().push(stage);
                }
                LogicalPlan::Projection(projection) => {
                    top_expressions = &projection.expr;
                    let stage = self.project(projection)?;
                    self.stages().push(stage);
                }
                LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate)?,
                other => return Err(refuse(other)),
            }
        }
        if self.window.is_some() && self.aggregate.is_none() {
            return Err(SqlError::invalid("a WINDOW needs GROUP BY"));
        }
        let output = self.output(top_expressions, partition_keys)?;
        if let (Some(aggregate), OutputKey::Group(selected)) = (&mut self.aggregate, &output.key) {
            // A key of several columns carries their names, and those are the selected ones.
            for (column, index) in aggregate.group_columns.iter_mut().zip(selected) {
                if let Some(selected) = index.and_then(|index| output.columns.get(index)) {
                    column.name.clone_from(&selected.name);
                }
            }
        }
        Ok(ContinuousPlan {
            source: self.source,
            wanted: self.wanted,
            before: self.before,
            aggregate: self.aggregate,
            after: self.after,
            output,
        })
    }

    fn stages(&mut self) -> &mut Vec<Stage> {
        if self.aggregate.is_some() {
            &mut self.after
        } else {
            &mut self.before
        }
    }

    fn physical(&self, expression: &Expr) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
        self.state
            .create_physical_expr(expression.clone(), &self.schema)
            .map_err(|error| from_plan_error(&error))
    }

    fn project(&mut self, projection: &Projection) -> Result<Stage, SqlError> {
        let mut expressions = Vec::with_capacity(projection.expr.len());
        let mut fields = Vec::with_capacity(projection.expr.len());
        let mut origins = Vec::with_capacity(projection.expr.len());
        let mut qualified = Vec::with_capacity(projection.expr.len());
        for (expression, (qualifier, field)) in projection.expr.iter().zip(projection.schema.iter())
        {
            let column = column_of(field.name(), field.data_type())?;
            let arrow_type = column.sql_type.to_arrow();
            expressions.push(self.typed(expression, field.data_type(), &arrow_type)?);
            origins.push(self.origin(expression));
            let field = Arc::new(Field::new(field.name(), arrow_type, true));
            fields.push(Arc::clone(&field));
            qualified.push((qualifier.cloned(), field));
        }
        self.origins = origins;
        self.schema = Arc::new(DFSchema::new_with_metadata(qualified, Default::default())?);
        Ok(Stage::Project {
            expressions,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// An expression as one of our column types.
    pub(super) fn typed(
        &self,
        expression: &Expr,
        from: &DataType,
        to: &DataType,
    ) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
        if from == to {
            self.physical(expression)
        } else {
            self.physical(&cast(expression.clone().unalias(), to.clone()))
        }
    }

    pub(super) fn origin(&self, expression: &Expr) -> Origin {
        let Some(name) = plain_column(expression) else {
            return Origin::Computed;
        };
        match self.schema.index_of_column(name) {
            Ok(index) => self.origins.get(index).copied().unwrap_or(Origin::Computed),
            Err(_) => Origin::Computed,
        }
    }
}

/// Names of the scan's columns that anything above it uses.
fn columns_of_scan(nodes: &[&LogicalPlan]) -> IndexSet<String> {
    let mut used = IndexSet::new();
    for node in nodes.iter().skip(1) {
        for expression in node.expressions() {
            // The closure does not fail.
            let _ = expression.apply(|inner| {
                if let Expr::Column(column) = inner {
                    used.insert(column.name.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            });
        }
        if matches!(node, LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_)) {
            break;
        }
    }
    used
}

fn plain_column(expression: &Expr) -> Option<&ColumnName> {
    match expression {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => plain_column(&alias.expr),
        _ => None,
    }
}
