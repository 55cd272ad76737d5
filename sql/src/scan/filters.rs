//! Which conditions narrow what is fetched.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};

use super::bounds::PartitionRange;
use crate::catalog::source::{Pseudo, Source};
use crate::parser::SourceKind;

/// What a condition says about the records to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Narrowing {
    /// Only partitions between these, both included.
    Partitions(i64, i64),
    /// Only offsets between these, both included.
    Offsets(i64, i64),
    /// Only records with this timestamp or a later one.
    NotBefore(i64),
}

/// Reads a condition, if it is one that helps.
pub(super) fn narrowing(source: &Source, filter: &Expr) -> Option<Narrowing> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if let Some(pseudo) = pseudo_column(source, left) {
                compare(pseudo, *op, literal(right)?)
            } else {
                compare(pseudo_column(source, right)?, op.swap()?, literal(left)?)
            }
        }
        Expr::Between(between) if !between.negated => {
            let pseudo = pseudo_column(source, &between.expr)?;
            range(pseudo, literal(&between.low)?, literal(&between.high)?)
        }
        _ => None,
    }
}

/// Whether DataFusion need not check the condition again.
pub(super) fn support(source: &Source, filter: &Expr) -> TableProviderFilterPushDown {
    match narrowing(source, filter) {
        Some(Narrowing::Partitions(..)) => TableProviderFilterPushDown::Exact,
        // The latest record of a key must be found before its offset is looked at.
        Some(_) if source.kind == SourceKind::Table => TableProviderFilterPushDown::Unsupported,
        Some(Narrowing::Offsets(..)) => TableProviderFilterPushDown::Exact,
        Some(Narrowing::NotBefore(_)) => TableProviderFilterPushDown::Inexact,
        None => TableProviderFilterPushDown::Unsupported,
    }
}

/// Applies conditions on partition and offset; gives the latest lower bound of the timestamp.
pub(super) fn apply(
    source: &Source,
    filters: &[Expr],
    ranges: &mut Vec<PartitionRange>,
) -> Option<i64> {
    let mut not_before = None;
    for narrowing in filters
        .iter()
        .filter_map(|filter| narrowing(source, filter))
    {
        match narrowing {
            Narrowing::Partitions(low, high) => {
                ranges.retain(|range| (low..=high).contains(&i64::from(range.partition)));
            }
            Narrowing::Offsets(low, high) => {
                for range in ranges.iter_mut() {
                    range.start = range.start.max(low);
                    range.end = range.end.min(high.saturating_add(1));
                }
            }
            Narrowing::NotBefore(timestamp) => not_before = not_before.max(Some(timestamp)),
        }
    }
    not_before
}

fn compare(pseudo: Pseudo, op: Operator, value: i64) -> Option<Narrowing> {
    match op {
        Operator::Eq => range(pseudo, value, value),
        Operator::Gt => range(pseudo, value.checked_add(1)?, i64::MAX),
        Operator::GtEq => range(pseudo, value, i64::MAX),
        Operator::Lt => range(pseudo, i64::MIN, value.checked_sub(1)?),
        Operator::LtEq => range(pseudo, i64::MIN, value),
        _ => None,
    }
}

fn range(pseudo: Pseudo, low: i64, high: i64) -> Option<Narrowing> {
    match pseudo {
        Pseudo::Partition => Some(Narrowing::Partitions(low, high)),
        Pseudo::Offset => Some(Narrowing::Offsets(low, high)),
        Pseudo::Timestamp | Pseudo::Rowtime if low > i64::MIN => Some(Narrowing::NotBefore(low)),
        _ => None,
    }
}

fn pseudo_column(source: &Source, expression: &Expr) -> Option<Pseudo> {
    let name = match expression {
        Expr::Column(column) => column.name.as_str(),
        // Comparing INT with BIGINT wraps the column in a cast.
        Expr::Cast(cast) => return pseudo_column(source, &cast.expr),
        _ => return None,
    };
    if source.column(name).is_some() {
        return None;
    }
    match Pseudo::by_name(name)? {
        Pseudo::Rowtime if source.timestamp_column.is_some() => None,
        pseudo => Some(pseudo),
    }
}

fn literal(expression: &Expr) -> Option<i64> {
    match expression {
        Expr::Literal(value, _) => match value {
            ScalarValue::Int8(Some(v)) => Some(i64::from(*v)),
            ScalarValue::Int16(Some(v)) => Some(i64::from(*v)),
            ScalarValue::Int32(Some(v)) => Some(i64::from(*v)),
            ScalarValue::Int64(Some(v)) | ScalarValue::TimestampMillisecond(Some(v), _) => Some(*v),
            ScalarValue::TimestampSecond(Some(v), _) => v.checked_mul(1_000),
            ScalarValue::TimestampMicrosecond(Some(v), _) => Some(v.div_euclid(1_000)),
            ScalarValue::TimestampNanosecond(Some(v), _) => Some(v.div_euclid(1_000_000)),
            _ => None,
        },
        _ => None,
    }
}
