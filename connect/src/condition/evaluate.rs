//! Decides a condition for one record, with SQL's three values of truth.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::{Comparison, Expression, LikePart, Literal, Operand};
use crate::record::ConnectRecord;

/// `None` is SQL's unknown.
pub(super) fn truth(expression: &Expression, record: &ConnectRecord) -> Option<bool> {
    match expression {
        Expression::Or(left, right) => match (truth(left, record), truth(right, record)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        Expression::And(left, right) => match (truth(left, record), truth(right, record)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
        Expression::Not(inner) => truth(inner, record).map(|value| !value),
        Expression::Compare(left, comparison, right) => {
            compare(&scalar(left, record), *comparison, &scalar(right, record))
        }
        Expression::IsNull(operand) => Some(matches!(scalar(operand, record), Scalar::Null)),
        Expression::In(operand, literals) => any_equal(&scalar(operand, record), literals),
        Expression::Like(operand, pattern) => match scalar(operand, record) {
            Scalar::Text(text) => {
                let text: Vec<char> = text.chars().collect();
                Some(like(&text, pattern))
            }
            _ => None,
        },
        Expression::IsTrue(operand) => match scalar(operand, record) {
            Scalar::Bool(value) => Some(value),
            _ => None,
        },
    }
}

enum Scalar<'r> {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(Cow<'r, str>),
}

fn scalar<'r>(operand: &'r Operand, record: &'r ConnectRecord) -> Scalar<'r> {
    match operand {
        Operand::Value(None) => json_scalar(&record.value),
        Operand::Value(Some(path)) => path.find(&record.value).map_or(Scalar::Null, json_scalar),
        Operand::Key(path) => key_scalar(path.as_ref(), record),
        Operand::Header(name) => header_scalar(name, record),
        Operand::Topic => Scalar::Text(Cow::Borrowed(&record.topic)),
        Operand::Partition => record
            .position
            .map_or(Scalar::Null, |p| Scalar::Integer(i64::from(p.partition))),
        Operand::Offset => record
            .position
            .map_or(Scalar::Null, |p| Scalar::Integer(p.offset)),
        Operand::Timestamp => Scalar::Integer(record.timestamp),
        Operand::Literal(literal) => literal_scalar(literal),
    }
}

fn json_scalar(value: &Value) -> Scalar<'_> {
    match value {
        Value::Null => Scalar::Null,
        Value::Bool(value) => Scalar::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Scalar::Integer(integer),
            (None, Some(number)) => Scalar::Number(number),
            (None, None) => Scalar::Null,
        },
        Value::String(text) => Scalar::Text(Cow::Borrowed(text)),
        nested => Scalar::Text(Cow::Owned(nested.to_string())),
    }
}

fn key_scalar<'r>(
    path: Option<&crate::field_path::FieldPath>,
    record: &'r ConnectRecord,
) -> Scalar<'r> {
    let Some(key) = &record.key else {
        return Scalar::Null;
    };
    let Some(path) = path else {
        return Scalar::Text(String::from_utf8_lossy(key));
    };
    let Ok(json) = serde_json::from_slice::<Value>(key) else {
        return Scalar::Null;
    };
    match path.find(&json).map_or(Scalar::Null, json_scalar) {
        Scalar::Null => Scalar::Null,
        Scalar::Bool(value) => Scalar::Bool(value),
        Scalar::Integer(value) => Scalar::Integer(value),
        Scalar::Number(value) => Scalar::Number(value),
        Scalar::Text(text) => Scalar::Text(Cow::Owned(text.into_owned())),
    }
}

/// Kafka allows a header name to repeat; the last one counts, as in Kafka's `lastHeader`.
fn header_scalar<'r>(name: &str, record: &'r ConnectRecord) -> Scalar<'r> {
    let header = record
        .headers
        .iter()
        .rev()
        .find(|header| &*header.key == name);
    match header.and_then(|header| header.value.as_ref()) {
        Some(value) => Scalar::Text(String::from_utf8_lossy(value)),
        None => Scalar::Null,
    }
}

fn literal_scalar(literal: &Literal) -> Scalar<'_> {
    match literal {
        Literal::Null => Scalar::Null,
        Literal::Bool(value) => Scalar::Bool(*value),
        Literal::Number(number) => Scalar::Number(*number),
        Literal::Text(text) => Scalar::Text(Cow::Borrowed(text)),
    }
}

fn compare(left: &Scalar<'_>, comparison: Comparison, right: &Scalar<'_>) -> Option<bool> {
    if matches!(left, Scalar::Null) || matches!(right, Scalar::Null) {
        return None;
    }
    let Some(ordering) = ordering(left, right) else {
        // Different kinds are never equal and have no order.
        return match comparison {
            Comparison::Equal => Some(false),
            Comparison::NotEqual => Some(true),
            _ => None,
        };
    };
    Some(match comparison {
        Comparison::Equal => ordering.is_eq(),
        Comparison::NotEqual => ordering.is_ne(),
        Comparison::Less => ordering.is_lt(),
        Comparison::LessOrEqual => ordering.is_le(),
        Comparison::Greater => ordering.is_gt(),
        Comparison::GreaterOrEqual => ordering.is_ge(),
    })
}

fn ordering(left: &Scalar<'_>, right: &Scalar<'_>) -> Option<Ordering> {
    match (left, right) {
        (Scalar::Text(left), Scalar::Text(right)) => Some(left.cmp(right)),
        (Scalar::Bool(left), Scalar::Bool(right)) => Some(left.cmp(right)),
        (Scalar::Integer(left), Scalar::Integer(right)) => Some(left.cmp(right)),
        _ => number(left)?.partial_cmp(&number(right)?),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "integers beyond 2^53 compare as doubles with doubles"
)]
fn number(scalar: &Scalar<'_>) -> Option<f64> {
    match scalar {
        Scalar::Integer(value) => Some(*value as f64),
        Scalar::Number(value) => Some(*value),
        _ => None,
    }
}

fn any_equal(scalar: &Scalar<'_>, literals: &[Literal]) -> Option<bool> {
    let results: Vec<_> = literals
        .iter()
        .map(|literal| compare(scalar, Comparison::Equal, &literal_scalar(literal)))
        .collect();
    if results.contains(&Some(true)) {
        Some(true)
    } else if results.contains(&None) {
        None
    } else {
        Some(false)
    }
}

/// Greedy matching that goes back to the last `%` only: linear in text times pattern.
fn like(text: &[char], pattern: &[LikePart]) -> bool {
    let (mut at_text, mut at_pattern) = (0, 0);
    let mut last_any: Option<(usize, usize)> = None;
    while at_text < text.len() {
        match pattern.get(at_pattern) {
            Some(LikePart::AnyText) => {
                last_any = Some((at_pattern, at_text));
                at_pattern += 1;
            }
            Some(LikePart::AnyChar) => {
                at_text += 1;
                at_pattern += 1;
            }
            Some(LikePart::Char(c)) if *c == text[at_text] => {
                at_text += 1;
                at_pattern += 1;
            }
            _ => match last_any {
                Some((any, matched)) => {
                    last_any = Some((any, matched + 1));
                    at_text = matched + 1;
                    at_pattern = any + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at_pattern..]
        .iter()
        .all(|part| *part == LikePart::AnyText)
}
