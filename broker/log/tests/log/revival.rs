//! A log whose disk refused takes appends again, and nothing is taken for durable that is not.

use std::io::ErrorKind;

use moldau_log::{LogError, LogStart, SimOperation, SimStorage};

use crate::batches::{batch, fill, new_log, offsets, open_with, read_all, small_segments};

fn check(storage: &SimStorage, log: moldau_log::Log<SimStorage>, end_offset: i64) {
    let expected: Vec<i64> = (0..end_offset).collect();
    assert_eq!(offsets(&read_all(&log.snapshot(), 0, 1_000)), expected);
    drop(log);
    storage.crash(1);
    let log = open_with(storage, small_segments(), &LogStart::default())
        .unwrap()
        .0;
    assert_eq!(offsets(&read_all(&log.snapshot(), 0, 1_000)), expected);
}

#[test]
fn a_log_goes_on_after_a_failed_write() {
    for torn in [0, 10, 70, 150] {
        let storage = SimStorage::new();
        let mut log = new_log(&storage);
        fill(&mut log, 12);
        log.sync_handle().sync().unwrap();
        fill(&mut log, 14);
        storage.tear_next_write(torn, ErrorKind::Other);
        assert!(matches!(
            log.append(&[batch(14)]),
            Err(LogError::Failed { .. })
        ));
        let (reader, sync) = (log.reader(), log.sync_handle());
        assert!(sync.has_failed());
        assert!(matches!(
            log.append(&[batch(14)]),
            Err(LogError::Failed { .. })
        ));
        assert!(log.revive(&mut ()).unwrap().is_some());
        assert!(!sync.has_failed());
        assert_eq!((log.log_end_offset(), log.durable_offset()), (14, 14));
        log.append(&[batch(14)]).unwrap();
        assert_eq!(sync.sync().unwrap(), 15, "old handles work");
        assert_eq!(reader.snapshot().log_end_offset(), 15);
        check(&storage, log, 15);
    }
}

#[test]
fn what_a_failed_sync_left_is_written_anew_before_it_counts_as_durable() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 7);
    log.sync_handle().sync().unwrap();
    fill(&mut log, 20);
    storage.fail_next(SimOperation::Sync, ErrorKind::Other);
    assert!(log.sync_handle().sync().is_err());
    assert_eq!(log.durable_offset(), 7);
    log.revive(&mut ()).unwrap();
    assert_eq!(log.durable_offset(), 20);
    check(&storage, log, 20);
}

#[test]
fn a_log_stays_failed_while_the_disk_refuses_and_is_tried_again() {
    use SimOperation::{Create, Rename, Sync, SyncDirectory, Write};
    for operation in [Create, Write, Sync, SyncDirectory, Rename] {
        for passed in 0..4 {
            let storage = SimStorage::new();
            let mut log = new_log(&storage);
            fill(&mut log, 9);
            storage.tear_next_write(0, ErrorKind::Other);
            log.append(&[batch(9)]).unwrap_err();
            storage.fail_after(operation, passed, ErrorKind::Other);
            let context = format!("{operation:?} {passed}");
            if log.revive(&mut ()).is_err() {
                assert!(log.failure().is_some(), "{context}");
                assert_eq!(read_all(&log.snapshot(), 0, 1_000).len(), 9, "{context}");
            }
            storage.clear_faults();
            log.revive(&mut ()).unwrap();
            fill(&mut log, 11);
            log.sync_handle().sync().unwrap();
            check(&storage, log, 11);
        }
    }
}

#[test]
fn a_log_that_did_not_fail_is_left_alone() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 3);
    let renamed = storage.count(SimOperation::Rename);
    assert!(log.revive(&mut ()).unwrap().is_none());
    assert_eq!(storage.count(SimOperation::Rename), renamed);
}
