//! Which columns of a result lie in the key of a sink's record, and which in the value.

use crate::error::SqlError;
use crate::plan::continuous::{ContinuousPlan, OutputKey};
use crate::types::Column;

/// The columns of a result as the records of its sink hold them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkLayout {
    /// Columns in the key. Empty if the input's key goes through as bytes.
    pub key_columns: Vec<Column>,
    /// Their places in the result.
    pub key_indices: Vec<usize>,
    /// Columns in the value.
    pub value_columns: Vec<Column>,
    /// Their places in the result.
    pub value_indices: Vec<usize>,
}

/// Splits the result of a query.
///
/// # Errors
/// If a table would have no key, or nothing would be left for the value.
pub fn sink_columns(plan: &ContinuousPlan) -> Result<SinkLayout, SqlError> {
    let output = &plan.output;
    let (key_columns, key_indices) = match &output.key {
        OutputKey::Input(indices) => {
            if indices.is_empty() && output.kind == crate::parser::SourceKind::Table {
                return Err(SqlError::invalid(format!(
                    "the key of the table `{}` is not in the select list",
                    plan.source.name
                ))
                .with_hint("select its PRIMARY KEY columns too"));
            }
            let columns = indices.iter().map(|index| output.columns[*index].clone());
            (columns.collect(), indices.clone())
        }
        OutputKey::Columns(indices, columns) => (columns.clone(), indices.clone()),
        OutputKey::Group(indices) => group_key(plan, indices)?,
    };
    let value_indices: Vec<usize> = (0..output.columns.len())
        .filter(|index| !key_indices.contains(index))
        .collect();
    if value_indices.is_empty() {
        return Err(SqlError::invalid("all columns lie in the key, none in the value")
            .with_hint("select another column, for example COUNT(*) or the key once more: id + 0 AS id_copy"));
    }
    let value_columns = value_indices
        .iter()
        .map(|index| output.columns[*index].clone());
    Ok(SinkLayout {
        key_columns,
        key_indices,
        value_columns: value_columns.collect(),
        value_indices,
    })
}

fn group_key(
    plan: &ContinuousPlan,
    indices: &[Option<usize>],
) -> Result<(Vec<Column>, Vec<usize>), SqlError> {
    let names = plan
        .aggregate
        .as_ref()
        .map(|aggregate| &aggregate.group_columns);
    let mut columns = Vec::new();
    let mut places = Vec::new();
    for (n, index) in indices.iter().enumerate() {
        let Some(index) = index else {
            let name = names
                .and_then(|names| names.get(n))
                .map_or("?", |column| column.name.as_str());
            return Err(SqlError::invalid(format!(
                "the GROUP BY expression `{name}` is not in the select list"
            ))
            .with_hint("it becomes the key of the result, so select it too"));
        };
        columns.push(plan.output.columns[*index].clone());
        places.push(*index);
    }
    Ok((columns, places))
}
