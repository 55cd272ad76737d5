//! The sink: exactly one copy of each record, also when rotation is decided by the clock.
//!
//! An object holds the records of a range of offsets of one partition. Which range is decided
//! while records come, so a start after a kill must decide the same again. Hence a cut is noted
//! before its objects are written:
//!
//! ```text
//! 1  commit  offset 100, metadata {"v":1,"cuts":[{"s":100,"e":180}]}     the offset stays
//! 2  put     raw/orders/partition=0/orders+0+00000000000000000100.jsonl
//! 3  commit  offset 181, metadata ""
//! ```
//!
//! A start that finds a cut reads the records up to `e` again, makes the same objects, puts them
//! under the same names, and goes on with step 3. Without a cut nothing has been put. Commits
//! carry the generation of the group, so a member that lost its partitions can do neither.
//!
//! A partition whose records go to several folders (`by: time`) cuts all of them at once, since
//! it has one committed offset.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use moldau_client::TopicPartition;
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::{info, warn};

use super::builder::ObjectBuilder;
use super::spec::{ObjectCompression, ObjectSinkSpec};
use super::store::Target;
use crate::config::connector::RetryPolicy;
use crate::runtime::TaskContext;
use crate::runtime::cluster::{Committed, Reader};
use crate::runtime::error::ConnectError;
use crate::runtime::sink::{LineEntry, Lines, Sink};
use crate::runtime::status::{ConnectorState, StatusBoard};
use crate::runtime::supervisor::{Backoff, wait};

/// Collects lines into objects and puts them when they are complete.
#[derive(Debug)]
pub(crate) struct ObjectSink<T> {
    spec: ObjectSinkSpec,
    retry: RetryPolicy,
    target: T,
    status: Arc<StatusBoard>,
    closing: watch::Receiver<bool>,
    partitions: BTreeMap<TopicPartition, Collected>,
}

/// What is collected of one partition.
#[derive(Debug, Default)]
struct Collected {
    /// The committed offset.
    start: i64,
    /// Offset after the last record taken in.
    next: i64,
    /// Last offset of a cut that was noted before a restart.
    replay_to: Option<i64>,
    /// By folder.
    objects: BTreeMap<String, ObjectBuilder>,
    records: u64,
    bytes: u64,
    first_timestamp: Option<i64>,
    since: Option<Instant>,
}

impl<T: Target> ObjectSink<T> {
    pub(crate) fn new<C>(
        spec: &ObjectSinkSpec,
        retry: &RetryPolicy,
        target: T,
        context: &TaskContext<C>,
    ) -> Self {
        Self {
            spec: spec.clone(),
            retry: retry.clone(),
            target,
            status: context.status.clone(),
            closing: context.closing.clone(),
            partitions: BTreeMap::new(),
        }
    }

    fn take_in(
        &mut self,
        partition: &TopicPartition,
        entry: &LineEntry,
        line: &[u8],
    ) -> Result<(), ConnectError> {
        let Some(collected) = self.partitions.get_mut(partition) else {
            return Ok(());
        };
        collected.next = entry.offset + 1;
        collected.since.get_or_insert_with(Instant::now);
        if line.is_empty() {
            return Ok(());
        }
        collected.first_timestamp.get_or_insert(entry.timestamp);
        collected.records += 1;
        collected.bytes += line.len() as u64;
        let folder = self.spec.path.folder(partition.partition, entry.timestamp);
        let compression = self.spec.compression;
        let new = || ObjectBuilder::new(entry.offset, compression);
        let object = collected.objects.entry(folder).or_insert_with(new);
        object
            .append(line)
            .map_err(|error| ConnectError::State(format!("compress records: {error}")))
    }

    /// Whether a cut must come before this record.
    fn is_cut_before(&self, partition: &TopicPartition, entry: &LineEntry) -> bool {
        let Some(collected) = self.partitions.get(partition) else {
            return false;
        };
        if let Some(end) = collected.replay_to {
            return entry.offset > end;
        }
        let interval = self
            .spec
            .rotate
            .interval
            .map(|interval| interval.as_millis());
        match (interval, collected.first_timestamp) {
            (Some(interval), Some(first)) => {
                let passed = entry.timestamp.saturating_sub(first);
                u128::try_from(passed).is_ok_and(|passed| passed >= interval)
            }
            _ => false,
        }
    }

    /// Whether the object is complete with the record taken in last.
    fn is_cut_after(&self, partition: &TopicPartition) -> bool {
        let Some(collected) = self.partitions.get(partition) else {
            return false;
        };
        if let Some(end) = collected.replay_to {
            return collected.next > end;
        }
        let rotate = &self.spec.rotate;
        rotate
            .records
            .is_some_and(|records| collected.records >= records)
            || collected.bytes >= rotate.bytes
            || collected.objects.len() >= MAX_FOLDERS
    }

    /// Notes the cut, puts the objects, commits the next offset.
    async fn cut(
        &mut self,
        reader: &mut impl Reader,
        partition: &TopicPartition,
    ) -> Result<(), ConnectError> {
        let Some(collected) = self.partitions.get_mut(partition) else {
            return Ok(());
        };
        let collected = std::mem::take(collected);
        let end = collected.replay_to.unwrap_or(collected.next - 1);
        let next = collected.next.max(end + 1);
        if !collected.objects.is_empty() {
            if collected.replay_to.is_none() {
                let metadata = note(collected.start, end);
                let noted = Committed {
                    offset: collected.start,
                    metadata,
                };
                reader.commit(vec![(partition.clone(), noted)]).await?;
            }
            for (folder, object) in collected.objects {
                let name = self.object_name(partition, &folder, object.start_offset);
                let content = object
                    .finish()
                    .map_err(|error| ConnectError::State(format!("compress {name}: {error}")))?;
                self.put(&name, Bytes::from(content)).await?;
            }
        }
        let done = Committed {
            offset: next,
            metadata: String::new(),
        };
        reader.commit(vec![(partition.clone(), done)]).await?;
        self.status.done(collected.records, collected.bytes);
        let fresh = Collected {
            start: next,
            next,
            ..Collected::default()
        };
        self.partitions.insert(partition.clone(), fresh);
        Ok(())
    }

    /// Puts one object, for as long as it takes.
    async fn put(&self, name: &str, content: Bytes) -> Result<(), ConnectError> {
        let mut backoff = Backoff::new(&self.retry);
        loop {
            let Err(error) = self.target.put(name, content.clone()).await else {
                info!(%name, bytes = content.len(), "object written");
                return Ok(());
            };
            if !matches!(error, ConnectError::Store { .. }) {
                return Err(error);
            }
            let temporary = error.is_temporary();
            let state = if temporary {
                ConnectorState::Retrying
            } else {
                ConnectorState::Failed
            };
            let text = self.status.trouble(state, &error.to_string());
            let pause = backoff.next();
            warn!(error = %text, ?pause, "object not written, trying again");
            if wait(&mut self.closing.clone(), pause).await {
                return Err(ConnectError::Closing);
            }
        }
    }

    fn object_name(&self, partition: &TopicPartition, folder: &str, start: i64) -> String {
        let TopicPartition { topic, partition } = partition;
        let extension = match self.spec.compression {
            ObjectCompression::None => "jsonl",
            ObjectCompression::Gzip => "jsonl.gz",
        };
        let name = format!("{topic}/{folder}/{topic}+{partition}+{start:020}.{extension}");
        if self.spec.prefix.is_empty() {
            name
        } else {
            format!("{}/{name}", self.spec.prefix)
        }
    }

    /// The partitions that are complete though no record says so.
    fn due(&self, reader: &impl Reader, now: Instant) -> Vec<TopicPartition> {
        let mut due = Vec::new();
        for (partition, collected) in &self.partitions {
            let is_due = match collected.replay_to {
                // The last records of the cut may have been deleted since.
                Some(end) => reader
                    .position(partition)
                    .is_some_and(|position| position > end),
                None => collected
                    .since
                    .is_some_and(|since| now >= since + self.spec.rotate.max_age),
            };
            if is_due {
                due.push(partition.clone());
            }
        }
        due
    }

    /// The partition with the most in memory, if all together have too much.
    fn too_large(&self) -> Option<TopicPartition> {
        let memory = |collected: &Collected| {
            collected
                .objects
                .values()
                .map(ObjectBuilder::memory)
                .sum::<usize>()
        };
        if self.partitions.values().map(memory).sum::<usize>() <= MAX_MEMORY {
            return None;
        }
        let open = self
            .partitions
            .iter()
            .filter(|(_, collected)| collected.replay_to.is_none());
        open.max_by_key(|(_, collected)| memory(collected))
            .map(|(partition, _)| partition.clone())
    }
}

impl<T: Target> Sink for ObjectSink<T> {
    async fn assigned(
        &mut self,
        _reader: &mut impl Reader,
        partitions: Vec<(TopicPartition, Committed)>,
    ) -> Result<(), ConnectError> {
        for (partition, start) in partitions {
            let replay_to = noted_end(&start).filter(|end| *end >= start.offset);
            let next = start.offset;
            let collected = Collected {
                start: next,
                next,
                replay_to,
                ..Collected::default()
            };
            self.partitions.insert(partition, collected);
        }
        Ok(())
    }

    /// What is collected is read again by whoever gets the partition.
    async fn revoked(
        &mut self,
        _reader: &mut impl Reader,
        partitions: &[TopicPartition],
    ) -> Result<(), ConnectError> {
        self.partitions
            .retain(|partition, _| !partitions.contains(partition));
        Ok(())
    }

    async fn write(
        &mut self,
        reader: &mut impl Reader,
        partition: &TopicPartition,
        lines: Lines,
    ) -> Result<(), ConnectError> {
        for entry in &lines.entries {
            if self.is_cut_before(partition, entry) {
                self.cut(reader, partition).await?;
            }
            self.take_in(partition, entry, lines.line(entry))?;
            if self.is_cut_after(partition) {
                self.cut(reader, partition).await?;
            }
        }
        Ok(())
    }

    async fn tick(&mut self, reader: &mut impl Reader) -> Result<(), ConnectError> {
        for partition in self.due(reader, Instant::now()) {
            self.cut(reader, &partition).await?;
        }
        while let Some(partition) = self.too_large() {
            self.cut(reader, &partition).await?;
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        let since = self
            .partitions
            .values()
            .filter_map(|collected| collected.since)
            .min();
        since.map(|since| since + self.spec.rotate.max_age)
    }

    /// What is collected is read again by the next start; small objects at each stop help nobody.
    async fn close(&mut self, _reader: &mut impl Reader) -> Result<(), ConnectError> {
        Ok(())
    }
}

fn note(start: i64, end: i64) -> String {
    json!({"v": 1, "cuts": [{"s": start, "e": end}]}).to_string()
}

/// The end of the cut that was noted with a commit.
fn noted_end(committed: &Committed) -> Option<i64> {
    let value: Value = serde_json::from_str(&committed.metadata).ok()?;
    value.get("cuts")?.get(0)?.get("e")?.as_i64()
}

/// Folders that one partition writes to at once.
const MAX_FOLDERS: usize = 64;
/// Bytes of all objects that are being built.
const MAX_MEMORY: usize = 256 << 20;
