//! Accepts connections on one address.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::connection::Connection;
use crate::node::Node;

/// A bound listener and the connections that it accepted.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    node: Arc<Node>,
}

impl Listener {
    pub(crate) fn new(socket: TcpListener, node: Arc<Node>) -> Self {
        Self { socket, node }
    }

    /// Accepts until the node stops; then gives connections a moment to finish what they started.
    pub(crate) async fn run(self) {
        let mut connections = JoinSet::new();
        let mut stopping = self.node.stopping();
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => self.serve(&mut connections, stream, peer),
                    Err(error) => {
                        warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                () = stopping.wait() => break,
            }
        }
        drop(self.socket);
        let finished = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(FINISH_LIMIT, finished).await.is_err() {
            debug!(
                connections = connections.len(),
                "closing connections that did not finish"
            );
            connections.shutdown().await;
        }
    }

    fn serve(&self, connections: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr) {
        let Some(slot) = ConnectionSlot::take(&self.node) else {
            warn!(%peer, limit = self.node.config().max_connections, "closing connection: max.connections reached");
            return;
        };
        let node = Arc::clone(&self.node);
        connections.spawn(async move {
            let _slot = slot;
            match Connection::new(node, stream, peer) {
                Ok(connection) => connection.run().await,
                Err(error) => debug!(%peer, %error, "connection closed before it began"),
            }
        });
    }
}

/// Counts one open connection for as long as it lives.
struct ConnectionSlot(Arc<Node>);

impl ConnectionSlot {
    fn take(node: &Arc<Node>) -> Option<Self> {
        let open = &node.metrics.connections_open;
        if add(open) > node.config().max_connections {
            open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        node.metrics
            .connections_accepted
            .fetch_add(1, Ordering::Relaxed);
        Some(Self(Arc::clone(node)))
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0
            .metrics
            .connections_open
            .fetch_sub(1, Ordering::Relaxed);
    }
}

fn add(counter: &AtomicUsize) -> usize {
    counter.fetch_add(1, Ordering::Relaxed) + 1
}

/// Binds `address`; an unspecified IPv6 address also takes IPv4 connections.
///
/// `localhost` resolves to `::1` first on many machines and to `127.0.0.1` on others: both must work.
///
/// # Errors
///
/// When the address is taken or not of this machine.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match bind_one(address) {
        Err(error) if address.is_ipv6() && no_ipv6(&error) && address.ip().is_unspecified() => {
            bind_one(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        result => result,
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn no_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

/// Connections that the system keeps for us before they are accepted.
const BACKLOG: i32 = 1024;

/// Pause after a failed accept, for example because no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long connections may finish their requests when the node stops.
const FINISH_LIMIT: Duration = Duration::from_millis(500);
