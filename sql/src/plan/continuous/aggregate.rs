//! `GROUP BY` on the walk: the columns that an aggregate takes in, its functions, and what comes out.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column as ColumnName, DFSchema};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable as _, col};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;

use super::walk::{Origin, Walk};
use super::{AggregateCall, AggregateOutput, AggregatePlan, Stage, column_of};
use crate::catalog::source::{Origin as SourceOrigin, Pseudo, Source};
use crate::error::SqlError;
use crate::parser::SourceKind;
use crate::types::{Column, SqlType};

impl Walk<'_> {
    pub(super) fn aggregate(&mut self, node: &Aggregate) -> Result<(), SqlError> {
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
