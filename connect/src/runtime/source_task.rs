//! Moves records from a source into its topic.

use std::time::{Duration, Instant};

use bytes::Bytes;
use moldau_client::{ClientError, KString};
use serde_json::Value;

use super::TaskContext;
use super::cluster::{Cluster, OutRecord, TopicKind, Writer};
use super::dead_letter::dead_letter;
use super::error::{ConnectError, RecordProblem};
use super::source::{Source, SourceBatch, SourceRecord};
use super::source_progress::SourceProgress;
use super::supervisor::{End, closed};
use crate::config::connector::{ConnectorSpec, KeyChoice, SourceSpec, ValueEncoding};
use crate::formats::StoredRecord;
use crate::record::ConnectRecord;

/// Runs until the source is finished, the connector is closed, or something fails.
pub(crate) async fn run_source<C: Cluster, S: Source>(
    context: &TaskContext<C>,
    spec: &ConnectorSpec,
    source_spec: &SourceSpec,
    source: S,
) -> Result<End, ConnectError> {
    let writer = context.cluster.writer();
    let task = SourceTask {
        context,
        spec,
        source_spec,
        source,
    };
    let result = task.run(&writer).await;
    // Nothing of ours may arrive after the next start has read the topic.
    writer.close().await;
    result
}

struct SourceTask<'a, C: Cluster, S> {
    context: &'a TaskContext<C>,
    spec: &'a ConnectorSpec,
    source_spec: &'a SourceSpec,
    source: S,
}

impl<C: Cluster, S: Source> SourceTask<'_, C, S> {
    async fn run(mut self, writer: &C::Writer) -> Result<End, ConnectError> {
        let cluster = &self.context.cluster;
        if let Some(topic) = &self.spec.errors.dead_letter {
            cluster.ensure_topic(topic, TopicKind::Ordinary).await?;
        }
        let (mut progress, stored) =
            SourceProgress::load(cluster, writer, &self.spec.name, &self.source_spec.topic).await?;
        self.source.restore(stored)?;
        self.context.status.running();
        let mut last_flush = Instant::now();
        let mut closing = self.context.closing.clone();
        loop {
            let batch = tokio::select! {
                batch = self.source.poll() => batch?,
                () = closed(&mut closing) => {
                    progress.flush(writer).await?;
                    return Ok(End::Closed);
                }
            };
            let finished = batch.finished;
            if batch.records.is_empty() {
                progress.caught_up();
            }
            self.write_batch(writer, &mut progress, batch).await?;
            if finished {
                progress.flush(writer).await?;
                return Ok(End::Finished);
            }
            if last_flush.elapsed() >= FLUSH_INTERVAL {
                progress.flush(writer).await?;
                last_flush = Instant::now();
            }
        }
    }

    async fn write_batch(
        &self,
        writer: &C::Writer,
        progress: &mut SourceProgress,
        batch: SourceBatch,
    ) -> Result<(), ConnectError> {
        progress.store_before(writer, batch.before).await?;
        let mut out = Vec::with_capacity(batch.records.len());
        let mut bytes = 0;
        for record in batch.records {
            if record.tag.as_ref().is_some_and(|tag| progress.is_seen(tag)) {
                continue;
            }
            let header = record.tag.as_ref().map(|tag| progress.header(tag));
            match self.encode(&record) {
                Ok(None) => {}
                Ok(Some(mut encoded)) => {
                    encoded.headers.extend(header);
                    bytes += encoded.value.as_ref().map_or(0, Bytes::len) as u64;
                    out.push(encoded);
                }
                Err(problem) => out.extend(self.set_aside(&record, &problem)?.map(|mut letter| {
                    letter.headers.extend(header);
                    letter
                })),
            }
        }
        let mut placed = Vec::with_capacity(out.len());
        if !out.is_empty() {
            let sizes: Vec<usize> = out
                .iter()
                .map(|r| r.value.as_ref().map_or(0, Bytes::len))
                .collect();
            let to_topic: Vec<bool> = out
                .iter()
                .map(|r| r.topic == self.source_spec.topic)
                .collect();
            for ((result, size), to_topic) in
                writer.write(out).await.into_iter().zip(sizes).zip(to_topic)
            {
                match result {
                    Ok(place) if to_topic => placed.push(place),
                    Ok(_) => {}
                    Err(error) => self.too_large(error, size)?,
                }
            }
        }
        self.context.status.done(placed.len() as u64, bytes);
        progress.acknowledged(&placed, batch.after);
        Ok(())
    }

    /// The record as it goes to the topic; `None` when a filter dropped it.
    fn encode(&self, record: &SourceRecord) -> Result<Option<OutRecord>, RecordProblem> {
        let default_key = || record.default_key.clone();
        let mut full = ConnectRecord {
            topic: KString::copy_from(&self.source_spec.topic),
            position: None,
            timestamp: record.timestamp,
            key: default_key().map(Bytes::from),
            value: record.value.clone(),
            headers: Vec::new(),
        };
        if !self.spec.transforms.is_empty() {
            match self.spec.transforms.apply(full)? {
                Some(transformed) => full = transformed,
                None => return Ok(None),
            }
        }
        let key = match &self.source_spec.key {
            KeyChoice::Default => full.key.clone(),
            KeyChoice::None => None,
            KeyChoice::Template(template) => template.render(&full).map(Bytes::from),
        };
        let value = match (self.source_spec.encode, &record.raw) {
            (ValueEncoding::Raw, Some(raw)) => raw.clone(),
            (ValueEncoding::Text, _) => match full.value.get("line") {
                Some(Value::String(line)) => Bytes::from(line.clone()),
                other => Bytes::from(other.unwrap_or(&full.value).to_string()),
            },
            _ => Bytes::from(full.value.to_string()),
        };
        Ok(Some(OutRecord {
            topic: self.source_spec.topic.clone(),
            timestamp: Some(record.timestamp),
            key,
            value: Some(value),
            headers: full.headers,
        }))
    }

    fn set_aside(
        &self,
        record: &SourceRecord,
        problem: &RecordProblem,
    ) -> Result<Option<OutRecord>, ConnectError> {
        if !self.spec.errors.tolerate {
            let place = format!("record {}", record.value);
            return Err(ConnectError::Record {
                place,
                problem: problem.clone(),
            });
        }
        self.context.status.set_aside(&problem.to_string());
        let Some(topic) = &self.spec.errors.dead_letter else {
            return Ok(None);
        };
        let value = record
            .raw
            .clone()
            .unwrap_or_else(|| Bytes::from(record.value.to_string()));
        let original = StoredRecord {
            topic: KString::default(),
            partition: 0,
            offset: 0,
            timestamp: record.timestamp,
            key: record.default_key.clone().map(Bytes::from),
            value: Some(value),
            headers: Vec::new(),
        };
        Ok(Some(dead_letter(
            topic,
            &self.spec.name,
            &original,
            problem,
            false,
        )))
    }

    /// A record that no topic takes cannot be set aside in another topic either.
    fn too_large(&self, error: ClientError, size: usize) -> Result<(), ConnectError> {
        if !matches!(error, ClientError::RecordTooLarge { .. }) {
            return Err(error.into());
        }
        let problem = RecordProblem::TooLarge(error.to_string());
        if !self.spec.errors.tolerate {
            let place = format!("a record of {size} bytes");
            return Err(ConnectError::Record { place, problem });
        }
        self.context.status.set_aside(&problem.to_string());
        Ok(())
    }
}

/// Longest time that acknowledged progress is not stored.
const FLUSH_INTERVAL: Duration = Duration::from_secs(2);
