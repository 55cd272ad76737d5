//! The parts of a running server, started in the order in which they need each other and closed in
//! the reverse order.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use moldau_broker::{Broker, BrokerConfig, BrokerHandle};
use moldau_client::admin::NewTopic;
use moldau_client::{Client, ClientConfig};
use moldau_connect::config::{Document, TerminalSpec};
use moldau_connect::{Connect, ConnectConfig, ConnectHandle};
use moldau_sql::{Engine, EngineConfig};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::ready::Addresses;
use crate::http::{self, Console};
use crate::terminal::Live;

/// How long each part may take to close before the next is closed all the same.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What to start.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) broker: BrokerConfig,
    pub(crate) http: SocketAddr,
    pub(crate) postgres: Option<SocketAddr>,
}

/// Everything that runs.
pub(crate) struct Services {
    broker: BrokerHandle,
    engine: Option<Engine>,
    connect: Option<ConnectHandle>,
    terminal: Option<TerminalSpec>,
    addresses: Addresses,
    http: JoinHandle<std::io::Result<()>>,
    postgres: Option<JoinHandle<Result<(), moldau_sql::SqlError>>>,
}

impl Services {
    /// Starts all parts of the plan; when it returns, every address answers.
    ///
    /// # Errors
    /// Any part that cannot start, named.
    pub(crate) async fn start(plan: Plan, document: Option<Document>) -> anyhow::Result<Self> {
        let http_listener = bind(plan.http, "--http").await?;
        let postgres_listener = match plan.postgres {
            Some(address) => Some(bind(address, "--postgres").await?),
            None => None,
        };
        let data_dir = plan.broker.data_dir.clone();
        let broker = Broker::start(plan.broker).await?;
        let client = Client::in_process(broker.dispatcher(), ClientConfig::new(""));
        let addresses = Addresses {
            cluster_id: broker.cluster_id().to_owned(),
            kafka: broker
                .kafka_addresses()
                .first()
                .map(|address| reachable(*address))
                .unwrap_or_default(),
            http: reachable(http_listener.local_addr()?),
            postgres: match &postgres_listener {
                Some(listener) => Some(reachable(listener.local_addr()?)),
                None => None,
            },
            data_dir: data_dir.clone(),
            pid: std::process::id(),
        };
        let engine = match &postgres_listener {
            Some(_) => Some(Engine::start(client.clone(), engine_config()).await?),
            None => None,
        };
        let mut connect = None;
        let mut terminal = None;
        if let Some(document) = document {
            apply(&client, engine.as_ref(), &document).await?;
            let config = ConnectConfig::new(&data_dir);
            connect = Some(Connect::start(client.clone(), document.connectors, config));
            terminal = document.terminal;
        }
        let console = Console::new(
            &broker,
            client,
            engine.clone(),
            connect.as_ref().map(ConnectHandle::status_reader),
            terminal.clone(),
        );
        let http = tokio::spawn(http::serve(http_listener, console));
        let postgres = match (postgres_listener, &engine) {
            (Some(listener), Some(engine)) => {
                Some(tokio::spawn(engine.clone().serve_postgres(listener)))
            }
            _ => None,
        };
        Ok(Self {
            broker,
            engine,
            connect,
            terminal,
            addresses,
            http,
            postgres,
        })
    }

    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// The query that the terminal shows, if the document names one.
    pub(crate) fn terminal(&self) -> Option<Live> {
        let spec = self.terminal.clone()?;
        Some(Live {
            engine: self.engine.clone()?,
            spec,
        })
    }

    /// Returns when a server that should run for ever ended, with the reason.
    pub(crate) async fn failed(&self) -> anyhow::Result<()> {
        self.broker.failed().await.context("the broker stopped")
    }

    /// Closes all parts, the broker last.
    ///
    /// # Errors
    /// The broker could not write everything; what was acknowledged is safe all the same.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.http.abort();
        if let Some(postgres) = &self.postgres {
            postgres.abort();
        }
        if let Some(connect) = self.connect {
            within("connectors", connect.close()).await;
        }
        if let Some(engine) = &self.engine {
            within("SQL", engine.close()).await;
        }
        Ok(self.broker.shutdown().await?)
    }
}

async fn within(part: &str, closing: impl Future<Output = ()>) {
    if tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_err() {
        tracing::warn!(part, "did not close in time; going on");
    }
}

/// Creates the document's topics and runs its SQL; both leave alone what is there already.
async fn apply(
    client: &Client,
    engine: Option<&Engine>,
    document: &Document,
) -> anyhow::Result<()> {
    let admin = client.admin();
    for topic in &document.topics {
        let new = NewTopic {
            name: topic.name.clone(),
            partitions: topic.partitions.unwrap_or(-1),
            replication_factor: -1,
            configs: topic.configs.clone(),
        };
        admin
            .ensure_topic(new)
            .await
            .with_context(|| format!("create topic {:?}", topic.name))?;
    }
    for name in document.connector_topics() {
        let new = NewTopic {
            name: name.clone(),
            partitions: -1,
            replication_factor: -1,
            configs: Vec::new(),
        };
        admin
            .ensure_topic(new)
            .await
            .with_context(|| format!("create topic {name:?}"))?;
    }
    if let Some(engine) = engine {
        let mut session = engine.session();
        for block in &document.sql {
            session
                .apply(&block.text)
                .await
                .with_context(|| format!("run the SQL at line {}", block.line))?;
        }
    }
    Ok(())
}

async fn bind(address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("listen on {address}; hint: `{option} 127.0.0.1:0` picks a free port")
    })
}

/// The engine is the only one of its broker, so the next process takes the place of one that was killed.
fn engine_config() -> EngineConfig {
    EngineConfig {
        instance: Some("embedded".to_owned()),
        ..EngineConfig::default()
    }
}

/// The address as a client on this machine writes it: an unspecified host becomes localhost.
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    }
}
