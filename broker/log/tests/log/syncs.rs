//! Group commit.

use std::sync::atomic::{AtomicBool, Ordering};

use moldau_log::{LogConfig, LogStart, SimOperation, SimStorage};

use crate::batches::{batch, fill, new_log, offsets, open_with, read_all, small_segments};

#[test]
fn a_sync_covers_all_that_was_appended_before() {
    let storage = SimStorage::new();
    let (mut log, _) = open_with(&storage, LogConfig::default(), &LogStart::default()).unwrap();
    let handle = log.sync_handle();
    fill(&mut log, 5);
    assert_eq!((handle.durable_offset(), handle.log_end_offset()), (0, 5));
    assert_eq!(handle.sync().unwrap(), 5);
    assert_eq!(log.durable_offset(), 5);
    fill(&mut log, 7);
    let before = storage.count(SimOperation::Sync);
    assert_eq!(handle.sync().unwrap(), 7);
    assert_eq!(
        storage.count(SimOperation::Sync) - before,
        1,
        "one file, one sync"
    );
}

#[test]
fn a_sync_without_anything_to_do_does_nothing() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 5);
    let handle = log.sync_handle();
    handle.sync().unwrap();
    let before = storage.count(SimOperation::Sync);
    assert_eq!(handle.sync().unwrap(), 5);
    assert_eq!(storage.count(SimOperation::Sync), before);
}

#[test]
fn what_was_synced_survives_every_crash_with_rolled_segments_and_new_directories() {
    for seed in 0..50 {
        let storage = SimStorage::new();
        let mut log = new_log(&storage);
        fill(&mut log, 23);
        assert!(log.segment_count() > 3);
        log.sync_handle().sync().unwrap();
        fill(&mut log, 31);
        storage.crash(seed);
        let start = LogStart {
            recovery_point: 23,
            ..LogStart::default()
        };
        let (log, report) = open_with(&storage, small_segments(), &start).unwrap();
        let end = log.log_end_offset();
        assert!((23..=31).contains(&end), "seed {seed}: {end}");
        assert_eq!(
            offsets(&read_all(&log.snapshot(), 0, 1_000)),
            (0..end).collect::<Vec<_>>()
        );
        assert!(
            report.scanned_segments < log.segment_count(),
            "only what lies behind the recovery point is scanned"
        );
    }
}

#[test]
fn syncs_and_appends_go_on_at_the_same_time() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    let handle = log.sync_handle();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let syncs: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(Ordering::Acquire) {
                        let durable = handle.sync().unwrap();
                        assert!(durable >= last);
                        last = durable;
                    }
                })
            })
            .collect();
        fill(&mut log, 1_000);
        done.store(true, Ordering::Release);
        syncs.into_iter().for_each(|sync| sync.join().unwrap());
    });
    assert_eq!(handle.sync().unwrap(), 1_000);
    storage.crash(7);
    let start = LogStart {
        recovery_point: 1_000,
        ..LogStart::default()
    };
    assert_eq!(
        open_with(&storage, small_segments(), &start)
            .unwrap()
            .0
            .log_end_offset(),
        1_000
    );
}

#[test]
fn a_sync_after_a_truncation_covers_the_new_end_only() {
    let mut log = new_log(&SimStorage::new());
    fill(&mut log, 20);
    let handle = log.sync_handle();
    handle.sync().unwrap();
    log.truncate_to(12).unwrap();
    assert_eq!(log.durable_offset(), 12);
    log.append(&[batch(12)]).unwrap();
    assert_eq!(handle.durable_offset(), 12);
    assert_eq!(handle.sync().unwrap(), 13);
}

#[test]
fn a_handle_outlives_its_log() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 3);
    let handle = log.sync_handle();
    log.destroy().unwrap();
    assert_eq!(handle.sync().unwrap(), 0);
}
