//! ListTransactions v0–2 (key 66).
//!
//! The transactional ids that are known here (KIP-664).
//! - v1: `duration_filter`: only transactions that run for longer (KIP-994)
//! - v2: `transactional_id_pattern`: only ids that match a regular expression (KIP-1152)

use std::sync::Arc;

use moldau_core::transaction::{TransactionFilter, TransactionState};
use moldau_protocol::ErrorCode;
use moldau_protocol::messages::list_transactions::{
    ListTransactionsRequest, ListTransactionsResponse,
};
use regex::{Regex, RegexBuilder};

use crate::node::Node;
use crate::runtime::now_ms;

pub(super) async fn handle(
    node: Arc<Node>,
    request: ListTransactionsRequest,
) -> ListTransactionsResponse {
    let Ok(pattern) = pattern(request.transactional_id_pattern.as_deref()) else {
        return refused(ErrorCode::InvalidRegularExpression);
    };
    let (mut states, mut unknown_state_filters) = (Vec::new(), Vec::new());
    for name in request.state_filters {
        match TransactionState::from_name(&name) {
            Some(state) => states.push(state),
            None => unknown_state_filters.push(name),
        }
    }
    let nothing_known = states.is_empty() && !unknown_state_filters.is_empty();
    let filter = TransactionFilter {
        states,
        producer_ids: request.producer_id_filters,
        duration_ms: request.duration_filter,
    };
    let now_ms = now_ms();
    let listed = node
        .transactions
        .read_all(|coordinator| coordinator.list_transactions(&filter, now_ms))
        .await;
    let listed = match listed {
        Ok(listed) => listed,
        Err(code) => return refused(code),
    };
    let wanted = listed
        .into_iter()
        .flatten()
        .filter(|_| !nothing_known)
        .filter(|state| {
            pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(&state.transactional_id))
        });
    ListTransactionsResponse {
        transaction_states: wanted.collect(),
        unknown_state_filters,
        ..Default::default()
    }
}

/// The whole id must match.
fn pattern(pattern: Option<&str>) -> Result<Option<Regex>, regex::Error> {
    let pattern = pattern.filter(|pattern| !pattern.is_empty());
    let whole = pattern.map(|pattern| format!("^(?:{pattern})$"));
    let built = whole.map(|whole| {
        RegexBuilder::new(&whole)
            .size_limit(MAX_PATTERN_BYTES)
            .build()
    });
    built.transpose()
}

fn refused(code: ErrorCode) -> ListTransactionsResponse {
    ListTransactionsResponse {
        error_code: code.code(),
        ..Default::default()
    }
}

/// Memory that a pattern may take when it is compiled.
const MAX_PATTERN_BYTES: usize = 1024 * 1024;
