//! The result of a continuous query: its columns, and where the key of a row comes from.

use datafusion::logical_expr::Expr;

use super::super::rewrite::partition_key_alias;
use super::walk::{Origin, Walk};
use super::{Output, OutputKey, column_of};
use crate::catalog::source::Origin as SourceOrigin;
use crate::error::SqlError;
use crate::parser::SourceKind;
use crate::types::Column;

impl Walk<'_> {
    pub(super) fn output(&self, top: &[Expr], partition_keys: usize) -> Result<Output, SqlError> {
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
