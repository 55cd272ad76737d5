//! One of the two clusters that are compared.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use moldau_client::admin::NewTopic;
use moldau_client::{Client, ClientConfig, ClientError, ErrorCode};
use tokio::net::TcpStream;

use super::super::process::{self, Usage};
use super::Durability;

/// How long a server may take to stop, or to start.
const RESTART_TIMEOUT: Duration = Duration::from_secs(120);

/// Pause between two looks whether a server answers.
const RETRY_PAUSE: Duration = Duration::from_millis(2);

/// A cluster, and its server's process if that runs on this machine.
pub(super) struct Endpoint {
    pub(super) name: &'static str,
    pub(super) bootstrap: String,
    pub(super) client: Client,
    pid: Option<u32>,
    restart: Option<String>,
    /// The topic settings that give the durability asked for.
    durability: Option<(&'static str, &'static str)>,
    /// Makes the names of topics differ from those of other runs.
    run: u128,
    topics: u32,
}

impl Endpoint {
    /// Connects, and finds out how the endpoint is told when a record counts as acknowledged.
    ///
    /// # Errors
    /// The address does not answer, or topics cannot be created there.
    pub(super) async fn open(
        name: &'static str,
        bootstrap: &str,
        pid: Option<u32>,
        restart: Option<String>,
        durability: Durability,
    ) -> anyhow::Result<Self> {
        let client = Client::connect(ClientConfig::new(bootstrap)).await?;
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let mut endpoint = Self {
            name,
            bootstrap: bootstrap.to_owned(),
            client,
            pid,
            restart,
            durability: Some(match durability {
                Durability::Os => ("flush", "os"),
                Durability::Commit => ("flush", "commit"),
            }),
            run: since.unwrap_or_default().as_millis(),
            topics: 0,
        };
        match endpoint.create_topic(1).await {
            Ok(topic) => endpoint.delete_topics(&[topic]).await?,
            // Apache Kafka does not know `flush`; it acknowledges from the page cache unless told otherwise.
            Err(ClientError::Broker {
                code: ErrorCode::InvalidConfig,
                ..
            }) => {
                endpoint.durability = match durability {
                    Durability::Os => None,
                    Durability::Commit => Some(("flush.messages", "1")),
                };
            }
            Err(error) => return Err(error).context("create a topic"),
        }
        Ok(endpoint)
    }

    /// How the durability was set, for the report.
    pub(super) fn settings(&self) -> String {
        match self.durability {
            Some((name, value)) => format!("{name}={value}"),
            None => "broker's default".to_owned(),
        }
    }

    /// Creates a topic with a fresh name.
    ///
    /// # Errors
    /// The endpoint refuses it.
    pub(super) async fn create_topic(&mut self, partitions: i32) -> Result<String, ClientError> {
        self.topics += 1;
        let name = format!("moldau-bench-{}-{}", self.run, self.topics);
        let mut topic = NewTopic::new(&name, partitions);
        if let Some((setting, value)) = self.durability {
            topic = topic.config(setting, value);
        }
        let results = self.client.admin().create_topics(vec![topic]).await?;
        for (_, result) in results {
            result?;
        }
        self.wait_for_leaders(&name, partitions).await;
        Ok(name)
    }

    /// Creation is answered before every partition can be written to.
    async fn wait_for_leaders(&self, topic: &str, partitions: i32) {
        let deadline = Instant::now() + RESTART_TIMEOUT;
        loop {
            // An error means that the new topic is not known everywhere yet.
            let described = self.client.admin().describe_topics(&[topic]).await;
            let led = described
                .unwrap_or_default()
                .into_iter()
                .flat_map(|topic| topic.partitions)
                .filter(|partition| partition.leader.is_some())
                .count();
            if led == usize::try_from(partitions).unwrap_or(0) || Instant::now() > deadline {
                return;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Deletes topics that this run created.
    ///
    /// # Errors
    /// The endpoint cannot be asked.
    pub(super) async fn delete_topics(&self, topics: &[String]) -> anyhow::Result<()> {
        for (_, result) in self.client.admin().delete_topics(topics).await? {
            match result {
                // A request that is repeated because its answer came late finds them gone.
                Ok(()) | Err(ClientError::UnknownTopic { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What the server has used up to now; `None` without process id.
    ///
    /// # Errors
    /// There is no such process.
    pub(super) fn usage(&self) -> anyhow::Result<Option<Usage>> {
        self.pid.map(Usage::of).transpose()
    }

    /// Lets the server's peak memory begin anew, where the system allows it.
    pub(super) fn reset_peak_memory(&self) {
        if let Some(pid) = self.pid {
            process::reset_peak_memory(pid);
        }
    }

    pub(super) fn can_restart(&self) -> bool {
        self.restart.is_some()
    }

    /// Stops and starts the server; returns the time from the start to the first answer about `topic`.
    ///
    /// # Errors
    /// The command fails, or the server does not come back.
    pub(super) async fn restart(&mut self, topic: &str) -> anyhow::Result<Duration> {
        let command = self.restart.clone().context("no command to restart with")?;
        shell(&command, "stop")?;
        let deadline = Instant::now() + RESTART_TIMEOUT;
        while TcpStream::connect(&self.bootstrap).await.is_ok() {
            if Instant::now() > deadline {
                bail!(
                    "`{command} stop` returned, but {} still listens",
                    self.bootstrap
                );
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        let began = Instant::now();
        let printed = shell(&command, "start")?;
        let pid = printed.lines().last().unwrap_or_default().trim();
        self.pid = Some(pid.parse().with_context(|| {
            format!("`{command} start` must print the process id last, not {pid:?}")
        })?);
        loop {
            if TcpStream::connect(&self.bootstrap).await.is_ok()
                && let Ok(client) = Client::connect(ClientConfig::new(&self.bootstrap)).await
                && client
                    .partition_count(topic)
                    .await
                    .is_ok_and(|count| count.is_some())
            {
                self.client = client;
                return Ok(began.elapsed());
            }
            if began.elapsed() > RESTART_TIMEOUT {
                bail!(
                    "{} does not answer {RESTART_TIMEOUT:?} after `{command} start`",
                    self.bootstrap
                );
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// Runs `command verb` and returns what it prints.
fn shell(command: &str, verb: &str) -> anyhow::Result<String> {
    let line = format!("{command} {verb}");
    let done = Command::new("sh")
        .args(["-c", &line])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run `{line}`"))?;
    if !done.status.success() {
        bail!("`{line}` ended with {}", done.status);
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
