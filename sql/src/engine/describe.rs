//! What a statement will give, without running it: for prepared statements.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{Expr, Value};
use std::sync::Arc;

use super::session::Session;
use super::{print, push, show};
use crate::error::SqlError;
use crate::parser::{Insert, Statement};
use crate::plan::continuous;

/// The columns and parameters of a statement.
#[derive(Debug, Clone, Default)]
pub(crate) struct Description {
    /// The columns, if it gives rows.
    pub(crate) schema: Option<SchemaRef>,
    /// Types of `$1`, `$2` and so on, where they are known.
    pub(crate) parameters: Vec<Option<DataType>>,
}

impl Session {
    /// Describes a statement.
    pub(crate) async fn describe(&self, statement: &Statement) -> Result<Description, SqlError> {
        let texts = |names: &[&str]| {
            let fields = names
                .iter()
                .map(|name| Field::new(*name, DataType::Utf8, true));
            Description {
                schema: Some(Arc::new(Schema::new(fields.collect::<Vec<_>>()))),
                parameters: Vec::new(),
            }
        };
        Ok(match statement {
            Statement::Query(select) => {
                let planned = self.plan_query(select).await?;
                let mut description = Description {
                    schema: Some(Arc::new(planned.plan.schema().as_arrow().clone())),
                    parameters: Vec::new(),
                };
                for (name, data_type) in planned.plan.get_parameter_types()? {
                    let index: usize = name.trim_start_matches('$').parse().unwrap_or(0);
                    if index == 0 {
                        continue;
                    }
                    if description.parameters.len() < index {
                        description.parameters.resize(index, None);
                    }
                    description.parameters[index - 1] = data_type;
                }
                description
            }
            Statement::PushQuery(select) => {
                let engine = self.engine();
                let plan = continuous::plan(engine.planner(), select, &engine.catalog()).await?;
                Description {
                    schema: Some(push::output_schema(&plan)),
                    parameters: Vec::new(),
                }
            }
            Statement::Insert(insert) => Description {
                schema: None,
                parameters: self.insert_parameters(insert)?,
            },
            Statement::Show(what) => texts(show::columns(*what)),
            Statement::ShowVariable(name) => texts(&[name.as_str()]),
            Statement::Describe(_) => texts(&show::DESCRIBE_COLUMNS),
            Statement::Explain(_) => texts(&["plan"]),
            Statement::Print(_) => Description {
                schema: Some(print::schema()),
                parameters: Vec::new(),
            },
            Statement::DataFusion(inner) => Description {
                schema: self.describe_datafusion(inner).await?,
                parameters: Vec::new(),
            },
            _ => Description::default(),
        })
    }

    /// A parameter that is a whole value has the type of its column.
    fn insert_parameters(&self, insert: &Insert) -> Result<Vec<Option<DataType>>, SqlError> {
        let catalog = self.engine().catalog();
        let source = catalog.source(&insert.name)?;
        let declared: Vec<String> = source
            .key_columns
            .iter()
            .chain(&source.value_columns)
            .map(|column| column.name.clone())
            .collect();
        let names = if insert.columns.is_empty() {
            &declared
        } else {
            &insert.columns
        };
        let mut parameters = Vec::new();
        for row in &insert.rows {
            for (name, expression) in names.iter().zip(row) {
                let Expr::Value(value) = expression else {
                    continue;
                };
                let Value::Placeholder(placeholder) = &value.value else {
                    continue;
                };
                let index: usize = placeholder.trim_start_matches('$').parse().unwrap_or(0);
                if index == 0 {
                    continue;
                }
                if parameters.len() < index {
                    parameters.resize(index, None);
                }
                let data_type = match source.column(name) {
                    Some(column) => Some(column.sql_type.to_arrow()),
                    None => Some(DataType::Int64),
                };
                parameters[index - 1] = data_type;
            }
        }
        Ok(parameters)
    }
}
