//! A disk that is full, or refuses.

use std::io::ErrorKind;

use moldau_log::{Log, LogConfig, LogError, LogStart, SimOperation, SimStorage};

use crate::batches::{batch, fill, new_log, offsets, open_with, read_all, small_segments};

fn content(log: &Log<SimStorage>) -> Vec<i64> {
    offsets(&read_all(&log.snapshot(), log.log_start_offset(), 1_000))
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_room_again() {
    let storage = SimStorage::new();
    let (mut log, _) = open_with(&storage, LogConfig::default(), &LogStart::default()).unwrap();
    fill(&mut log, 4);
    for room in [0, 1, 60, 61, 100, 177, 200, 300] {
        storage.set_capacity(Some(storage.used() + room));
        let error = log.append(&[batch(4), batch(5)]).unwrap_err();
        assert!(matches!(error, LogError::DiskFull { .. }), "{error}");
        assert!(
            error
                .to_string()
                .starts_with("no space left to append to /data/orders-0/00000000000000000000.log")
        );
        assert_eq!((log.log_end_offset(), content(&log)), (4, vec![0, 1, 2, 3]));
        assert!(log.failure().is_none());
    }
    storage.set_capacity(None);
    log.append(&[batch(4), batch(5)]).unwrap();
    log.sync_handle().sync().unwrap();
    storage.crash(0);
    let (log, report) = open_with(&storage, LogConfig::default(), &LogStart::default()).unwrap();
    assert_eq!(
        (content(&log), report.truncation),
        (vec![0, 1, 2, 3, 4, 5], None)
    );
}

#[test]
fn an_append_over_several_segments_is_taken_back_as_a_whole() {
    for room in (0..2_500).step_by(37) {
        let storage = SimStorage::new();
        let mut log = new_log(&storage);
        fill(&mut log, 3);
        let batches: Vec<_> = (3..20).map(batch).collect();
        storage.set_capacity(Some(storage.used() + room));
        let error = log.append(&batches).unwrap_err();
        assert!(matches!(error, LogError::DiskFull { .. }), "{error}");
        assert_eq!(
            (log.log_end_offset(), content(&log)),
            (3, vec![0, 1, 2]),
            "room {room}"
        );
        storage.set_capacity(None);
        log.append(&batches).unwrap();
        assert_eq!(content(&log), (0..20).collect::<Vec<_>>());
        log.sync_handle().sync().unwrap();
        storage.crash(room);
        let (log, _) = open_with(&storage, small_segments(), &LogStart::default()).unwrap();
        assert_eq!(content(&log), (0..20).collect::<Vec<_>>());
    }
}

#[test]
fn a_failed_write_stops_appends_but_not_reads() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 3);
    storage.tear_next_write(50, ErrorKind::Other);
    let error = log.append(&[batch(3)]).unwrap_err();
    assert!(matches!(error, LogError::Failed { .. }));
    assert!(
        error
            .to_string()
            .starts_with("log /data/orders-0 takes no appends since an earlier error: append to")
    );
    assert!(matches!(
        log.append(&[batch(3)]),
        Err(LogError::Failed { .. })
    ));
    assert!(matches!(log.roll(), Err(LogError::Failed { .. })));
    assert!(log.failure().is_some());
    assert_eq!(content(&log), [0, 1, 2]);
}

#[test]
fn a_failed_sync_stops_appends_but_not_reads() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 3);
    let handle = log.sync_handle();
    storage.fail_next(SimOperation::Sync, ErrorKind::Other);
    assert!(matches!(handle.sync(), Err(LogError::Failed { .. })));
    assert!(
        matches!(handle.sync(), Err(LogError::Failed { .. })),
        "a later sync would hide the loss"
    );
    assert_eq!(handle.durable_offset(), 0);
    assert!(matches!(
        log.append(&[batch(3)]),
        Err(LogError::Failed { .. })
    ));
    assert_eq!(content(&log), [0, 1, 2]);
}

#[test]
fn a_write_that_cannot_be_taken_back_fails_the_log() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 3);
    storage.tear_next_write(50, ErrorKind::StorageFull);
    storage.fail_next(SimOperation::SetSize, ErrorKind::Other);
    assert!(matches!(
        log.append(&[batch(3)]),
        Err(LogError::Failed { .. })
    ));
}

#[test]
fn a_segment_that_cannot_be_created_leaves_the_log_as_it_was() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 5);
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        storage.fail_next(SimOperation::Create, kind);
        log.append(&[batch(5), batch(6)]).unwrap_err();
        assert_eq!(content(&log), [0, 1, 2, 3, 4]);
    }
    log.append(&[batch(5), batch(6)]).unwrap();
    assert_eq!(content(&log), [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_checkpoint_without_room_is_tried_again() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 3);
    storage.set_capacity(Some(storage.used()));
    let handle = log.sync_handle();
    assert!(matches!(handle.sync(), Err(LogError::DiskFull { .. })));
    assert!(log.failure().is_none());
    storage.set_capacity(None);
    assert_eq!(handle.sync().unwrap(), 3);
}

#[test]
fn a_log_whose_creation_failed_at_first_is_durable_after_its_first_sync() {
    for calls in 0..6 {
        for seed in 0..20 {
            let storage = SimStorage::new();
            let start = LogStart {
                clean_shutdown: true,
                topic_id: Some(moldau_protocol::Uuid([7; 16])),
                ..LogStart::default()
            };
            storage.fail_after(SimOperation::Create, calls, ErrorKind::StorageFull);
            let first = open_with(&storage, small_segments(), &start).is_ok();
            storage.clear_faults();
            let (mut log, _) = open_with(&storage, small_segments(), &start).unwrap();
            fill(&mut log, 2);
            assert_eq!(log.sync_handle().sync().unwrap(), 2);
            storage.crash(seed);
            let start = LogStart {
                clean_shutdown: false,
                ..start
            };
            let (log, _) = open_with(&storage, small_segments(), &start).unwrap();
            let end = log.log_end_offset();
            assert_eq!(
                end, 2,
                "{calls} calls, seed {seed}, opened at first: {first}"
            );
        }
    }
}
