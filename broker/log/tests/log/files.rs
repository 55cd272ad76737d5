//! The bytes on a real disk, and logs on it.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use moldau_log::{AppendBatch, FileStorage, Log, LogConfig, LogError, LogStart};
use moldau_protocol::Uuid;
use moldau_protocol::batch::BatchIter;

use crate::batches::{Spec, batch, request};

fn open(directory: &Path, config: LogConfig, start: &LogStart) -> Result<Log, LogError> {
    Ok(Log::open(FileStorage, directory, config, start, &mut ())?.0)
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 100_000,
        index_interval_bytes: 1_000,
        ..LogConfig::default()
    }
}

#[test]
fn the_log_file_is_the_batches_one_after_another() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("orders-0");
    let mut log = open(&directory, LogConfig::default(), &LogStart::default()).unwrap();
    let specs = (0..3).map(|index| Spec {
        base_offset: 2 * index,
        records: 2,
        ..Spec::default()
    });
    let batches: Vec<_> = specs.map(Spec::build).collect();
    log.append(&batches.iter().map(AppendBatch::new).collect::<Vec<_>>())
        .unwrap();
    let expected: Vec<u8> = batches
        .iter()
        .flat_map(|batch| batch.bytes().to_vec())
        .collect();
    assert_eq!(
        fs::read(directory.join("00000000000000000000.log")).unwrap(),
        expected
    );
}

#[test]
fn more_batches_than_one_system_call_takes_are_written_whole() {
    let temporary = tempfile::tempdir().unwrap();
    let mut log = open(
        &temporary.path().join("orders-0"),
        LogConfig::default(),
        &LogStart::default(),
    )
    .unwrap();
    log.append(&(0..5_000).map(batch).collect::<Vec<_>>())
        .unwrap();
    let slice = log
        .snapshot()
        .read(&request(0, usize::MAX))
        .unwrap()
        .unwrap();
    assert_eq!(BatchIter::new(slice.read_bytes().unwrap()).count(), 5_000);
}

#[test]
fn a_slice_names_the_range_of_the_file() {
    use std::os::unix::fs::FileExt;
    let temporary = tempfile::tempdir().unwrap();
    let mut log = open(
        &temporary.path().join("orders-0"),
        config(),
        &LogStart::default(),
    )
    .unwrap();
    log.append(&(0..2_000).map(batch).collect::<Vec<_>>())
        .unwrap();
    let slice = log
        .snapshot()
        .read(&request(1_234, 5_000))
        .unwrap()
        .unwrap();
    let range = slice.file_range();
    let mut bytes = vec![0; range.length as usize];
    range
        .file
        .read_exact_at(&mut bytes, range.position)
        .unwrap();
    assert_eq!(slice.read_bytes().unwrap(), bytes);
    let first = BatchIter::new(Bytes::from(bytes)).next().unwrap().unwrap();
    assert_eq!(first.base_offset(), 1_234);
}

#[test]
fn a_closed_log_has_all_of_kafkas_files_and_opens_again() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("orders-0");
    let start = LogStart {
        topic_id: Some(Uuid([9; 16])),
        ..LogStart::default()
    };
    let mut log = open(&directory, config(), &start).unwrap();
    log.append(&(0..1_000).map(batch).collect::<Vec<_>>())
        .unwrap();
    assert_eq!(log.segment_count(), 2);
    log.write_producer_snapshot(1_000, &<_>::default()).unwrap();
    log.close().unwrap();
    let mut names: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000000.timeindex",
            "00000000000000000578.index",
            "00000000000000000578.log",
            "00000000000000000578.timeindex",
            "00000000000000001000.snapshot",
            "leader-epoch-checkpoint",
            "partition.metadata",
        ]
    );
    let start = LogStart {
        clean_shutdown: true,
        ..start
    };
    let mut log = open(&directory, config(), &start).unwrap();
    assert_eq!(
        (log.log_end_offset(), log.topic_id()),
        (1_000, Some(Uuid([9; 16])))
    );
    log.append(&[batch(1_000)]).unwrap();
    assert_eq!(log.sync_handle().sync().unwrap(), 1_001);
    log.destroy().unwrap();
    assert!(fs::read_dir(temporary.path()).unwrap().next().is_none());
}

#[test]
fn a_directory_of_another_topic_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("orders-0");
    let with = |id| LogStart {
        topic_id: Some(Uuid([id; 16])),
        ..LogStart::default()
    };
    open(&directory, config(), &with(1)).unwrap();
    let error = open(&directory, config(), &with(2)).unwrap_err();
    assert!(matches!(error, LogError::InconsistentTopicId { .. }));
    assert!(error.to_string().ends_with(
        "belongs to topic id AQEBAQEBAQEBAQEBAQEBAQ, not AgICAgICAgICAgICAgICAg; move it away if that topic is gone"
    ));
}

#[test]
fn the_indexes_of_a_closed_log_lead_to_its_batches() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("orders-0");
    let mut log = open(&directory, LogConfig::default(), &LogStart::default()).unwrap();
    log.append(&(0..500).map(batch).collect::<Vec<_>>())
        .unwrap();
    log.close().unwrap();
    let bytes = fs::read(directory.join("00000000000000000000.log")).unwrap();
    let index = fs::read(directory.join("00000000000000000000.index")).unwrap();
    assert!(index.len() >= 8 * 15);
    for entry in index.chunks(8) {
        let offset = u32::from_be_bytes(entry[..4].try_into().unwrap());
        let position = u32::from_be_bytes(entry[4..].try_into().unwrap()) as usize;
        let batch = BatchIter::new(Bytes::copy_from_slice(&bytes[position..]))
            .next()
            .unwrap()
            .unwrap();
        assert_eq!(batch.last_offset(), i64::from(offset));
    }
    let times = fs::read(directory.join("00000000000000000000.timeindex")).unwrap();
    let last = &times[times.len() - 12..];
    assert_eq!(i64::from_be_bytes(last[..8].try_into().unwrap()), 1_499);
    assert_eq!(last[8..], 499_u32.to_be_bytes());
}
