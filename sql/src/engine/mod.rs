//! The engine: catalog, running queries, and sessions that work on them.

mod catalog_log;
mod config;
pub(crate) mod create;
mod describe;
mod drop_source;
mod explain;
mod insert;
mod interleave;
mod print;
pub(crate) mod properties;
mod push;
mod queries;
mod result;
mod session;
mod show;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use moldau_client::Client;
use tracing::{info, warn};

use crate::catalog::Catalog;
use crate::error::{SqlError, SqlErrorKind};
use crate::plan::Planner;
use catalog_log::{CatalogLog, Change};
pub use config::EngineConfig;
use queries::RunningQuery;
pub use queries::{QueryState, QueryStatus};
pub use result::{RowStream, StatementResult};
pub use session::Session;

/// The version of PostgreSQL whose protocol and catalog we imitate.
pub(crate) const SERVER_VERSION: &str = "15.0 (Moldau)";

/// Runs SQL over the topics of a cluster. Clones are handles to the same engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    config: EngineConfig,
    planner: Planner,
    /// The catalog as it is; a change puts a new one here once it is stored.
    catalog: Mutex<Arc<Catalog>>,
    /// Held while a statement changes the catalog, so that changes are made one by one.
    log: tokio::sync::Mutex<Option<CatalogLog>>,
    running: Mutex<BTreeMap<String, Arc<RunningQuery>>>,
    closed: AtomicBool,
    closing: tokio::sync::Notify,
}

impl Engine {
    /// Reads the catalog, and starts the queries in it.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub async fn start(client: Client, config: EngineConfig) -> Result<Self, SqlError> {
        let (log, catalog) = CatalogLog::open(&client, &config.catalog_topic).await?;
        let engine = Self {
            inner: Arc::new(Inner {
                client,
                config,
                planner: Planner::new(),
                catalog: Mutex::new(Arc::new(catalog)),
                log: tokio::sync::Mutex::new(Some(log)),
                running: Mutex::new(BTreeMap::new()),
                closed: AtomicBool::new(false),
                closing: tokio::sync::Notify::new(),
            }),
        };
        let catalog = engine.catalog();
        for query in catalog.queries.values() {
            engine.start_query(query);
        }
        let (sources, queries) = (catalog.sources.len(), catalog.queries.len());
        info!(sources, queries, "sql engine started");
        Ok(engine)
    }

    /// A new session with default settings.
    pub fn session(&self) -> Session {
        Session::new(self.clone())
    }

    /// All persistent queries.
    pub fn queries(&self) -> Vec<QueryStatus> {
        self.running()
            .values()
            .map(|query| query.status())
            .collect()
    }

    /// Stops all queries after a last commit, and refuses new statements. Queries stay in the
    /// catalog and go on at the next start.
    pub async fn close(&self) {
        if self.inner.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.inner.closing.notify_waiters();
        let queries: Vec<_> = std::mem::take(&mut *self.running()).into_values().collect();
        for query in &queries {
            query.request_stop();
        }
        for query in queries {
            query.stopped().await;
        }
        if let Some(log) = self.inner.log.lock().await.take() {
            log.close().await;
        }
    }

    /// The streams, tables and queries as they are now.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&lock(&self.inner.catalog))
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    pub(crate) fn config(&self) -> &EngineConfig {
        &self.inner.config
    }

    pub(crate) fn planner(&self) -> &Planner {
        &self.inner.planner
    }

    pub(crate) fn check_open(&self) -> Result<(), SqlError> {
        if self.inner.closed.load(Ordering::Acquire) {
            Err(SqlError::new(SqlErrorKind::Closed, "the engine is closed"))
        } else {
            Ok(())
        }
    }

    /// Ends when the engine is closed.
    pub(crate) async fn closed(&self) {
        let closing = self.inner.closing.notified();
        if self.check_open().is_ok() {
            closing.await;
        }
    }

    /// Takes the right to change the catalog.
    async fn change(&self) -> Result<CatalogChange<'_>, SqlError> {
        let guard = self.inner.log.lock().await;
        if guard.is_none() {
            return Err(SqlError::new(SqlErrorKind::Closed, "the engine is closed"));
        }
        Ok(CatalogChange {
            engine: self,
            guard,
        })
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Arc<RunningQuery>>> {
        lock(&self.inner.running)
    }

    fn start_query(&self, record: &Arc<crate::catalog::record::QueryRecord>) {
        let query = RunningQuery::start(self.clone(), Arc::clone(record));
        self.running().insert(record.id.clone(), query);
    }

    /// Ends a query for good: its consumer group and its internal topics go with it.
    async fn remove_query(&self, id: &str) {
        let query = self.running().remove(id);
        if let Some(query) = query {
            query.request_stop();
            query.stopped().await;
        }
        if let Err(error) = self.remove_traces(&self.application_id(id)).await {
            warn!(query = %id, %error, "internal topics of the query are left over");
        }
    }

    /// Consumer group, and prefix of the internal topics, of a query.
    pub(crate) fn application_id(&self, query_id: &str) -> String {
        format!("{}{query_id}", self.inner.config.application_prefix)
    }

    async fn remove_traces(&self, application_id: &str) -> Result<(), SqlError> {
        let admin = self.inner.client.admin();
        let prefix = format!("{application_id}-");
        let topics: Vec<String> = admin
            .list_topics()
            .await?
            .into_iter()
            .map(|topic| topic.name)
            .filter(|name| name.starts_with(&prefix))
            .collect();
        if !topics.is_empty() {
            admin.delete_topics(&topics).await?;
        }
        admin.delete_groups(&[application_id]).await?;
        Ok(())
    }
}

/// The right to change the catalog, one statement at a time.
struct CatalogChange<'e> {
    engine: &'e Engine,
    guard: tokio::sync::MutexGuard<'e, Option<CatalogLog>>,
}

impl CatalogChange<'_> {
    fn next_number(&self) -> i64 {
        self.guard.as_ref().map_or(0, CatalogLog::next_number)
    }

    /// Stores the changes, then makes them.
    async fn commit(&mut self, changes: &[Change]) -> Result<(), SqlError> {
        let Some(log) = self.guard.as_mut() else {
            return Err(SqlError::new(SqlErrorKind::Closed, "the engine is closed"));
        };
        log.append(changes).await?;
        let mut catalog = lock(&self.engine.inner.catalog);
        let mut next = Catalog::clone(&catalog);
        for change in changes {
            change.apply(&mut next);
        }
        *catalog = Arc::new(next);
        Ok(())
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

/// A poisoned lock still guards whole values: they are replaced, never changed half.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
