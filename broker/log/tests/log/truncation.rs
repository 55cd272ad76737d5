//! Truncation, as followers need it.

use moldau_log::{LogStart, SimStorage};

use crate::batches::{Spec, fill, new_log, offsets, open_with, read_all, small_segments};

#[test]
fn every_offset_can_be_truncated_to_and_written_on_from() {
    for offset in 0..=20 {
        for clean in [true, false] {
            let storage = SimStorage::new();
            let mut log = new_log(&storage);
            fill(&mut log, 20);
            log.truncate_to(offset).unwrap();
            assert_eq!(log.log_end_offset(), offset);
            assert_eq!(
                offsets(&read_all(&log.snapshot(), 0, 500)),
                (0..offset).collect::<Vec<_>>()
            );
            fill(&mut log, 25);
            if clean {
                log.close().unwrap();
            }
            storage.kill();
            let start = LogStart {
                clean_shutdown: clean,
                ..LogStart::default()
            };
            let (log, report) = open_with(&storage, small_segments(), &start).unwrap();
            assert_eq!(report.truncation, None);
            assert_eq!(
                offsets(&read_all(&log.snapshot(), 0, 500)),
                (0..25).collect::<Vec<_>>()
            );
            for timestamp in 1_000..1_025 {
                let found = log
                    .snapshot()
                    .offset_for_timestamp(timestamp, i64::MAX)
                    .unwrap()
                    .unwrap();
                assert_eq!(found.offset, timestamp - 1_000);
            }
        }
    }
}

#[test]
fn a_batch_goes_as_a_whole() {
    let mut log = new_log(&SimStorage::new());
    log.append(&[Spec {
        records: 5,
        ..Spec::default()
    }
    .append()])
        .unwrap();
    log.append(&[Spec {
        base_offset: 5,
        records: 5,
        ..Spec::default()
    }
    .append()])
        .unwrap();
    log.truncate_to(7).unwrap();
    assert_eq!(log.log_end_offset(), 5);
}

#[test]
fn truncation_to_the_end_or_beyond_changes_nothing() {
    let mut log = new_log(&SimStorage::new());
    fill(&mut log, 10);
    log.truncate_to(10).unwrap();
    log.truncate_to(100).unwrap();
    assert_eq!(log.log_end_offset(), 10);
}

#[test]
fn truncation_below_the_first_segment_empties_the_log() {
    let storage = SimStorage::new();
    let start = LogStart {
        log_start_offset: 50,
        ..LogStart::default()
    };
    let (mut log, _) = open_with(&storage, small_segments(), &start).unwrap();
    fill(&mut log, 60);
    log.truncate_to(20).unwrap();
    assert_eq!(
        (
            log.log_start_offset(),
            log.log_end_offset(),
            log.segment_count()
        ),
        (20, 20, 1)
    );
    fill(&mut log, 30);
    assert_eq!(
        offsets(&read_all(&log.snapshot(), 20, 500)),
        (20..30).collect::<Vec<_>>()
    );
}

#[test]
fn a_truncation_survives_every_crash() {
    for seed in 0..30 {
        let storage = SimStorage::new();
        let mut log = new_log(&storage);
        fill(&mut log, 20);
        log.sync_handle().sync().unwrap();
        log.truncate_to(8).unwrap();
        storage.crash(seed);
        let start = LogStart {
            recovery_point: 8,
            ..LogStart::default()
        };
        let (log, report) = open_with(&storage, small_segments(), &start).unwrap();
        assert_eq!((log.log_end_offset(), report.truncation), (8, None));
    }
}

#[test]
fn a_reset_log_begins_anew() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 20);
    log.reset_to(100).unwrap();
    assert_eq!(
        (
            log.log_start_offset(),
            log.log_end_offset(),
            log.durable_offset()
        ),
        (100, 100, 100)
    );
    fill(&mut log, 110);
    storage.kill();
    let (log, _) = open_with(&storage, small_segments(), &LogStart::default()).unwrap();
    assert_eq!(
        offsets(&read_all(&log.snapshot(), 100, 500)),
        (100..110).collect::<Vec<_>>()
    );
}
