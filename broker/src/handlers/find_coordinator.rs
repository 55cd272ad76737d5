//! FindCoordinator v0–6 (key 10).
//!
//! Which broker coordinates a group or a transactional id; on a single node always this one.
//! - v1: `key_type`: 0 groups, 1 transactions; 2 share groups (v6) are not served
//! - v4: several keys at once (KIP-699)
//!
//! The first request creates `__consumer_offsets` or `__transaction_state`, with as many replicas as there are brokers
//! at most.

use std::sync::Arc;

use moldau_protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use moldau_protocol::{ErrorCode, KString};

use super::RequestContext;
use crate::node::Node;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let batched = context.version >= FIRST_BATCHED;
    let keys = if batched {
        request.coordinator_keys
    } else {
        vec![request.key]
    };
    let usable = usable(&node, request.key_type).await;
    let coordinators = keys
        .into_iter()
        .map(|key| coordinator(&node, &context, key, &usable));
    if batched {
        return FindCoordinatorResponse {
            coordinators: coordinators.collect(),
            ..Default::default()
        };
    }
    let one = coordinators.last().unwrap_or_default();
    FindCoordinatorResponse {
        error_code: one.error_code,
        error_message: one.error_message,
        node_id: one.node_id,
        host: one.host,
        port: one.port,
        ..Default::default()
    }
}

/// Whether coordinators of this kind are here.
async fn usable(node: &Node, key_type: i8) -> Result<(), (ErrorCode, &'static str)> {
    match key_type {
        GROUP => node.coordinators_ready().await.map_err(|code| {
            (
                code,
                "__consumer_offsets cannot be created, see the broker's log",
            )
        }),
        TRANSACTION => node.transactions_ready().await.map_err(|code| {
            (
                code,
                "__transaction_state cannot be created, see the broker's log",
            )
        }),
        _ => Err((
            ErrorCode::InvalidRequest,
            "only coordinators of groups and transactions are supported yet",
        )),
    }
}

fn coordinator(
    node: &Node,
    context: &RequestContext,
    key: KString,
    usable: &Result<(), (ErrorCode, &'static str)>,
) -> Coordinator {
    match usable {
        Ok(()) => Coordinator {
            key,
            node_id: node.config().node_id,
            host: context.client.broker_host.clone(),
            port: context.client.broker_port,
            ..Default::default()
        },
        Err((code, message)) => Coordinator {
            key,
            node_id: NO_NODE,
            port: NO_PORT,
            error_code: code.code(),
            error_message: Some(KString::from(*message)),
            ..Default::default()
        },
    }
}

const FIRST_BATCHED: i16 = 4;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const NO_NODE: i32 = -1;
const NO_PORT: i32 = -1;
