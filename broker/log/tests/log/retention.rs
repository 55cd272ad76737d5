//! Deletion by time, by size and below the log start offset.

use moldau_log::{Log, LogConfig, LogError, LogStart, Retention, SimStorage};
use moldau_protocol::records::producer_snapshot::ProducerSnapshot;

use crate::batches::{
    batch, file_names, fill, new_log, offsets, open_with, read_all, request, small_segments,
};

/// Record number n has the timestamp 1,000 + n, and each segment has five.
fn log_with(config: LogConfig) -> (SimStorage, Log<SimStorage>) {
    let storage = SimStorage::new();
    let (mut log, _) = open_with(&storage, config, &LogStart::default()).unwrap();
    fill(&mut log, 23);
    assert_eq!(log.segment_count(), 5);
    (storage, log)
}

fn content(log: &Log<SimStorage>) -> Vec<i64> {
    offsets(&read_all(&log.snapshot(), log.log_start_offset(), 1_000))
}

#[test]
fn segments_whose_youngest_record_is_too_old_are_deleted() {
    let (_, mut log) = log_with(LogConfig {
        retention_ms: 100,
        ..small_segments()
    });
    assert_eq!(log.apply_retention(1_104, 23).unwrap().deleted_segments, 0);
    let retention = log.apply_retention(1_105, 23).unwrap();
    assert_eq!(
        (retention.deleted_segments, retention.log_start_offset),
        (1, 5)
    );
    assert_eq!(log.apply_retention(1_109, 23).unwrap().deleted_segments, 0);
    assert_eq!(log.apply_retention(1_110, 23).unwrap().deleted_segments, 1);
    assert_eq!(content(&log), (10..23).collect::<Vec<_>>());
}

#[test]
fn the_active_segment_goes_as_well_when_all_is_too_old() {
    let (storage, mut log) = log_with(LogConfig {
        retention_ms: 100,
        ..small_segments()
    });
    let bytes = log.size_in_bytes();
    let retention = log.apply_retention(100_000, 23).unwrap();
    let expected = Retention {
        deleted_segments: 5,
        deleted_bytes: bytes,
        log_start_offset: 23,
        rolled_at: Some(23),
    };
    assert_eq!(retention, expected);
    assert_eq!((log.size_in_bytes(), log.segment_count()), (0, 1));
    assert_eq!(
        log.apply_retention(200_000, 23).unwrap().deleted_segments,
        0,
        "an empty segment stays"
    );
    fill(&mut log, 25);
    storage.kill();
    let (log, _) = open_with(&storage, small_segments(), &LogStart::default()).unwrap();
    assert_eq!((log.log_start_offset(), content(&log)), (23, vec![23, 24]));
}

#[test]
fn the_oldest_segments_beyond_the_size_are_deleted() {
    let segment = log_with(small_segments()).1.size_in_bytes() / 23 * 5;
    let (_, mut log) = log_with(LogConfig {
        retention_bytes: i64::try_from(2 * segment).unwrap(),
        ..small_segments()
    });
    let retention = log.apply_retention(1_000, 23).unwrap();
    assert_eq!(
        (retention.deleted_segments, retention.log_start_offset),
        (2, 10),
        "what is kept is not below the size"
    );
}

#[test]
fn nothing_at_or_above_the_high_watermark_is_deleted() {
    let (_, mut log) = log_with(LogConfig {
        retention_ms: 0,
        ..small_segments()
    });
    assert_eq!(
        log.apply_retention(100_000, 14).unwrap().deleted_segments,
        2
    );
    assert_eq!(content(&log), (10..23).collect::<Vec<_>>());
}

#[test]
fn without_limits_nothing_is_deleted() {
    let (_, mut log) = log_with(LogConfig {
        retention_ms: -1,
        retention_bytes: -1,
        ..small_segments()
    });
    assert_eq!(
        log.apply_retention(i64::MAX, 23).unwrap().deleted_segments,
        0
    );
}

#[test]
fn records_from_the_future_are_kept() {
    let (_, mut log) = log_with(LogConfig {
        retention_ms: 100,
        ..small_segments()
    });
    assert_eq!(log.apply_retention(0, 23).unwrap().deleted_segments, 0);
}

#[test]
fn segments_below_the_log_start_offset_are_deleted() {
    let (_, mut log) = log_with(LogConfig {
        retention_ms: -1,
        ..small_segments()
    });
    log.advance_log_start(12).unwrap();
    assert!(matches!(
        log.snapshot().read(&request(11, 10)),
        Err(LogError::OffsetOutOfRange { .. })
    ));
    assert_eq!(content(&log)[0], 12);
    assert_eq!(log.apply_retention(0, 23).unwrap().deleted_segments, 2);
    assert_eq!(log.log_start_offset(), 12);
    assert!(matches!(
        log.advance_log_start(24),
        Err(LogError::OffsetOutOfRange { offset: 24, .. })
    ));
    log.advance_log_start(3).unwrap();
    assert_eq!(
        log.log_start_offset(),
        12,
        "the log start offset never falls"
    );
}

#[test]
fn deleted_files_are_removed_after_a_delay() {
    let (storage, mut log) = log_with(LogConfig {
        retention_ms: 100,
        file_delete_delay_ms: 50,
        ..small_segments()
    });
    log.apply_retention(1_105, 23).unwrap();
    let deleted = |storage: &SimStorage| {
        file_names(storage)
            .iter()
            .filter(|name| name.ends_with(".deleted"))
            .count()
    };
    assert_eq!(deleted(&storage), 3, "log and two indexes");
    assert_eq!(log.remove_deleted(1_154).unwrap(), 0);
    assert_eq!(log.remove_deleted(1_155).unwrap(), 3);
    assert_eq!(deleted(&storage), 0);
}

#[test]
fn a_reader_with_an_older_snapshot_learns_that_the_offset_is_gone() {
    let (storage, mut log) = log_with(LogConfig {
        retention_ms: 100,
        ..small_segments()
    });
    log.write_producer_snapshot(23, &ProducerSnapshot::default())
        .unwrap();
    log.close().unwrap();
    let start = LogStart {
        clean_shutdown: true,
        ..LogStart::default()
    };
    let config = LogConfig {
        retention_ms: 100,
        ..small_segments()
    };
    (log, _) = open_with(&storage, config, &start).unwrap();
    let old = log.snapshot();
    log.apply_retention(1_105, 23).unwrap();
    assert!(matches!(
        old.read(&request(0, 100)),
        Err(LogError::OffsetOutOfRange { offset: 0, .. })
    ));
    assert_eq!(
        old.offset_for_timestamp(0, i64::MAX)
            .unwrap()
            .unwrap()
            .offset,
        5
    );
}

#[test]
fn a_slice_that_was_found_before_the_deletion_can_still_be_read() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 8);
    let slice = log.snapshot().read(&request(0, 10_000)).unwrap().unwrap();
    log.advance_log_start(6).unwrap();
    log.apply_retention(0, 8).unwrap();
    log.remove_deleted(i64::MAX).unwrap();
    assert_eq!(slice.read_bytes().unwrap().len(), slice.length);
    log.append(&[batch(8)]).unwrap();
}
