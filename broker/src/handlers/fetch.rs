//! Fetch v4–18 (key 1).
//!
//! Gives whole batches from an offset on, and waits up to `max_wait_ms` until `min_bytes` are there.
//! - v4: `isolation_level`: 1 reads below the last stable offset (KIP-98)
//! - v7: fetch sessions (KIP-227); every request is answered as a full one, with session id 0
//! - v9: `current_leader_epoch` is checked (KIP-320)
//! - v12: `last_fetched_epoch`: an epoch that ended earlier is answered with where it ended (KIP-595)
//! - v13: topics by id (KIP-516)
//!
//! The first batch is given even when it is larger than the limits (KIP-74). Batches are given as they lie in the
//! log: the first may begin before the offset asked for.
//!
//! Not done: fetch sessions, aborted transactions, follower fetching.

use std::sync::Arc;
use std::time::Duration;

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::fetch::{FetchRequest, FetchResponse};
use tokio::time::Instant;

use super::RequestContext;
use super::fetch_plan::Plan;
use super::fetch_read::read;
use crate::node::Node;
use crate::runtime::Waiter;

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: FetchRequest,
) -> FetchResponse {
    if request.session_id != NO_SESSION {
        return FetchResponse {
            error_code: ErrorCode::FetchSessionIdNotFound.code(),
            ..Default::default()
        };
    }
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = Instant::now() + max_wait;
    let plan = Arc::new(Plan::new(&node, &context, request));
    let mut found = read(&plan).await;
    if found.must_answer(min_bytes) || max_wait.is_zero() {
        return plan.response(found);
    }
    let mut stopping = node.stopping();
    loop {
        // Registered before the next look, so that nothing that comes after it is missed.
        let waiter = Waiter::new(min_bytes.saturating_sub(found.bytes()));
        let _registered = plan.register(&waiter);
        found = read(&plan).await;
        if found.must_answer(min_bytes) {
            return plan.response(found);
        }
        tokio::select! {
            () = waiter.woken() => {}
            () = tokio::time::sleep_until(deadline) => return plan.response(read(&plan).await),
            () = stopping.wait() => return plan.response(found),
        }
    }
}

const NO_SESSION: i32 = 0;
