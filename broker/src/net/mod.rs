//! Sockets: listeners, connections, and how responses are written.
//!
//! One task serves one connection. It reads frames, starts their handlers and writes the responses in the
//! order of the requests. Nothing here knows what a request means, except that Produce may overlap with the
//! requests before it (see [`connection`]).

mod connection;
mod inbound;
mod listener;
mod outbound;
mod sendfile;

pub(crate) use listener::{Listener, bind};
pub(crate) use sendfile::read_ahead;
