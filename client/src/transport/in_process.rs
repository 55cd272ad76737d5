//! A connection to a broker in the same process: typed requests, no sockets, no bytes.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use moldau_protocol::dispatch::{ClientContext, DispatchError, Dispatcher};
use tokio::sync::{Notify, mpsc};

use crate::error::ClientError;
use crate::transport::connection::{Connection, Outgoing, QUEUED_REQUESTS, disconnected};

/// Name of the broker in the same process, where others have an address.
pub(crate) const ADDRESS: &str = "in-process";

/// Starts the task of a connection to `dispatcher`.
pub(crate) fn start(dispatcher: Arc<dyn Dispatcher>, context: ClientContext) -> Connection {
    let (requests, queue) = mpsc::channel(QUEUED_REQUESTS);
    let close = Arc::new(Notify::new());
    let connection = Connection::new(Arc::from(ADDRESS), requests, Arc::clone(&close));
    tokio::spawn(async move {
        tokio::select! {
            () = dispatch_requests(&*dispatcher, &context, queue) => {}
            () = close.notified() => {}
        }
    });
    connection
}

/// Dispatches what is queued. Each request is polled for the first time in the order of the queue, so that
/// two produce requests of one producer reach the partition in order although both are under way at once.
async fn dispatch_requests(
    dispatcher: &dyn Dispatcher,
    context: &ClientContext,
    mut queue: mpsc::Receiver<Outgoing>,
) {
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
            outgoing = queue.recv(), if under_way.len() < QUEUED_REQUESTS => match outgoing {
                Some(outgoing) => under_way.push(dispatch(dispatcher, context, outgoing)),
                None => return,
            },
        }
    }
}

async fn dispatch(dispatcher: &dyn Dispatcher, context: &ClientContext, outgoing: Outgoing) {
    let key = outgoing.request.api_key();
    let result = dispatcher
        .dispatch(context, outgoing.version, outgoing.request)
        .await
        .map_err(|error| match error {
            DispatchError::Stopped => disconnected(ADDRESS, "the broker has stopped"),
            DispatchError::Unsupported { api, version } => ClientError::Unsupported {
                address: ADDRESS.to_owned(),
                api,
                version: Some(version),
            },
            DispatchError::Refused { .. } => {
                ClientError::protocol(format!("{} request to {ADDRESS}", key.name()), error)
            }
        });
    // The caller may have given up; the request took effect all the same.
    let _ = outgoing.reply.send(result);
}
