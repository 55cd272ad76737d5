//! A continuous query: from DataFusion's logical plan to what our operators need.
//!
//! The plan is one line of nodes, from the scan up: filters and projections, at most one aggregate,
//! then filters (`HAVING`) and projections again. While walking up, each column's origin is kept,
//! so that the key of the result is known at the top.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column as ColumnName, DFSchema, DFSchemaRef};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable as _, LogicalPlan, Projection, cast, col,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateFunctionExpr, LoweredAggregateBuilder};
use indexmap::IndexSet;

use super::rewrite::partition_key_alias;
use super::{Planner, from_plan_error, tables::SchemasOnly};
use crate::catalog::Catalog;
use crate::catalog::source::{Origin as SourceOrigin, Pseudo, Source};
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

/// Where a column of the plan comes from, as far as keys need to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// A column of the source: index of [`Source::table_columns`].
    Source(usize),
    /// A group column.
    Group(usize),
    /// Anything computed.
    Computed,
}

/// The walk from the scan to the top.
struct Walk<'a> {
    state: &'a SessionState,
    window: Option<TumblingWindow>,
    schema: DFSchemaRef,
    origins: Vec<Origin>,
    source: Arc<Source>,
    wanted: Vec<usize>,
    before: Vec<Stage>,
    aggregate: Option<AggregatePlan>,
    after: Vec<Stage>,
}

impl<'a> Walk<'a> {
    fn start(
        state: &'a SessionState,
        catalog: &Catalog,
        select: &StreamSelect,
        nodes: &[&LogicalPlan],
    ) -> Result<Self, SqlError> {
        let Some(LogicalPlan::TableScan(scan)) = nodes.first() else {
            return Err(SqlError::internal("the plan has no scan"));
        };
        let name = scan.table_name.table();
        let source = if scan.table_name.schema() == Some(super::TOPIC_SCHEMA) {
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

    fn run(
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
    fn typed(
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

    fn origin(&self, expression: &Expr) -> Origin {
        let Some(name) = plain_column(expression) else {
            return Origin::Computed;
        };
        match self.schema.index_of_column(name) {
            Ok(index) => self.origins.get(index).copied().unwrap_or(Origin::Computed),
            Err(_) => Origin::Computed,
        }
    }

    fn aggregate(&mut self, node: &Aggregate) -> Result<(), SqlError> {
        if self.aggregate.is_some() {
            return Err(SqlError::unsupported("an aggregate of an aggregate"));
        }
        if self.source.kind == SourceKind::Table {
            return Err(SqlError::unsupported("GROUP BY over a table")
                .with_hint("GROUP BY works over streams"));
        }
        let mut inputs = InputColumns::default();
        let Groups {
            columns: group_columns,
            origins: group_origins,
            mut layout,
        } = self.groups(node, &mut inputs)?;
        let rewritten = node
            .aggr_expr
            .iter()
            .map(|expression| self.input_of_call(expression, &mut inputs))
            .collect::<Result<Vec<_>, _>>()?;
        let input_schema = inputs.schema();
        let calls = rewritten
            .iter()
            .map(|expression| self.call(expression, &input_schema))
            .collect::<Result<Vec<_>, _>>()?;
        layout.extend((0..calls.len()).map(AggregateOutput::Call));
        let arguments = inputs.columns(group_columns.len())?;
        self.origins = layout
            .iter()
            .map(|output| match output {
                AggregateOutput::Group(index) => Origin::Group(*index),
                AggregateOutput::Window(_) | AggregateOutput::Call(_) => Origin::Computed,
            })
            .collect();
        self.schema = Arc::clone(&node.schema);
        self.aggregate = Some(AggregatePlan {
            inputs: Stage::Project {
                expressions: inputs.expressions,
                schema: input_schema,
            },
            is_keyed_by_source: is_source_key(&self.source, &group_origins, self.window.is_some()),
            group_columns,
            arguments,
            window: self.window,
            calls,
            schema: Arc::new(node.schema.as_arrow().clone()),
            layout,
        });
        Ok(())
    }

    /// The group columns become the first inputs; the bounds of the window need none.
    fn groups(&self, node: &Aggregate, inputs: &mut InputColumns) -> Result<Groups, SqlError> {
        let mut groups = Groups::default();
        for expression in &node.group_expr {
            if let Some(pseudo) = self.window_bound(expression) {
                groups.layout.push(AggregateOutput::Window(pseudo));
                continue;
            }
            if matches!(expression, Expr::GroupingSet(_)) {
                return Err(SqlError::unsupported("GROUPING SETS, CUBE and ROLLUP"));
            }
            let data_type = expression.get_type(self.schema.as_ref())?;
            let column = column_of(&expression.schema_name().to_string(), &data_type)?;
            let arrow_type = column.sql_type.to_arrow();
            let physical = self.typed(expression, &data_type, &arrow_type)?;
            let index = groups.columns.len();
            groups.origins.push(self.origin(expression));
            groups.layout.push(AggregateOutput::Group(index));
            inputs.push(format!("group_{index}"), arrow_type, physical);
            groups.columns.push(column);
        }
        if groups.columns.is_empty() {
            return Err(
                SqlError::unsupported("aggregates without GROUP BY in a continuous query")
                    .with_hint("group by a constant column, or run the query without EMIT CHANGES"),
            );
        }
        Ok(groups)
    }

    /// The bound of the query's window that an expression is.
    fn window_bound(&self, expression: &Expr) -> Option<Pseudo> {
        self.window?;
        let Origin::Source(index) = self.origin(expression) else {
            return None;
        };
        match self.source.table_columns(true).get(index)?.origin {
            SourceOrigin::Pseudo(pseudo) if pseudo.is_window() => Some(pseudo),
            _ => None,
        }
    }

    /// Makes the arguments of an aggregate columns of its input.
    fn input_of_call(
        &self,
        expression: &Expr,
        inputs: &mut InputColumns,
    ) -> Result<Expr, SqlError> {
        let Expr::AggregateFunction(function) = expression.clone().unalias() else {
            return Err(SqlError::internal(format!(
                "`{expression}` is not an aggregate"
            )));
        };
        let mut function = function;
        let name = function.func.name().to_owned();
        if function.params.distinct {
            return Err(SqlError::unsupported(format!(
                "{name}(DISTINCT ..) in a continuous query"
            )));
        }
        if !function.params.order_by.is_empty() {
            return Err(SqlError::unsupported(format!(
                "{name}(.. ORDER BY ..) in a continuous query"
            )));
        }
        for argument in &mut function.params.args {
            if !matches!(argument, Expr::Literal(_, _)) {
                *argument = self.input_column(argument, inputs)?;
            }
        }
        if let Some(filter) = &mut function.params.filter {
            **filter = self.input_column(filter, inputs)?;
        }
        Ok(Expr::AggregateFunction(function).alias(expression.schema_name().to_string()))
    }

    fn input_column(&self, expression: &Expr, inputs: &mut InputColumns) -> Result<Expr, SqlError> {
        let data_type = expression.get_type(self.schema.as_ref())?;
        let text = expression.schema_name().to_string();
        if let Some(name) = inputs.known(&text) {
            return Ok(col(ColumnName::new_unqualified(name)));
        }
        let column = column_of(&text, &data_type)?;
        let arrow_type = column.sql_type.to_arrow();
        let physical = self.typed(expression, &data_type, &arrow_type)?;
        let name = format!("argument_{}", inputs.fields.len());
        inputs.texts.push((text, name.clone()));
        inputs.push(name.clone(), arrow_type, physical);
        Ok(col(ColumnName::new_unqualified(name)))
    }

    fn call(&self, expression: &Expr, input: &SchemaRef) -> Result<AggregateCall, SqlError> {
        let logical = DFSchema::try_from(input.as_ref().clone())?;
        let context = PhysicalPlanningContext::default();
        let lowered = LoweredAggregateBuilder::new(
            expression,
            &logical,
            input,
            self.state.execution_props(),
            &context,
        )
        .build()?;
        let function = lowered.aggregate;
        let refuse = || {
            SqlError::unsupported(format!(
                "the aggregate {} in a continuous query",
                function.fun().name()
            ))
            .with_hint("COUNT, SUM, MIN, MAX and AVG run continuously")
        };
        if !function.groups_accumulator_supported() {
            return Err(refuse());
        }
        let state = function
            .state_fields()?
            .iter()
            .map(|field| SqlType::from_arrow(field.data_type()).filter(is_scalar))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(refuse)?;
        Ok(AggregateCall {
            function,
            filter: lowered.filter,
            state,
        })
    }

    fn output(&self, top: &[Expr], partition_keys: usize) -> Result<Output, SqlError> {
        let fields = self.schema.fields();
        let selected = fields.len().saturating_sub(partition_keys);
        let mut columns = Vec::with_capacity(selected);
        for field in fields.iter().take(selected) {
            let column = column_of(field.name(), field.data_type())?;
            if columns
                .iter()
                .any(|other: &Column| other.name == column.name)
            {
                return Err(SqlError::invalid(format!(
                    "column `{}` is in the select list twice",
                    column.name
                ))
                .with_hint("give one of them another name with AS"));
            }
            columns.push(column);
        }
        let position = |origin: Origin| {
            self.origins
                .iter()
                .take(selected)
                .position(|other| *other == origin)
        };
        if let Some(aggregate) = &self.aggregate {
            let groups = 0..aggregate.group_columns.len();
            return Ok(Output {
                columns,
                key: OutputKey::Group(groups.map(|index| position(Origin::Group(index))).collect()),
                kind: SourceKind::Table,
            });
        }
        let key = if partition_keys > 0 {
            self.partition_key(top, selected, &columns)?
        } else {
            let origins = self.source.table_columns(self.window.is_some());
            let keys = (0..origins.len())
                .filter(|index| matches!(origins[*index].origin, SourceOrigin::Key(_)))
                .map(|index| position(Origin::Source(index)))
                .collect::<Option<Vec<_>>>();
            OutputKey::Input(keys.unwrap_or_default())
        };
        Ok(Output {
            columns,
            key,
            kind: self.source.kind,
        })
    }

    /// A key that is also selected is that column; else it lies behind the select list.
    fn partition_key(
        &self,
        top: &[Expr],
        selected: usize,
        columns: &[Column],
    ) -> Result<OutputKey, SqlError> {
        if self.source.kind == SourceKind::Table {
            return Err(SqlError::unsupported("PARTITION BY over a table"));
        }
        let mut indices = Vec::new();
        let mut keys: Vec<Column> = Vec::new();
        for (n, expression) in top.iter().enumerate().skip(selected) {
            let plain = expression.clone().unalias();
            let same = top[..selected]
                .iter()
                .position(|other| other.clone().unalias() == plain);
            let index = same.unwrap_or(n);
            let key = match columns.get(index) {
                Some(column) => column.clone(),
                None => {
                    let field = self.schema.field(n);
                    debug_assert_eq!(field.name(), &partition_key_alias(n - selected));
                    let name = match &plain {
                        Expr::Column(column) => column.name.clone(),
                        _ => format!("key_{}", n - selected),
                    };
                    column_of(&name, field.data_type())?
                }
            };
            indices.push(index);
            keys.push(key);
        }
        Ok(OutputKey::Columns(indices, keys))
    }
}

/// What a `GROUP BY` groups by.
#[derive(Default)]
struct Groups {
    columns: Vec<Column>,
    origins: Vec<Origin>,
    layout: Vec<AggregateOutput>,
}

/// Columns of an aggregate's input while they are collected.
#[derive(Default)]
struct InputColumns {
    fields: Vec<Field>,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    /// Text of an argument and its column, so that equal arguments share one.
    texts: Vec<(String, String)>,
}

impl InputColumns {
    fn push(&mut self, name: String, data_type: DataType, expression: Arc<dyn PhysicalExpr>) {
        self.fields.push(Field::new(name, data_type, true));
        self.expressions.push(expression);
    }

    fn known(&self, text: &str) -> Option<String> {
        let found = self.texts.iter().find(|(known, _)| known == text);
        found.map(|(_, name)| name.clone())
    }

    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.fields.clone()))
    }

    fn columns(&self, skip: usize) -> Result<Vec<Column>, SqlError> {
        self.fields
            .iter()
            .skip(skip)
            .map(|field| column_of(field.name(), field.data_type()))
            .collect()
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

fn column_of(name: &str, data_type: &DataType) -> Result<Column, SqlError> {
    match SqlType::from_arrow(data_type) {
        Some(sql_type) => Ok(Column::new(name, sql_type)),
        None => Err(
            SqlError::unsupported(format!("column `{name}` of type {data_type}"))
                .with_hint("CAST it to a column type, for example VARCHAR"),
        ),
    }
}

fn is_scalar(sql_type: &SqlType) -> bool {
    !matches!(
        sql_type,
        SqlType::Array(_) | SqlType::Map(_, _) | SqlType::Struct(_)
    )
}

/// Whether the group is exactly the source's key, in order.
fn is_source_key(source: &Source, groups: &[Origin], windowed: bool) -> bool {
    let columns = source.table_columns(windowed);
    let keys: Vec<Origin> = (0..columns.len())
        .filter(|index| matches!(columns[*index].origin, SourceOrigin::Key(_)))
        .map(Origin::Source)
        .collect();
    source.window_size_ms.is_none() && !keys.is_empty() && keys == groups
}
