//! The way into a broker that runs in the same process.

use std::pin::Pin;

use crate::messages::{RequestKind, ResponseKind};
use crate::types::KString;

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ClientContext {
    /// What the client calls itself.
    pub client_id: KString,
    /// Where it runs, as group members show it.
    pub client_host: KString,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DispatchError {
    /// The broker does not offer this API in this version.
    #[error("{api} version {version} is not supported by this broker")]
    Unsupported {
        /// The API's name.
        api: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// The broker is shutting down or has stopped.
    #[error("broker has stopped")]
    Stopped,
    /// The broker refuses the request as a socket would be closed: the text tells why.
    #[error("broker refused the request: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
}

/// The future of a response.
pub type Dispatched<'a> =
    Pin<Box<dyn Future<Output = Result<ResponseKind, DispatchError>> + Send + 'a>>;

/// A broker in the same process: typed requests in, typed responses out, no bytes between.
///
/// A broker implements it and a client's in-process transport calls it. Records in a response are
/// always in memory, never in a file.
pub trait Dispatcher: Send + Sync + 'static {
    /// Handles one request. Requests of one client are answered in the order of the calls only if
    /// the client waits for each.
    fn dispatch(
        &self,
        client: &ClientContext,
        version: i16,
        request: RequestKind,
    ) -> Dispatched<'_>;
}
