//! What compaction keeps, as a reader sees it.

use std::collections::BTreeMap;

use moldau_log::{
    Cleanable, CleanableRequest, Compaction, CompactionError, CompactionProgress,
    CompactionRequest, LastRecord, Log, LogConfig, LogStart, Pace, SimStorage, Stopped,
};
use moldau_protocol::batch::{Compression, RecordBatch, RecordBatchBuilder};

use crate::batches::{open_with, read_all};

/// One record of a test: key, and value or `None` for a tombstone.
pub(crate) type Pair<'a> = (&'a str, Option<&'a str>);

pub(crate) const NOW: i64 = 1_000_000;

/// Settings with which one batch fills a segment, whatever it holds.
pub(crate) fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 100_000,
        index_interval_bytes: 100,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    }
}

pub(crate) fn keyed(base_offset: i64, timestamp: i64, records: &[Pair<'_>]) -> RecordBatchBuilder {
    let mut builder = RecordBatchBuilder::new(Compression::None)
        .base_offset(base_offset)
        .leader_epoch(0);
    for (key, value) in records {
        builder.append(
            timestamp,
            Some(key.as_bytes()),
            value.map(str::as_bytes),
            &[],
        );
    }
    builder
}

pub(crate) fn append(log: &mut Log<SimStorage>, bytes: bytes::Bytes) {
    let batch = RecordBatch::parse(bytes).unwrap();
    log.append(&[moldau_log::AppendBatch::new(&batch)]).unwrap();
}

/// A log in which each of these batches fills a segment; the active one is empty.
pub(crate) fn log_of(storage: &SimStorage, segments: &[&[Pair<'_>]]) -> Log<SimStorage> {
    let mut log = open_with(storage, config(), &LogStart::default())
        .unwrap()
        .0;
    for records in segments {
        let batch = keyed(log.log_end_offset(), NOW, records);
        append(&mut log, batch.build());
        log.roll().unwrap();
    }
    log.sync_handle().sync().unwrap();
    log
}

pub(crate) fn request_all(first_dirty_offset: i64, now_ms: i64) -> CleanableRequest {
    CleanableRequest {
        first_dirty_offset,
        up_to_offset: i64::MAX,
        min_lag_ms: 0,
        max_lag_ms: i64::MAX,
        now_ms,
    }
}

pub(crate) fn compaction_request(cleanable: Cleanable, now_ms: i64) -> CompactionRequest {
    CompactionRequest {
        cleanable,
        config: config(),
        delete_retention_ms: DELETE_RETENTION_MS,
        map_bytes: 1 << 20,
        last_records: BTreeMap::new(),
        now_ms,
    }
}

/// Compacts all that can be; returns where the clean section ends then.
pub(crate) fn compact(log: &mut Log<SimStorage>, first_dirty: i64, now_ms: i64) -> i64 {
    let cleanable = log
        .reader()
        .cleanable(&request_all(first_dirty, now_ms))
        .unwrap();
    compact_with(log, compaction_request(cleanable, now_ms))
        .unwrap()
        .0
}

pub(crate) fn compact_with(
    log: &mut Log<SimStorage>,
    request: CompactionRequest,
) -> Result<(i64, CompactionProgress), CompactionError> {
    let now_ms = request.now_ms;
    let mut compaction = Compaction::begin(log.reader(), request, &mut ())?;
    while let Some(cleaned) = compaction.next_segment(&mut ())? {
        assert!(log.replace_segments(cleaned, now_ms)?);
    }
    log.remove_deleted(now_ms)?;
    Ok((compaction.end_offset(), compaction.progress()))
}

/// Offset, key and value of every record.
pub(crate) fn content(log: &Log<SimStorage>) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let snapshot = log.snapshot();
    let batches = read_all(&snapshot, snapshot.log_start_offset(), 10_000);
    let records = batches.iter().flat_map(|batch| batch.records().unwrap());
    records
        .map(|record| record.unwrap())
        .map(|record| {
            (
                record.offset,
                text(record.key.unwrap()),
                record.value.map(text),
            )
        })
        .collect()
}

fn offsets(log: &Log<SimStorage>) -> Vec<i64> {
    content(log)
        .into_iter()
        .map(|(offset, ..)| offset)
        .collect()
}

fn headers(log: &Log<SimStorage>) -> Vec<RecordBatch> {
    read_all(&log.snapshot(), log.log_start_offset(), 10_000)
}

const DELETE_RETENTION_MS: i64 = 1_000;

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    let storage = SimStorage::new();
    let mut log = log_of(
        &storage,
        &[
            &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))],
            &[("c", Some("1")), ("a", Some("3"))],
        ],
    );
    assert_eq!(compact(&mut log, 0, NOW), 5);
    let expected = [(1, "b", "1"), (3, "c", "1"), (4, "a", "3")];
    let expected = expected.map(|(at, key, value)| (at, key.to_owned(), Some(value.to_owned())));
    assert_eq!(content(&log), expected);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (0, 5));
    assert_eq!(log.segment_count(), 2, "two small segments become one");
}

#[test]
fn the_active_segment_is_never_touched_nor_what_is_not_committed() {
    let storage = SimStorage::new();
    let mut log = log_of(&storage, &[&[("a", Some("1"))], &[("a", Some("2"))]]);
    append(&mut log, keyed(2, NOW, &[("a", Some("3"))]).build());
    log.sync_handle().sync().unwrap();
    let uncommitted = CleanableRequest {
        up_to_offset: 1,
        ..request_all(0, NOW)
    };
    let cleanable = log.reader().cleanable(&uncommitted).unwrap();
    assert_eq!(cleanable.first_uncleanable_offset, 1);
    compact_with(&mut log, compaction_request(cleanable, NOW)).unwrap();
    assert_eq!(offsets(&log), [0, 1, 2]);
    assert_eq!(compact(&mut log, 0, NOW), 2);
    assert_eq!(
        offsets(&log),
        [1, 2],
        "the record in the active segment is not known yet"
    );
}

#[test]
fn what_is_not_on_the_disk_is_not_touched() {
    let storage = SimStorage::new();
    let mut log = log_of(&storage, &[&[("a", Some("1"))]]);
    append(&mut log, keyed(1, NOW, &[("a", Some("2"))]).build());
    log.roll().unwrap();
    let cleanable = log.reader().cleanable(&request_all(0, NOW)).unwrap();
    assert_eq!(cleanable.first_uncleanable_offset, 1);
    log.sync_handle().sync().unwrap();
    let cleanable = log.reader().cleanable(&request_all(0, NOW)).unwrap();
    assert_eq!(cleanable.first_uncleanable_offset, 2);
}

#[test]
fn a_tombstone_stays_until_its_time_is_over() {
    let storage = SimStorage::new();
    let mut log = log_of(
        &storage,
        &[&[("a", Some("1")), ("b", Some("1"))], &[("a", None)]],
    );
    let end = compact(&mut log, 0, NOW);
    assert_eq!(offsets(&log), [1, 2]);
    let marked = headers(&log);
    let horizon = marked[1].header().delete_horizon();
    assert_eq!(horizon, Some(NOW + DELETE_RETENTION_MS));
    assert_eq!(
        marked[1]
            .records()
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .timestamp,
        NOW
    );
    compact(&mut log, end, NOW + DELETE_RETENTION_MS - 1);
    assert_eq!(
        offsets(&log),
        [1, 2],
        "a second compaction does not put the time off"
    );
    compact(&mut log, end, NOW + DELETE_RETENTION_MS);
    assert_eq!(offsets(&log), [1]);
    assert_eq!(log.log_end_offset(), 3);
}

#[test]
fn a_tombstone_that_was_overwritten_goes_at_once() {
    let storage = SimStorage::new();
    let mut log = log_of(
        &storage,
        &[&[("a", Some("1")), ("a", None), ("a", Some("2"))]],
    );
    compact(&mut log, 0, NOW);
    assert_eq!(offsets(&log), [2]);
}

#[test]
fn batches_keep_their_offsets_codec_and_timestamps() {
    for codec in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let storage = SimStorage::new();
        let mut log = open_with(&storage, config(), &LogStart::default())
            .unwrap()
            .0;
        let mut builder = RecordBatchBuilder::new(codec).leader_epoch(7);
        for (index, key) in ["a", "b", "a", "c", "b"].into_iter().enumerate() {
            builder.append(100 + index as i64, Some(key.as_bytes()), Some(b"v"), &[]);
        }
        append(&mut log, builder.build());
        log.roll().unwrap();
        log.sync_handle().sync().unwrap();
        compact(&mut log, 0, NOW);
        let batches = headers(&log);
        assert_eq!(batches.len(), 1);
        let header = batches[0].header();
        assert_eq!((header.base_offset, header.last_offset()), (0, 4));
        assert_eq!((header.partition_leader_epoch, header.record_count), (7, 3));
        assert_eq!(batches[0].compression().unwrap(), codec);
        let records: Vec<_> = batches[0]
            .records()
            .unwrap()
            .map(|record| record.unwrap())
            .map(|record| (record.offset, record.timestamp))
            .collect();
        assert_eq!(records, [(2, 102), (3, 103), (4, 104)]);
    }
}

#[test]
fn a_batch_that_loses_nothing_keeps_its_bytes() {
    let storage = SimStorage::new();
    let mut log = log_of(
        &storage,
        &[
            &[("a", Some("1")), ("b", Some("1"))],
            &[("c", Some("1")), ("c", Some("2"))],
        ],
    );
    let before = headers(&log);
    compact(&mut log, 0, NOW);
    let after = headers(&log);
    assert_eq!(before[0].bytes(), after[0].bytes());
    assert_ne!(before[1].bytes(), after[1].bytes());
}

#[test]
fn log_append_time_stays_the_time_of_all_records() {
    let storage = SimStorage::new();
    let mut log = open_with(&storage, config(), &LogStart::default())
        .unwrap()
        .0;
    let batch = RecordBatchBuilder::new(Compression::None).log_append_time(5_000);
    let mut batch = batch.leader_epoch(0);
    batch.append(1, Some(b"a"), Some(b"1"), &[]);
    batch.append(2, Some(b"a"), None, &[]);
    append(&mut log, batch.build());
    log.roll().unwrap();
    log.sync_handle().sync().unwrap();
    compact(&mut log, 0, NOW);
    let batches = headers(&log);
    let record = batches[0].records().unwrap().next().unwrap().unwrap();
    assert_eq!((record.offset, record.timestamp), (1, 5_000));
    assert_eq!(batches[0].header().max_timestamp, 5_000);
}

#[test]
fn the_last_batch_of_a_live_producer_stays_without_records() {
    let storage = SimStorage::new();
    let mut log = open_with(&storage, config(), &LogStart::default())
        .unwrap()
        .0;
    for (offset, sequence) in [(0, 0), (1, 1)] {
        let batch = keyed(offset, NOW, &[("a", Some("1"))]).producer(4711, 3, sequence);
        append(&mut log, batch.build());
    }
    append(
        &mut log,
        keyed(2, NOW, &[("a", Some("2")), ("b", Some("1"))]).build(),
    );
    log.roll().unwrap();
    log.sync_handle().sync().unwrap();
    let cleanable = log.reader().cleanable(&request_all(0, NOW)).unwrap();
    let mut request = compaction_request(cleanable, NOW);
    let last = LastRecord {
        offset: Some(1),
        producer_epoch: 3,
    };
    request.last_records.insert(4711, last);
    compact_with(&mut log, request).unwrap();
    let batches = headers(&log);
    let described: Vec<_> = batches
        .iter()
        .map(|batch| {
            (
                batch.base_offset(),
                batch.record_count(),
                batch.last_sequence(),
            )
        })
        .collect();
    assert_eq!(described, [(1, 0, 1), (2, 2, -1)]);
    assert_eq!(batches[0].producer_epoch(), 3);
    compact(&mut log, 0, NOW);
    assert_eq!(
        headers(&log).len(),
        1,
        "once it is not the last one any more, it goes"
    );
}

#[test]
fn records_without_a_key_go() {
    let storage = SimStorage::new();
    let mut log = open_with(&storage, config(), &LogStart::default())
        .unwrap()
        .0;
    let mut batch = keyed(0, NOW, &[("a", Some("1"))]);
    batch.append(NOW, None, Some(b"lost"), &[]);
    append(&mut log, batch.build());
    log.roll().unwrap();
    log.sync_handle().sync().unwrap();
    compact(&mut log, 0, NOW);
    assert_eq!(offsets(&log), [0]);
}

#[test]
fn keys_that_do_not_fit_are_left_for_the_next_compaction() {
    let storage = SimStorage::new();
    let mut log = open_with(&storage, config(), &LogStart::default())
        .unwrap()
        .0;
    let keys: Vec<String> = (0..500).map(|key| format!("key-{key}")).collect();
    for _ in 0..6 {
        for half in keys.chunks(250) {
            let records: Vec<Pair<'_>> = half.iter().map(|key| (key.as_str(), Some("v"))).collect();
            let batch = keyed(log.log_end_offset(), NOW, &records).build();
            append(&mut log, batch);
        }
        log.roll().unwrap();
    }
    // And the keys of the last segment are new.
    let other: Vec<String> = (0..500).map(|key| format!("other-{key}")).collect();
    for half in other.chunks(250) {
        let records: Vec<Pair<'_>> = half.iter().map(|key| (key.as_str(), Some("v"))).collect();
        let batch = keyed(log.log_end_offset(), NOW, &records).build();
        append(&mut log, batch);
    }
    log.roll().unwrap();
    log.sync_handle().sync().unwrap();
    let cleanable = log.reader().cleanable(&request_all(0, NOW)).unwrap();
    let small = |cleanable| CompactionRequest {
        map_bytes: 0, // the least there is: 768 keys
        ..compaction_request(cleanable, NOW)
    };
    let (end, progress) = compact_with(&mut log, small(cleanable)).unwrap();
    assert_eq!((end, progress.keys), (3_250, 768));
    assert_eq!(content(&log).len(), 1_000);
    let cleanable = log.reader().cleanable(&request_all(end, NOW)).unwrap();
    assert_eq!(cleanable.first_dirty_offset, 3_250);
    let (end, _) = compact_with(&mut log, small(cleanable)).unwrap();
    assert_eq!(end, 3_500);
    assert_eq!(content(&log).len(), 1_000);
}

#[test]
fn a_batch_with_more_keys_than_the_map_can_take_is_an_error_that_says_what_to_raise() {
    let storage = SimStorage::new();
    let keys: Vec<String> = (0..1_000).map(|key| format!("key-{key}")).collect();
    let records: Vec<Pair<'_>> = keys.iter().map(|key| (key.as_str(), Some("v"))).collect();
    let mut log = log_of(&storage, &[&records]);
    let cleanable = log.reader().cleanable(&request_all(0, NOW)).unwrap();
    let request = CompactionRequest {
        map_bytes: 0,
        ..compaction_request(cleanable, NOW)
    };
    let error = compact_with(&mut log, request).unwrap_err().to_string();
    assert!(
        error.contains("raise log.cleaner.dedupe.buffer.size"),
        "{error}"
    );
    assert_eq!(content(&log).len(), 1_000);
}

#[test]
fn the_dirty_ratio_counts_segments_behind_the_last_compaction() {
    let storage = SimStorage::new();
    let mut log = log_of(&storage, &[&[("a", Some("1"))], &[("b", Some("1"))]]);
    let cleanable = log.reader().cleanable(&request_all(0, NOW)).unwrap();
    assert_eq!((cleanable.clean_bytes, cleanable.dirty_ratio()), (0, 1.0));
    assert!(cleanable.is_due(0.5));
    let end = compact(&mut log, 0, NOW);
    let cleanable = log.reader().cleanable(&request_all(end, NOW)).unwrap();
    assert_eq!((cleanable.dirty_bytes, cleanable.dirty_ratio()), (0, 0.0));
    assert!(!cleanable.is_due(0.0));
    append(&mut log, keyed(2, NOW, &[("a", Some("2"))]).build());
    log.roll().unwrap();
    log.sync_handle().sync().unwrap();
    let cleanable = log.reader().cleanable(&request_all(end, NOW)).unwrap();
    assert!(
        (0.3..0.4).contains(&cleanable.dirty_ratio()),
        "{cleanable:?}"
    );
    assert!(!cleanable.is_due(0.5));
}

#[test]
fn records_younger_than_the_lag_are_not_touched_and_overdue_ones_make_it_due() {
    let storage = SimStorage::new();
    let mut log = open_with(&storage, config(), &LogStart::default())
        .unwrap()
        .0;
    for (offset, timestamp) in [(0, 1_000), (1, 2_000), (2, 3_000)] {
        append(
            &mut log,
            keyed(offset, timestamp, &[("a", Some("1"))]).build(),
        );
        log.roll().unwrap();
    }
    log.sync_handle().sync().unwrap();
    let with_lag = |min_lag_ms, max_lag_ms| {
        let request = CleanableRequest {
            min_lag_ms,
            max_lag_ms,
            ..request_all(0, 3_500)
        };
        log.reader().cleanable(&request).unwrap()
    };
    assert_eq!(with_lag(0, i64::MAX).first_uncleanable_offset, 3);
    assert_eq!(with_lag(1_500, i64::MAX).first_uncleanable_offset, 2);
    assert_eq!(with_lag(5_000, i64::MAX).first_uncleanable_offset, 0);
    assert_eq!(with_lag(0, 2_000).overdue_ms, 500);
    assert!(with_lag(0, 2_000).is_due(1.0));
    assert_eq!(with_lag(0, 3_000).overdue_ms, 0);
    assert!(!with_lag(0, 3_000).is_due(1.0));
}

#[test]
fn a_first_dirty_offset_outside_the_log_counts_as_the_log_start() {
    let storage = SimStorage::new();
    let log = log_of(&storage, &[&[("a", Some("1")), ("b", Some("1"))]]);
    for outside in [-1, 99] {
        let cleanable = log.reader().cleanable(&request_all(outside, NOW)).unwrap();
        assert_eq!(cleanable.first_dirty_offset, 0);
    }
}

#[test]
fn a_compaction_that_is_stopped_changes_nothing() {
    struct After(usize);
    impl Pace for After {
        fn moved(&mut self, _bytes: usize) -> Result<(), Stopped> {
            self.0 = self.0.checked_sub(1).ok_or(Stopped)?;
            Ok(())
        }
    }
    let storage = SimStorage::new();
    let log = log_of(&storage, &[&[("a", Some("1"))], &[("a", Some("2"))]]);
    let before = crate::batches::file_names(&storage);
    for steps in 0..4 {
        let cleanable = log.reader().cleanable(&request_all(0, NOW)).unwrap();
        let (request, mut pace) = (compaction_request(cleanable, NOW), After(steps));
        let stopped = Compaction::begin(log.reader(), request, &mut pace)
            .and_then(|mut compaction| compaction.next_segment(&mut pace).map(|_| ()));
        assert!(matches!(stopped, Err(CompactionError::Stopped)), "{steps}");
        assert_eq!(crate::batches::file_names(&storage), before);
    }
}

#[test]
fn a_damaged_batch_is_not_spread() {
    let storage = SimStorage::new();
    let log = log_of(&storage, &[&[("a", Some("1"))], &[("a", Some("2"))]]);
    let path = std::path::Path::new(crate::batches::DIRECTORY).join("00000000000000000001.log");
    storage.corrupt(&path, 69, b"x").unwrap();
    let cleanable = log.reader().cleanable(&request_all(0, NOW)).unwrap();
    let refused = Compaction::begin(log.reader(), compaction_request(cleanable, NOW), &mut ());
    assert!(matches!(refused, Err(CompactionError::Log(_))));
}

#[test]
fn look_ups_by_time_still_find_the_record_after_records_went() {
    let storage = SimStorage::new();
    let mut log = open_with(&storage, config(), &LogStart::default())
        .unwrap()
        .0;
    for (offset, timestamp, key) in [
        (0, 1_000, "a"),
        (1, 9_000, "b"),
        (2, 3_000, "c"),
        (3, 4_000, "b"),
    ] {
        append(
            &mut log,
            keyed(offset, timestamp, &[(key, Some("1"))]).build(),
        );
    }
    log.roll().unwrap();
    log.sync_handle().sync().unwrap();
    compact(&mut log, 0, NOW);
    let snapshot = log.snapshot();
    let find = |timestamp| {
        snapshot
            .offset_for_timestamp(timestamp, i64::MAX)
            .unwrap()
            .map(|found| found.offset)
    };
    assert_eq!(
        (find(0), find(1_001), find(3_500), find(4_001)),
        (Some(0), Some(2), Some(3), None)
    );
    assert_eq!(
        snapshot
            .offset_of_max_timestamp()
            .unwrap()
            .map(|found| found.offset),
        Some(3)
    );
}
