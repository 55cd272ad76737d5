//! Fetch v4–18 (key 1).
//!
//! Gives whole batches from an offset on, and waits up to `max_wait_ms` until `min_bytes` are there.
//! - v4: `isolation_level`: 1 reads below the last stable offset and names aborted transactions (KIP-98)
//! - v7: fetch sessions: requests and responses name only what changed (KIP-227)
//! - v9: `current_leader_epoch` is checked (KIP-320)
//! - v12: `last_fetched_epoch`: an epoch that ended earlier is answered with where it ended (KIP-595)
//! - v13: topics by id (KIP-516)
//!
//! The first batch is given even when it is larger than the limits (KIP-74). Batches are given as they lie in the
//! log: the first may begin before the offset asked for.
//!
//! Not done: follower fetching.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use moldau_core::fetch_session::{FetchSessions, SessionRequest};
use moldau_protocol::ErrorCode;
use moldau_protocol::messages::fetch::{FetchRequest, FetchResponse};
use tokio::time::Instant;

use super::RequestContext;
use super::fetch_plan::{Plan, Rules};
use super::fetch_read::{Read, read};
use crate::node::Node;
use crate::runtime::{Waiter, now_ms};

pub(super) async fn handle(
    node: Arc<Node>,
    context: RequestContext,
    request: FetchRequest,
) -> FetchResponse {
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let rules = Rules::new(&node, &context, &request);
    let session = session_request(context.version, request);
    let begun = sessions(&node, |sessions| sessions.begin(&session, now_ms()));
    let plan = match begun {
        Ok(fetch) => Arc::new(Plan::new(&node, &rules, fetch)),
        Err(code) => return failed(code),
    };
    let found = read_enough(&node, &plan, min_bytes, max_wait).await;
    let answer = sessions(&node, |sessions| {
        sessions.finish(plan.fetch(), &found.outcomes(), now_ms(), rand::random)
    });
    match answer {
        Ok(answer) => plan.response(found, &answer),
        Err(code) => failed(code),
    }
}

/// Reads until `min_bytes` are there, something must be told at once, or `max_wait` is over.
async fn read_enough(node: &Node, plan: &Arc<Plan>, min_bytes: usize, max_wait: Duration) -> Read {
    let deadline = Instant::now() + max_wait;
    let mut found = read(plan).await;
    if found.must_answer(min_bytes) || max_wait.is_zero() {
        return found;
    }
    let mut stopping = node.stopping();
    loop {
        // Registered before the next look, so that nothing that comes after it is missed.
        let waiter = Waiter::new(min_bytes.saturating_sub(found.bytes()));
        let _registered = plan.register(&waiter);
        found = read(plan).await;
        if found.must_answer(min_bytes) {
            return found;
        }
        tokio::select! {
            () = waiter.woken() => {
                found = read(plan).await;
                if found.must_answer(min_bytes) {
                    return found;
                }
            }
            () = tokio::time::sleep_until(deadline) => return read(plan).await,
            () = stopping.wait() => return found,
        }
    }
}

fn session_request(version: i16, request: FetchRequest) -> SessionRequest {
    let replica_id = request.replica_id.max(request.replica_state.replica_id);
    SessionRequest {
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        uses_topic_ids: version >= FIRST_WITH_TOPIC_ID,
        from_follower: replica_id >= 0,
        topics: request.topics,
        forgotten: request.forgotten_topics_data,
    }
}

fn sessions<R>(node: &Node, work: impl FnOnce(&mut FetchSessions) -> R) -> R {
    let mut sessions = node
        .fetch_sessions
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    work(&mut sessions)
}

fn failed(code: ErrorCode) -> FetchResponse {
    FetchResponse {
        error_code: code.code(),
        ..Default::default()
    }
}

/// The first version that names topics by id.
pub(super) const FIRST_WITH_TOPIC_ID: i16 = 13;
