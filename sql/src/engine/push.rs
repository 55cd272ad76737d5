//! Push queries: `SELECT .. EMIT CHANGES`.
//!
//! The query reads its topic without a group, runs the operators of a persistent query over what
//! each fetch brings, and hands the rows on at once. It ends when its rows are no longer read.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use moldau_client::{Consumer, ConsumerConfig, OffsetReset, Record, TopicPartition};
use tokio::sync::mpsc;
use tracing::warn;

use super::Engine;
use super::interleave::Interleave;
use super::result::StatementResult;
use crate::error::SqlError;
use crate::formats::Format;
use crate::operators::{MemoryState, Pipeline};
use crate::parser::StreamSelect;
use crate::plan::continuous::{self, ContinuousPlan};
use crate::rows::{Chunk, RecordView, RowKind, RowReader};
use crate::scan::{PartitionRange, pin};

/// So many batches wait for the reader of the rows; then the query waits too.
const QUEUE_BATCHES: usize = 16;
/// A partition with more records waiting for the others' is not fetched from.
const MAX_WAITING_RECORDS: usize = 10_000;
/// How long one poll waits. New records end it at once.
const POLL_TIMEOUT: Duration = Duration::from_millis(250);

/// Starts a push query.
pub(super) async fn run(
    engine: &Engine,
    select: StreamSelect,
    earliest: bool,
) -> Result<StatementResult, SqlError> {
    let plan = continuous::plan(engine.planner(), &select, &engine.catalog()).await?;
    let Some(ranges) = pin(engine.client(), &plan.source.topic).await? else {
        return Err(SqlError::not_found(format!(
            "topic `{}` of the {} does not exist",
            plan.source.topic, plan.source
        )));
    };
    let schema = output_schema(&plan);
    let query = PushQuery::new(engine, &plan, &ranges, earliest, select.limit)?;
    let (sender, receiver) = mpsc::channel(QUEUE_BATCHES);
    tokio::spawn(query.run(sender));
    let rows = futures::stream::unfold(receiver, |mut receiver| async move {
        let batch = receiver.recv().await?;
        Some((batch, receiver))
    });
    Ok(StatementResult::Rows {
        schema,
        rows: Box::pin(rows),
    })
}

/// The columns of a push query.
pub(crate) fn output_schema(plan: &ContinuousPlan) -> SchemaRef {
    let fields = plan
        .output
        .columns
        .iter()
        .map(crate::types::Column::to_field);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

struct PushQuery {
    engine: Engine,
    topic: String,
    consumer: Consumer,
    partitions: Vec<TopicPartition>,
    interleave: Interleave,
    reader: RowReader,
    pipeline: Pipeline,
    state: MemoryState,
    schema: SchemaRef,
    left: u64,
}

type Sender = mpsc::Sender<Result<RecordBatch, SqlError>>;

impl PushQuery {
    fn new(
        engine: &Engine,
        plan: &ContinuousPlan,
        ranges: &[PartitionRange],
        earliest: bool,
        limit: Option<u64>,
    ) -> Result<Self, SqlError> {
        let topic = plan.source.topic.clone();
        let start = |range: &PartitionRange| if earliest { range.start } else { range.end };
        let partitions: Vec<TopicPartition> = ranges
            .iter()
            .map(|range| TopicPartition::new(&topic, range.partition))
            .collect();
        let mut consumer = engine.client().consumer(ConsumerConfig {
            auto_offset_reset: OffsetReset::Earliest,
            ..ConsumerConfig::default()
        });
        consumer.assign(partitions.clone());
        for (partition, range) in partitions.iter().zip(ranges) {
            consumer.seek(partition, start(range))?;
        }
        let window = plan
            .aggregate
            .as_ref()
            .and_then(|aggregate| aggregate.window);
        Ok(Self {
            engine: engine.clone(),
            topic,
            consumer,
            partitions,
            interleave: Interleave::new(
                ranges
                    .iter()
                    .map(|range| (range.partition, start(range), range.end)),
            ),
            reader: RowReader::new(&plan.source, window.map(|w| w.size_ms), &plan.wanted),
            pipeline: pipeline(plan)?,
            state: MemoryState::new(engine.config().max_push_groups),
            schema: output_schema(plan),
            left: limit.unwrap_or(u64::MAX),
        })
    }

    async fn run(mut self, sender: Sender) {
        let result = tokio::select! {
            result = self.work(&sender) => result,
            () = sender.closed() => Ok(()),
        };
        if let Err(error) = result {
            // Nobody may be there to read it any more.
            let _ = sender.send(Err(error)).await;
        }
    }

    async fn work(&mut self, sender: &Sender) -> Result<(), SqlError> {
        while self.left > 0 {
            self.engine.check_open()?;
            self.fetch().await?;
            let records = self.interleave.take();
            if records.is_empty() {
                continue;
            }
            for batch in self.process(&records)? {
                if sender.send(Ok(batch)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn fetch(&mut self) -> Result<(), SqlError> {
        let overfull: Vec<TopicPartition> = self
            .interleave
            .overfull(MAX_WAITING_RECORDS)
            .into_iter()
            .map(|partition| TopicPartition::new(&self.topic, partition))
            .collect();
        self.consumer.pause(&overfull);
        let poll = self.consumer.poll(POLL_TIMEOUT).await?;
        self.consumer.resume(&overfull);
        for batch in &poll.batches {
            let partition = batch.topic_partition.partition;
            for record in batch.records().map_err(damaged)? {
                self.interleave.push(partition, record.map_err(damaged)?);
            }
            self.interleave.advance(partition, batch.next_offset());
        }
        for partition in &self.partitions {
            if let Some(position) = self.consumer.position(partition) {
                self.interleave.advance(partition.partition, position);
            }
        }
        Ok(())
    }

    fn process(&mut self, records: &[(i32, Record)]) -> Result<Vec<RecordBatch>, SqlError> {
        let views = records.iter().map(|(partition, record)| RecordView {
            partition: *partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.as_ref(),
            value: record.value.as_ref(),
        });
        let (chunk, bad) = self.reader.read(views)?;
        if bad > 0
            && let Some(last) = self.reader.take_bad().last()
        {
            let (partition, offset, error) = (last.partition, last.offset, &last.error);
            warn!(topic = %self.topic, partition, offset, bad, %error, "records left out");
        }
        let chunks = self.pipeline.process(chunk, &mut self.state)?;
        let (failed, why) = self.pipeline.take_failed();
        if let Some(error) = why {
            warn!(topic = %self.topic, failed, %error, "rows left out of a push query");
        }
        let mut batches = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let batch = self.rows(&chunk)?;
            let count = (batch.num_rows() as u64).min(self.left);
            if count > 0 {
                self.left -= count;
                batches.push(batch.slice(0, count as usize));
            }
        }
        Ok(batches)
    }

    /// The new rows: what was before an update, and deletions, have no place in a list of rows.
    fn rows(&self, chunk: &Chunk) -> Result<RecordBatch, SqlError> {
        let columns: Vec<usize> = (0..self.schema.fields().len()).collect();
        let batch = chunk.batch.project(&columns)?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())?;
        let is_new = |row| matches!(chunk.kind(row), RowKind::Insert | RowKind::UpdateAfter);
        if (0..chunk.len()).all(is_new) {
            return Ok(batch);
        }
        let keep: BooleanArray = (0..chunk.len()).map(|row| Some(is_new(row))).collect();
        Ok(filter_record_batch(&batch, &keep)?)
    }
}

fn pipeline(plan: &ContinuousPlan) -> Result<Pipeline, SqlError> {
    let Some(aggregate) = &plan.aggregate else {
        return Ok(Pipeline::stateless(plan.before.clone()));
    };
    let mut before = plan.before.clone();
    before.push(aggregate.inputs.clone());
    let after = plan.after.clone();
    Pipeline::aggregated(before, aggregate.clone(), &Format::Json, after)
}

fn damaged(error: impl std::fmt::Display) -> SqlError {
    SqlError::cluster(format!("a record batch cannot be read: {error}"))
}
