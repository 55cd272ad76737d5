//! Leader epochs are learnt from the batches and survive restarts.

use moldau_log::{EpochEndOffset, EpochEntry, Log, LogStart, SimStorage, Storage};

use crate::batches::{DIRECTORY, Spec, new_log, open_with, small_segments};

fn append(log: &mut Log<SimStorage>, leader_epoch: i32, count: i64) {
    for _ in 0..count {
        let spec = Spec {
            base_offset: log.log_end_offset(),
            leader_epoch,
            ..Spec::default()
        };
        log.append(&[spec.append()]).unwrap();
    }
}

fn entries(log: &Log<SimStorage>) -> Vec<(i32, i64)> {
    let entry = |entry: &EpochEntry| (entry.epoch, entry.start_offset);
    log.snapshot()
        .epochs()
        .entries()
        .iter()
        .map(entry)
        .collect()
}

#[test]
fn epochs_are_learnt_from_the_batches() {
    let mut log = new_log(&SimStorage::new());
    append(&mut log, 0, 3);
    append(&mut log, 2, 4);
    assert_eq!(entries(&log), [(0, 0), (2, 3)]);
    let end = log
        .snapshot()
        .epochs()
        .end_offset_for(1, log.log_end_offset());
    assert_eq!(
        end,
        EpochEndOffset {
            epoch: 0,
            end_offset: 3
        }
    );
}

#[test]
fn epochs_survive_every_kind_of_restart() {
    for (clean, synced) in [(true, true), (false, true), (false, false)] {
        let storage = SimStorage::new();
        let mut log = new_log(&storage);
        append(&mut log, 0, 10);
        append(&mut log, 3, 10);
        if synced {
            log.sync_handle().sync().unwrap();
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
        assert_eq!(
            entries(&log),
            [(0, 0), (3, 10)],
            "clean {clean}, synced {synced}"
        );
    }
}

#[test]
fn a_missing_or_damaged_checkpoint_is_rebuilt_from_the_batches() {
    let path = std::path::PathBuf::from(DIRECTORY).join("leader-epoch-checkpoint");
    for damage in ["", "rubbish", "0\n5\n1 1\n"] {
        let storage = SimStorage::new();
        let mut log = new_log(&storage);
        append(&mut log, 0, 10);
        append(&mut log, 3, 10);
        log.close().unwrap();
        if damage.is_empty() {
            storage.remove_file(&path).unwrap();
        } else {
            storage.replace(&path, damage.as_bytes()).unwrap();
        }
        let start = LogStart {
            clean_shutdown: true,
            ..LogStart::default()
        };
        let (log, _) = open_with(&storage, small_segments(), &start).unwrap();
        assert_eq!(entries(&log), [(0, 0), (3, 10)]);
        log.sync_handle().sync().unwrap();
        assert_eq!(storage.read(&path).unwrap(), b"0\n2\n0 0\n3 10\n");
    }
}

#[test]
fn truncation_and_deletion_forget_epochs() {
    let mut log = new_log(&SimStorage::new());
    append(&mut log, 0, 3);
    append(&mut log, 2, 4);
    append(&mut log, 5, 4);
    log.truncate_to(7).unwrap();
    assert_eq!(entries(&log), [(0, 0), (2, 3)]);
    log.advance_log_start(5).unwrap();
    assert_eq!(entries(&log), [(2, 5)]);
    log.reset_to(100).unwrap();
    assert_eq!(entries(&log), []);
}

#[test]
fn a_leader_that_wrote_nothing_yet_can_be_noted() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    append(&mut log, 0, 3);
    log.assign_leader_epoch(4, 3);
    assert_eq!(entries(&log), [(0, 0), (4, 3)]);
    log.sync_handle().sync().unwrap();
    let path = std::path::PathBuf::from(DIRECTORY).join("leader-epoch-checkpoint");
    assert_eq!(storage.read(&path).unwrap(), b"0\n2\n0 0\n4 3\n");
}
