//! Starting an application, and the handle of a running one.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use moldau_client::Client;
use tokio::sync::Semaphore;

use super::global;
use super::setup::prepare;
use super::shared::Shared;
use super::task_set::TaskSet;
use super::thread::StreamThread;
use crate::runtime::application::Application;
use crate::runtime::cache_budget::CacheBudget;
use crate::runtime::config::StreamsConfig;
use crate::runtime::error::StreamsError;
use crate::runtime::metrics::{StreamsMetrics, StreamsState};
use crate::runtime::plan::Plan;
use crate::runtime::task::TaskSettings;

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
        let plan = Arc::new(prepare(&client, &application, &config).await?);
        let shared = Arc::new(Shared::new(config.num_threads));
        let global_stores = global::start(&client, &application, &shared).await?;
        let starter = Starter {
            shared,
            application: Arc::new(application),
            plan,
            settings: TaskSettings {
                max_task_idle_ms: config.max_task_idle_ms,
                cache_budget: Arc::new(CacheBudget::new(config.cache_max_bytes)),
                global_stores,
            },
            permits: Arc::new(Semaphore::new(CONCURRENT_RESTORES)),
            client,
            config,
        };
        let mut handle = StreamsHandle {
            shared: Arc::clone(&starter.shared),
            threads: Vec::new(),
        };
        for index in 0..starter.config.num_threads {
            handle.threads.push(starter.thread(index)?);
        }
        Ok(handle)
    }
}

/// What all threads are made from.
struct Starter {
    client: Client,
    application: Arc<Application>,
    plan: Arc<Plan>,
    config: StreamsConfig,
    settings: TaskSettings,
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
}

impl Starter {
    fn thread(&self, index: usize) -> Result<JoinHandle<()>, StreamsError> {
        let tasks = TaskSet::new(
            Arc::clone(&self.application),
            Arc::clone(&self.plan),
            self.settings.clone(),
            self.client.clone(),
            Arc::clone(&self.permits),
        );
        let thread = StreamThread::new(
            index,
            self.client.clone(),
            &self.application,
            &self.plan,
            self.config.clone(),
            Arc::clone(&self.shared),
            tasks,
        )?;
        let name = format!(
            "{}-StreamThread-{}",
            self.application.application_id,
            index + 1
        );
        let builder = std::thread::Builder::new().name(name);
        builder
            .spawn(move || thread.run())
            .map_err(|error| StreamsError::Config {
                setting: "num_threads",
                reason: format!("a thread could not be started: {error}"),
            })
    }
}

/// A running application. Dropping it closes the application in the background;
/// [`close`](Self::close) waits for it.
#[derive(Debug)]
pub struct StreamsHandle {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
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

    /// Commits, leaves the group and waits for the threads.
    ///
    /// # Errors
    /// What stopped the application, if it had failed.
    pub async fn close(mut self) -> Result<(), StreamsError> {
        self.shared.close();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // A panic outside of task code; the state tells that the thread is gone.
                let _ = thread.join();
            }
        });
        let _ = joined.await;
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
