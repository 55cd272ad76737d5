//! Persistent queries while they run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use moldau_streams::runtime::{StartAt, Streams, StreamsConfig, StreamsHandle, StreamsState};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::{Engine, lock};
use crate::catalog::record::QueryRecord;
use crate::continuous::{QueryCounters, QuerySpec, application};
use crate::error::SqlError;
use crate::parser::{Statement, parse};
use crate::plan::continuous;

/// How a persistent query is doing.
#[derive(Debug, Clone, Serialize)]
pub struct QueryStatus {
    /// Its id.
    pub id: String,
    /// The statement.
    pub sql: String,
    /// The stream or table it feeds.
    pub sink: String,
    /// What it is doing.
    pub state: QueryState,
    /// Records read since it started.
    pub records_in: u64,
    /// Rows written to the sink since it started.
    pub records_out: u64,
    /// Records read in a second.
    pub rate: f64,
    /// Records that could not be read.
    pub bad_records: u64,
    /// Rows on which an expression failed.
    pub failed_rows: u64,
    /// Rows that came after their window had closed.
    pub late_rows: u64,
    /// Records it has still to read.
    pub lag: Option<i64>,
    /// Why it does not run, or the last record it left out.
    pub error: Option<String>,
}

/// What a persistent query is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QueryState {
    /// It is about to run.
    Starting,
    /// It runs.
    Running,
    /// It failed and will start again in a moment.
    Error,
    /// It has ended.
    Stopped,
}

impl QueryState {
    /// As `SHOW QUERIES` writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Error => "error",
            Self::Stopped => "stopped",
        }
    }
}

/// A query with the task that looks after it.
pub(super) struct RunningQuery {
    record: Arc<QueryRecord>,
    counters: Arc<QueryCounters>,
    shared: Mutex<Shared>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Clone)]
struct Shared {
    state: QueryState,
    error: Option<String>,
    records_in: u64,
    rate: f64,
    lag: Option<i64>,
}

/// How often the figures of a running query are taken.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// Pauses between starts of a query that fails: doubled each time, up to the second.
const RESTART_DELAYS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

impl RunningQuery {
    pub(super) fn start(engine: Engine, record: Arc<QueryRecord>) -> Arc<Self> {
        let (stop, stopped) = watch::channel(false);
        let query = Arc::new(Self {
            record,
            counters: Arc::default(),
            shared: Mutex::new(Shared {
                state: QueryState::Starting,
                error: None,
                records_in: 0,
                rate: 0.0,
                lag: None,
            }),
            stop,
            task: Mutex::new(None),
        });
        let task = tokio::spawn(supervise(engine, Arc::clone(&query), stopped));
        *lock(&query.task) = Some(task);
        query
    }

    pub(super) fn request_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until the query has committed and ended.
    pub(super) async fn stopped(&self) {
        let task = lock(&self.task).take();
        if let Some(task) = task {
            // A task that panicked has ended too.
            let _ = task.await;
        }
    }

    pub(super) fn status(&self) -> QueryStatus {
        let shared = lock(&self.shared).clone();
        QueryStatus {
            id: self.record.id.clone(),
            sql: self.record.sql.clone(),
            sink: self.record.sink.clone(),
            state: shared.state,
            records_in: shared.records_in,
            records_out: self.counters.rows_out(),
            rate: shared.rate,
            bad_records: self.counters.bad_records(),
            failed_rows: self.counters.failed_rows(),
            late_rows: self.counters.late_rows(),
            lag: shared.lag,
            error: shared.error.or_else(|| self.counters.last_problem()),
        }
    }

    fn set_state(&self, state: QueryState, error: Option<String>) {
        let mut shared = lock(&self.shared);
        shared.state = state;
        shared.error = error;
    }
}

/// Runs a query until it is told to stop; starts it again when it fails.
async fn supervise(engine: Engine, query: Arc<RunningQuery>, mut stop: watch::Receiver<bool>) {
    let id = query.record.id.clone();
    let (mut delay, longest) = RESTART_DELAYS;
    while !*stop.borrow() {
        let error = match start(&engine, &query).await {
            Ok(handle) => {
                query.set_state(QueryState::Running, None);
                info!(query = %id, "query started");
                match watch_over(&query, handle, &mut stop).await {
                    None => break,
                    Some(error) => error,
                }
            }
            Err(error) => error,
        };
        warn!(query = %id, %error, "query failed, starts again");
        query.set_state(QueryState::Error, Some(error.to_string()));
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = stop.changed() => {}
        }
        delay = (delay * 2).min(longest);
    }
    query.set_state(QueryState::Stopped, None);
    info!(query = %id, "query stopped");
}

async fn start(engine: &Engine, query: &RunningQuery) -> Result<StreamsHandle, SqlError> {
    let spec = spec(engine, &query.record).await?;
    let application = application(&spec, &query.counters)?;
    let config = StreamsConfig {
        commit_interval_ms: Some(engine.config().commit_interval_ms),
        state_dir: engine.config().state_dir.clone(),
        group_instance_id: engine.config().instance.clone(),
        ..StreamsConfig::default()
    };
    Ok(Streams::start(engine.client().clone(), application, config).await?)
}

/// Takes the figures of a query until it fails (`Some`) or is told to stop (`None`).
async fn watch_over(
    query: &RunningQuery,
    handle: StreamsHandle,
    stop: &mut watch::Receiver<bool>,
) -> Option<SqlError> {
    loop {
        if *stop.borrow() {
            if let Err(error) = handle.close().await {
                warn!(query = %query.record.id, %error, "query stopped without a last commit");
            }
            return None;
        }
        let metrics = handle.metrics();
        {
            let mut shared = lock(&query.shared);
            shared.records_in = metrics
                .inputs
                .first()
                .map_or(metrics.records_in, |input| input.records_in);
            shared.rate = metrics
                .inputs
                .first()
                .map_or(metrics.records_in_rate, |input| input.rate);
            shared.lag = metrics.lag;
        }
        if handle.state() == StreamsState::Failed {
            let error = handle.error();
            // What is left of it ends by itself; its own error is the one to report.
            let _ = handle.close().await;
            return Some(match error {
                Some(error) => error.into(),
                None => SqlError::internal("the query ended by itself"),
            });
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Plans a query again from its text: what is stored is never a plan.
async fn spec(engine: &Engine, record: &QueryRecord) -> Result<QuerySpec, SqlError> {
    let select = match parse(&record.sql)?
        .into_iter()
        .next()
        .map(|parsed| parsed.statement)
    {
        Some(Statement::CreateAs(create)) => create.select,
        _ => return Err(SqlError::internal(format!("`{}` is no query", record.sql))),
    };
    let catalog = engine.catalog();
    let sink = Arc::clone(catalog.source(&record.sink)?);
    let plan = continuous::plan(engine.planner(), &select, &catalog).await?;
    let Some(sink_partitions) = engine.client().partition_count(&sink.topic).await? else {
        return Err(SqlError::not_found(format!(
            "topic `{}` of the {sink} does not exist",
            sink.topic
        )));
    };
    Ok(QuerySpec {
        query_id: record.id.clone(),
        application_id: engine.application_id(&record.id),
        plan,
        sink,
        sink_partitions,
        start_at: if record.start_at == "latest" {
            StartAt::Latest
        } else {
            StartAt::Earliest
        },
    })
}
