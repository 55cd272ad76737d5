//! A crash in the middle of a single step.

use moldau_log::{LogStart, SimStorage};

use crate::batches::{batch, fill, new_log, offsets, open_with, read_all, small_segments};

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
