//! A cluster for one test, and short ways to ask it.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt as _;
use moldau_broker::{Broker, BrokerConfig, BrokerHandle};
use moldau_client::{Client, ClientConfig};
use moldau_sql::{Engine, EngineConfig, RowStream, Session, SqlError, StatementResult, render};
use tempfile::TempDir;

/// No test waits longer than this for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// A client of a cluster that has room for one test.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// Part of all names, so that tests do not meet on a shared cluster.
    pub(crate) prefix: String,
    broker: Option<(BrokerHandle, TempDir)>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let prefix = unique();
        if let Ok(address) = std::env::var("MOLDAU_TEST_KAFKA") {
            let client = Client::connect(ClientConfig::new(&address))
                .await
                .expect("connected");
            return Self {
                client,
                prefix,
                broker: None,
            };
        }
        let directory = tempfile::tempdir().expect("a directory");
        let config = BrokerConfig {
            data_dir: directory.path().to_path_buf(),
            listeners: vec!["127.0.0.1:0".parse().expect("an address")],
            ..BrokerConfig::default()
        };
        let broker = Broker::start(config).await.expect("a broker");
        let client = Client::in_process(broker.dispatcher(), ClientConfig::new(""));
        Self {
            client,
            prefix,
            broker: Some((broker, directory)),
        }
    }

    pub(crate) async fn engine(&self) -> Engine {
        let config = EngineConfig {
            catalog_topic: format!("{}-catalog", self.prefix),
            application_prefix: format!("{}-app-", self.prefix),
            commit_interval_ms: 100,
            ..EngineConfig::default()
        };
        Engine::start(self.client.clone(), config)
            .await
            .expect("an engine")
    }

    /// `$name` in a text becomes a topic of this test.
    pub(crate) fn text(&self, text: &str) -> String {
        text.replace('$', &format!("{}-", self.prefix))
    }

    pub(crate) async fn stop(self, engine: Engine) {
        engine.close().await;
        if let Some((broker, _directory)) = self.broker {
            broker.shutdown().await.expect("shut down");
        }
    }
}

fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    format!(
        "sql{}x{}",
        now.as_nanos() % 1_000_000_000_000,
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Fails a wait that has no end.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .expect("an answer in time")
}

/// Runs a text; rows as lines, messages as they are.
pub(crate) async fn run(session: &mut Session, text: &str) -> Result<String, SqlError> {
    let mut out = String::new();
    for result in within(session.execute(text)).await? {
        match result {
            StatementResult::Message(message) => {
                out.push_str(&message);
                out.push('\n');
            }
            StatementResult::Rows { rows, .. } => {
                for line in within(all(rows)).await? {
                    out.push_str(&line);
                    out.push('\n');
                }
            }
        }
    }
    Ok(out)
}

pub(crate) async fn ok(session: &mut Session, text: &str) -> String {
    match run(session, text).await {
        Ok(out) => out,
        Err(error) => panic!("{text}: {error}"),
    }
}

pub(crate) async fn error(session: &mut Session, text: &str) -> String {
    match run(session, text).await {
        Ok(out) => panic!("{text} gave {out}"),
        Err(error) => error.to_string(),
    }
}

/// Starts a push query.
pub(crate) async fn stream(session: &mut Session, text: &str) -> RowStream {
    match within(session.execute(text))
        .await
        .map(|mut results| results.pop())
    {
        Ok(Some(StatementResult::Rows { rows, .. })) => rows,
        Ok(other) => panic!("{text} gave {other:?}"),
        Err(error) => panic!("{text}: {error}"),
    }
}

/// The next rows of a push query, at least `count`.
pub(crate) async fn next(rows: &mut RowStream, count: usize) -> Vec<String> {
    let mut out = Vec::new();
    while out.len() < count {
        match within(rows.next()).await {
            Some(batch) => out.extend(lines(&batch.expect("rows"))),
            None => panic!("ended after {out:?}"),
        }
    }
    out
}

/// Reads a push query until it has given all of these rows.
pub(crate) async fn until(rows: &mut RowStream, wanted: &[&str]) {
    let mut missing: Vec<String> = wanted.iter().map(|row| (*row).to_owned()).collect();
    let mut seen = Vec::new();
    while !missing.is_empty() {
        let batch = tokio::time::timeout(LIMIT, rows.next()).await;
        let Ok(Some(batch)) = batch else {
            panic!("missing {missing:?} after {seen:?}");
        };
        for line in lines(&batch.expect("rows")) {
            missing.retain(|row| *row != line);
            seen.push(line);
        }
    }
}

async fn all(mut rows: RowStream) -> Result<Vec<String>, SqlError> {
    let mut out = Vec::new();
    while let Some(batch) = rows.next().await {
        out.extend(lines(&batch?));
    }
    Ok(out)
}

fn lines(batch: &arrow::array::RecordBatch) -> Vec<String> {
    let cell = |array: &arrow::array::ArrayRef, row| {
        render::cell(array.as_ref(), row).unwrap_or_else(|| "NULL".to_owned())
    };
    (0..batch.num_rows())
        .map(|row| {
            let cells: Vec<String> = batch
                .columns()
                .iter()
                .map(|array| cell(array, row))
                .collect();
            cells.join(" | ")
        })
        .collect()
}
