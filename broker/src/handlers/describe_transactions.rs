//! DescribeTransactions v0 (key 65).
//!
//! Where transactional ids stand (KIP-664).

use std::sync::Arc;

use moldau_protocol::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TransactionState,
};
use moldau_protocol::{ErrorCode, KString};

use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut transaction_states = Vec::with_capacity(request.transactional_ids.len());
    for id in request.transactional_ids {
        let described = node
            .transactions
            .read(&id, |coordinator| coordinator.describe_transaction(&id))
            .await;
        transaction_states.push(described.unwrap_or_else(|code| refused(&id, code)));
    }
    DescribeTransactionsResponse {
        transaction_states,
        ..Default::default()
    }
}

fn refused(id: &KString, code: ErrorCode) -> TransactionState {
    let code = match code {
        // There was no transaction ever.
        ErrorCode::CoordinatorNotAvailable => ErrorCode::TransactionalIdNotFound,
        code => code,
    };
    TransactionState {
        error_code: code.code(),
        transactional_id: id.clone(),
        ..Default::default()
    }
}
