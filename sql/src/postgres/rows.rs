//! Sends rows while they come.

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use futures::channel::oneshot;
use futures::sink::{Sink, SinkExt as _};
use futures::{FutureExt as _, Stream, StreamExt as _};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::DataRow;
use pgwire::messages::startup::ParameterStatus;

/// Rows in PostgreSQL's form.
pub(super) type DataRows = Pin<Box<dyn Stream<Item = PgWireResult<DataRow>> + Send>>;

/// While no row comes for so long, a message without meaning is sent: if the client has gone, that
/// fails, and its query ends.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// How sending rows ended.
pub(super) enum Sent {
    /// There are no more rows.
    All(usize),
    /// So many were asked for.
    Part,
}

/// Sends rows up to `max_rows` (0: all). What was written is flushed whenever no row waits.
pub(super) async fn send<C>(
    client: &mut C,
    rows: &mut DataRows,
    cancel: &mut Option<oneshot::Receiver<()>>,
    max_rows: usize,
) -> PgWireResult<Sent>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let mut count = 0;
    while max_rows == 0 || count < max_rows {
        if let Some(cancel) = cancel.as_mut()
            && let Some(Ok(())) = cancel.now_or_never()
        {
            return Err(PgWireError::QueryCanceled);
        }
        let next = match rows.next().now_or_never() {
            Some(next) => next,
            None => {
                client.flush().await?;
                wait(client, rows, cancel).await?
            }
        };
        let Some(row) = next else {
            return Ok(Sent::All(count));
        };
        client.feed(PgWireBackendMessage::DataRow(row?)).await?;
        count += 1;
    }
    Ok(Sent::Part)
}

async fn wait<C>(
    client: &mut C,
    rows: &mut DataRows,
    cancel: &mut Option<oneshot::Receiver<()>>,
) -> PgWireResult<Option<PgWireResult<DataRow>>>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    loop {
        tokio::select! {
            row = rows.next() => return Ok(row),
            () = cancelled(cancel) => return Err(PgWireError::QueryCanceled),
            () = tokio::time::sleep(IDLE_INTERVAL) => {
                let status = ParameterStatus::new("server_encoding".to_owned(), "UTF8".to_owned());
                client.send(PgWireBackendMessage::ParameterStatus(status)).await?;
            }
        }
    }
}

/// Ends when the query is cancelled; without a way to cancel, never.
async fn cancelled(cancel: &mut Option<oneshot::Receiver<()>>) {
    if let Some(receiver) = cancel {
        if receiver.await.is_ok() {
            return;
        }
        *cancel = None;
    }
    std::future::pending::<()>().await;
}
