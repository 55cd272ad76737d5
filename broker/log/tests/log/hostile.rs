//! Damaged files: never a panic, never a torn batch.

use std::path::PathBuf;

use moldau_log::{LogConfig, LogStart, OnCorruption, SimStorage, Storage};
use moldau_protocol::records::producer_snapshot::ProducerSnapshot;

use crate::batches::{
    DIRECTORY, Spec, file_names, fill, new_log, open_with, request, small_segments,
};

/// A closed log with every kind of file.
fn closed() -> SimStorage {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    for leader_epoch in 0..6 {
        let base_offset = log.log_end_offset();
        let spec = Spec {
            base_offset,
            records: 4,
            leader_epoch,
            ..Spec::default()
        };
        log.append(&[spec.append()]).unwrap();
        fill(&mut log, base_offset + 8);
    }
    log.write_producer_snapshot(30, &ProducerSnapshot::default())
        .unwrap();
    log.close().unwrap();
    storage
}

/// Opens the log and reads all of it in every way; errors are fine.
fn exercise(storage: &SimStorage, start: &LogStart) {
    let config = LogConfig {
        retention_ms: 10,
        ..small_segments()
    };
    let Ok((mut log, _)) = open_with(storage, config, start) else {
        return;
    };
    let snapshot = log.snapshot();
    for offset in snapshot.log_start_offset()..snapshot.log_end_offset().min(100) {
        for max_bytes in [1, 500, 5_000] {
            for up_to_offset in [offset + 3, i64::MAX] {
                let request = moldau_log::ReadRequest {
                    up_to_offset,
                    ..request(offset, max_bytes)
                };
                if let Ok(Some(slice)) = snapshot.read(&request) {
                    assert!(slice.next_offset > offset);
                    drop(slice.read_bytes());
                }
            }
        }
        drop(snapshot.offset_for_timestamp(1_000 + offset, i64::MAX));
    }
    drop(snapshot.offset_of_max_timestamp());
    drop(log.truncate_to(snapshot.log_end_offset() / 2));
    drop(log.apply_retention(5_000, log.log_end_offset()));
    drop(log.close());
}

#[test]
fn damage_anywhere_in_any_file_is_survived() {
    let names = file_names(&closed());
    for name in names {
        let file = PathBuf::from(DIRECTORY).join(name);
        let length = closed().read(&file).unwrap().len();
        for position in (0..length).step_by(1 + length / 17) {
            for bytes in [&[0xff; 4][..], &[0; 4], &[0x7f, 0xff, 0xff, 0xff]] {
                for clean_shutdown in [true, false] {
                    let storage = closed();
                    let end = bytes.len().min(length - position);
                    storage.corrupt(&file, position, &bytes[..end]).unwrap();
                    let on_corruption = OnCorruption::Cut;
                    let start = LogStart {
                        clean_shutdown,
                        on_corruption,
                        ..LogStart::default()
                    };
                    exercise(&storage, &start);
                }
            }
        }
    }
}

#[test]
fn files_of_any_name_and_length_are_survived() {
    for name in [
        "09223372036854775807.log",
        "09223372036854775807.index",
        "00000000000000000000.log.swap",
        "00000000000000000030.snapshot",
        "99999999999999999999.log",
        "00000000000000000099.log",
    ] {
        for content in [&b""[..], b"x", &[0xff; 200], &[0; 200]] {
            let storage = closed();
            let file = PathBuf::from(DIRECTORY).join(name);
            storage.replace(&file, content).unwrap();
            for clean_shutdown in [true, false] {
                exercise(
                    &storage,
                    &LogStart {
                        clean_shutdown,
                        ..LogStart::default()
                    },
                );
            }
        }
    }
}
