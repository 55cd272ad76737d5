//! A finished topology.

use std::sync::Arc;

use moldau_client::{Client, ClientConfig};

use super::compile::application;
use super::describe::describe;
use super::graph::Graph;
use super::test_driver::TestDriver;
use crate::runtime::{
    Application, LocalConfig, Streams, StreamsConfig, StreamsError, StreamsHandle,
};

/// A finished topology: to describe, to test and to run.
#[derive(Clone)]
pub struct Topology {
    graph: Arc<Graph>,
}

impl Topology {
    pub(super) const fn new(graph: Arc<Graph>) -> Self {
        Self { graph }
    }

    /// The consumer group, and prefix of all internal topics.
    #[must_use]
    pub fn application_id(&self) -> &str {
        &self.graph.application_id
    }

    /// The topology as text, as Java's `Topology.describe()` writes it.
    #[must_use]
    pub fn describe(&self) -> String {
        describe(&self.graph)
    }

    /// What the runtime runs.
    #[must_use]
    pub fn application(&self) -> Application {
        application(&self.graph)
    }

    /// Starts the topology against a cluster; must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Source topics are missing or do not fit together, or the cluster cannot be reached.
    pub async fn start(
        &self,
        client: Client,
        config: StreamsConfig,
    ) -> Result<StreamsHandle, StreamsError> {
        Streams::start(client, self.application(), config).await
    }

    /// Runs the topology until Ctrl-C or SIGTERM, or until it fails; then it commits and leaves its
    /// group, so that others take over at once; a second signal ends it without. Brings a tokio runtime of its own, so
    /// it is all that a program's `main` needs; `bootstrap_servers` is `host:port,…`.
    ///
    /// # Errors
    /// The topology could not be started, or failed.
    pub fn run(&self, bootstrap_servers: &str, config: StreamsConfig) -> Result<(), StreamsError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(NETWORK_THREADS)
            .enable_all()
            .build()
            .map_err(|error| StreamsError::topology(format!("cannot start a runtime: {error}")))?;
        let ended = runtime.block_on(async {
            let connecting = ClientConfig::new(bootstrap_servers).client_id(self.application_id());
            let client = Client::connect(connecting).await;
            let client = client.map_err(|error| StreamsError::Client {
                action: format!("connect to {bootstrap_servers}"),
                error,
            })?;
            let handle = self.start(client, config).await?;
            tracing::info!(
                application_id = self.application_id(),
                "running, stop with Ctrl-C"
            );
            tokio::select! {
                () = handle.ended() => {}
                () = asked_to_end() => {}
            }
            tokio::select! {
                closed = handle.close() => closed,
                () = asked_to_end() => {
                    tracing::warn!("asked to end a second time, the last commit is not waited for");
                    Ok(())
                }
            }
        });
        runtime.shutdown_background();
        ended
    }

    /// A driver that runs the topology in memory, with one partition per topic, and commits after
    /// each record.
    ///
    /// # Errors
    /// The topology cannot run.
    pub fn test(&self) -> Result<TestDriver, StreamsError> {
        self.test_with(LocalConfig::default())
    }

    /// A driver with partitions, commits and cache of its own.
    ///
    /// # Errors
    /// The topology cannot run.
    pub fn test_with(&self, config: LocalConfig) -> Result<TestDriver, StreamsError> {
        TestDriver::new(self.application(), config)
    }
}

impl std::fmt::Debug for Topology {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.describe())
    }
}

/// Waits for Ctrl-C or, where there is such a thing, SIGTERM, which service managers send.
async fn asked_to_end() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Workers for the network; tasks have threads of their own.
const NETWORK_THREADS: usize = 2;
