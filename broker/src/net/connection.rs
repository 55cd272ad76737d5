//! One client connection.
//!
//! Responses leave in the order of the requests, as Kafka promises. Kafka reads the next request only after the
//! response before it; here Produce requests overlap, because with `acks=all` each of them waits for the disk:
//! - a Produce request starts as soon as it is read, after the earlier ones are queued at their writers,
//! - any other request starts when only Produce requests, or nothing, are unanswered; it then blocks all but Produce.
//!
//! A request that Kafka would not answer (unknown API, version or malformed body) closes the connection.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use moldau_protocol::frame;
use moldau_protocol::{ApiKey, KString, RequestKind};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::inbound::{FrameTooLarge, Inbound};
use super::outbound::Outbound;
use crate::handlers::{self, Admission, Answer, ClientInfo, RequestContext};
use crate::node::Node;

/// Requests of one connection that are started and not answered.
const MAX_IN_FLIGHT_REQUESTS: usize = 64;

/// Bytes of such requests; one larger request alone is allowed.
const MAX_IN_FLIGHT_BYTES: usize = 16 * 1024 * 1024;

/// A connection and the requests of it that are being handled.
pub(super) struct Connection {
    node: Arc<Node>,
    stream: TcpStream,
    peer: SocketAddr,
    client: Arc<ClientInfo>,
    inbound: Inbound,
    /// Started requests, oldest first.
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: usize,
    /// A request that was read but must wait until those in flight are answered.
    held: Option<Incoming>,
    outbound: Outbound,
    last_request: Instant,
    fetches: u32,
}

impl Connection {
    pub(super) fn new(node: Arc<Node>, stream: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let client = Arc::new(ClientInfo::of_socket(
            &node.config(),
            peer,
            stream.local_addr()?,
        ));
        let inbound = Inbound::new(node.config().socket_request_max_bytes);
        Ok(Self {
            node,
            stream,
            peer,
            client,
            inbound,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            held: None,
            outbound: Outbound::default(),
            last_request: Instant::now(),
            fetches: 0,
        })
    }

    /// Serves the connection until either side ends it.
    pub(super) async fn run(mut self) {
        let peer = self.peer;
        match self.serve().await {
            Ok(()) => debug!(%peer, "connection closed"),
            Err(Close::Socket(error)) => debug!(%peer, %error, "connection lost"),
            Err(Close::Idle) => {
                debug!(%peer, "closing connection: idle for connections.max.idle.ms")
            }
            Err(Close::Request(reason)) => warn!(%peer, %reason, "closing connection"),
        }
    }

    async fn serve(&mut self) -> Result<(), Close> {
        let idle_limit = Duration::from_millis(self.node.config().connections_max_idle_ms);
        let idle = tokio::time::sleep_until(self.last_request + idle_limit);
        tokio::pin!(idle);
        let mut stopping = self.node.stopping();
        let mut stopped = false;
        loop {
            if !stopped {
                self.start_requests().await?;
            }
            if self.answer_finished().await? {
                continue;
            }
            if stopped && self.in_flight.is_empty() {
                return Ok(());
            }
            let may_read = !stopped && self.may_read();
            tokio::select! {
                biased;
                () = front_finished(&mut self.in_flight), if !self.in_flight.is_empty() => {}
                read = self.inbound.read(&self.stream), if may_read => {
                    if read.map_err(Close::Socket)? == 0 {
                        return Ok(());
                    }
                }
                () = stopping.wait(), if !stopped => stopped = true,
                () = &mut idle => {
                    let due = self.last_request + idle_limit;
                    if due <= Instant::now() && self.in_flight.is_empty() {
                        return Err(Close::Idle);
                    }
                    idle.as_mut().reset(due.max(Instant::now() + IDLE_CHECK_PAUSE));
                }
            }
        }
    }

    fn may_read(&self) -> bool {
        self.held.is_none()
            && self.in_flight.len() < MAX_IN_FLIGHT_REQUESTS
            && self.in_flight_bytes < MAX_IN_FLIGHT_BYTES
    }

    /// Starts the requests that are completely read, as far as the order of requests allows.
    async fn start_requests(&mut self) -> Result<(), Close> {
        loop {
            let incoming = match self.held.take() {
                Some(incoming) => incoming,
                None if !self.may_read() => return Ok(()),
                None => match self.inbound.next_frame()? {
                    Some(frame) => Incoming::parse(frame)?,
                    None => return Ok(()),
                },
            };
            if !self.may_start(incoming.header.key) {
                self.held = Some(incoming);
                return Ok(());
            }
            self.start(incoming).await;
        }
    }

    /// See the module's rules.
    fn may_start(&self, key: ApiKey) -> bool {
        key == ApiKey::Produce
            || self
                .in_flight
                .iter()
                .all(|earlier| earlier.header.key == ApiKey::Produce)
                && (key == ApiKey::Fetch || self.in_flight.is_empty())
    }

    async fn start(&mut self, incoming: Incoming) {
        let Incoming {
            header,
            request,
            size,
        } = incoming;
        self.last_request = Instant::now();
        self.node.metrics.bytes_in(size);
        if header.key == ApiKey::Fetch {
            self.fetches = self.fetches.wrapping_add(1);
        }
        let context = RequestContext {
            version: header.version,
            client_id: header.client_id.clone(),
            client: Arc::clone(&self.client),
            frame_size: size,
            rotation: self.fetches,
        };
        let state = match request {
            Some(request) => match handlers::start(&self.node, context, request).await {
                Admission::Done(answer) => State::Finished(answer),
                Admission::Running(future) => State::Running(future),
            },
            None => State::Finished(Answer::of(handlers::unsupported_api_versions())),
        };
        self.in_flight_bytes += size;
        self.in_flight.push_back(InFlight {
            header,
            size,
            started: self.last_request,
            state,
        });
    }

    /// Writes the responses of all requests at the front that are finished; tells whether there were any.
    async fn answer_finished(&mut self) -> Result<bool, Close> {
        let mut answered = false;
        while matches!(
            self.in_flight.front(),
            Some(InFlight {
                state: State::Finished(_),
                ..
            })
        ) {
            let Some(done) = self.in_flight.pop_front() else {
                break;
            };
            self.in_flight_bytes -= done.size;
            self.queue_answer(done)?;
            answered = true;
        }
        if !self.outbound.is_empty() {
            let limit = Duration::from_millis(self.node.config().connections_max_idle_ms);
            let written = self
                .outbound
                .flush(&mut self.stream, limit)
                .await
                .map_err(Close::Socket)?;
            self.node.metrics.bytes_out(written);
        }
        Ok(answered)
    }

    fn queue_answer(&mut self, done: InFlight) -> Result<(), Close> {
        let State::Finished(answer) = done.state else {
            return Ok(());
        };
        let header = done.header;
        self.node
            .metrics
            .request(header.key, done.started.elapsed());
        let response = match answer {
            Answer::Response(response) => response,
            Answer::Nothing => return Ok(()),
            Answer::Close(reason) => return Err(Close::Request(reason)),
        };
        let frame = frame::encode_response(
            header.key,
            header.response_version,
            header.correlation_id,
            &response,
        )
        .map_err(|error| {
            Close::Request(format!(
                "cannot encode {} v{} response: {error}",
                header.key.name(),
                header.version
            ))
        })?;
        for piece in frame.into_pieces() {
            self.outbound.push(piece);
        }
        Ok(())
    }
}

/// Resolves when the oldest request is finished; drives all of them.
async fn front_finished(in_flight: &mut VecDeque<InFlight>) {
    poll_fn(|context| poll_front(in_flight, context)).await;
}

fn poll_front(in_flight: &mut VecDeque<InFlight>, context: &mut Context<'_>) -> Poll<()> {
    for request in in_flight.iter_mut() {
        if let State::Running(future) = &mut request.state
            && let Poll::Ready(answer) = future.as_mut().poll(context)
        {
            request.state = State::Finished(answer);
        }
    }
    match in_flight.front() {
        Some(InFlight {
            state: State::Finished(_),
            ..
        }) => Poll::Ready(()),
        _ => Poll::Pending,
    }
}

struct InFlight {
    header: Header,
    size: usize,
    started: Instant,
    state: State,
}

enum State {
    Running(Pin<Box<dyn Future<Output = Answer> + Send>>),
    Finished(Answer),
}

/// What the response needs to know of its request.
#[derive(Debug, Clone)]
struct Header {
    key: ApiKey,
    version: i16,
    /// Differs from `version` only for ApiVersions in a version that we do not know: answered as version 0.
    response_version: i16,
    correlation_id: i32,
    client_id: KString,
}

/// A request that was read and not yet started.
struct Incoming {
    header: Header,
    size: usize,
    /// `None` for ApiVersions in a version that we do not know.
    request: Option<RequestKind>,
}

impl Incoming {
    /// Reads the header by hand, so that an API or version that is not served is refused before its body is looked at.
    fn parse(frame: Bytes) -> Result<Self, Close> {
        let size = frame.len();
        let (Some(key), Some(version), Some(correlation_id)) = (
            read_i16(&frame, 0),
            read_i16(&frame, 2),
            read_i32(&frame, 4),
        ) else {
            return Err(Close::Request(format!(
                "request of {size} bytes is shorter than a header"
            )));
        };
        let Some(served) = handlers::served(key) else {
            return Err(Close::Request(format!("api key {key} is not served")));
        };
        let mut header = Header {
            key: served.key,
            version,
            response_version: version,
            correlation_id,
            client_id: KString::default(),
        };
        if !served.versions.contains(version) {
            if served.key != ApiKey::ApiVersions {
                return Err(Close::Request(format!(
                    "{} v{version} is not served",
                    served.key.name()
                )));
            }
            header.response_version = 0;
            return Ok(Self {
                header,
                size,
                request: None,
            });
        }
        let (parsed, request) = frame::parse_request(frame).map_err(|error| {
            Close::Request(format!("{} v{version}: {error}", served.key.name()))
        })?;
        header.client_id = parsed.client_id.unwrap_or_default();
        Ok(Self {
            header,
            size,
            request: Some(request),
        })
    }
}

fn read_i16(frame: &[u8], at: usize) -> Option<i16> {
    frame
        .get(at..)?
        .first_chunk()
        .map(|bytes| i16::from_be_bytes(*bytes))
}

fn read_i32(frame: &[u8], at: usize) -> Option<i32> {
    frame
        .get(at..)?
        .first_chunk()
        .map(|bytes| i32::from_be_bytes(*bytes))
}

/// Why a connection ends.
enum Close {
    Socket(io::Error),
    Idle,
    Request(String),
}

impl From<FrameTooLarge> for Close {
    fn from(error: FrameTooLarge) -> Self {
        Self::Request(error.to_string())
    }
}

/// The idle timer never fires more often than this.
const IDLE_CHECK_PAUSE: Duration = Duration::from_millis(100);
