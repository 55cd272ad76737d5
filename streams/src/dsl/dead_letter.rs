//! What happens to records that cannot be handled.

use bytes::Bytes;
use moldau_client::{KString, RecordHeader};

use super::node::Cx;
use super::on_error::OnError;
use crate::runtime::{OutputRecord, Record, StreamsError};

/// Does with a failed record what the policy says.
pub(crate) fn handle(
    cx: &mut Cx<'_, '_>,
    on_error: &OnError,
    record: Option<&Record>,
    error: StreamsError,
) -> Result<(), StreamsError> {
    match on_error {
        OnError::Fail => return Err(error),
        OnError::Skip => {
            tracing::warn!(task = %cx.task.task_id(), %error, "record skipped");
        }
        OnError::DeadLetter(topic) => {
            if let Some(record) = record {
                let output = dead_letter(cx, topic, record, &error);
                cx.task.send(output);
            }
        }
    }
    cx.task.drop_records(1);
    Ok(())
}

/// The record as it came, with Kafka Streams' headers about the error (KIP-1034).
fn dead_letter(
    cx: &Cx<'_, '_>,
    topic: &KString,
    record: &Record,
    error: &StreamsError,
) -> OutputRecord {
    let mut headers = record.headers.clone();
    for (name, value) in [
        ("exception", error.kind().to_owned()),
        ("message", error.reason()),
        ("stacktrace", error.to_string()),
        ("topic", cx.state.origin_topic.to_string()),
        ("partition", record.partition.to_string()),
        ("offset", record.offset.to_string()),
    ] {
        headers.push(RecordHeader {
            key: KString::from(format!("__streams.errors.{name}")),
            value: Some(Bytes::from(value)),
        });
    }
    OutputRecord {
        topic: topic.clone(),
        partition: None,
        timestamp: record.timestamp,
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    }
}
