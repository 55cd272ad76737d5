//! Records that could not be handled, set aside with the reason in headers as Kafka Connect does.

use bytes::Bytes;
use moldau_client::{KString, RecordHeader};

use super::cluster::OutRecord;
use super::error::RecordProblem;
use crate::formats::StoredRecord;

/// The record for the dead-letter topic of `connector`: the original bytes and the reason.
pub(crate) fn dead_letter(
    topic: &str,
    connector: &str,
    record: &StoredRecord,
    problem: &RecordProblem,
    from_topic: bool,
) -> OutRecord {
    let mut headers = record.headers.clone();
    if from_topic {
        headers.push(header("topic", record.topic.to_string()));
        headers.push(header("partition", record.partition.to_string()));
        headers.push(header("offset", record.offset.to_string()));
    }
    headers.push(header("connector.name", connector.to_owned()));
    headers.push(header("stage", problem.stage().to_owned()));
    headers.push(header("exception.message", problem.to_string()));
    OutRecord {
        topic: topic.to_owned(),
        timestamp: Some(record.timestamp),
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    }
}

fn header(name: &str, value: String) -> RecordHeader {
    let key = KString::from(format!("__connect.errors.{name}"));
    RecordHeader {
        key,
        value: Some(Bytes::from(value)),
    }
}
