//! Names that ksqlDB has for functions which DataFusion has under another name.

use std::sync::Arc;

use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;

/// ksqlDB's name and DataFusion's.
const ALIASES: [(&str, &str); 6] = [
    ("ucase", "upper"),
    ("lcase", "lower"),
    ("len", "character_length"),
    ("ifnull", "coalesce"),
    ("instr", "strpos"),
    ("sign", "signum"),
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
}
