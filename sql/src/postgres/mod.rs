//! PostgreSQL's wire protocol, version 3.
//!
//! Each connection has a session of its own. Rows are sent as they come: whenever no row waits, what
//! was written is flushed, so a push query shows each row at once and ends by a cancel request.
//!
//! Not done: authentication and TLS (the listener is meant for local use), `COPY`, cursors by SQL.

mod encode;
mod errors;
mod extended;
mod meta;
mod parameters;
mod rows;
mod simple;
mod startup;

use std::sync::Arc;

use pgwire::api::cancel::DefaultCancelHandler;
use pgwire::api::{ConnectionManager, PgWireServerHandlers};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::engine::{Engine, Session};
use crate::error::SqlError;
use extended::{ExtendedHandler, StatementParser};
use simple::SimpleHandler;
use startup::Startup;

/// More connections than this wait until one ends.
const MAX_CONNECTIONS: usize = 1_000;

impl Engine {
    /// Answers PostgreSQL's clients on `listener` until the engine is closed or this is dropped.
    ///
    /// # Errors
    /// If no connection can be accepted any more.
    pub async fn serve_postgres(self, listener: TcpListener) -> Result<(), SqlError> {
        let manager = Arc::new(ConnectionManager::new());
        let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else {
                return Err(SqlError::internal("the limit of connections is gone"));
            };
            let (socket, address) = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        warn!(%error, "connection not accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
                () = self.closed() => return Ok(()),
            };
            while connections.try_join_next().is_some() {}
            debug!(%address, "postgres client connected");
            let handlers = Handlers::new(&self, &manager);
            connections.spawn(async move {
                let _permit = permit;
                if let Err(error) = pgwire::tokio::process_socket(socket, None, handlers).await {
                    debug!(%address, %error, "postgres connection ended");
                }
            });
        }
    }
}

/// After a failure to accept, for example for lack of file descriptors.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// What answers one connection.
struct Handlers {
    startup: Arc<Startup>,
    simple: Arc<SimpleHandler>,
    extended: Arc<ExtendedHandler>,
    cancel: Arc<DefaultCancelHandler>,
}

/// The session of one connection.
type SharedSession = Arc<Mutex<Session>>;

impl Handlers {
    fn new(engine: &Engine, manager: &Arc<ConnectionManager>) -> Self {
        let session: SharedSession = Arc::new(Mutex::new(engine.session()));
        let parser = Arc::new(StatementParser::new(Arc::clone(&session)));
        Self {
            startup: Arc::new(Startup::new(Arc::clone(manager))),
            simple: Arc::new(SimpleHandler::new(Arc::clone(&session))),
            extended: Arc::new(ExtendedHandler::new(session, parser)),
            cancel: Arc::new(DefaultCancelHandler::new(Arc::clone(manager))),
        }
    }
}

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl pgwire::api::query::SimpleQueryHandler> {
        Arc::clone(&self.simple)
    }

    fn extended_query_handler(&self) -> Arc<impl pgwire::api::query::ExtendedQueryHandler> {
        Arc::clone(&self.extended)
    }

    fn startup_handler(&self) -> Arc<impl pgwire::api::auth::StartupHandler> {
        Arc::clone(&self.startup)
    }

    fn cancel_handler(&self) -> Arc<impl pgwire::api::cancel::CancelHandler> {
        Arc::clone(&self.cancel)
    }
}
