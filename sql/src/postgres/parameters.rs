//! `$1` in prepared statements: the values take their places in the syntax tree before planning.

use std::ops::ControlFlow;

use bytes::Bytes;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Query, TimezoneInfo, Value, VisitMut, VisitorMut,
};
use pgwire::api::Type;

use crate::error::SqlError;
use crate::parser::{Insert, Statement};

/// The value of a parameter as it was bound.
pub(super) struct Parameter<'a> {
    pub(super) data_type: Type,
    pub(super) bytes: Option<&'a Bytes>,
    pub(super) binary: bool,
}

/// How many parameters a statement has: the highest number in it.
pub(super) fn count(statement: &mut Statement) -> usize {
    let mut highest = 0;
    // The closure does not fail.
    let _ = visit(statement, |index| {
        highest = highest.max(index);
        Ok(None)
    });
    highest
}

/// Puts values in the place of the parameters.
pub(super) fn substitute(
    statement: &mut Statement,
    parameters: &[Parameter<'_>],
) -> Result<(), SqlError> {
    visit(statement, |index| {
        match index.checked_sub(1).and_then(|at| parameters.get(at)) {
            Some(parameter) => literal(parameter).map(Some),
            None => Err(SqlError::invalid(format!(
                "parameter ${index} has no value"
            ))),
        }
    })
}

fn visit(
    statement: &mut Statement,
    replace: impl FnMut(usize) -> Result<Option<Expr>, SqlError>,
) -> Result<(), SqlError> {
    let mut visitor = Placeholders { replace };
    let flow = match statement {
        Statement::Query(select) | Statement::PushQuery(select) => {
            visit_query(&mut select.query, &mut visitor)
        }
        Statement::Insert(insert) => visit_insert(insert, &mut visitor),
        _ => ControlFlow::Continue(()),
    };
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn visit_query<V: VisitorMut<Break = SqlError>>(
    query: &mut Query,
    visitor: &mut V,
) -> ControlFlow<SqlError> {
    VisitMut::visit(query, visitor)
}

fn visit_insert<V: VisitorMut<Break = SqlError>>(
    insert: &mut Insert,
    visitor: &mut V,
) -> ControlFlow<SqlError> {
    for expression in insert.rows.iter_mut().flatten() {
        VisitMut::visit(expression, visitor)?;
    }
    ControlFlow::Continue(())
}

struct Placeholders<F> {
    replace: F,
}

impl<F: FnMut(usize) -> Result<Option<Expr>, SqlError>> VisitorMut for Placeholders<F> {
    type Break = SqlError;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        let Expr::Value(value) = expr else {
            return ControlFlow::Continue(());
        };
        let Value::Placeholder(name) = &value.value else {
            return ControlFlow::Continue(());
        };
        let Ok(index) = name.trim_start_matches('$').parse() else {
            return ControlFlow::Break(SqlError::syntax(format!("unknown parameter `{name}`")));
        };
        match (self.replace)(index) {
            Ok(Some(replacement)) => *expr = replacement,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

fn literal(parameter: &Parameter<'_>) -> Result<Expr, SqlError> {
    let Some(bytes) = parameter.bytes else {
        return Ok(Expr::Value(Value::Null.into()));
    };
    let text = if parameter.binary {
        binary_text(&parameter.data_type, bytes)?
    } else {
        match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => return Err(SqlError::invalid("a parameter is not UTF-8")),
        }
    };
    Ok(match parameter.data_type {
        Type::BOOL => {
            let truth = matches!(text.as_str(), "t" | "true" | "TRUE" | "on" | "1" | "yes");
            Expr::Value(Value::Boolean(truth).into())
        }
        Type::INT2 | Type::INT4 => cast(text, DataType::Integer(None)),
        Type::INT8 => cast(text, DataType::BigInt(None)),
        Type::FLOAT4 | Type::FLOAT8 => cast(
            text,
            DataType::Double(datafusion::sql::sqlparser::ast::ExactNumberInfo::None),
        ),
        Type::NUMERIC => Expr::Value(Value::Number(text, false).into()),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            cast(text, DataType::Timestamp(None, TimezoneInfo::None))
        }
        Type::DATE => cast(text, DataType::Date),
        Type::BYTEA => {
            let hex = text.strip_prefix("\\x").unwrap_or(&text).to_owned();
            Expr::Value(Value::HexStringLiteral(hex).into())
        }
        _ => Expr::Value(Value::SingleQuotedString(text).into()),
    })
}

fn cast(text: String, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Value(Value::SingleQuotedString(text).into())),
        data_type,
        array: false,
        format: None,
    }
}

/// The text of a value that came in binary.
fn binary_text(data_type: &Type, bytes: &[u8]) -> Result<String, SqlError> {
    let wrong = || {
        SqlError::invalid(format!(
            "a parameter of type {data_type} has a wrong length"
        ))
    };
    let text = match *data_type {
        Type::BOOL => (bytes == [1]).to_string(),
        Type::INT2 => i16::from_be_bytes(bytes.try_into().map_err(|_| wrong())?).to_string(),
        Type::INT4 => i32::from_be_bytes(bytes.try_into().map_err(|_| wrong())?).to_string(),
        Type::INT8 => i64::from_be_bytes(bytes.try_into().map_err(|_| wrong())?).to_string(),
        Type::FLOAT4 => f32::from_be_bytes(bytes.try_into().map_err(|_| wrong())?).to_string(),
        Type::FLOAT8 => f64::from_be_bytes(bytes.try_into().map_err(|_| wrong())?).to_string(),
        Type::BYTEA => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON => {
            match std::str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => return Err(SqlError::invalid("a parameter is not UTF-8")),
            }
        }
        _ => {
            return Err(
                SqlError::unsupported(format!("parameters of type {data_type} in binary"))
                    .with_hint("send it as text"),
            );
        }
    };
    Ok(text)
}
