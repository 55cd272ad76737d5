//! What the console asks for, as JSON.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use moldau_broker::metrics::GroupMetrics;
use serde_json::{Value, json};

use super::Console;

/// Totals since the start; the page makes rates out of two looks at them.
pub(crate) async fn overview(State(console): State<Console>) -> Json<Value> {
    let broker = console.broker.snapshot();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "cluster_id": &*console.cluster_id,
        "connections": broker.connections,
        "requests": broker.requests_total(),
        "bytes_in": broker.bytes_in_total(),
        "bytes_out": broker.bytes_out_total(),
        "messages_in": broker.messages_in_total(),
        "has_terminal": console.terminal.is_some() && console.engine.is_some(),
        "terminal_title": console.terminal.as_ref().and_then(|terminal| terminal.title.clone()),
    }))
}

/// All topics with their partitions, sizes and totals.
pub(crate) async fn topics(State(console): State<Console>) -> Json<Value> {
    let broker = console.broker.snapshot();
    let topics: Vec<Value> = broker
        .topics
        .iter()
        .map(|topic| {
            json!({
                "name": topic.name,
                "internal": topic.is_internal,
                "messages_in": topic.messages_in,
                "bytes_in": topic.bytes_in,
                "bytes_out": topic.bytes_out,
                "partitions": topic.partitions.iter().map(|partition| json!({
                    "partition": partition.partition,
                    "start": partition.log_start_offset,
                    "end": partition.log_end_offset,
                    "size": partition.size_bytes,
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    Json(Value::from(topics))
}

/// All consumer groups with the sum of their lags.
pub(crate) async fn groups(State(console): State<Console>) -> Json<Value> {
    let broker = console.broker.snapshot();
    let groups: Vec<Value> = broker
        .groups
        .iter()
        .map(|group| json!({ "group": group.group_id, "state": group.state, "lag": lag(group) }))
        .collect();
    Json(Value::from(groups))
}

/// Sum of a group's lags over the partitions it committed offsets of.
pub(super) fn lag(group: &GroupMetrics) -> i64 {
    group.offsets.iter().map(|committed| committed.lag).sum()
}

/// The connectors with their totals and last errors.
pub(crate) async fn connectors(State(console): State<Console>) -> Response {
    match &console.connect {
        Some(connect) => Json(connect.status()).into_response(),
        None => Json(json!([])).into_response(),
    }
}

/// The running SQL queries with their totals and errors.
pub(crate) async fn queries(State(console): State<Console>) -> Response {
    match &console.engine {
        Some(engine) => Json(engine.queries()).into_response(),
        None => Json(json!([])).into_response(),
    }
}
