//! Kafka's own metadata log (KRaft), read when a data directory of Kafka is opened.
//!
//! ```text
//! __cluster_metadata-0/
//!   quorum-state                                    only Kafka has it
//!   00000000000000000042-0000000003.checkpoint      snapshot of all records below offset 42
//!   00000000000000000000.log                        record batches
//!
//! record value | varint frame version | varint kind | varint version | fields
//! ```
//!
//! Only what a broker without replicas needs is taken: topics, settings, leader epochs and the next
//! free producer id. Records of other kinds are skipped.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use moldau_protocol::batch::BatchIter;
use moldau_protocol::{DecodeError, Decoder, KString, Uuid};
use tracing::warn;

/// What Kafka's metadata log says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KraftImage {
    /// Names of topics by id.
    pub(super) topics: BTreeMap<Uuid, KString>,
    /// Leader epochs by topic id and partition.
    pub(super) leader_epochs: BTreeMap<(Uuid, i32), i32>,
    /// Values by resource type, resource name and setting.
    pub(super) configs: BTreeMap<(i8, KString, KString), KString>,
    /// The first producer id that was not given out; zero if none was.
    pub(super) next_producer_id: i64,
}

/// Whether the directory holds Kafka's metadata log, and not ours.
pub(super) fn is_kraft(directory: &Path) -> bool {
    directory.join("quorum-state").exists()
}

impl KraftImage {
    /// Reads the newest snapshot and the log after it.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn read(directory: &Path) -> io::Result<Self> {
        let mut image = Self::default();
        let (snapshots, logs) = files(directory)?;
        let mut end_offset = 0;
        if let Some((offset, path)) = snapshots.last_key_value() {
            image.apply_file(path, 0)?;
            end_offset = *offset;
        }
        for path in logs.values() {
            image.apply_file(path, end_offset)?;
        }
        Ok(image)
    }

    /// Applies the batches at or above `from`. What follows a damaged batch is not read: Kafka would
    /// cut it off as well.
    fn apply_file(&mut self, path: &Path, from: i64) -> io::Result<()> {
        let bytes = std::fs::read(path)?;
        for batch in BatchIter::new(bytes.into()) {
            let batch = batch.and_then(|batch| batch.verify_crc().map(|()| batch));
            let Ok(batch) = batch else {
                warn!(file = %path.display(), "the rest of a metadata file is damaged");
                return Ok(());
            };
            let Some(records) = batch.records().ok().filter(|_| !batch.is_control()) else {
                continue;
            };
            for record in records
                .map_while(Result::ok)
                .filter(|record| record.offset >= from)
            {
                let value = record.value.unwrap_or_default();
                if let Err(error) = self.apply(&mut Decoder::new(value)) {
                    warn!(file = %path.display(), offset = record.offset, %error, "skipping a metadata record");
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, input: &mut Decoder) -> Result<(), DecodeError> {
        let _frame_version = input.unsigned_varint()?;
        let kind = input.unsigned_varint()?;
        let _version = input.unsigned_varint()?;
        match kind {
            TOPIC => {
                let name = input.string(true)?;
                self.topics.insert(input.uuid()?, name);
            }
            REMOVE_TOPIC => self.remove_topic(input.uuid()?),
            PARTITION => self.apply_partition(input)?,
            PARTITION_CHANGE => self.apply_partition_change(input)?,
            CONFIG => self.apply_config(input)?,
            PRODUCER_IDS => {
                let _broker = (input.i32()?, input.i64()?);
                self.next_producer_id = self.next_producer_id.max(input.i64()?);
            }
            _ => {}
        }
        Ok(())
    }

    fn apply_partition(&mut self, input: &mut Decoder) -> Result<(), DecodeError> {
        let partition = input.i32()?;
        let topic = input.uuid()?;
        for _ in ["replicas", "isr", "removing", "adding"] {
            input.nullable_array(true, 4, Decoder::i32)?;
        }
        let _leader = input.i32()?;
        self.leader_epochs.insert((topic, partition), input.i32()?);
        Ok(())
    }

    /// Each new leader raises the epoch by one.
    fn apply_partition_change(&mut self, input: &mut Decoder) -> Result<(), DecodeError> {
        let partition = input.i32()?;
        let topic = input.uuid()?;
        let changed = input.unknown_tags(true)?;
        if changed.iter().any(|field| field.tag == LEADER_TAG) {
            *self.leader_epochs.entry((topic, partition)).or_default() += 1;
        }
        Ok(())
    }

    fn apply_config(&mut self, input: &mut Decoder) -> Result<(), DecodeError> {
        let resource_type = input.i8()?;
        let key = (resource_type, input.string(true)?, input.string(true)?);
        match input.nullable_string(true)? {
            Some(value) => drop(self.configs.insert(key, value)),
            None => drop(self.configs.remove(&key)),
        }
        Ok(())
    }

    fn remove_topic(&mut self, id: Uuid) {
        let name = self.topics.remove(&id);
        self.leader_epochs.retain(|(topic, _), _| *topic != id);
        self.configs.retain(|(resource_type, resource, _), _| {
            *resource_type != TOPIC_RESOURCE || Some(resource) != name.as_ref()
        });
    }
}

/// Snapshots by their end offset, and segments by their base offset.
type Files = (BTreeMap<i64, PathBuf>, BTreeMap<i64, PathBuf>);

fn files(directory: &Path) -> io::Result<Files> {
    let (mut snapshots, mut logs) = Files::default();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some((stem, extension)) = name.and_then(|name| name.rsplit_once('.')) else {
            continue;
        };
        let offset = stem
            .split('-')
            .next()
            .and_then(|digits| digits.parse().ok());
        match (offset, extension) {
            (Some(offset), "checkpoint") => drop(snapshots.insert(offset, path)),
            (Some(offset), "log") => drop(logs.insert(offset, path)),
            _ => {}
        }
    }
    Ok((snapshots, logs))
}

/// The number of topics among resources with settings.
pub(super) const TOPIC_RESOURCE: i8 = 2;

const TOPIC: u32 = 2;
const PARTITION: u32 = 3;
const CONFIG: u32 = 4;
const PARTITION_CHANGE: u32 = 5;
const REMOVE_TOPIC: u32 = 9;
const PRODUCER_IDS: u32 = 15;
/// The tagged field of a partition change that names the new leader.
const LEADER_TAG: u32 = 1;

#[cfg(test)]
mod tests {
    use moldau_protocol::batch::{Compression, RecordBatchBuilder};

    use super::*;

    const ORDERS: Uuid = Uuid([7; 16]);

    fn string(text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len() + 1).expect("short");
        [&[length], text.as_bytes()].concat()
    }

    fn topic(name: &str, id: Uuid) -> Vec<u8> {
        [&[1, 2, 0], string(name).as_slice(), &id.0, &[0]].concat()
    }

    fn config(name: &str, value: &str) -> Vec<u8> {
        let fields = [string("orders"), string(name), string(value)].concat();
        [&[1, 4, 0, 2], fields.as_slice(), &[0]].concat()
    }

    /// Partition 0 of `ORDERS`, led by node 1 in epoch 5.
    fn partition() -> Vec<u8> {
        let one = [2, 0, 0, 0, 1];
        let replicas = [&one[..], &one, &[1], &[1]].concat();
        let rest = [0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0];
        [&[1, 3, 0, 0, 0, 0, 0], &ORDERS.0[..], &replicas, &rest].concat()
    }

    /// Partition 0 of `ORDERS` gets a leader.
    fn new_leader() -> Vec<u8> {
        let tags = [1, 1, 4, 0, 0, 0, 1];
        [&[1, 5, 0, 0, 0, 0, 0], &ORDERS.0[..], &tags].concat()
    }

    fn write(path: PathBuf, base_offset: i64, records: &[Vec<u8>]) {
        let mut batch = RecordBatchBuilder::new(Compression::None).base_offset(base_offset);
        for record in records {
            batch.append(1, None, Some(record), &[]);
        }
        std::fs::write(path, batch.build()).expect("write");
    }

    #[test]
    fn the_newest_snapshot_and_the_log_behind_it_are_read() {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = |name: &str| dir.path().join(name);
        let old = [topic("gone", Uuid([1; 16]))];
        write(file("00000000000000000001-0000000001.checkpoint"), 0, &old);
        let snapshot = [
            topic("orders", ORDERS),
            partition(),
            config("retention.ms", "1"),
        ];
        write(
            file("00000000000000000005-0000000002.checkpoint"),
            0,
            &snapshot,
        );
        let log = [
            config("retention.ms", "never seen: the snapshot covers it"),
            config("retention.ms", "7"),
            new_leader(),
            vec![
                1, 15, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0x03, 0xe8, 0,
            ],
            vec![1, 99, 0, 1, 2, 3],
        ];
        write(file("00000000000000000000.log"), 4, &log);
        let image = KraftImage::read(dir.path()).expect("read");
        let key = (TOPIC_RESOURCE, "orders".into(), "retention.ms".into());
        let expected = KraftImage {
            topics: BTreeMap::from([(ORDERS, "orders".into())]),
            leader_epochs: BTreeMap::from([((ORDERS, 0), 6)]),
            configs: BTreeMap::from([(key, "7".into())]),
            next_producer_id: 1_000,
        };
        assert_eq!(image, expected);
    }

    #[test]
    fn a_damaged_file_ends_where_it_is_damaged() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("00000000000000000000.log");
        write(path.clone(), 0, &[topic("orders", ORDERS)]);
        let mut bytes = std::fs::read(&path).expect("read");
        for length in 0..bytes.len() {
            std::fs::write(&path, &bytes[..length]).expect("write");
            let image = KraftImage::read(dir.path()).expect("read");
            assert_eq!(image, KraftImage::default());
        }
        bytes[80] ^= 1;
        std::fs::write(&path, &bytes).expect("write");
        let image = KraftImage::read(dir.path()).expect("read");
        assert_eq!(image, KraftImage::default());
    }
}
