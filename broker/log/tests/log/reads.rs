//! Reading whole batches from a snapshot.

use moldau_log::{LogConfig, LogError, LogStart, ReadRequest, SimStorage};

use crate::batches::{Spec, batch, fill, new_log, offsets, open_with, request, whole_batches};

fn read(log: &moldau_log::Log<SimStorage>, request: ReadRequest) -> Option<(Vec<i64>, i64)> {
    let slice = log.snapshot().read(&request).unwrap()?;
    Some((
        offsets(&whole_batches(slice.read_bytes().unwrap())),
        slice.next_offset,
    ))
}

/// Ten batches of three records each in one segment.
fn ten_batches() -> moldau_log::Log<SimStorage> {
    let config = LogConfig {
        index_interval_bytes: 1_000,
        ..LogConfig::default()
    };
    let (mut log, _) = open_with(&SimStorage::new(), config, &LogStart::default()).unwrap();
    for index in 0..10 {
        log.append(&[Spec {
            base_offset: 3 * index,
            records: 3,
            ..Spec::default()
        }
        .append()])
            .unwrap();
    }
    log
}

#[test]
fn an_offset_inside_a_batch_gives_the_whole_batch() {
    let log = ten_batches();
    for offset in 12..15 {
        assert_eq!(read(&log, request(offset, 1)), Some((vec![12], 15)));
    }
}

#[test]
fn a_slice_ends_with_the_last_batch_that_fits() {
    let log = ten_batches();
    let size = usize::try_from(log.size_in_bytes()).unwrap() / 10;
    for count in 1..=10 {
        let expected: Vec<i64> = (0..count).map(|index| 3 * index).collect();
        let bytes = size * expected.len();
        assert_eq!(
            read(&log, request(0, bytes)),
            Some((expected.clone(), 3 * count))
        );
        assert_eq!(
            read(&log, request(0, bytes + size - 1)),
            Some((expected, 3 * count))
        );
    }
}

#[test]
fn a_slice_ends_below_the_bound() {
    let log = ten_batches();
    let up_to = |up_to_offset| {
        read(
            &log,
            ReadRequest {
                up_to_offset,
                ..request(3, 1 << 20)
            },
        )
    };
    assert_eq!(up_to(3), None);
    assert_eq!(up_to(5), None, "the batch is not complete below the bound");
    assert_eq!(up_to(6), Some((vec![3], 6)));
    assert_eq!(up_to(29), Some((vec![3, 6, 9, 12, 15, 18, 21, 24], 27)));
    assert_eq!(up_to(30), Some((vec![3, 6, 9, 12, 15, 18, 21, 24, 27], 30)));
}

#[test]
fn every_bound_and_size_gives_the_batches_that_fit_both() {
    let log = ten_batches();
    let size = usize::try_from(log.size_in_bytes()).unwrap() / 10;
    for offset in 0..30 {
        for up_to_offset in offset..=30 {
            for max_bytes in [1, size, 3 * size, 5 * size + 1, 100 * size] {
                let first = offset / 3;
                let fit = i64::try_from((max_bytes / size).max(1)).unwrap();
                let expected: Vec<i64> = (first..(first + fit).min(up_to_offset / 3))
                    .map(|index| 3 * index)
                    .collect();
                let found = read(
                    &log,
                    ReadRequest {
                        up_to_offset,
                        ..request(offset, max_bytes)
                    },
                );
                assert_eq!(found.map(|found| found.0).unwrap_or_default(), expected);
            }
        }
    }
}

#[test]
fn a_batch_that_is_too_large_comes_only_if_at_least_one_must() {
    let log = ten_batches();
    assert_eq!(
        read(
            &log,
            ReadRequest {
                at_least_one: false,
                ..request(0, 100)
            }
        ),
        None
    );
    assert_eq!(read(&log, request(0, 100)), Some((vec![0], 3)));
}

#[test]
fn nothing_is_there_to_read_at_the_log_end_offset() {
    assert_eq!(read(&ten_batches(), request(30, 100)), None);
}

#[test]
fn offsets_outside_the_log_are_errors() {
    let mut log = ten_batches();
    log.advance_log_start(9).unwrap();
    for offset in [-1, 0, 8, 31] {
        let error = log.snapshot().read(&request(offset, 100)).unwrap_err();
        assert!(matches!(
            error,
            LogError::OffsetOutOfRange {
                log_start_offset: 9,
                log_end_offset: 30,
                ..
            }
        ));
    }
    let error = log.snapshot().read(&request(8, 100)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "offset 8 is outside the log, which holds 9 to 30 (exclusive)"
    );
}

#[test]
fn a_snapshot_does_not_change_while_the_log_goes_on() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 4);
    let reader = log.reader();
    let old = reader.snapshot();
    fill(&mut log, 40);
    assert_eq!(old.log_end_offset(), 4);
    assert_eq!(read_old(&old), [0, 1, 2, 3]);
    assert_eq!(reader.snapshot().log_end_offset(), 40);
}

fn read_old(snapshot: &std::sync::Arc<moldau_log::LogSnapshot<SimStorage>>) -> Vec<i64> {
    offsets(&crate::batches::read_all(snapshot, 0, 1 << 20))
}

#[test]
fn offsets_that_compaction_removed_are_skipped() {
    let mut log = new_log(&SimStorage::new());
    for base_offset in [0, 10, 20, 1000, 1010, 5000] {
        log.append(&[batch(base_offset)]).unwrap();
    }
    assert_eq!(read(&log, request(5, 1)), Some((vec![10], 11)));
    assert_eq!(read(&log, request(21, 1)).unwrap().0, [1000]);
    assert_eq!(read(&log, request(1500, 1)).unwrap().0, [5000]);
}

#[test]
fn readers_on_other_threads_see_only_whole_batches() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    let reader = log.reader();
    std::thread::scope(|scope| {
        let check = scope.spawn(move || {
            loop {
                let snapshot = reader.snapshot();
                let end = snapshot.log_end_offset();
                let found = offsets(&crate::batches::read_all(&snapshot, (end - 40).max(0), 600));
                assert_eq!(found, ((end - 40).max(0)..end).collect::<Vec<_>>());
                if end == 2_000 {
                    break;
                }
            }
        });
        fill(&mut log, 2_000);
        check.join().unwrap();
    });
}
