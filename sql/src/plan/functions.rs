//! Names that ksqlDB has for functions which DataFusion has under another name.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};

/// ksqlDB's name and DataFusion's.
const ALIASES: [(&str, &str); 6] = [
    ("ucase", "upper"),
    ("lcase", "lower"),
    ("len", "character_length"),
    ("ifnull", "coalesce"),
    ("instr", "strpos"),
    ("sign", "signum"),
];

/// What tools that speak to PostgreSQL ask first.
const CONSTANTS: [(&str, &str); 4] = [
    ("version", "PostgreSQL 15.0 (Moldau)"),
    ("current_database", super::CATALOG_NAME),
    ("current_schema", super::PUBLIC_SCHEMA),
    ("current_user", "moldau"),
];

/// Makes the names known. Those whose counterpart is not built in stay unknown.
pub(super) fn register(state: &mut SessionState) {
    for (alias, name) in ALIASES {
        let Ok(function) = state.udf(name) else {
            continue;
        };
        if state.udf(alias).is_ok() {
            continue;
        }
        let aliased = function.as_ref().clone().with_aliases([alias]);
        // Registering fails only for a registry that cannot be changed.
        let _ = state.register_udf(Arc::new(aliased));
    }
    for (name, text) in CONSTANTS {
        let value = move |_: &[ColumnarValue]| {
            Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(
                text.to_owned(),
            ))))
        };
        let function = create_udf(
            name,
            vec![],
            DataType::Utf8,
            Volatility::Stable,
            Arc::new(value),
        );
        // As above.
        let _ = state.register_udf(Arc::new(function));
    }
}
