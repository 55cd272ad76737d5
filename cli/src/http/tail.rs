//! Live views, as server-sent events: the tail of a topic, and the rows of the terminal's query.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt};
use moldau_client::admin::OffsetSpec;
use moldau_client::{ClientError, Consumer, ConsumerConfig, OffsetReset, SeekTo, TopicPartition};
use moldau_sql::{Engine, StatementResult, render};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use super::{Console, problem};
use crate::consume::record_json;

/// Records of each partition that a tail shows from before it was opened.
const RECORDS_BEFORE: i64 = 20;

/// Records one event may carry; the rest of a poll is skipped, since nobody reads faster.
const MAX_RECORDS_PER_EVENT: usize = 100;

const POLL_TIMEOUT: Duration = Duration::from_millis(500);

/// Records of a topic as they come; each event is a JSON array of records.
pub(crate) async fn topic(State(console): State<Console>, Path(topic): Path<String>) -> Response {
    let Ok(permit) = console.live_views.clone().try_acquire_owned() else {
        return too_many();
    };
    match open(&console, &topic).await {
        Ok(Some(consumer)) => events(records(consumer, permit)),
        Ok(None) => problem(
            StatusCode::NOT_FOUND,
            format_args!("topic {topic:?} does not exist"),
        ),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, error),
    }
}

/// Rows of the query in the document's `terminal`; each event is a JSON array of rows.
pub(crate) async fn terminal(State(console): State<Console>) -> Response {
    let (Some(engine), Some(spec)) = (&console.engine, &console.terminal) else {
        return problem(
            StatusCode::NOT_FOUND,
            "the moldau.yaml names no terminal query",
        );
    };
    let Ok(permit) = console.live_views.clone().try_acquire_owned() else {
        return too_many();
    };
    match rows(engine, &spec.query, permit).await {
        Ok(rows) => events(rows),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, error),
    }
}

fn too_many() -> Response {
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        format_args!(
            "{} live views are open already; close one",
            super::MAX_LIVE_VIEWS
        ),
    )
}

fn events(values: impl Stream<Item = Value> + Send + 'static) -> Response {
    let events = values.map(|value| Ok::<_, Infallible>(Event::default().data(value.to_string())));
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

async fn open(console: &Console, topic: &str) -> Result<Option<Consumer>, ClientError> {
    let Some(count) = console.client.partition_count(topic).await? else {
        return Ok(None);
    };
    let partitions: Vec<TopicPartition> = (0..count)
        .map(|partition| TopicPartition::new(topic, partition))
        .collect();
    let mut consumer = console.client.consumer(ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::default()
    });
    let wanted: Vec<_> = partitions
        .iter()
        .map(|partition| (partition.clone(), OffsetSpec::Latest))
        .collect();
    let ends = console.client.admin().list_offsets(&wanted).await?;
    consumer.assign(partitions.clone());
    for partition in &partitions {
        let end = ends.get(partition).map_or(0, |listed| listed.offset);
        consumer
            .seek_to(partition, SeekTo::Offset((end - RECORDS_BEFORE).max(0)))
            .await?;
    }
    Ok(Some(consumer))
}

fn records(consumer: Consumer, permit: OwnedSemaphorePermit) -> impl Stream<Item = Value> + Send {
    stream::unfold((consumer, permit), |(mut consumer, permit)| async move {
        loop {
            let poll = match consumer.poll(POLL_TIMEOUT).await {
                Ok(poll) => poll,
                Err(error) => {
                    tracing::debug!(%error, "tail of a topic ended");
                    return None;
                }
            };
            let mut shown = Vec::new();
            for batch in &poll.batches {
                let Ok(records) = batch.records() else {
                    continue;
                };
                let room = MAX_RECORDS_PER_EVENT.saturating_sub(shown.len());
                shown.extend(
                    records
                        .flatten()
                        .take(room)
                        .map(|record| record_json(&batch.topic_partition, &record)),
                );
            }
            if !shown.is_empty() {
                return Some((Value::from(shown), (consumer, permit)));
            }
        }
    })
}

async fn rows(
    engine: &Engine,
    query: &str,
    permit: OwnedSemaphorePermit,
) -> Result<impl Stream<Item = Value> + Send + use<>, moldau_sql::SqlError> {
    let mut session = engine.session();
    let results = session.execute(query).await?;
    let streams = results.into_iter().filter_map(|result| match result {
        StatementResult::Rows { rows, .. } => Some(rows),
        StatementResult::Message(_) => None,
    });
    Ok(stream::iter(streams).flatten().filter_map(move |batch| {
        let _open = &permit;
        let rows = batch.ok().map(|batch| {
            (0..batch.num_rows())
                .map(|row| Value::from(render::row_json(&batch, row)))
                .collect::<Vec<_>>()
        });
        std::future::ready(rows.map(Value::from))
    }))
}
