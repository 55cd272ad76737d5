//! Moves records from topics to a sink.

use std::time::{Duration, Instant};

use moldau_client::TopicPartition;

use super::TaskContext;
use super::cluster::{Cluster, Committed, OutRecord, Polled, Reader, TopicKind, Writer};
use super::dead_letter::dead_letter;
use super::error::{ConnectError, RecordProblem};
use super::sink::{LineEntry, Lines, Sink};
use super::supervisor::{End, closed};
use crate::config::connector::{ConnectorSpec, ReadFrom, SinkKind, SinkSpec};
use crate::connectors::file::FileSink;
use crate::connectors::object::{ObjectSink, StoreTarget};
use crate::formats::{LineFormat, StoredRecord};

/// Runs until the connector is closed or something fails.
pub(crate) async fn run_sink<C: Cluster>(
    context: &TaskContext<C>,
    spec: &ConnectorSpec,
    sink_spec: &SinkSpec,
) -> Result<End, ConnectError> {
    match &sink_spec.kind {
        SinkKind::File(file) => {
            let sink = FileSink::new(file, context.status.clone());
            run_with(context, spec, sink_spec, &file.format, sink).await
        }
        SinkKind::Object(object) => {
            let target = StoreTarget::open(&object.place)?;
            let sink = ObjectSink::new(object, &spec.errors.retry, target, context);
            run_with(context, spec, sink_spec, &object.format, sink).await
        }
    }
}

/// Like [`run_sink`], with the sink made already.
pub(crate) async fn run_with<C: Cluster, S: Sink>(
    context: &TaskContext<C>,
    spec: &ConnectorSpec,
    sink_spec: &SinkSpec,
    format: &LineFormat,
    sink: S,
) -> Result<End, ConnectError> {
    for topic in sink_spec.topics.iter().chain(&spec.errors.dead_letter) {
        context
            .cluster
            .ensure_topic(topic, TopicKind::Ordinary)
            .await?;
    }
    let group = format!("connect-{}", spec.name);
    let mut reader = context
        .cluster
        .reader(&group, &sink_spec.topics, sink_spec.read_from)?;
    let writer = spec
        .errors
        .dead_letter
        .is_some()
        .then(|| context.cluster.writer());
    let mut task = SinkTask {
        context,
        spec,
        sink_spec,
        format,
        sink,
        writer,
    };
    let result = task.run(&mut reader).await;
    if let Some(writer) = task.writer {
        writer.close().await;
    }
    reader.close().await;
    result
}

struct SinkTask<'a, C: Cluster, S> {
    context: &'a TaskContext<C>,
    spec: &'a ConnectorSpec,
    sink_spec: &'a SinkSpec,
    format: &'a LineFormat,
    sink: S,
    /// For dead letters.
    writer: Option<C::Writer>,
}

impl<C: Cluster, S: Sink> SinkTask<'_, C, S> {
    async fn run(&mut self, reader: &mut C::Reader) -> Result<End, ConnectError> {
        self.context.status.running();
        let mut closing = self.context.closing.clone();
        loop {
            let timeout = self.sink.deadline().map_or(POLL_TIMEOUT, |deadline| {
                deadline
                    .saturating_duration_since(Instant::now())
                    .min(POLL_TIMEOUT)
            });
            let polled = tokio::select! {
                polled = reader.poll(timeout) => polled?,
                () = closed(&mut closing) => {
                    self.sink.close(reader).await?;
                    return Ok(End::Closed);
                }
            };
            match self.handle(reader, polled).await {
                Err(ConnectError::Closing) => return Ok(End::Closed),
                result => result?,
            }
        }
    }

    async fn handle(&mut self, reader: &mut C::Reader, polled: Polled) -> Result<(), ConnectError> {
        if polled.lost {
            let message = "the group has given the partitions to another member";
            return Err(ConnectError::Lost(message.to_owned()));
        }
        if !polled.revoked.is_empty() {
            self.sink.revoked(reader, &polled.revoked).await?;
        }
        if !polled.assigned.is_empty() {
            let starts = self.starts(reader, &polled.assigned).await?;
            self.sink.assigned(reader, starts).await?;
        }
        for (partition, records) in polled.records {
            let lines = self.encode(records).await?;
            self.sink.write(reader, &partition, lines).await?;
        }
        self.sink.tick(reader).await
    }

    /// Where each partition is read from, and goes there.
    async fn starts(
        &self,
        reader: &mut C::Reader,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Committed)>, ConnectError> {
        let mut committed = reader.committed(partitions).await?;
        let mut starts = Vec::with_capacity(partitions.len());
        for topic in &self.sink_spec.topics {
            let offsets = self.context.cluster.offsets(topic).await?;
            for partition in partitions
                .iter()
                .filter(|partition| &*partition.topic == topic)
            {
                let (first, end) = offsets.get(&partition.partition).copied().unwrap_or((0, 0));
                let mut start = committed.remove(partition).unwrap_or_else(|| {
                    let offset = if self.sink_spec.read_from == ReadFrom::End {
                        end
                    } else {
                        first
                    };
                    Committed {
                        offset,
                        metadata: String::new(),
                    }
                });
                // Records may have been deleted, and a topic may have been made anew.
                start.offset = if start.offset > end {
                    first
                } else {
                    start.offset.max(first)
                };
                reader.seek(partition, start.offset)?;
                starts.push((partition.clone(), start));
            }
        }
        Ok(starts)
    }

    /// The lines of records; those that cannot be handled are set aside first.
    async fn encode(&self, records: Vec<StoredRecord>) -> Result<Lines, ConnectError> {
        let mut lines = Lines::default();
        let mut letters = Vec::new();
        for record in records {
            let start = lines.bytes.len();
            if let Err(problem) = self.append(&mut lines.bytes, &record) {
                lines.bytes.truncate(start);
                letters.extend(self.set_aside(&record, &problem)?);
            }
            let range = start..lines.bytes.len();
            lines.entries.push(LineEntry {
                offset: record.offset,
                timestamp: record.timestamp,
                range,
            });
        }
        if let (Some(writer), false) = (&self.writer, letters.is_empty()) {
            for result in writer.write(letters).await {
                result?;
            }
        }
        Ok(lines)
    }

    fn append(&self, out: &mut Vec<u8>, record: &StoredRecord) -> Result<(), RecordProblem> {
        let decode = self.sink_spec.decode;
        if self.spec.transforms.is_empty() {
            return Ok(self.format.append_stored(out, record, decode)?);
        }
        if let Some(record) = self.spec.transforms.apply(record.decode(decode)?)? {
            self.format.append(out, &record);
        }
        Ok(())
    }

    fn set_aside(
        &self,
        record: &StoredRecord,
        problem: &RecordProblem,
    ) -> Result<Option<OutRecord>, ConnectError> {
        if !self.spec.errors.tolerate {
            let StoredRecord {
                topic,
                partition,
                offset,
                ..
            } = record;
            let place = format!("record {offset} of {topic}-{partition}");
            return Err(ConnectError::Record {
                place,
                problem: problem.clone(),
            });
        }
        self.context.status.set_aside(&problem.to_string());
        let topic = self.spec.errors.dead_letter.as_ref();
        Ok(topic.map(|topic| dead_letter(topic, &self.spec.name, record, problem, true)))
    }
}

/// Longest time without a look at the clock.
const POLL_TIMEOUT: Duration = Duration::from_millis(500);
