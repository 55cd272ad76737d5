//! Compacted segments take the place of others while readers go on, and whatever fails.

use std::io::ErrorKind;

use moldau_log::{Compaction, Log, LogStart, SimOperation, SimStorage};

use crate::batches::{file_names, open_with, read_all};
use crate::compaction::{
    NOW, append, compact, compaction_request, config, content, keyed, log_of, request_all,
};

fn two_segments(storage: &SimStorage) -> Log<SimStorage> {
    log_of(
        storage,
        &[
            &[("a", Some("1")), ("b", Some("1"))],
            &[("a", Some("2"))],
            &[("c", Some("1"))],
        ],
    )
}

fn offsets(log: &Log<SimStorage>) -> Vec<i64> {
    content(log)
        .into_iter()
        .map(|(offset, ..)| offset)
        .collect()
}

#[test]
fn a_reader_goes_on_with_the_files_it_knew() {
    let storage = SimStorage::new();
    let mut log = two_segments(&storage);
    let before = log.snapshot();
    let expected = read_all(&before, 0, 1);
    // Opened anew, so that no file is open yet.
    log.close().unwrap();
    let start = LogStart {
        clean_shutdown: true,
        ..LogStart::default()
    };
    log = open_with(&storage, config(), &start).unwrap().0;
    let before = log.snapshot();
    compact(&mut log, 0, NOW);
    assert_eq!(read_all(&before, 0, 1), expected);
    assert_eq!(offsets(&log), [1, 2, 3]);
    let found = before.offset_for_timestamp(NOW, i64::MAX).unwrap().unwrap();
    assert_eq!(found.offset, 0);
}

#[test]
fn old_files_stay_for_a_while_and_go_then() {
    let storage = SimStorage::new();
    let mut log = two_segments(&storage);
    let mut delayed = config();
    delayed.file_delete_delay_ms = 500;
    log.set_config(delayed);
    compact(&mut log, 0, NOW);
    assert!(file_names(&storage).contains(&"00000000000000000002.log.deleted".to_owned()));
    log.remove_deleted(NOW + 500).unwrap();
    let expected = [
        "00000000000000000000.index",
        "00000000000000000000.log",
        "00000000000000000000.timeindex",
        "00000000000000000004.log",
        "leader-epoch-checkpoint",
    ];
    assert_eq!(file_names(&storage), expected);
}

#[test]
fn a_segment_that_was_deleted_meanwhile_is_not_brought_back() {
    let storage = SimStorage::new();
    let mut log = two_segments(&storage);
    let cleanable = log.reader().cleanable(&request_all(0, NOW)).unwrap();
    let mut compaction =
        Compaction::begin(log.reader(), compaction_request(cleanable, NOW), &mut ()).unwrap();
    let cleaned = compaction.next_segment(&mut ()).unwrap().unwrap();
    log.advance_log_start(2).unwrap();
    log.apply_retention(NOW, 4).unwrap();
    assert!(!log.replace_segments(cleaned, NOW).unwrap());
    assert_eq!(offsets(&log), [2, 3]);
    assert!(
        !file_names(&storage)
            .iter()
            .any(|name| name.ends_with(".cleaned"))
    );
}

#[test]
fn a_log_without_anything_to_remove_is_left_alone() {
    let storage = SimStorage::new();
    let mut log = log_of(&storage, &[&[("a", Some("1")), ("b", Some("1"))]]);
    let reader = log.snapshot();
    compact(&mut log, 0, NOW);
    let renamed = storage.count(SimOperation::Rename);
    compact(&mut log, 0, NOW);
    assert_eq!(storage.count(SimOperation::Rename), renamed);
    assert_eq!(read_all(&reader, 0, 100).len(), 1);
}

#[test]
fn segments_follow_each_other_without_a_gap_so_recovery_trusts_them() {
    let storage = SimStorage::new();
    let mut log = two_segments(&storage);
    append(
        &mut log,
        keyed(4, NOW, &[("b", Some("2")), ("c", Some("2"))]).build(),
    );
    log.roll().unwrap();
    log.sync_handle().sync().unwrap();
    let mut small = config();
    small.segment_bytes = 1;
    log.set_config(small.clone());
    let cleanable = log.reader().cleanable(&request_all(0, NOW)).unwrap();
    let mut request = compaction_request(cleanable, NOW);
    request.config = small;
    crate::compaction::compact_with(&mut log, request).unwrap();
    assert_eq!(offsets(&log), [2, 4, 5]);
    assert_eq!(log.segment_count(), 5, "each segment by itself");
    drop(log);
    storage.kill();
    // The recovery point of the last checkpoint is older than the compaction.
    let (log, report) = open_with(&storage, config(), &LogStart::default()).unwrap();
    assert_eq!(report.truncation, None);
    assert_eq!(offsets(&log), [2, 4, 5]);
}

/// Lets the `nth` call of each kind fail, and crashes then.
#[test]
fn a_crash_in_any_step_leaves_all_that_was_or_all_that_is_to_be() {
    use SimOperation::{Create, Remove, Rename, Sync, SyncDirectory, Write};
    for operation in [Create, Write, Sync, SyncDirectory, Rename, Remove] {
        for passed in 0..30 {
            for seed in 0..4 {
                crash_after(operation, passed, seed);
            }
        }
    }
}

fn crash_after(operation: SimOperation, passed: usize, seed: u64) {
    let storage = SimStorage::new();
    let mut log = two_segments(&storage);
    let end = compact(&mut log, 0, NOW);
    append(&mut log, keyed(4, NOW, &[("b", Some("2"))]).build());
    log.roll().unwrap();
    log.sync_handle().sync().unwrap();
    let recovery_point = if seed.is_multiple_of(2) { 5 } else { 0 };
    storage.fail_after(operation, passed, ErrorKind::Other);
    let cleanable = log.reader().cleanable(&request_all(end, NOW)).unwrap();
    let request = compaction_request(cleanable, NOW);
    let (mut failed, reader) = (false, log.snapshot());
    match Compaction::begin(log.reader(), request, &mut ()) {
        Err(_) => failed = true,
        Ok(mut compaction) => loop {
            match compaction.next_segment(&mut ()) {
                Ok(None) => break,
                Ok(Some(cleaned)) => failed |= log.replace_segments(cleaned, NOW).is_err(),
                Err(_) => {
                    failed = true;
                    break;
                }
            }
        },
    }
    failed |= log.remove_deleted(NOW).is_err();
    storage.clear_faults();
    let context = format!("{operation:?} {passed} {seed}");
    if log.failure().is_none() {
        let expected: &[i64] = if failed && offsets(&log).len() == 4 {
            &[1, 2, 3, 4]
        } else {
            &[2, 3, 4]
        };
        assert_eq!(offsets(&log), expected, "{context}");
    }
    assert_eq!(read_all(&reader, 0, 100).len(), 4, "{context}");
    drop(log);
    storage.crash(seed);
    let start = LogStart {
        recovery_point,
        ..LogStart::default()
    };
    let (mut log, report) = open_with(&storage, config(), &start).unwrap();
    assert_eq!(report.truncation, None, "{context}");
    let found = offsets(&log);
    assert!(
        found == [1, 2, 3, 4] || found == [2, 3, 4],
        "{context}: {found:?}"
    );
    assert_eq!(log.log_end_offset(), 5, "{context}");
    let left = file_names(&storage);
    let is_leftover = |name: &String| {
        name.ends_with("swap") || name.ends_with("cleaned") || name.ends_with("deleted")
    };
    assert!(!left.iter().any(is_leftover), "{context}: {left:?}");
    compact(&mut log, 0, NOW);
    assert_eq!(offsets(&log), [2, 3, 4], "{context}");
}
