//! Starting an application, and the handle of a running one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use moldau_client::Client;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::core::Core;
use super::current_plan::CurrentPlan;
use super::global;
use super::http;
use super::process_id::ProcessId;
use super::queries::{self, Queries};
use super::setup::prepare;
use super::shared::Shared;
use super::source_watch;
use crate::runtime::application::Application;
use crate::runtime::cache_budget::CacheBudget;
use crate::runtime::config::StreamsConfig;
use crate::runtime::error::StreamsError;
use crate::runtime::metrics::{StreamsMetrics, StreamsState};
use crate::runtime::partition_counts::ClusterPartitionCounts;
use crate::runtime::query::{QueryAnswer, StoreQuery};
use crate::runtime::store::StoreEnvironment;
use crate::runtime::task::TaskSettings;
use crate::runtime::task_id::TaskId;

/// Runs applications against a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Streams;

impl Streams {
    /// Starts an application: waits for its source topics, creates its internal topics and starts
    /// its threads, which join the group named like the application. Must be called inside a
    /// tokio runtime with at least one worker besides the caller; the runtime carries the network.
    ///
    /// # Errors
    /// The application makes no sense on these topics, or the cluster cannot be reached.
    pub async fn start(
        client: Client,
        application: Application,
        config: StreamsConfig,
    ) -> Result<StreamsHandle, StreamsError> {
        if config.num_threads == 0 {
            return Err(StreamsError::Config {
                setting: "num_threads",
                reason: "it must be at least 1".to_owned(),
            });
        }
        let stores = StoreEnvironment::new(
            config.state_dir.as_deref(),
            &application.application_id,
            config.store_memory_bytes,
        )?;
        let plan = CurrentPlan::new(prepare(&client, &application, &config).await?);
        let group = &application.application_id;
        let cache_budget = Arc::new(CacheBudget::new(config.cache_max_bytes));
        let shared = Arc::new(Shared::new(
            group,
            config.num_threads,
            stores.clone(),
            Arc::clone(&cache_budget),
        ));
        let listener = queries::listen(config.application_server.as_deref()).await?;
        let process_id = ProcessId::of(config.state_dir.as_deref(), group).await?;
        // Last, because it follows topics in the background, which nobody would end.
        let global_stores = global::start(&client, &application, &shared).await;
        let global_stores = global_stores.inspect_err(|_| shared.close())?;
        let core = Arc::new(Core {
            host: listener.as_ref().map(|(_, host)| host.clone()),
            process_id,
            shared: Arc::clone(&shared),
            application: Arc::new(application),
            plan: Arc::new(plan),
            settings: TaskSettings {
                emit_interval_ms: EMIT_INTERVAL_MS,
                max_task_idle_ms: config.max_task_idle_ms,
                cache_budget,
                global_stores,
                stores,
                partition_counts: Arc::new(ClusterPartitionCounts {
                    client: client.clone(),
                    runtime: Handle::current(),
                }),
                async_runtime: Some(Handle::current()),
            },
            permits: Arc::new(Semaphore::new(CONCURRENT_RESTORES)),
            client,
            config,
            runtime: Handle::current(),
        });
        let queries = Arc::new(Queries::new(Arc::clone(&core)));
        let server = listener.map(|(listener, _)| {
            let served = http::serve(listener, Arc::clone(&queries));
            AbortOnDropHandle(tokio::spawn(served))
        });
        let mut handle = StreamsHandle {
            shared,
            threads: Vec::new(),
            queries,
            server,
        };
        source_watch::start(&core);
        for index in 0..core.config.num_threads {
            handle.threads.push(spawn(&core, index)?);
        }
        Ok(handle)
    }
}

fn spawn(core: &Arc<Core>, index: usize) -> Result<JoinHandle<()>, StreamsError> {
    let group = &core.application.application_id;
    let name = format!("{group}-StreamThread-{}", index + 1);
    let builder = std::thread::Builder::new().name(name);
    let core = Arc::clone(core);
    let spawned = builder.spawn(move || {
        // Code of the user within tasks is guarded by itself; an application that waits for ever
        // for a thread that is gone would be the worst answer to anything else.
        let run = AssertUnwindSafe(|| core.run_thread(index));
        if let Err(panic) = catch_unwind(run) {
            core.shared.fail(StreamsError::thread_panicked(&*panic));
        }
        core.shared.ended(index);
    });
    spawned.map_err(|error| StreamsError::Config {
        setting: "num_threads",
        reason: format!("a thread could not be started: {error}"),
    })
}

/// A running application. Dropping it closes the application in the background;
/// [`close`](Self::close) waits for it.
#[derive(Debug)]
pub struct StreamsHandle {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    queries: Arc<Queries>,
    server: Option<AbortOnDropHandle>,
}

/// Ends the server of queries with the handle.
#[derive(Debug)]
struct AbortOnDropHandle(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDropHandle {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl StreamsHandle {
    /// The state now.
    #[must_use]
    pub fn state(&self) -> StreamsState {
        self.shared.state()
    }

    /// What stopped the application, if it failed.
    #[must_use]
    pub fn error(&self) -> Option<StreamsError> {
        self.shared.error()
    }

    /// The figures now; they are taken about five times a second.
    #[must_use]
    pub fn metrics(&self) -> StreamsMetrics {
        self.shared.metrics()
    }

    /// Waits until all tasks run; false if that takes longer than `limit`, or the application has
    /// ended.
    pub async fn wait_until_running(&self, limit: Duration) -> bool {
        let mut state = self.shared.watch_state();
        let settled = state.wait_for(|state| {
            matches!(
                state,
                StreamsState::Running | StreamsState::Failed | StreamsState::Closed
            )
        });
        let settled = tokio::time::timeout(limit, settled).await;
        matches!(settled, Ok(Ok(state)) if *state == StreamsState::Running)
    }

    /// Waits until the application has ended: closed by somebody, or failed.
    pub async fn ended(&self) {
        let mut state = self.shared.watch_state();
        let ended = state
            .wait_for(|state| matches!(state, StreamsState::Failed | StreamsState::Closed))
            .await;
        debug_assert!(ended.is_ok(), "the sender is in the handle itself");
    }

    /// Asks a store: the instance that owns the partition, or, if the question allows, a standby.
    ///
    /// # Errors
    /// There is no such store, nobody has it at the moment, or who has it cannot be reached.
    pub async fn query(&self, query: &StoreQuery) -> Result<QueryAnswer, StreamsError> {
        self.queries.ask(query).await
    }

    /// `host:port` where this process answers queries of the others.
    #[must_use]
    pub fn application_server(&self) -> Option<&str> {
        self.queries.host()
    }

    /// Standby tasks of this process, and how many changelog records each lacks;
    /// `u64::MAX` while that is not known.
    #[must_use]
    pub fn standby_lags(&self) -> Vec<(TaskId, u64)> {
        self.shared.standbys.lags().into_iter().collect()
    }

    /// Stops processing until [`resume`](Self::resume); membership, stores and commits stay.
    pub fn pause(&self) {
        self.shared.set_paused(true);
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.shared.set_paused(false);
    }

    /// Whether processing is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.shared.is_paused()
    }

    /// As [`close`](Self::close), but waits no longer than `limit`; false if the threads need longer.
    /// They go on to their end in the background then.
    ///
    /// # Errors
    /// What stopped the application, if it had failed.
    pub async fn close_within(self, limit: Duration) -> Result<bool, StreamsError> {
        match tokio::time::timeout(limit, self.close()).await {
            Ok(closed) => closed.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Commits, leaves the group and waits for the threads, as long as the code in tasks takes.
    ///
    /// # Errors
    /// What stopped the application, if it had failed.
    pub async fn close(mut self) -> Result<(), StreamsError> {
        self.shared.close();
        self.server.take();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // A panic outside of task code; the state tells that the thread is gone.
                let _ = thread.join();
            }
        });
        let _ = joined.await;
        self.shared.standbys.retain(&[]);
        match self.shared.error() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Drop for StreamsHandle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// Tasks whose stores are read back at the same time.
const CONCURRENT_RESTORES: usize = 4;

/// Wall-clock time between two looks for windows that have closed, as in Kafka Streams.
const EMIT_INTERVAL_MS: i64 = 1_000;
