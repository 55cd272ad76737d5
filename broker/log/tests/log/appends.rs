//! Appending and rolling.

use std::path::Path;

use moldau_log::{AppendedAt, LogConfig, LogError, LogStart, SimOperation, SimStorage, Storage};

use crate::batches::{
    Spec, batch, file_names, fill, new_log, offsets, open_with, read_all, small_segments,
};

#[test]
fn many_batches_go_to_the_file_in_one_write() {
    let storage = SimStorage::new();
    let (mut log, _) = open_with(&storage, LogConfig::default(), &LogStart::default()).unwrap();
    let before = storage.count(SimOperation::Write);
    let batches: Vec<_> = (0..100).map(batch).collect();
    let appended = log.append(&batches).unwrap();
    assert_eq!(storage.count(SimOperation::Write) - before, 1);
    assert_eq!(
        appended,
        AppendedAt {
            first_offset: 0,
            next_offset: 100,
            bytes: log.size_in_bytes(),
            rolled_at: vec![]
        }
    );
    assert_eq!(
        offsets(&read_all(&log.snapshot(), 0, 1_000)),
        (0..100).collect::<Vec<_>>()
    );
}

#[test]
fn a_segment_is_rolled_before_it_grows_past_its_size() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    let size = batch(0).payload.len() as i64 + 61;
    let per_segment = 1_000 / size;
    let batches: Vec<_> = (0..20).map(batch).collect();
    let appended = log.append(&batches).unwrap();
    let expected: Vec<i64> = (1..)
        .map(|segment| segment * per_segment)
        .take_while(|base| *base < 20)
        .collect();
    assert_eq!(appended.rolled_at, expected);
    assert_eq!(log.segment_count(), expected.len() + 1);
    assert_eq!(
        offsets(&read_all(&log.snapshot(), 0, 700)),
        (0..20).collect::<Vec<_>>()
    );
    assert_eq!(
        offsets(&read_all(&log.snapshot(), 7, 1)),
        (7..20).collect::<Vec<_>>()
    );
}

#[test]
fn a_segment_is_rolled_when_a_record_is_much_younger_than_its_first_batch() {
    let config = LogConfig {
        segment_ms: 60_000,
        ..LogConfig::default()
    };
    let (mut log, _) = open_with(&SimStorage::new(), config, &LogStart::default()).unwrap();
    let at = |base_offset, timestamp| {
        Spec {
            base_offset,
            timestamp,
            ..Spec::default()
        }
        .append()
    };
    let appended = log
        .append(&[at(0, 0), at(1, 60_000), at(2, 60_001), at(3, 90_000)])
        .unwrap();
    assert_eq!(appended.rolled_at, [2]);
    assert!(!log.will_roll(100, 120_001));
    assert!(log.will_roll(100, 120_002));
}

#[test]
fn a_segment_is_rolled_when_an_index_is_full() {
    let config = LogConfig {
        segment_index_bytes: 48,
        index_interval_bytes: 0,
        ..LogConfig::default()
    };
    let (mut log, _) = open_with(&SimStorage::new(), config, &LogStart::default()).unwrap();
    fill(&mut log, 10);
    assert!(log.segment_count() > 1);
    assert_eq!(
        offsets(&read_all(&log.snapshot(), 0, 10_000)),
        (0..10).collect::<Vec<_>>()
    );
}

#[test]
fn a_segment_is_rolled_before_its_offsets_leave_31_bits() {
    let storage = SimStorage::new();
    let (mut log, _) = open_with(&storage, LogConfig::default(), &LogStart::default()).unwrap();
    let far = i64::from(i32::MAX) + 3;
    log.append(&[batch(5)]).unwrap();
    let appended = log.append(&[batch(far)]).unwrap();
    assert_eq!(appended.rolled_at, [6]);
    let appended = log.append(&[batch(3 * far)]).unwrap();
    assert_eq!(
        appended.rolled_at,
        [3 * far],
        "too far from the log end offset as well"
    );
    assert_eq!(
        offsets(&read_all(&log.snapshot(), 0, 100)),
        [5, far, 3 * far]
    );
    drop(log);
    storage.kill();
    let (log, report) = open_with(&storage, LogConfig::default(), &LogStart::default()).unwrap();
    assert_eq!(report.truncation, None);
    assert_eq!(log.log_end_offset(), 3 * far + 1);
}

#[test]
fn an_empty_segment_that_is_too_far_away_is_replaced() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    let far = i64::from(i32::MAX) * 5;
    assert_eq!(log.append(&[batch(far)]).unwrap().rolled_at, [far]);
    assert_eq!(log.segment_count(), 1);
    assert_eq!(file_names(&storage), [format!("{far:020}.log")]);
    assert_eq!(offsets(&read_all(&log.snapshot(), 0, 100)), [far]);
}

#[test]
fn batches_that_do_not_fit_the_log_are_refused_and_change_nothing() {
    let mut log = new_log(&SimStorage::new());
    fill(&mut log, 3);
    let mut cut = batch(3);
    cut.payload.truncate(10);
    for (batches, reason) in [
        (
            vec![batch(2)],
            "batch at offset 2 cannot be appended: the log already ends at 3",
        ),
        (
            vec![batch(3), batch(3)],
            "batch at offset 3 cannot be appended: the log already ends at 4",
        ),
        (
            vec![cut],
            "batch at offset 3 cannot be appended: its header says 173 bytes, it has 71",
        ),
    ] {
        let error = log.append(&batches).unwrap_err();
        assert!(matches!(error, LogError::InvalidBatch { .. }));
        assert_eq!(error.to_string(), reason);
    }
    assert_eq!(log.log_end_offset(), 3);
    log.append(&[batch(3)]).unwrap();
}

#[test]
fn rolling_an_empty_segment_changes_nothing() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    log.roll().unwrap();
    assert_eq!(log.segment_count(), 1);
    fill(&mut log, 1);
    log.roll().unwrap();
    log.roll().unwrap();
    assert_eq!(log.segment_count(), 2);
}

#[test]
fn a_closed_log_opens_without_a_scan() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 20);
    log.close().unwrap();
    storage.crash(1);
    let start = LogStart {
        clean_shutdown: true,
        ..LogStart::default()
    };
    let (mut log, report) = open_with(&storage, small_segments(), &start).unwrap();
    assert_eq!((report.scanned_segments, report.rebuilt_indexes), (0, 0));
    assert_eq!((log.log_end_offset(), log.durable_offset()), (20, 20));
    fill(&mut log, 30);
    assert_eq!(
        offsets(&read_all(&log.snapshot(), 0, 500)),
        (0..30).collect::<Vec<_>>()
    );
}

#[test]
fn closing_a_log_that_did_not_change_costs_nothing() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 20);
    assert!(!log.is_as_closed());
    log.close().unwrap();
    let start = LogStart {
        clean_shutdown: true,
        ..LogStart::default()
    };
    let count = |operation| storage.count(operation);
    for _ in 0..2 {
        let (log, _) = open_with(&storage, small_segments(), &start).unwrap();
        assert!(log.is_as_closed());
        let before = [SimOperation::Sync, SimOperation::Write].map(count);
        log.close().unwrap();
        assert_eq!([SimOperation::Sync, SimOperation::Write].map(count), before);
    }
    let (mut log, _) = open_with(&storage, small_segments(), &start).unwrap();
    fill(&mut log, 21);
    assert!(!log.is_as_closed());
    log.close().unwrap();
    storage.crash(1);
    let (log, report) = open_with(&storage, small_segments(), &start).unwrap();
    assert_eq!(report.rebuilt_indexes, 0);
    assert_eq!(
        offsets(&read_all(&log.snapshot(), 0, 500)),
        (0..21).collect::<Vec<_>>()
    );
}

#[test]
fn opening_a_new_log_is_cheap() {
    let storage = SimStorage::new();
    storage.create_directory(Path::new("/data")).unwrap();
    let (log, _) = open_with(&storage, LogConfig::default(), &LogStart::default()).unwrap();
    assert_eq!(
        storage.count(SimOperation::Sync) + storage.count(SimOperation::SyncDirectory),
        0
    );
    assert_eq!(file_names(&storage), ["00000000000000000000.log"]);
    assert_eq!(log.size_in_bytes(), 0);
}
