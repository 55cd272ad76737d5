//! What the console asks for, as JSON.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use moldau_client::admin::OffsetSpec;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Console, problem};

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

#[derive(Debug, Serialize)]
pub(super) struct GroupLag {
    pub(super) group: String,
    pub(super) state: String,
    pub(super) lag: i64,
}

/// All consumer groups with the sum of their lags.
pub(crate) async fn groups(State(console): State<Console>) -> Response {
    match group_lags(&console).await {
        Ok(groups) => Json(groups).into_response(),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, error),
    }
}

/// Groups with their lag, from the coordinator's committed offsets.
pub(super) async fn group_lags(
    console: &Console,
) -> Result<Vec<GroupLag>, moldau_client::ClientError> {
    let admin = console.client.admin();
    let mut lags = Vec::new();
    for group in admin.list_groups().await? {
        let committed = admin.group_offsets(&group.group_id).await?;
        let wanted: Vec<_> = committed
            .keys()
            .map(|partition| (partition.clone(), OffsetSpec::Latest))
            .collect();
        let ends = admin.list_offsets(&wanted).await?;
        let lag = committed
            .iter()
            .filter_map(|(partition, offset)| Some(ends.get(partition)?.offset - offset.offset))
            .sum();
        lags.push(GroupLag {
            group: group.group_id,
            state: group.state,
            lag,
        });
    }
    Ok(lags)
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
