//! All connectors of a document, running.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use moldau_client::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::warn;

use super::TaskContext;
use super::client_cluster::ClientCluster;
use super::status::{ConnectorStatus, StatusBoard};
use super::supervisor::supervise;
use crate::config::ConnectorSpec;

/// What all connectors have in common.
#[derive(Debug, Clone)]
pub struct ConnectConfig {
    /// Where the process keeps its data.
    pub data_dir: PathBuf,
    /// Name of this machine in records; `None` asks the operating system.
    pub host: Option<String>,
    /// How long [`ConnectHandle::close`] waits for connectors before it drops them. What a
    /// dropped connector had begun is repeated or left out by its next start.
    pub close_timeout: Duration,
}

impl ConnectConfig {
    /// The defaults, with this data directory.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            host: None,
            close_timeout: Duration::from_secs(5),
        }
    }
}

/// Starts connectors.
#[derive(Debug)]
pub struct Connect;

impl Connect {
    /// Starts a task for each connector. Nothing is awaited: what a connector needs and does not
    /// find shows in its status, and it goes on trying.
    ///
    /// Must be called inside a tokio runtime.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "settings are given away, as to all other parts"
    )]
    pub fn start(
        client: Client,
        connectors: Vec<ConnectorSpec>,
        config: ConnectConfig,
    ) -> ConnectHandle {
        let (close, closing) = watch::channel(false);
        let host = config
            .host
            .clone()
            .or_else(|| sysinfo::System::host_name().ok());
        let host: Arc<str> = Arc::from(host.unwrap_or_else(|| "localhost".to_owned()));
        let mut running = Vec::with_capacity(connectors.len());
        for spec in connectors {
            let status = Arc::new(StatusBoard::new(&spec));
            let context = TaskContext {
                cluster: ClientCluster::new(client.clone(), host.clone()),
                status: status.clone(),
                closing: closing.clone(),
                host: host.clone(),
            };
            let task = tokio::spawn(supervise(context, Arc::new(spec)));
            running.push(Running { status, task });
        }
        ConnectHandle {
            running,
            close,
            close_timeout: config.close_timeout,
        }
    }
}

/// Running connectors. They stop when this is dropped, or properly with [`Self::close`].
#[derive(Debug)]
pub struct ConnectHandle {
    running: Vec<Running>,
    close: watch::Sender<bool>,
    close_timeout: Duration,
}

#[derive(Debug)]
struct Running {
    status: Arc<StatusBoard>,
    task: JoinHandle<()>,
}

impl ConnectHandle {
    /// What each connector is doing, in the order of the document.
    #[must_use]
    pub fn status(&self) -> Vec<ConnectorStatus> {
        self.running
            .iter()
            .map(|running| running.status.read())
            .collect()
    }

    /// A cheap view of [`Self::status`] for others, which does not keep connectors running.
    #[must_use]
    pub fn status_reader(&self) -> StatusReader {
        StatusReader {
            boards: self
                .running
                .iter()
                .map(|running| running.status.clone())
                .collect(),
        }
    }

    /// Lets each connector finish what it has begun and store its progress.
    pub async fn close(mut self) {
        self.close.send_replace(true);
        let deadline = tokio::time::Instant::now() + self.close_timeout;
        for mut running in std::mem::take(&mut self.running) {
            if tokio::time::timeout_at(deadline, &mut running.task)
                .await
                .is_err()
            {
                running.task.abort();
                let name = running.status.read().name;
                warn!(connector = %name, "connector did not stop in time and was dropped");
            }
        }
    }
}

impl Drop for ConnectHandle {
    fn drop(&mut self) {
        for running in &self.running {
            running.task.abort();
        }
    }
}

/// Reads the status of connectors that somebody else owns.
#[derive(Debug, Clone)]
pub struct StatusReader {
    boards: Vec<Arc<StatusBoard>>,
}

impl StatusReader {
    /// What each connector is doing, in the order of the document.
    #[must_use]
    pub fn status(&self) -> Vec<ConnectorStatus> {
        self.boards.iter().map(|board| board.read()).collect()
    }
}
