//! Connections to brokers: over TCP, or straight to a broker in the same process.

mod connection;
mod in_process;
mod tcp;
mod versions;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moldau_protocol::dispatch::{ClientContext, Dispatcher};
use moldau_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use moldau_protocol::{ApiKey, ErrorCode, KString};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::backoff::wait_ms;
use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::transport::versions::ApiVersions;

pub(crate) use crate::transport::connection::Connection;

/// What a connection is for. A request that the broker holds back (a fetch, a join) holds back all behind it
/// on the same connection, so each user that may wait has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Purpose(u64);

impl Purpose {
    /// Short requests of everyone.
    pub(crate) const SHARED: Self = Self(0);

    pub(crate) fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// All connections of one client.
pub(crate) struct Transport {
    kind: Kind,
    config: Arc<ClientConfig>,
    slots: Mutex<HashMap<SlotKey, Arc<tokio::sync::Mutex<Slot>>>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SlotKey {
    address: Arc<str>,
    purpose: Purpose,
}

enum Kind {
    Tcp,
    InProcess(Arc<dyn Dispatcher>),
}

/// The connection for one address and purpose, while there is one.
#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    failures: u32,
    not_before: Option<Instant>,
}

impl Transport {
    pub(crate) fn tcp(config: Arc<ClientConfig>) -> Self {
        Self::new(Kind::Tcp, config)
    }

    pub(crate) fn in_process(dispatcher: Arc<dyn Dispatcher>, config: Arc<ClientConfig>) -> Self {
        Self::new(Kind::InProcess(dispatcher), config)
    }

    fn new(kind: Kind, config: Arc<ClientConfig>) -> Self {
        Self {
            kind,
            config,
            slots: Mutex::default(),
        }
    }

    pub(crate) const fn is_in_process(&self) -> bool {
        matches!(self.kind, Kind::InProcess(_))
    }

    /// The addresses to ask for metadata while no broker is known.
    pub(crate) fn bootstrap_addresses(&self) -> Vec<String> {
        match self.kind {
            Kind::Tcp => self.config.bootstrap_servers.clone(),
            Kind::InProcess(_) => vec![in_process::ADDRESS.to_owned()],
        }
    }

    /// The connection to `address` for `purpose`, made now if there is none.
    ///
    /// After a failure the next attempt waits for the reconnect backoff.
    pub(crate) async fn connection(
        &self,
        address: &str,
        purpose: Purpose,
    ) -> Result<Connection, ClientError> {
        let slot = self.slot(address, purpose);
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.connection.take_if(|known| !known.is_closed()) {
            slot.connection = Some(connection.clone());
            return Ok(connection);
        }
        if let Some(not_before) = slot.not_before {
            tokio::time::sleep_until(not_before).await;
        }
        match self.connect(address).await {
            Ok(connection) => {
                *slot = Slot {
                    connection: Some(connection.clone()),
                    ..Slot::default()
                };
                Ok(connection)
            }
            Err(error) => {
                let wait = wait_ms(
                    self.config.reconnect_backoff_ms,
                    self.config.reconnect_backoff_max_ms,
                    slot.failures,
                );
                slot.connection = None;
                slot.failures = slot.failures.saturating_add(1);
                slot.not_before = Some(Instant::now() + Duration::from_millis(wait));
                Err(error)
            }
        }
    }

    /// Drops the connections of one purpose; they close when their last request is answered.
    pub(crate) fn forget(&self, purpose: Purpose) {
        self.slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|known, _| known.purpose != purpose);
    }

    fn slot(&self, address: &str, purpose: Purpose) -> Arc<tokio::sync::Mutex<Slot>> {
        // Every broker of an in-process cluster is reached through the one dispatcher.
        let address = match self.kind {
            Kind::Tcp => address,
            Kind::InProcess(_) => in_process::ADDRESS,
        };
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let key = SlotKey {
            address: Arc::from(address),
            purpose,
        };
        Arc::clone(slots.entry(key).or_default())
    }

    async fn connect(&self, address: &str) -> Result<Connection, ClientError> {
        let limit = Duration::from_millis(self.config.connect_timeout_ms);
        let client_id = KString::copy_from(&self.config.client_id);
        let connection = match &self.kind {
            Kind::Tcp => {
                let stream = open(address, limit).await?;
                tcp::start(
                    stream,
                    Arc::from(address),
                    client_id,
                    self.config.max_response_size,
                )
            }
            Kind::InProcess(dispatcher) => in_process::start(
                Arc::clone(dispatcher),
                ClientContext {
                    client_id,
                    client_host: KString::from_static(in_process::ADDRESS),
                },
            ),
        };
        let versions = negotiate(&connection, limit).await?;
        Ok(connection.with_versions(versions))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Transport")
            .field("in_process", &self.is_in_process())
            .finish_non_exhaustive()
    }
}

async fn open(address: &str, limit: Duration) -> Result<TcpStream, ClientError> {
    let failed = |reason: String| ClientError::Connect {
        address: address.to_owned(),
        reason,
    };
    let stream = tokio::time::timeout(limit, TcpStream::connect(address))
        .await
        .map_err(|_| failed(format!("no answer within {} ms", limit.as_millis())))?
        .map_err(|error| failed(error.to_string()))?;
    stream
        .set_nodelay(true)
        .map_err(|error| failed(error.to_string()))?;
    Ok(stream)
}

/// Asks which versions the broker knows; a broker that does not know our version of the question
/// names its own, and is asked again in that.
async fn negotiate(connection: &Connection, limit: Duration) -> Result<ApiVersions, ClientError> {
    let ours = ApiKey::ApiVersions.valid_versions().max;
    let mut response = ask_versions(connection, ours, limit).await?;
    if response.error_code == ErrorCode::UnsupportedVersion.code() {
        let theirs = ApiVersions::new(&response)
            .highest(ApiKey::ApiVersions)
            .unwrap_or(0);
        response = ask_versions(connection, theirs, limit).await?;
    }
    ClientError::check(response.error_code, || {
        format!("version negotiation with {}", connection.address())
    })?;
    Ok(ApiVersions::new(&response))
}

async fn ask_versions(
    connection: &Connection,
    version: i16,
    limit: Duration,
) -> Result<ApiVersionsResponse, ClientError> {
    let request = ApiVersionsRequest {
        client_software_name: KString::from_static("moldau"),
        client_software_version: KString::from_static(env!("CARGO_PKG_VERSION")),
        ..ApiVersionsRequest::default()
    };
    connection
        .call(version, request, limit)
        .await
        .map_err(|error| match error {
            ClientError::Disconnected { address, reason } => ClientError::Connect {
                address,
                reason: format!("{reason} during the version handshake (is this a Kafka port?)"),
            },
            other => other,
        })
}
