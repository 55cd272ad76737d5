//! Simple queries: a text with any number of statements.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::channel::oneshot;
use futures::sink::{Sink, SinkExt as _};
use pgwire::api::query::{SimpleQueryHandler, send_ready_for_query};
use pgwire::api::results::{FieldInfo, Response, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, ConnectionHandle, PgWireConnectionState};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::{FieldDescription, RowDescription};
use pgwire::messages::response::{EmptyQueryResponse, NoticeResponse, TransactionStatus};
use pgwire::messages::simplequery::Query;

use super::SharedSession;
use super::encode;
use super::errors::to_pgwire;
use super::meta;
use super::rows::{DataRows, Sent, send};
use crate::engine::{RowStream, StatementResult};
use crate::error::SqlError;
use crate::parser::{ParsedStatement, Statement, parse};

/// Answers simple queries.
pub(super) struct SimpleHandler {
    session: SharedSession,
}

impl SimpleHandler {
    pub(super) fn new(session: SharedSession) -> Self {
        Self { session }
    }

    async fn run_all<C>(&self, client: &mut C, text: &str) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if let Some(result) = meta::answer(&*self.session.lock().await, text) {
            let result = result.map_err(|error| to_pgwire(&error, text))?;
            return reply(client, "SELECT", result, &mut None, text).await;
        }
        let statements = parse(text).map_err(|error| to_pgwire(&error, text))?;
        if statements.is_empty() {
            let message = PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new());
            client.feed(message).await?;
        }
        for statement in statements {
            let mut cancel = start_query(client).await;
            let tag = tag(&statement);
            let result = run_one(&self.session, statement, &mut cancel)
                .await
                .map_err(|error| to_pgwire(&error, text))?;
            reply(client, tag, result, &mut cancel, text).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl SimpleQueryHandler for SimpleHandler {
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        self.run_all(client, &query.query).await?;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        send_ready_for_query(client, TransactionStatus::Idle).await
    }

    async fn do_query<C>(&self, _client: &mut C, _query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // `on_query` sends its answers itself.
        Ok(Vec::new())
    }
}

/// Makes the connection's queries cancellable.
pub(super) async fn start_query<C: ClientInfo>(client: &C) -> Option<oneshot::Receiver<()>> {
    let handle = client.session_extensions().get::<Arc<ConnectionHandle>>()?;
    Some(handle.start_query().await)
}

/// Runs one statement, unless it is cancelled first.
pub(super) async fn run_one(
    session: &SharedSession,
    statement: ParsedStatement,
    cancel: &mut Option<oneshot::Receiver<()>>,
) -> Result<StatementResult, SqlError> {
    let mut session = session.lock().await;
    let Some(cancel) = cancel else {
        return Box::pin(session.run(statement)).await;
    };
    tokio::select! {
        result = Box::pin(session.run(statement)) => result,
        Ok(()) = cancel => Err(SqlError::new(
            crate::error::SqlErrorKind::Cancelled,
            "canceling statement due to user request",
        )),
    }
}

/// The rows of a result in PostgreSQL's form.
pub(super) fn data_rows(rows: RowStream, fields: Arc<Vec<FieldInfo>>, text: &str) -> DataRows {
    let text = text.to_owned();
    let rows = rows.flat_map(move |batch| {
        let rows = batch.and_then(|batch| encode::rows(&batch, &fields));
        let rows: Vec<PgWireResult<_>> = match rows {
            Ok(rows) => rows.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(to_pgwire(&error, &text))],
        };
        futures::stream::iter(rows)
    });
    Box::pin(rows)
}

async fn reply<C>(
    client: &mut C,
    tag: &str,
    result: StatementResult,
    cancel: &mut Option<oneshot::Receiver<()>>,
    text: &str,
) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let tag = match result {
        StatementResult::Message(message) => message_tag(client, tag, message).await?,
        StatementResult::Rows { schema, rows } => {
            let fields = Arc::new(encode::fields(&schema, None));
            let description =
                RowDescription::new(fields.iter().map(FieldDescription::from).collect());
            client
                .feed(PgWireBackendMessage::RowDescription(description))
                .await?;
            let mut rows = data_rows(rows, fields, text);
            let count = match send(client, &mut rows, cancel, 0).await? {
                Sent::All(count) => count,
                Sent::Part => 0,
            };
            Tag::new(tag).with_rows(count)
        }
    };
    client
        .feed(PgWireBackendMessage::CommandComplete(tag.into()))
        .await?;
    Ok(())
}

/// What was done goes out as a notice; the tag says which statement it was.
pub(super) async fn message_tag<C>(client: &mut C, tag: &str, message: String) -> PgWireResult<Tag>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    if let Some(count) = message.strip_prefix("INSERT 0 ") {
        let count = count.parse().unwrap_or(0);
        return Ok(Tag::new("INSERT").with_oid(0).with_rows(count));
    }
    if tag.starts_with("CREATE") || tag.starts_with("DROP") || tag == "TERMINATE" {
        let info = ErrorInfo::new("INFO".to_owned(), "00000".to_owned(), message);
        client
            .feed(PgWireBackendMessage::NoticeResponse(NoticeResponse::from(
                info,
            )))
            .await?;
    }
    Ok(Tag::new(tag))
}

/// The command tag of a statement.
pub(super) fn tag(statement: &ParsedStatement) -> &'static str {
    use crate::parser::SourceKind::{Stream, Table};
    match &statement.statement {
        Statement::CreateSource(create) if create.kind == Stream => "CREATE STREAM",
        Statement::CreateAs(create) if create.kind == Stream => "CREATE STREAM",
        Statement::CreateSource(_) | Statement::CreateAs(_) => "CREATE TABLE",
        Statement::Insert(_) => "INSERT",
        Statement::Show(_) | Statement::ShowVariable(_) | Statement::Describe(_) => "SHOW",
        Statement::Print(_) => "PRINT",
        Statement::Drop(drop) if drop.kind == Table => "DROP TABLE",
        Statement::Drop(_) => "DROP STREAM",
        Statement::Terminate(_) => "TERMINATE",
        Statement::Set(_) => "SET",
        Statement::Unset(_) => "RESET",
        Statement::Explain(_) => "EXPLAIN",
        Statement::Transaction(word) => match word.as_str() {
            "BEGIN" | "START" => "BEGIN",
            "ROLLBACK" | "ABORT" => "ROLLBACK",
            "DISCARD" => "DISCARD ALL",
            _ => "COMMIT",
        },
        Statement::PushQuery(_) | Statement::Query(_) | Statement::DataFusion(_) => "SELECT",
    }
}
