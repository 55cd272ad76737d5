//! `PRINT topic`: the records as they are.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use moldau_client::{Consumer, ConsumerConfig, OffsetReset, Record, TopicPartition};
use tokio::sync::mpsc;

use super::Engine;
use super::result::StatementResult;
use crate::error::SqlError;
use crate::parser::Print;
use crate::scan::pin;

const POLL_TIMEOUT: Duration = Duration::from_millis(250);
const QUEUE_BATCHES: usize = 16;

/// Starts to print; ends at the limit, or when the rows are no longer read.
pub(super) async fn run(engine: &Engine, print: Print) -> Result<StatementResult, SqlError> {
    let Some(ranges) = pin(engine.client(), &print.topic).await? else {
        return Err(
            SqlError::not_found(format!("topic `{}` does not exist", print.topic))
                .with_hint("SHOW TOPICS lists the topics; their names are case-sensitive"),
        );
    };
    let mut consumer = engine.client().consumer(ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::default()
    });
    let partitions: Vec<TopicPartition> = ranges
        .iter()
        .map(|range| TopicPartition::new(&print.topic, range.partition))
        .collect();
    consumer.assign(partitions.clone());
    for (partition, range) in partitions.iter().zip(&ranges) {
        let start = if print.from_beginning {
            range.start
        } else {
            range.end
        };
        consumer.seek(partition, start)?;
    }
    let (sender, receiver) = mpsc::channel(QUEUE_BATCHES);
    tokio::spawn(work(engine.clone(), consumer, print, sender));
    let rows = futures::stream::unfold(receiver, |mut receiver| async move {
        let batch = receiver.recv().await?;
        Some((batch, receiver))
    });
    Ok(StatementResult::Rows {
        schema: schema(),
        rows: Box::pin(rows),
    })
}

/// The columns of `PRINT`.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("partition", DataType::Int32, false),
        Field::new("offset", DataType::Int64, false),
        Field::new(
            "timestamp",
            DataType::Timestamp(TimeUnit::Millisecond, None),
            false,
        ),
        Field::new("key", DataType::Utf8, true),
        Field::new("value", DataType::Utf8, true),
    ]))
}

async fn work(
    engine: Engine,
    mut consumer: Consumer,
    print: Print,
    sender: mpsc::Sender<Result<RecordBatch, SqlError>>,
) {
    let step = print.interval.unwrap_or(1);
    let mut left = print.limit.unwrap_or(u64::MAX);
    let mut seen = 0_u64;
    while left > 0 && !sender.is_closed() {
        let polled = match engine.check_open() {
            Ok(()) => poll(&mut consumer).await,
            Err(error) => Err(error),
        };
        let batch = polled.and_then(|mut records| {
            records.retain(|_| {
                seen += 1;
                (seen - 1).is_multiple_of(step)
            });
            records.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= records.len() as u64;
            rows(&records)
        });
        let failed = batch.is_err();
        let empty = batch.as_ref().is_ok_and(|batch| batch.num_rows() == 0);
        if !empty && sender.send(batch).await.is_err() || failed {
            return;
        }
    }
}

async fn poll(consumer: &mut Consumer) -> Result<Vec<(i32, Record)>, SqlError> {
    let poll = consumer.poll(POLL_TIMEOUT).await?;
    let mut records = Vec::new();
    for batch in &poll.batches {
        let partition = batch.topic_partition.partition;
        let batch = batch.records().map_err(damaged)?;
        for record in batch {
            records.push((partition, record.map_err(damaged)?));
        }
    }
    Ok(records)
}

fn rows(records: &[(i32, Record)]) -> Result<RecordBatch, SqlError> {
    let partitions = records.iter().map(|(partition, _)| *partition);
    let offsets = records.iter().map(|(_, record)| record.offset);
    let timestamps = records.iter().map(|(_, record)| record.timestamp);
    let keys = records
        .iter()
        .map(|(_, record)| record.key.as_ref().map(text));
    let values = records
        .iter()
        .map(|(_, record)| record.value.as_ref().map(text));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(partitions)),
        Arc::new(Int64Array::from_iter_values(offsets)),
        Arc::new(TimestampMillisecondArray::from_iter_values(timestamps)),
        Arc::new(keys.collect::<StringArray>()),
        Arc::new(values.collect::<StringArray>()),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// Text as it is; a 4 or 8 byte number of the format KAFKA, and anything else, in hexadecimal.
fn text(bytes: &Bytes) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() && !c.is_whitespace()) => text.to_owned(),
        _ => bytes.iter().fold("\\x".to_owned(), |mut out, byte| {
            out.push_str(&format!("{byte:02x}"));
            out
        }),
    }
}

fn damaged(error: impl std::fmt::Display) -> SqlError {
    SqlError::cluster(format!("a record batch cannot be read: {error}"))
}
