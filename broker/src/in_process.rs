//! The broker as a [`Dispatcher`]: typed requests from the same process, by the same handlers as those of a socket.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use moldau_protocol::dispatch::{ClientContext, DispatchError, Dispatched, Dispatcher};
use moldau_protocol::messages::fetch::FetchResponse;
use moldau_protocol::messages::produce::ProduceResponse;
use moldau_protocol::{Records, RecordsPiece, RequestKind, ResponseKind};
use tokio::time::Instant;

use crate::handlers::{self, Admission, Answer, ClientInfo, RequestContext};
use crate::node::Node;

/// The broker for clients in its own process.
pub(crate) struct InProcess {
    node: Arc<Node>,
    /// Where a client outside would connect; told in Metadata.
    listener: SocketAddr,
}

impl InProcess {
    pub(crate) fn new(node: Arc<Node>, listener: SocketAddr) -> Self {
        Self { node, listener }
    }

    async fn handle(
        &self,
        client: ClientContext,
        version: i16,
        request: RequestKind,
    ) -> Result<ResponseKind, DispatchError> {
        let key = request.api_key();
        let unsupported = DispatchError::Unsupported {
            api: key.name(),
            version,
        };
        let served = handlers::served(key as i16).ok_or_else(|| unsupported.clone())?;
        if !served.versions.contains(version) {
            return Err(unsupported);
        }
        if *self.node.stop.borrow() {
            return Err(DispatchError::Stopped);
        }
        let started = Instant::now();
        let info = ClientInfo::in_process(&self.node.config(), client.client_host, self.listener);
        let context = RequestContext {
            version,
            client_id: client.client_id,
            client: Arc::new(info),
            frame_size: 0,
            rotation: 0,
        };
        let answer = match handlers::start(&self.node, context, request).await {
            Admission::Done(answer) => answer,
            Admission::Running(future) => future.await,
        };
        self.node.metrics.request(key, started.elapsed());
        match answer {
            Answer::Response(response) => match *response {
                ResponseKind::Fetch(response) => in_memory(response).await.map(ResponseKind::from),
                response => Ok(response),
            },
            Answer::Nothing => Ok(ProduceResponse::default().into()),
            Answer::Close(reason) => Err(DispatchError::Refused { reason }),
        }
    }
}

impl Dispatcher for InProcess {
    fn dispatch(
        &self,
        client: &ClientContext,
        version: i16,
        request: RequestKind,
    ) -> Dispatched<'_> {
        Box::pin(self.handle(client.clone(), version, request))
    }
}

/// Reads what the response only refers to, so that it holds nothing but bytes.
async fn in_memory(mut response: FetchResponse) -> Result<FetchResponse, DispatchError> {
    let mut all = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions)
        .filter_map(|partition| partition.records.as_ref());
    if all.all(|records| records.as_bytes().is_some()) {
        return Ok(response);
    }
    let read = move || {
        for partition in response
            .responses
            .iter_mut()
            .flat_map(|topic| &mut topic.partitions)
        {
            if let Some(records) = partition.records.take() {
                partition.records = Some(Records::from(join(&records)?));
            }
        }
        Ok::<_, std::io::Error>(response)
    };
    let joined = tokio::task::spawn_blocking(read).await;
    match joined {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(DispatchError::Refused {
            reason: format!("cannot read log: {error}"),
        }),
        Err(_) => Err(DispatchError::Stopped),
    }
}

/// All pieces in one run of bytes; a single piece is not copied.
fn join(records: &Records) -> std::io::Result<Bytes> {
    if let Some(bytes) = records.as_bytes() {
        return Ok(bytes);
    }
    let mut joined = BytesMut::with_capacity(records.len());
    for piece in records.pieces() {
        match piece {
            RecordsPiece::Bytes(bytes) => joined.extend_from_slice(bytes),
            RecordsPiece::File(range) => {
                let start = joined.len();
                joined.resize(start + range.length as usize, 0);
                let target = joined.get_mut(start..).unwrap_or_default();
                range.file.read_exact_at(target, range.position)?;
            }
        }
    }
    Ok(joined.freeze())
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}
