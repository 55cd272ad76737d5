//! The HTTP port: `/healthz`, `/metrics`, the console page and the small API behind it.

mod api;
mod metrics;
mod tail;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use moldau_broker::{BrokerHandle, BrokerMetrics};
use moldau_client::Client;
use moldau_connect::StatusReader;
use moldau_connect::config::TerminalSpec;
use moldau_sql::Engine;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Live views that may be open at once; each holds a consumer or a query.
const MAX_LIVE_VIEWS: usize = 32;

const PAGE: &str = include_str!("../../console/index.html");
const SCRIPT: &str = include_str!("../../console/console.js");
const STYLE: &str = include_str!("../../console/console.css");

/// What the HTTP port shows.
#[derive(Clone)]
pub(crate) struct Console {
    cluster_id: Arc<str>,
    broker: Arc<BrokerMetrics>,
    client: Client,
    engine: Option<Engine>,
    connect: Option<StatusReader>,
    terminal: Option<TerminalSpec>,
    live_views: Arc<Semaphore>,
}

impl Console {
    pub(crate) fn new(
        broker: &BrokerHandle,
        client: Client,
        engine: Option<Engine>,
        connect: Option<StatusReader>,
        terminal: Option<TerminalSpec>,
    ) -> Self {
        Self {
            cluster_id: broker.cluster_id().into(),
            broker: broker.metrics(),
            client,
            engine,
            connect,
            terminal,
            live_views: Arc::new(Semaphore::new(MAX_LIVE_VIEWS)),
        }
    }
}

/// Answers requests until the task is aborted.
///
/// # Errors
/// The listener fails.
pub(crate) async fn serve(listener: TcpListener, console: Console) -> io::Result<()> {
    let routes = Router::new()
        .route(
            "/",
            get(|| async { asset("text/html; charset=utf-8", PAGE) }),
        )
        .route(
            "/console.js",
            get(|| async { asset("text/javascript; charset=utf-8", SCRIPT) }),
        )
        .route(
            "/console.css",
            get(|| async { asset("text/css; charset=utf-8", STYLE) }),
        )
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics::show))
        .route("/api/overview", get(api::overview))
        .route("/api/topics", get(api::topics))
        .route("/api/topics/{topic}/tail", get(tail::topic))
        .route("/api/groups", get(api::groups))
        .route("/api/connectors", get(api::connectors))
        .route("/api/queries", get(api::queries))
        .route("/api/terminal", get(tail::terminal))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "no such page; the console is at /") })
        .with_state(console);
    axum::serve(listener, routes).await
}

fn asset(content_type: &'static str, body: &'static str) -> Response {
    (
        [
            (header::CONTENT_TYPE, content_type),
            (header::CACHE_CONTROL, "no-cache"),
        ],
        body,
    )
        .into_response()
}

/// An error as the API gives it: `{"error": "…"}`.
fn problem(status: StatusCode, message: impl std::fmt::Display) -> Response {
    (
        status,
        axum::Json(serde_json::json!({ "error": message.to_string() })),
    )
        .into_response()
}
