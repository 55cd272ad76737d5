//! One logical connection to one broker: requests go in, in order; each has its answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use moldau_protocol::messages::{RequestKind, ResponseKind};
use moldau_protocol::{ApiKey, Message, Request};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::error::ClientError;
use crate::transport::versions::ApiVersions;

/// Requests that wait to be written to one connection; more make the caller wait.
pub(crate) const QUEUED_REQUESTS: usize = 64;

/// A handle to a connection's task. The task ends when the connection breaks, is closed, or the last handle is gone.
#[derive(Clone)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    versions: ApiVersions,
}

struct Shared {
    address: Arc<str>,
    requests: mpsc::Sender<Outgoing>,
    close: Arc<Notify>,
}

/// A request on its way to a connection's task.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) version: i16,
    pub(crate) request: RequestKind,
    /// False only for Produce with acks 0.
    pub(crate) expects_response: bool,
    pub(crate) reply: oneshot::Sender<Result<ResponseKind, ClientError>>,
}

impl Outgoing {
    /// Tells the caller that the connection broke.
    pub(crate) fn disconnected(self, address: &str, reason: &str) {
        // The caller may have given up; then nobody needs to know.
        let _ = self.reply.send(Err(disconnected(address, reason)));
    }
}

pub(crate) fn disconnected(address: &str, reason: &str) -> ClientError {
    ClientError::Disconnected {
        address: address.to_owned(),
        reason: reason.to_owned(),
    }
}

impl Connection {
    pub(crate) fn new(
        address: Arc<str>,
        requests: mpsc::Sender<Outgoing>,
        close: Arc<Notify>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                address,
                requests,
                close,
            }),
            versions: ApiVersions::default(),
        }
    }

    pub(crate) fn with_versions(mut self, versions: ApiVersions) -> Self {
        self.versions = versions;
        self
    }

    pub(crate) fn address(&self) -> &str {
        &self.shared.address
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.requests.is_closed()
    }

    /// Breaks the connection; all its waiting requests fail.
    pub(crate) fn close(&self) {
        self.shared.close.notify_one();
    }

    /// The highest common version of `key`.
    pub(crate) fn version(&self, key: ApiKey) -> Result<i16, ClientError> {
        self.version_at_most(key, i16::MAX)
    }

    /// The level of a finalized feature; 0 if the cluster has none.
    pub(crate) fn feature(&self, name: &str) -> i16 {
        self.versions.feature(name)
    }

    /// The highest common version of `key` that is not above `most`.
    pub(crate) fn version_at_most(&self, key: ApiKey, most: i16) -> Result<i16, ClientError> {
        self.versions
            .highest_at_most(key, most)
            .ok_or_else(|| ClientError::Unsupported {
                address: self.address().to_owned(),
                api: key.name(),
                version: None,
            })
    }

    /// Queues a request without waiting; requests are written in the order of these calls.
    pub(crate) fn try_begin(
        &self,
        version: i16,
        request: RequestKind,
        expects_response: bool,
    ) -> Result<PendingResponse, ClientError> {
        let (reply, response) = oneshot::channel();
        let outgoing = Outgoing {
            version,
            request,
            expects_response,
            reply,
        };
        self.shared
            .requests
            .try_send(outgoing)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => {
                    disconnected(self.address(), "too many requests wait to be written")
                }
                mpsc::error::TrySendError::Closed(_) => {
                    disconnected(self.address(), "the connection is closed")
                }
            })?;
        Ok(PendingResponse {
            connection: self.clone(),
            response,
        })
    }

    /// Sends a request in `version` and waits for its answer.
    pub(crate) async fn call<R: Request>(
        &self,
        version: i16,
        request: R,
        limit: Duration,
    ) -> Result<R::Response, ClientError> {
        let permit = self
            .shared
            .requests
            .reserve()
            .await
            .map_err(|_| disconnected(self.address(), "the connection is closed"))?;
        let (reply, response) = oneshot::channel();
        permit.send(Outgoing {
            version,
            request: request.into(),
            expects_response: true,
            reply,
        });
        let pending = PendingResponse {
            connection: self.clone(),
            response,
        };
        let response = pending.wait(R::KEY, limit).await?;
        self.typed::<R::Response>(R::KEY, response)
    }

    fn typed<M: Message + TryFrom<ResponseKind>>(
        &self,
        key: ApiKey,
        response: ResponseKind,
    ) -> Result<M, ClientError> {
        M::try_from(response).map_err(|_| {
            ClientError::protocol(
                format!("answer of {} to {}", self.address(), key.name()),
                "it is the answer to another request",
            )
        })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("address", &self.shared.address)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// An answer that is awaited. Keeps its connection open.
#[derive(Debug)]
pub(crate) struct PendingResponse {
    connection: Connection,
    response: oneshot::Receiver<Result<ResponseKind, ClientError>>,
}

impl PendingResponse {
    /// Waits for the answer; a request that is too late closes the connection, as later answers would be too.
    pub(crate) async fn wait(
        self,
        key: ApiKey,
        limit: Duration,
    ) -> Result<ResponseKind, ClientError> {
        match tokio::time::timeout(limit, self.response).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(disconnected(
                self.connection.address(),
                "the connection's task ended",
            )),
            Err(_) => {
                self.connection.close();
                Err(ClientError::Timeout {
                    operation: format!("{} request to {}", key.name(), self.connection.address()),
                    after_ms: limit.as_millis() as u64,
                })
            }
        }
    }
}
