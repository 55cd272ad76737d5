//! Look-ups by timestamp.

use moldau_log::{AppendBatch, LogConfig, LogStart, SimStorage, TimestampOffset};
use moldau_protocol::batch::{Compression, RecordBatch, RecordBatchBuilder, TimestampType};

use crate::batches::{Spec, open_with, small_segments};

fn found(timestamp: i64, offset: i64) -> Option<TimestampOffset> {
    Some(TimestampOffset {
        timestamp,
        offset,
        leader_epoch: 7,
    })
}

/// Batches of three records whose timestamps are given, in small segments.
fn log_of(batches: &[[i64; 3]], compression: Compression) -> moldau_log::Log<SimStorage> {
    let (mut log, _) =
        open_with(&SimStorage::new(), small_segments(), &LogStart::default()).unwrap();
    for timestamps in batches {
        let mut builder = RecordBatchBuilder::new(compression)
            .base_offset(log.log_end_offset())
            .leader_epoch(7);
        for timestamp in timestamps {
            builder.append(*timestamp, None, Some(&[b'x'; 80]), &[]);
        }
        log.append(&[AppendBatch::new(
            &RecordBatch::parse(builder.build()).unwrap(),
        )])
        .unwrap();
    }
    log
}

#[test]
fn a_timestamp_gives_the_first_record_at_or_after_it() {
    for compression in [Compression::None, Compression::Lz4] {
        let log = log_of(
            &[[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120]],
            compression,
        );
        let look_up = |timestamp| {
            log.snapshot()
                .offset_for_timestamp(timestamp, i64::MAX)
                .unwrap()
        };
        assert_eq!(look_up(0), found(10, 0));
        assert_eq!(look_up(20), found(20, 1));
        assert_eq!(look_up(21), found(30, 2));
        assert_eq!(look_up(31), found(40, 3));
        assert_eq!(look_up(120), found(120, 11));
        assert_eq!(look_up(121), None);
    }
}

#[test]
fn out_of_order_timestamps_are_found_as_a_scan_would() {
    let batches: Vec<[i64; 3]> = (0..60)
        .map(|i| [(i * 37) % 101, (i * 53) % 97, (i * 11) % 89])
        .collect();
    let log = log_of(&batches, Compression::None);
    assert!(log.segment_count() > 5);
    let all: Vec<i64> = batches.concat();
    for start in [0, 50, 120] {
        let mut log = log_of(&batches, Compression::None);
        log.advance_log_start(start).unwrap();
        for timestamp in -1..=101 {
            let skip = usize::try_from(start).unwrap();
            let expected = all
                .iter()
                .enumerate()
                .skip(skip)
                .find(|(_, at)| **at >= timestamp);
            let expected =
                expected.and_then(|(offset, at)| found(*at, i64::try_from(offset).unwrap()));
            assert_eq!(
                log.snapshot()
                    .offset_for_timestamp(timestamp, i64::MAX)
                    .unwrap(),
                expected
            );
        }
    }
}

#[test]
fn a_record_at_or_above_the_bound_is_not_found() {
    let log = log_of(&[[10, 20, 30], [40, 50, 60]], Compression::None);
    let below = |up_to| log.snapshot().offset_for_timestamp(50, up_to).unwrap();
    assert_eq!(below(4), None);
    assert_eq!(below(5), found(50, 4));
    assert_eq!(below(0), None);
}

#[test]
fn the_largest_timestamp_gives_its_first_record() {
    let log = log_of(
        &[[10, 90, 30], [40, 50, 90], [70, 80, 20]],
        Compression::Zstd,
    );
    assert_eq!(
        log.snapshot().offset_of_max_timestamp().unwrap(),
        found(90, 1)
    );
    assert_eq!(
        log_of(&[], Compression::None)
            .snapshot()
            .offset_of_max_timestamp()
            .unwrap(),
        None
    );
}

#[test]
fn records_below_the_log_start_offset_do_not_count() {
    let mut log = log_of(&[[10, 90, 30], [40, 50, 60]], Compression::None);
    log.advance_log_start(2).unwrap();
    assert_eq!(
        log.snapshot().offset_of_max_timestamp().unwrap(),
        found(60, 5)
    );
    assert_eq!(
        log.snapshot().offset_for_timestamp(0, i64::MAX).unwrap(),
        found(30, 2)
    );
}

#[test]
fn the_time_of_append_counts_for_the_whole_batch() {
    let (mut log, _) = open_with(
        &SimStorage::new(),
        LogConfig::default(),
        &LogStart::default(),
    )
    .unwrap();
    let builder = RecordBatchBuilder::new(Compression::None).leader_epoch(7);
    let mut builder = builder
        .timestamp_type(TimestampType::LogAppendTime)
        .log_append_time(500);
    builder.append(10, None, Some(b"a"), &[]);
    builder.append(20, None, Some(b"b"), &[]);
    log.append(&[AppendBatch::new(
        &RecordBatch::parse(builder.build()).unwrap(),
    )])
    .unwrap();
    assert_eq!(
        log.snapshot().offset_for_timestamp(15, i64::MAX).unwrap(),
        found(500, 0)
    );
    assert_eq!(
        log.snapshot().offset_of_max_timestamp().unwrap(),
        found(500, 0)
    );
}

#[test]
fn timestamps_are_found_after_a_restart_of_either_kind() {
    for clean in [true, false] {
        let storage = SimStorage::new();
        let (mut log, _) = open_with(&storage, small_segments(), &LogStart::default()).unwrap();
        for index in 0..40 {
            let spec = Spec {
                base_offset: 2 * index,
                records: 2,
                timestamp: 10 * index,
                leader_epoch: 7,
                ..Spec::default()
            };
            log.append(&[spec.append()]).unwrap();
        }
        if clean {
            log.close().unwrap();
        }
        storage.kill();
        let start = LogStart {
            clean_shutdown: clean,
            ..LogStart::default()
        };
        let (log, _) = open_with(&storage, small_segments(), &start).unwrap();
        for index in 0..40 {
            let look_up = log
                .snapshot()
                .offset_for_timestamp(10 * index - 5, i64::MAX)
                .unwrap();
            assert_eq!(look_up, found(10 * index, 2 * index));
        }
    }
}
