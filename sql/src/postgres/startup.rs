//! The first messages of a connection.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures::sink::{Sink, SinkExt as _};
use pgwire::api::auth::noop::NoopStartupHandler;
use pgwire::api::{ClientInfo, ConnectionManager};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::startup::ParameterStatus;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use crate::engine::SERVER_VERSION;

/// Lets everybody in, and tells them which version of PostgreSQL we behave like.
pub(super) struct Startup {
    manager: Arc<ConnectionManager>,
}

impl Startup {
    pub(super) fn new(manager: Arc<ConnectionManager>) -> Self {
        Self { manager }
    }
}

#[async_trait]
impl NoopStartupHandler for Startup {
    fn connection_manager(&self) -> Option<Arc<ConnectionManager>> {
        Some(Arc::clone(&self.manager))
    }

    async fn post_startup<C>(
        &self,
        client: &mut C,
        _message: PgWireFrontendMessage,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // The later of two values of a parameter counts.
        let version = ParameterStatus::new("server_version".to_owned(), SERVER_VERSION.to_owned());
        client
            .feed(PgWireBackendMessage::ParameterStatus(version))
            .await?;
        Ok(())
    }
}
