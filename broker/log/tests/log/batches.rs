//! Batches and logs to test with.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use moldau_log::{
    AppendBatch, Log, LogConfig, LogError, LogSnapshot, LogStart, ReadRequest, RecoveryReport,
    SimStorage, Storage,
};
use moldau_protocol::batch::{BatchIter, Compression, RecordBatch, RecordBatchBuilder};

pub(crate) const DIRECTORY: &str = "/data/orders-0";

/// A batch to be built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub(crate) base_offset: i64,
    pub(crate) records: usize,
    pub(crate) value_size: usize,
    pub(crate) timestamp: i64,
    pub(crate) leader_epoch: i32,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            base_offset: 0,
            records: 1,
            value_size: 100,
            timestamp: 1_000,
            leader_epoch: 0,
        }
    }
}

impl Spec {
    pub(crate) fn build(self) -> RecordBatch {
        let builder = RecordBatchBuilder::new(Compression::None);
        let mut builder = builder
            .base_offset(self.base_offset)
            .leader_epoch(self.leader_epoch);
        let value = vec![b'v'; self.value_size];
        for index in 0..self.records {
            builder.append(
                self.timestamp + index as i64,
                Some(b"key"),
                Some(&value),
                &[],
            );
        }
        RecordBatch::parse(builder.build()).unwrap()
    }

    pub(crate) fn append(self) -> AppendBatch {
        AppendBatch::new(&self.build())
    }
}

/// A batch of one record of about 180 bytes.
pub(crate) fn batch(base_offset: i64) -> AppendBatch {
    Spec {
        base_offset,
        timestamp: 1_000 + base_offset,
        ..Spec::default()
    }
    .append()
}

/// Settings with which a few batches fill a segment.
pub(crate) fn small_segments() -> LogConfig {
    LogConfig {
        segment_bytes: 1_000,
        index_interval_bytes: 300,
        ..LogConfig::default()
    }
}

pub(crate) fn open_with(
    storage: &SimStorage,
    config: LogConfig,
    start: &LogStart,
) -> Result<(Log<SimStorage>, RecoveryReport), LogError> {
    let data = Path::new("/data");
    if storage.list(data).is_err() {
        storage.create_directory(data).unwrap();
        storage.sync_directory(Path::new("/")).unwrap();
    }
    Log::open(storage.clone(), DIRECTORY, config, start, &mut ())
}

/// A new log with small segments.
pub(crate) fn new_log(storage: &SimStorage) -> Log<SimStorage> {
    open_with(storage, small_segments(), &LogStart::default())
        .unwrap()
        .0
}

/// Appends single-record batches until the log ends at `end_offset`, one call each.
pub(crate) fn fill(log: &mut Log<SimStorage>, end_offset: i64) {
    while log.log_end_offset() < end_offset {
        log.append(&[batch(log.log_end_offset())]).unwrap();
    }
}

pub(crate) fn request(offset: i64, max_bytes: usize) -> ReadRequest {
    ReadRequest {
        offset,
        up_to_offset: i64::MAX,
        max_bytes,
        at_least_one: true,
    }
}

/// Everything from `offset` on, read in pieces of at most `max_bytes`.
pub(crate) fn read_all(
    snapshot: &Arc<LogSnapshot<SimStorage>>,
    offset: i64,
    max_bytes: usize,
) -> Vec<RecordBatch> {
    let (mut batches, mut next) = (Vec::new(), offset);
    while let Some(slice) = snapshot.read(&request(next, max_bytes)).unwrap() {
        let read: Vec<_> = whole_batches(slice.read_bytes().unwrap());
        assert_eq!(read[0].base_offset(), slice.base_offset);
        assert!(slice.next_offset > next, "reading goes on");
        assert!(read[read.len() - 1].last_offset() < slice.next_offset);
        next = slice.next_offset;
        batches.extend(read);
    }
    batches
}

/// Takes bytes apart that must be whole, sound batches.
pub(crate) fn whole_batches(bytes: Bytes) -> Vec<RecordBatch> {
    let length = bytes.len();
    let batches: Vec<RecordBatch> = BatchIter::new(bytes).map(|batch| batch.unwrap()).collect();
    assert_eq!(
        batches
            .iter()
            .map(RecordBatch::size_in_bytes)
            .sum::<usize>(),
        length,
        "no torn batch"
    );
    for batch in &batches {
        batch.verify_crc().unwrap();
    }
    batches
}

pub(crate) fn offsets(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().map(RecordBatch::base_offset).collect()
}

/// Names of the files in the log's directory.
pub(crate) fn file_names(storage: &SimStorage) -> Vec<String> {
    storage
        .list(Path::new(DIRECTORY))
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect()
}
