//! A crash in the middle of a single step.

use moldau_log::{Log, LogStart, RecoveryObserver, SimStorage};
use moldau_protocol::records::producer_snapshot::{ProducerEntry, ProducerSnapshot};

use crate::batches::{
    DIRECTORY, batch, fill, new_log, offsets, open_with, read_all, small_segments,
};

#[test]
fn a_crash_leaves_a_prefix_of_what_was_written() {
    for seed in 0..300 {
        let storage = SimStorage::new();
        let mut log = new_log(&storage);
        fill(&mut log, 6);
        log.sync_handle().sync().unwrap();
        log.append(&(6..30).map(batch).collect::<Vec<_>>()).unwrap();
        storage.crash(seed);
        let start = LogStart {
            recovery_point: 6,
            ..LogStart::default()
        };
        let (mut log, _) = open_with(&storage, small_segments(), &start).unwrap();
        let end = log.log_end_offset();
        assert!((6..=30).contains(&end), "seed {seed}");
        assert_eq!(
            offsets(&read_all(&log.snapshot(), 0, 400)),
            (0..end).collect::<Vec<_>>()
        );
        fill(&mut log, 40);
        assert_eq!(
            offsets(&read_all(&log.snapshot(), 0, 400)),
            (0..40).collect::<Vec<_>>()
        );
    }
}

#[test]
fn what_recovery_kept_is_durable() {
    for seed in 0..100 {
        let storage = SimStorage::new();
        let mut log = new_log(&storage);
        fill(&mut log, 25);
        log.sync_handle().sync().unwrap();
        fill(&mut log, 33);
        storage.kill();
        let (log, _) = open_with(&storage, small_segments(), &LogStart::default()).unwrap();
        assert_eq!((log.log_end_offset(), log.durable_offset()), (33, 33));
        storage.crash(seed);
        let start = LogStart {
            recovery_point: 33,
            ..LogStart::default()
        };
        assert_eq!(
            open_with(&storage, small_segments(), &start)
                .unwrap()
                .0
                .log_end_offset(),
            33
        );
    }
}

#[test]
fn a_crash_during_retention_leaves_a_log_without_gaps() {
    for seed in 0..100 {
        let storage = SimStorage::new();
        let mut log = new_log(&storage);
        fill(&mut log, 33);
        log.sync_handle().sync().unwrap();
        log.advance_log_start(21).unwrap();
        log.apply_retention(0, 33).unwrap();
        storage.crash(seed);
        let start = LogStart {
            recovery_point: 33,
            ..LogStart::default()
        };
        let (log, _) = open_with(&storage, small_segments(), &start).unwrap();
        let first = log.log_start_offset();
        assert!(first <= 20 && first % 5 == 0);
        assert_eq!(
            offsets(&read_all(&log.snapshot(), first, 400)),
            (first..33).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_producer_snapshot_above_a_torn_end_never_comes_back() {
    struct Told(Vec<i64>);
    impl RecoveryObserver for Told {
        fn producer_snapshot(&mut self, _offset: i64, snapshot: &ProducerSnapshot) {
            let producers = snapshot.producer_entries.iter();
            self.0.extend(producers.map(|entry| entry.producer_id));
        }
    }
    for seed in 0..300 {
        let storage = SimStorage::new();
        let mut log = new_log(&storage);
        fill(&mut log, 1);
        log.sync_handle().sync().unwrap();
        fill(&mut log, 3);
        let snapshot = ProducerSnapshot {
            producer_entries: vec![ProducerEntry {
                producer_id: 9,
                ..Default::default()
            }],
            ..Default::default()
        };
        log.write_producer_snapshot(3, &snapshot).unwrap();
        storage.crash(seed);
        let start = LogStart::default();
        let (mut log, _) = open_with(&storage, small_segments(), &start).unwrap();
        if log.log_end_offset() == 3 {
            continue;
        }
        // Other batches take the place of the lost ones.
        fill(&mut log, 4);
        log.sync_handle().sync().unwrap();
        storage.crash(seed);
        let mut told = Told(Vec::new());
        let opened = Log::open(storage, DIRECTORY, small_segments(), &start, &mut told);
        assert_eq!(opened.unwrap().0.log_end_offset(), 4);
        assert_eq!(told.0, [0_i64; 0], "seed {seed}");
    }
}

#[test]
fn the_observer_is_told_of_batches_below_the_log_start_that_are_still_there() {
    struct Told(usize);
    impl RecoveryObserver for Told {
        fn batch(&mut self, _header: &moldau_protocol::batch::BatchHeader) {
            self.0 += 1;
        }
    }
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 4);
    storage.kill();
    let start = LogStart {
        log_start_offset: 3,
        ..LogStart::default()
    };
    let mut told = Told(0);
    let opened = Log::open(storage, DIRECTORY, small_segments(), &start, &mut told);
    assert_eq!((opened.unwrap().0.log_start_offset(), told.0), (3, 4));
}
