//! How a source goes on exactly where it stopped, though its records and its progress are not
//! written in one piece.
//!
//! The topic `__moldau_connect_offsets` (one partition, compacted) holds, as Kafka Connect's
//! offsets topic does, records with the key `["<connector>",{..part..}]`:
//!
//! ```text
//! ["logs",{"device":1,"inode":7}]  {"position":812,"generation":..,..}    how far a file was read
//! ["logs",{"topic":"logs"}]        {"0":4711}                             the checkpoint
//! ```
//!
//! The checkpoint says: every record of this connector below these offsets of its topic is
//! covered by the positions stored before it. It is always written after them. Each record carries
//! its position in the header `moldau.source`, so what a killed process had written beyond the
//! stored positions is found again by reading the topic from the checkpoint on. Those records
//! are *seen*: when the source, which begins at the stored positions, comes to them, they are
//! left out. A seen record carries a check of its content, too, because a part can change
//! unnoticed while nobody watches.
//!
//! What this cannot see: a record that a dead process had sent, and that a broker in another
//! process appends only after the topic was read. Transactions will close that gap.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use moldau_client::{KString, RecordHeader};
use serde_json::{Map, Value, json};

use super::cluster::{Cluster, OutRecord, Placed, TopicKind, Writer};
use super::error::ConnectError;
use super::source::{OffsetEntry, PositionTag, Stored};

/// The progress of one source connector.
#[derive(Debug)]
pub(crate) struct SourceProgress {
    connector: String,
    topic: String,
    /// Records that were in the topic beyond the stored positions.
    seen: BTreeMap<String, BTreeSet<(u64, u32)>>,
    /// Next offset per partition: as stored, and as it may be stored when nothing is left of `seen`.
    checkpoint: BTreeMap<i32, i64>,
    reached: BTreeMap<i32, i64>,
    /// Acknowledged and not stored yet.
    pending: BTreeMap<String, OffsetEntry>,
}

impl SourceProgress {
    /// Reads what is stored, and what the topic holds beyond it.
    pub(crate) async fn load<C: Cluster>(
        cluster: &C,
        writer: &C::Writer,
        connector: &str,
        topic: &str,
    ) -> Result<(Self, Stored), ConnectError> {
        cluster
            .ensure_topic(OFFSETS_TOPIC, TopicKind::Compacted)
            .await?;
        cluster.ensure_topic(topic, TopicKind::Ordinary).await?;
        let mut entries = read_entries(cluster, connector).await?;
        let ends = cluster.offsets(topic).await?;
        let stored = entries.remove(&checkpoint_key(topic).to_string());
        let first_start = stored.is_none() && entries.is_empty();
        let checkpoint = match stored {
            Some((_, value)) => checkpoint_from(&value),
            // Nothing of ours can be in the topic: the checkpoint is written before all else.
            None => ends
                .iter()
                .map(|(partition, (_, end))| (*partition, *end))
                .collect(),
        };
        let mut progress = Self {
            connector: connector.to_owned(),
            topic: topic.to_owned(),
            seen: BTreeMap::new(),
            reached: ends
                .iter()
                .map(|(partition, (_, end))| (*partition, *end))
                .collect(),
            checkpoint,
            pending: BTreeMap::new(),
        };
        let ranges = ends.into_iter().map(|(partition, (start, end))| {
            let from = progress
                .checkpoint
                .get(&partition)
                .copied()
                .unwrap_or(start);
            // A topic that was deleted and made anew is shorter than the checkpoint.
            let from = if from > end { start } else { from.max(start) };
            (partition, (from, end))
        });
        let ranges = ranges.collect();
        let seen = &mut progress.seen;
        let visit = |record: crate::formats::StoredRecord| {
            if let Some((part, position, check)) = read_header(connector, &record.headers) {
                seen.entry(part).or_default().insert((position, check));
            }
        };
        cluster.read(topic, ranges, visit).await?;
        if first_start {
            progress
                .write(writer, vec![progress.checkpoint_entry()])
                .await?;
        }
        let entries = entries.into_values().collect();
        Ok((
            progress,
            Stored {
                entries,
                first_start,
            },
        ))
    }

    /// Whether the record is in the topic already.
    pub(crate) fn is_seen(&mut self, tag: &PositionTag) -> bool {
        let Some(positions) = self.seen.get_mut(&*tag.part) else {
            return false;
        };
        let found = positions.remove(&(tag.position, tag.check));
        // Positions rise, so what lies below will not come any more.
        if positions
            .last()
            .is_none_or(|(last, _)| *last <= tag.position)
        {
            self.seen.remove(&*tag.part);
        }
        found
    }

    /// The source has come to the end of all there is, so nothing seen will come again.
    pub(crate) fn caught_up(&mut self) {
        self.seen.clear();
    }

    /// The header by which the record is found again.
    pub(crate) fn header(&self, tag: &PositionTag) -> RecordHeader {
        let PositionTag {
            part,
            position,
            check,
        } = tag;
        let value = format!("{}:{part}:{position}:{check:08x}", self.connector);
        RecordHeader {
            key: KString::from(HEADER),
            value: Some(Bytes::from(value)),
        }
    }

    /// Stores entries that must be there before their records.
    pub(crate) async fn store_before(
        &mut self,
        writer: &impl Writer,
        entries: Vec<OffsetEntry>,
    ) -> Result<(), ConnectError> {
        for entry in &entries {
            self.pending.remove(&entry.key.to_string());
        }
        self.write(writer, entries).await
    }

    /// Notes that records were acknowledged.
    pub(crate) fn acknowledged(&mut self, placed: &[Placed], entries: Vec<OffsetEntry>) {
        for place in placed {
            if let Some(offset) = place.offset {
                let reached = self.reached.entry(place.partition).or_insert(0);
                *reached = (*reached).max(offset + 1);
            }
        }
        self.pending.extend(
            entries
                .into_iter()
                .map(|entry| (entry.key.to_string(), entry)),
        );
    }

    /// Stores what is pending.
    pub(crate) async fn flush(&mut self, writer: &impl Writer) -> Result<(), ConnectError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let entries = std::mem::take(&mut self.pending).into_values().collect();
        self.write(writer, entries).await?;
        if self.seen.is_empty() && self.checkpoint != self.reached {
            self.checkpoint.clone_from(&self.reached);
            self.write(writer, vec![self.checkpoint_entry()]).await?;
        }
        Ok(())
    }

    fn checkpoint_entry(&self) -> OffsetEntry {
        let partitions: Map<String, Value> = self
            .checkpoint
            .iter()
            .map(|(partition, offset)| (partition.to_string(), Value::from(*offset)))
            .collect();
        OffsetEntry {
            key: checkpoint_key(&self.topic),
            value: Some(Value::Object(partitions)),
        }
    }

    async fn write(
        &self,
        writer: &impl Writer,
        entries: Vec<OffsetEntry>,
    ) -> Result<(), ConnectError> {
        if entries.is_empty() {
            return Ok(());
        }
        let record = |entry: OffsetEntry| OutRecord {
            topic: OFFSETS_TOPIC.to_owned(),
            key: Some(Bytes::from(json!([self.connector, entry.key]).to_string())),
            value: entry.value.map(|value| Bytes::from(value.to_string())),
            ..OutRecord::default()
        };
        for result in writer
            .write(entries.into_iter().map(record).collect())
            .await
        {
            result?;
        }
        Ok(())
    }
}

/// The entries of a connector by the text of their key.
async fn read_entries<C: Cluster>(
    cluster: &C,
    connector: &str,
) -> Result<BTreeMap<String, (Value, Value)>, ConnectError> {
    let mut entries = BTreeMap::new();
    let ranges = cluster.offsets(OFFSETS_TOPIC).await?;
    let visit = |record: crate::formats::StoredRecord| {
        let key = record
            .key
            .as_ref()
            .and_then(|key| serde_json::from_slice::<Value>(key).ok());
        let Some(Value::Array(pair)) = key else {
            return;
        };
        let [name, part] = pair.as_slice() else {
            return;
        };
        if name != connector {
            return;
        }
        let value = record
            .value
            .as_ref()
            .and_then(|value| serde_json::from_slice(value).ok());
        match value {
            Some(value) => entries.insert(part.to_string(), (part.clone(), value)),
            None => entries.remove(&part.to_string()),
        };
    };
    cluster.read(OFFSETS_TOPIC, ranges, visit).await?;
    Ok(entries)
}

fn read_header(connector: &str, headers: &[RecordHeader]) -> Option<(String, u64, u32)> {
    let header = headers.iter().rev().find(|header| &*header.key == HEADER)?;
    let text = std::str::from_utf8(header.value.as_ref()?).ok()?;
    let rest = text.strip_prefix(connector)?.strip_prefix(':')?;
    let mut pieces = rest.split(':');
    let part = pieces.next()?.to_owned();
    let position = pieces.next()?.parse().ok()?;
    let check = u32::from_str_radix(pieces.next()?, 16).ok()?;
    Some((part, position, check))
}

fn checkpoint_key(topic: &str) -> Value {
    json!({"topic": topic})
}

fn checkpoint_from(value: &Value) -> BTreeMap<i32, i64> {
    let pairs = value.as_object().into_iter().flatten();
    pairs
        .filter_map(|(partition, offset)| Some((partition.parse().ok()?, offset.as_i64()?)))
        .collect()
}

pub(crate) const OFFSETS_TOPIC: &str = "__moldau_connect_offsets";
const HEADER: &str = "moldau.source";
