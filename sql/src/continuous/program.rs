//! The program of one task of a query.

use std::sync::Arc;

use moldau_streams::runtime::{
    Record, SourceIndex, StoreIndex, StreamsError, TaskContext, TaskProgram,
};
use tracing::warn;

use super::counters::QueryCounters;
use super::repartition::{RepartitionReader, RepartitionWriter};
use super::writer::SinkWriter;
use crate::error::SqlError;
use crate::operators::{AggregateState, Pipeline, Stored};
use crate::rows::{Chunk, RecordView, RowReader};

/// Reads runs of records into chunks, sends them through the operators and writes what comes out.
pub(super) struct QueryProgram {
    pub(super) query_id: Arc<str>,
    pub(super) topic: Arc<str>,
    pub(super) input: Input,
    pub(super) pipeline: Pipeline,
    pub(super) output: Output,
    /// Whether the groups of the aggregate have windows.
    pub(super) windowed: bool,
    pub(super) counters: Arc<QueryCounters>,
}

/// What a task reads.
pub(super) enum Input {
    Source(RowReader),
    Repartition(RepartitionReader),
}

/// What a task writes.
pub(super) enum Output {
    Sink(SinkWriter),
    Repartition(RepartitionWriter),
}

/// The one store of a task.
const STORE: StoreIndex = StoreIndex(0);

impl TaskProgram for QueryProgram {
    fn process(
        &mut self,
        _source: SourceIndex,
        records: &[Record],
        task: &mut TaskContext<'_>,
    ) -> Result<(), StreamsError> {
        let result = self.run(records, task);
        self.count(task);
        result.map_err(|error| StreamsError::Operator {
            operator: self.query_id.to_string(),
            record: match records.first() {
                Some(record) => format!(
                    "{}-{} offset {}",
                    self.topic, record.partition, record.offset
                ),
                None => self.topic.to_string(),
            },
            reason: error.to_string(),
        })
    }

    fn flush(&mut self, _task: &mut TaskContext<'_>) -> Result<(), StreamsError> {
        Ok(())
    }

    fn current_operator(&self) -> Option<String> {
        Some(self.query_id.to_string())
    }
}

impl QueryProgram {
    fn run(&mut self, records: &[Record], task: &mut TaskContext<'_>) -> Result<(), SqlError> {
        let chunk = self.read(records, task)?;
        let windowed = self.windowed;
        let mut state = TaskState { task, windowed };
        let chunks = self.pipeline.process(chunk, &mut state)?;
        for chunk in &chunks {
            match &self.output {
                Output::Sink(writer) => {
                    let sent = writer.write(chunk, task)?;
                    self.counters.add_rows_out(sent);
                }
                Output::Repartition(writer) => writer.write(chunk, task)?,
            }
        }
        Ok(())
    }

    fn read(&mut self, records: &[Record], task: &mut TaskContext<'_>) -> Result<Chunk, SqlError> {
        match &mut self.input {
            Input::Repartition(reader) => reader.read(records),
            Input::Source(reader) => {
                let (chunk, bad) = reader.read(records.iter().map(view))?;
                if bad > 0 {
                    self.counters.add_bad_records(bad);
                    task.drop_records(bad);
                    if let Some(last) = reader.take_bad().last() {
                        let problem = format!(
                            "{}-{} offset {}: {}",
                            self.topic, last.partition, last.offset, last.error
                        );
                        warn!(query = %self.query_id, bad, %problem, "records left out");
                        self.counters.set_problem(problem);
                    }
                }
                Ok(chunk)
            }
        }
    }

    fn count(&mut self, task: &mut TaskContext<'_>) {
        let late = self.pipeline.take_late();
        let (failed, why) = self.pipeline.take_failed();
        self.counters.add_late_rows(late);
        self.counters.add_failed_rows(failed);
        if late + failed > 0 {
            task.drop_records(late + failed);
        }
        if let Some(why) = why {
            warn!(query = %self.query_id, failed, error = %why, "rows left out");
            self.counters.set_problem(why.to_string());
        }
    }
}

fn view(record: &Record) -> RecordView<'_> {
    RecordView {
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.as_ref(),
        value: record.value.as_ref(),
    }
}

/// The groups of an aggregate in the store of the task.
struct TaskState<'t, 'c> {
    task: &'t mut TaskContext<'c>,
    windowed: bool,
}

impl AggregateState for TaskState<'_, '_> {
    fn load(&mut self, key: &[u8], window: Option<i64>) -> Result<Option<Stored>, SqlError> {
        let stored = match window {
            Some(start) if self.windowed => self
                .task
                .window_store(STORE)
                .and_then(|store| store.get(key, start)),
            _ => self.task.store(STORE).and_then(|store| store.get(key)),
        };
        let stored = stored.map_err(|error| SqlError::internal(error.to_string()))?;
        Ok(stored.map(|stored| Stored {
            value: stored.value,
            timestamp: stored.timestamp,
        }))
    }

    fn save(
        &mut self,
        key: &[u8],
        window: Option<i64>,
        value: &[u8],
        timestamp: i64,
    ) -> Result<(), SqlError> {
        let saved = match window {
            Some(start) if self.windowed => self
                .task
                .window_store(STORE)
                .and_then(|store| store.put(key, start, value, timestamp).map(|_| ())),
            _ => self
                .task
                .store(STORE)
                .and_then(|store| store.put(key, value, timestamp)),
        };
        saved.map_err(|error| SqlError::internal(error.to_string()))
    }
}
