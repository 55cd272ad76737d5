//! Prepared statements: parse, bind, describe, execute.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::sink::{Sink, SinkExt as _};
use pgwire::api::portal::{Format, Portal, PortalExecutionState};
use pgwire::api::query::ExtendedQueryHandler;
use pgwire::api::results::{FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::{Execute, PortalSuspended};
use pgwire::messages::response::EmptyQueryResponse;

use super::SharedSession;
use super::encode;
use super::errors::to_pgwire;
use super::meta;
use super::parameters::{self, Parameter};
use super::rows::{Sent, send};
use super::simple::{data_rows, message_tag, run_one, start_query, tag};
use crate::engine::StatementResult;
use crate::error::SqlError;
use crate::parser::{ParsedStatement, parse};

/// A statement that was parsed and described.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    text: Arc<str>,
    statement: Option<ParsedStatement>,
    parameter_types: Vec<Type>,
    schema: Option<SchemaRef>,
}

/// Parses and describes statements.
pub(super) struct StatementParser {
    session: SharedSession,
}

/// Executes them.
pub(super) struct ExtendedHandler {
    session: SharedSession,
    parser: Arc<StatementParser>,
}

impl StatementParser {
    pub(super) fn new(session: SharedSession) -> Self {
        Self { session }
    }

    async fn prepare(&self, text: &str, types: &[Option<Type>]) -> Result<Prepared, SqlError> {
        let session = self.session.lock().await;
        if let Some(answer) = meta::answer(&session, text) {
            let schema = match answer? {
                StatementResult::Rows { schema, .. } => Some(schema),
                StatementResult::Message(_) => None,
            };
            return Ok(Prepared {
                text: Arc::from(text),
                statement: None,
                parameter_types: Vec::new(),
                schema,
            });
        }
        let mut statements = parse(text)?.into_iter();
        let Some(mut statement) = statements.next() else {
            return Err(SqlError::syntax("expected a statement"));
        };
        if statements.next().is_some() {
            return Err(SqlError::syntax(
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        let count = parameters::count(&mut statement.statement);
        let described = session.describe(&statement.statement).await?;
        let parameter_types = (0..count)
            .map(|index| {
                let given = types.get(index).cloned().flatten();
                let inferred = described.parameters.get(index).cloned().flatten();
                given
                    .filter(|given| *given != Type::UNKNOWN)
                    .or_else(|| inferred.map(|inferred| encode::postgres_type(&inferred)))
                    .unwrap_or(Type::TEXT)
            })
            .collect();
        Ok(Prepared {
            text: Arc::from(text),
            statement: Some(statement),
            parameter_types,
            schema: described.schema,
        })
    }
}

#[async_trait]
impl QueryParser for StatementParser {
    type Statement = Prepared;

    async fn parse_sql<C>(
        &self,
        _client: &C,
        sql: &str,
        types: &[Option<Type>],
    ) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let prepared = Box::pin(self.prepare(sql, types)).await;
        prepared.map(Some).map_err(|error| to_pgwire(&error, sql))
    }

    fn get_parameter_types(&self, statement: &Prepared) -> PgWireResult<Vec<Type>> {
        Ok(statement.parameter_types.clone())
    }

    fn get_result_schema(
        &self,
        statement: &Prepared,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        let fields = statement.schema.as_ref();
        Ok(fields.map_or_else(Vec::new, |schema| encode::fields(schema, format)))
    }
}

impl ExtendedHandler {
    pub(super) fn new(session: SharedSession, parser: Arc<StatementParser>) -> Self {
        Self { session, parser }
    }

    async fn execute<C>(&self, client: &mut C, portal: &Portal<Prepared>) -> PgWireResult<Response>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let prepared = &portal.statement.statement;
        let text = prepared.text.as_ref();
        let failed = |error: SqlError| to_pgwire(&error, text);
        let (tag, result) = match bound(portal).map_err(failed)? {
            Some(statement) => {
                let mut cancel = start_query(client).await;
                let tag = tag(&statement);
                let result = run_one(&self.session, statement, &mut cancel).await;
                (tag, result.map_err(failed)?)
            }
            None => match meta::answer(&*self.session.lock().await, text) {
                Some(answer) => ("SELECT", answer.map_err(failed)?),
                None => return Ok(Response::EmptyQuery),
            },
        };
        match result {
            StatementResult::Message(message) => Ok(Response::Execution(
                message_tag(client, tag, message).await?,
            )),
            StatementResult::Rows { schema, rows } => {
                let format = &portal.result_column_format;
                let fields = Arc::new(encode::fields(&schema, Some(format)));
                let rows = data_rows(rows, Arc::clone(&fields), text);
                let mut response = QueryResponse::new(fields, rows);
                response.set_command_tag(tag);
                Ok(Response::Query(response))
            }
        }
    }
}

#[async_trait]
impl ExtendedQueryHandler for ExtendedHandler {
    type Statement = Prepared;
    type QueryParser = StatementParser;

    fn query_parser(&self) -> Arc<StatementParser> {
        Arc::clone(&self.parser)
    }

    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => Some(portal),
            Some(Entry::Empty) => None,
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        };
        match portal {
            Some(portal) => {
                let max_rows = usize::try_from(message.max_rows).unwrap_or(0);
                self.run_portal(client, &portal, max_rows).await?;
            }
            None => {
                let message = PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new());
                client.feed(message).await?;
            }
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Prepared>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.execute(client, portal).await
    }
}

impl ExtendedHandler {
    /// Starts a portal or goes on with one that was suspended.
    async fn run_portal<C>(
        &self,
        client: &mut C,
        portal: &Portal<Prepared>,
        max_rows: usize,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let state = portal.state();
        let mut state = state.lock().await;
        if matches!(*state, PortalExecutionState::Initial) {
            match self.execute(client, portal).await? {
                Response::Query(response) => *state = PortalExecutionState::Suspended(response),
                Response::Execution(tag) => {
                    *state = PortalExecutionState::Finished;
                    let message = PgWireBackendMessage::CommandComplete(tag.into());
                    return Ok(client.feed(message).await?);
                }
                _ => {
                    let message =
                        PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new());
                    return Ok(client.feed(message).await?);
                }
            }
        }
        let PortalExecutionState::Suspended(response) = &mut *state else {
            let tag = Tag::new("SELECT").with_rows(0);
            let message = PgWireBackendMessage::CommandComplete(tag.into());
            return Ok(client.feed(message).await?);
        };
        let mut cancel = start_query(client).await;
        let tag = response.command_tag().to_owned();
        let sent = send(client, response.data_rows(), &mut cancel, max_rows).await;
        if !matches!(sent, Ok(Sent::Part)) {
            // Dropping the rows ends their query.
            *state = PortalExecutionState::Finished;
        }
        match sent? {
            Sent::All(count) => {
                let tag = Tag::new(&tag).with_rows(count);
                let message = PgWireBackendMessage::CommandComplete(tag.into());
                client.feed(message).await?;
            }
            Sent::Part => {
                let message = PgWireBackendMessage::PortalSuspended(PortalSuspended::new());
                client.feed(message).await?;
            }
        }
        Ok(())
    }
}

/// The statement with its parameters in place.
fn bound(portal: &Portal<Prepared>) -> Result<Option<ParsedStatement>, SqlError> {
    let prepared = &portal.statement.statement;
    let Some(mut statement) = prepared.statement.clone() else {
        return Ok(None);
    };
    let values: Vec<Parameter<'_>> = portal
        .parameters
        .iter()
        .enumerate()
        .map(|(index, bytes)| Parameter {
            data_type: prepared
                .parameter_types
                .get(index)
                .cloned()
                .unwrap_or(Type::TEXT),
            bytes: bytes.as_ref(),
            binary: portal.parameter_format.is_binary(index),
        })
        .collect();
    parameters::substitute(&mut statement.statement, &values)?;
    Ok(Some(statement))
}
