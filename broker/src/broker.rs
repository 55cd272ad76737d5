//! Starting and stopping a broker.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use moldau_core::fetch_session::{FetchSessions, SessionLimits};
use moldau_core::metadata::{BrokerRecord, MetadataImage, MetadataRecord};
use moldau_log::{LogDirectory, LogError};
use moldau_protocol::KString;
use moldau_protocol::dispatch::Dispatcher;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info};

use crate::alarm::Alarm;
use crate::background;
use crate::config::{BrokerConfig, ConfigError, LiveConfig};
use crate::coordinator::{Coordinators, MarkerWriter};
use crate::data_dir::{DataDir, DataDirError, Identity, random_uuid};
use crate::file_limit;
use crate::in_process::InProcess;
use crate::metadata::{
    Metadata, MetadataLog, ProposeError, Quorum, ReplayError, adopt, metadata_partition, put_aside,
};
use crate::metrics::{BrokerMetrics, Metrics};
use crate::net::{Listener, bind};
use crate::node::Node;
use crate::producer_ids::ProducerIds;
use crate::runtime::{Partitions, Syncs, TailCache, WriterShared, Writers};
use crate::shutdown;

/// Starts brokers.
#[derive(Debug)]
pub struct Broker;

/// A running broker. Dropping it stops the broker at once, as a crash would; see [`BrokerHandle::shutdown`].
pub struct BrokerHandle {
    node: Arc<Node>,
    directory: Arc<LogDirectory>,
    syncs: Arc<Syncs>,
    addresses: Vec<SocketAddr>,
    cluster_id: String,
    dispatcher: Arc<InProcess>,
    metrics: Arc<BrokerMetrics>,
    /// Listeners and background tasks.
    tasks: JoinSet<()>,
    alarm: Alarm,
}

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A listener cannot be opened.
    #[error(
        "listener {address}: {source}\nhint: another program may use the port; choose another one in `listeners`"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The metadata log cannot be understood.
    #[error(transparent)]
    Metadata(#[from] ReplayError),
    /// This node cannot be registered.
    #[error("register the broker: {0}")]
    Register(String),
    /// A partition's log cannot be opened.
    #[error("open the logs: {0}")]
    Log(#[from] LogError),
    /// The system gives no thread.
    #[error("start a thread: {0}")]
    Thread(#[source] io::Error),
    /// Opening files ended early.
    #[error("start was interrupted")]
    Interrupted,
}

/// Why a broker stopped, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A task that must run ended.
    #[error("{0}")]
    Failed(String),
    /// Files could not be closed cleanly; the next start recovers them.
    #[error("close the logs: {0}")]
    Close(#[from] LogError),
    /// Closing files ended early.
    #[error("shutdown was interrupted")]
    Interrupted,
}

impl Broker {
    /// Starts a broker on the calling tokio runtime; returns when it answers clients.
    ///
    /// # Errors
    ///
    /// Says which setting, address, file or directory is at fault.
    pub async fn start(config: BrokerConfig) -> Result<BrokerHandle, StartError> {
        config.validate()?;
        file_limit::raise();
        let live = Arc::new(LiveConfig::new(config.clone())?);
        let listeners = config
            .listeners
            .iter()
            .map(|&address| bind(address).map_err(|source| StartError::Listen { address, source }))
            .collect::<Result<Vec<TcpListener>, _>>()?;
        let opening = tokio::task::spawn_blocking(move || Opened::open(config, live));
        let opened = opening.await.map_err(|_| StartError::Interrupted)??;
        opened
            .register()
            .await
            .map_err(|error| StartError::Register(error.to_string()))?;
        opened.serve(listeners)
    }
}

/// A broker whose files are open.
struct Opened {
    config: BrokerConfig,
    live: Arc<LiveConfig>,
    identity: Identity,
    directory: Arc<LogDirectory>,
    quorum: Quorum,
    partitions: Arc<Partitions>,
    tail: Arc<TailCache>,
}

impl Opened {
    /// Opens the data directory, replays the metadata and opens every log. Blocks on files.
    fn open(config: BrokerConfig, live: Arc<LiveConfig>) -> Result<Self, StartError> {
        let DataDir { logs, identity } = DataDir::open(&config.data_dir, config.node_id)?;
        let directory = Arc::new(logs);
        put_aside(&directory)?;
        let start = directory.log_start(&metadata_partition());
        let mut log = MetadataLog::open(&config.data_dir, start)?;
        adopt(&directory, &mut log, config.node_id)?;
        let image = Quorum::replay(&log)?;
        live.follow(&image);
        let tail = Arc::new(TailCache::new(config.tail_cache_bytes));
        let partitions = Arc::new(Partitions::new(
            Arc::clone(&directory),
            live.now().topic_defaults.clone(),
            Arc::clone(&tail),
        ));
        let started = Instant::now();
        partitions.reconcile(&image)?;
        if image.partition_count() > 0 {
            let (partitions, elapsed) = (image.partition_count(), started.elapsed());
            info!(
                partitions,
                ?elapsed,
                clean = directory.was_clean_shutdown(),
                "opened logs"
            );
        }
        let quorum = Quorum::new(log, image);
        Ok(Self {
            config,
            live,
            identity,
            directory,
            quorum,
            partitions,
            tail,
        })
    }

    /// Makes this node known to the cluster, when it is not yet.
    async fn register(&self) -> Result<(), ProposeError> {
        let image: Arc<MetadataImage> = self.quorum.image();
        let node_id = self.config.node_id;
        let rack = self.config.rack.clone().map(KString::from);
        let broker = match image.broker(node_id) {
            Some(known) if known.rack == rack => return Ok(()),
            Some(known) => BrokerRecord {
                rack,
                ..known.clone()
            },
            None => BrokerRecord {
                id: node_id,
                epoch: 0,
                incarnation_id: random_uuid(),
                live: true,
                host: KString::default(),
                port: 0,
                rack,
            },
        };
        self.quorum
            .propose(vec![MetadataRecord::Broker(broker)])
            .await
    }

    fn start_writers(&self, syncs: &Arc<Syncs>, alarm: &Alarm) -> Result<Arc<Writers>, StartError> {
        let shared = WriterShared {
            tail: Arc::clone(&self.tail),
            syncs: Arc::clone(syncs),
            alarm: alarm.clone(),
        };
        let (threads, queue) = (
            self.config.num_writer_threads,
            self.config.queued_max_requests,
        );
        Writers::start(threads, queue, shared)
            .map(Arc::new)
            .map_err(StartError::Thread)
    }

    fn serve(self, sockets: Vec<TcpListener>) -> Result<BrokerHandle, StartError> {
        let alarm = Alarm::new();
        let syncs = Syncs::start(SYNC_THREADS, &alarm).map_err(StartError::Thread)?;
        let writers = self.start_writers(&syncs, &alarm)?;
        let addresses = addresses(&sockets);
        let stop = watch::Sender::new(false);
        let coordinators = Arc::new(Coordinators::new(
            Arc::clone(&self.live),
            Arc::clone(&self.partitions),
            Arc::clone(&writers),
            self.quorum.images(),
        ));
        let markers = MarkerWriter::new(
            &self.config,
            (Arc::clone(&self.partitions), Arc::clone(&writers)),
            Arc::clone(&coordinators),
        );
        let node = Arc::new(Node {
            cluster_id: KString::from(self.identity.cluster_id.clone()),
            directory_id: self.identity.directory_id,
            transactions: markers.coordinators(&self.config, stop.subscribe()),
            coordinators,
            markers,
            metadata: Metadata::new(
                self.quorum,
                Arc::clone(&self.partitions),
                Arc::clone(&self.live),
            ),
            partitions: self.partitions,
            writers,
            producer_ids: ProducerIds::default(),
            fetch_sessions: Mutex::new(FetchSessions::new(SessionLimits {
                slots: self.config.fetch_session_slots,
                ..SessionLimits::default()
            })),
            metrics: Metrics::new(),
            stop,
            live: self.live,
        });
        let mut tasks = JoinSet::new();
        for socket in sockets {
            tasks.spawn(Listener::new(socket, Arc::clone(&node)).run());
        }
        background::shrink_tail(&mut tasks, &node, self.tail);
        background::spawn(&mut tasks, &node, &self.directory, &alarm);
        let nowhere = || SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = addresses.first().copied().unwrap_or_else(nowhere);
        info!(cluster_id = %node.cluster_id, node_id = self.config.node_id, ?addresses, "broker started");
        Ok(BrokerHandle {
            dispatcher: Arc::new(InProcess::new(Arc::clone(&node), listener)),
            metrics: Arc::new(BrokerMetrics::new(&node)),
            cluster_id: self.identity.cluster_id,
            directory: self.directory,
            syncs,
            addresses,
            tasks,
            alarm,
            node,
        })
    }
}

fn addresses(sockets: &[TcpListener]) -> Vec<SocketAddr> {
    let sockets = sockets.iter();
    sockets
        .filter_map(|socket| socket.local_addr().ok())
        .collect()
}

impl BrokerHandle {
    /// The addresses that the broker listens on.
    #[must_use]
    pub fn kafka_addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// The cluster's id, which stays the same for the life of the data directory.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The way in for clients of the same process.
    #[must_use]
    pub fn dispatcher(&self) -> Arc<dyn Dispatcher> {
        Arc::clone(&self.dispatcher) as Arc<dyn Dispatcher>
    }

    /// The broker's figures, readable as long as it runs.
    #[must_use]
    pub fn metrics(&self) -> Arc<BrokerMetrics> {
        Arc::clone(&self.metrics)
    }

    /// Pending while the broker is well.
    ///
    /// # Errors
    ///
    /// Resolves with what happened when a task that the broker cannot do without has ended.
    pub async fn failed(&self) -> Result<(), BrokerError> {
        Err(BrokerError::Failed(self.alarm.raised().await))
    }

    /// Stops cleanly: answers what was begun, brings everything to the disk and marks the directory clean.
    ///
    /// # Errors
    ///
    /// When files cannot be closed; nothing acknowledged is lost by that, but the next start takes longer.
    pub async fn shutdown(mut self) -> Result<(), BrokerError> {
        self.node.stop.send_replace(true);
        self.node.coordinators.resign();
        self.node.transactions.resign();
        let mut tasks = std::mem::take(&mut self.tasks);
        while tasks.join_next().await.is_some() {}
        let (node, syncs, directory) = (
            Arc::clone(&self.node),
            Arc::clone(&self.syncs),
            Arc::clone(&self.directory),
        );
        let closing =
            tokio::task::spawn_blocking(move || shutdown::close(&node, &syncs, &directory));
        closing.await.map_err(|_| BrokerError::Interrupted)??;
        info!("broker stopped");
        Ok(())
    }
}

impl Drop for BrokerHandle {
    fn drop(&mut self) {
        if !*self.node.stop.borrow() {
            error!("broker dropped without shutdown");
        }
        self.node.stop.send_replace(true);
        self.syncs.stop_soon();
    }
}

impl fmt::Debug for BrokerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerHandle")
            .field("addresses", &self.addresses)
            .field("cluster_id", &self.cluster_id)
            .finish_non_exhaustive()
    }
}

/// Threads that call `fdatasync`; several, so that one slow partition does not hold up all.
const SYNC_THREADS: usize = 2;
