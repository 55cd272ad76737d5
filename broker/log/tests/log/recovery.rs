//! What a restart finds and puts right.

use std::path::PathBuf;

use moldau_log::{
    AbortedTransaction, AppendBatch, Log, LogError, LogStart, OnCorruption, RecoveryObserver,
    RecoveryReport, SimStorage, Storage, StorageFile,
};
use moldau_protocol::batch::{BatchHeader, EndTransactionMarker, RecordBatch};
use moldau_protocol::records::producer_snapshot::{ProducerEntry, ProducerSnapshot};

use crate::batches::{
    DIRECTORY, batch, file_names, fill, new_log, offsets, open_with, read_all, request,
    small_segments,
};

fn path(name: &str) -> PathBuf {
    PathBuf::from(DIRECTORY).join(name)
}

fn reopen(storage: &SimStorage, start: &LogStart) -> (Log<SimStorage>, RecoveryReport) {
    open_with(storage, small_segments(), start).unwrap()
}

fn content(log: &Log<SimStorage>) -> Vec<i64> {
    offsets(&read_all(&log.snapshot(), log.log_start_offset(), 1_000))
}

fn unclean() -> LogStart {
    LogStart::default()
}

fn clean() -> LogStart {
    LogStart {
        clean_shutdown: true,
        ..LogStart::default()
    }
}

/// Twenty batches, five a segment, closed.
fn closed() -> SimStorage {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 20);
    log.close().unwrap();
    storage
}

#[test]
fn a_torn_tail_is_cut_at_any_byte() {
    let size = batch(0).payload.len() as u64 + 61;
    for cut in 0..=3 * size {
        let storage = SimStorage::new();
        let mut log = new_log(&storage);
        fill(&mut log, 3);
        let file = storage.open(&path("00000000000000000000.log")).unwrap();
        file.set_size(cut).unwrap();
        storage.kill();
        let (mut log, report) = reopen(&storage, &unclean());
        let whole = i64::try_from(cut / size).unwrap();
        assert_eq!(content(&log), (0..whole).collect::<Vec<_>>());
        assert_eq!(report.truncation.is_some(), cut % size != 0);
        assert_eq!(
            report
                .truncation
                .map_or(0, |truncation| truncation.dropped_bytes),
            cut % size
        );
        fill(&mut log, 6);
        assert_eq!(content(&log), (0..6).collect::<Vec<_>>());
    }
}

#[test]
fn a_changed_byte_anywhere_in_the_tail_is_noticed() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 3);
    log.sync_handle().sync().unwrap();
    let file = path("00000000000000000000.log");
    let bytes = storage.read(&file).unwrap();
    let size = bytes.len() / 3;
    // The base offset and the leader epoch lie outside the checksum; offsets are checked by their
    // order.
    let unchecked = [8..12, 16..size].into_iter().flatten();
    for position in unchecked.map(|position| size + position) {
        storage.kill();
        storage
            .corrupt(&file, position, &[bytes[position] ^ 0x10])
            .unwrap();
        let (log, report) = reopen(&storage, &unclean());
        assert_eq!(log.log_end_offset(), 1, "byte {position}");
        assert_eq!(report.truncation.unwrap().position, size as u64);
        let restored = storage.create(&file).unwrap();
        restored
            .write_vectored(&[std::io::IoSlice::new(&bytes)])
            .unwrap();
        restored.sync().unwrap();
    }
}

#[test]
fn segments_behind_a_torn_one_are_removed() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 20);
    log.sync_handle().sync().unwrap();
    storage
        .corrupt(&path("00000000000000000005.log"), 200, b"xxxx")
        .unwrap();
    storage.kill();
    let (mut log, report) = reopen(&storage, &unclean());
    assert_eq!(content(&log), (0..6).collect::<Vec<_>>());
    let truncation = report.truncation.unwrap();
    assert_eq!(
        (truncation.file, truncation.position),
        (path("00000000000000000005.log"), 173)
    );
    assert_eq!((truncation.dropped_segments, log.segment_count()), (2, 2));
    assert!(
        truncation.reason.contains("checksum"),
        "{}",
        truncation.reason
    );
    fill(&mut log, 20);
    assert_eq!(content(&log), (0..20).collect::<Vec<_>>());
}

#[test]
fn damage_below_the_recovery_point_is_refused_with_its_place() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 20);
    log.sync_handle().sync().unwrap();
    storage
        .corrupt(&path("00000000000000000015.log"), 200, b"xxxx")
        .unwrap();
    storage.kill();
    let start = LogStart {
        recovery_point: 19,
        ..unclean()
    };
    let error = open_with(&storage, small_segments(), &start).unwrap_err();
    let LogError::Corrupt {
        file,
        position,
        reason,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((file, *position), (&path("00000000000000000015.log"), 173));
    assert!(reason.ends_with(
        "offsets 16 to 19 were on the disk, so this is no torn write: restore the file, or give up what follows"
    ));
    let start = LogStart {
        on_corruption: OnCorruption::Cut,
        ..start
    };
    assert_eq!(reopen(&storage, &start).0.log_end_offset(), 16);
}

#[test]
fn missing_and_damaged_indexes_are_built_anew() {
    for damage in [None, Some(&b"abc"[..]), Some(&[0xff; 24][..])] {
        for kind in ["index", "timeindex"] {
            for segment in ["00000000000000000005", "00000000000000000015"] {
                let storage = closed();
                let file = path(&format!("{segment}.{kind}"));
                match damage {
                    None => storage.remove_file(&file).unwrap(),
                    Some(bytes) => storage.replace(&file, bytes).unwrap(),
                }
                let (log, _) = reopen(&storage, &clean());
                assert_eq!(content(&log), (0..20).collect::<Vec<_>>());
                for offset in 0..20 {
                    let slice = log.snapshot().read(&request(offset, 1)).unwrap().unwrap();
                    assert_eq!(slice.base_offset, offset, "{file:?} {damage:?}");
                }
            }
        }
    }
}

#[test]
fn a_missing_index_of_a_sealed_segment_is_written_again() {
    let storage = closed();
    let file = path("00000000000000000005.index");
    let bytes = storage.read(&file).unwrap();
    storage.remove_file(&file).unwrap();
    let (_, report) = reopen(&storage, &clean());
    assert_eq!(report.rebuilt_indexes, 1);
    assert_eq!(storage.read(&file).unwrap(), bytes);
}

#[test]
fn an_index_without_its_log_is_removed() {
    let storage = closed();
    storage.create(&path("00000000000000000099.index")).unwrap();
    reopen(&storage, &clean());
    assert!(!file_names(&storage).contains(&"00000000000000000099.index".to_owned()));
}

#[test]
fn a_clean_shutdown_that_was_none_is_scanned_after_all() {
    let storage = closed();
    storage
        .open(&path("00000000000000000015.log"))
        .unwrap()
        .set_size(400)
        .unwrap();
    let (log, report) = reopen(&storage, &clean());
    assert_eq!((log.log_end_offset(), report.scanned_segments), (17, 1));
}

#[test]
fn only_segments_from_the_recovery_point_on_are_scanned() {
    let storage = closed();
    for (recovery_point, scanned) in [
        (0, 4),
        (4, 4),
        (5, 4),
        (6, 3),
        (14, 2),
        (15, 2),
        (16, 1),
        (20, 1),
        (1_000, 1),
    ] {
        let (log, report) = reopen(
            &storage,
            &LogStart {
                recovery_point,
                ..unclean()
            },
        );
        assert_eq!(
            report.scanned_segments, scanned,
            "recovery point {recovery_point}"
        );
        assert_eq!(log.log_end_offset(), 20);
    }
}

#[test]
fn a_segment_that_lost_its_tail_at_a_batch_ends_the_log() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 20);
    storage
        .open(&path("00000000000000000005.log"))
        .unwrap()
        .set_size(3 * 173)
        .unwrap();
    storage.kill();
    let (log, report) = reopen(&storage, &unclean());
    assert_eq!(content(&log), (0..8).collect::<Vec<_>>());
    let reason = report.truncation.unwrap().reason;
    assert_eq!(
        reason,
        "batches from offset 8 to the next segment at 10 are missing"
    );
}

#[test]
fn leftovers_of_deletion_and_unfinished_compaction_are_removed() {
    let storage = closed();
    for name in [
        "00000000000000000000.log.deleted",
        "00000000000000000005.log.cleaned",
        "x.tmp",
    ] {
        storage.create(&path(name)).unwrap();
    }
    let (log, _) = reopen(&storage, &clean());
    assert_eq!(content(&log), (0..20).collect::<Vec<_>>());
    assert!(
        file_names(&storage)
            .iter()
            .all(|name| !name.ends_with("ed") && !name.ends_with("tmp"))
    );
}

#[test]
fn a_compaction_that_ended_replaces_what_it_covers() {
    let storage = closed();
    // Offsets 0 to 9 compacted into one segment: only 3 and 9 are left.
    let compacted: Vec<u8> = [3, 9]
        .map(|offset| crate::batches::Spec {
            base_offset: offset,
            ..<_>::default()
        })
        .iter()
        .flat_map(|spec| spec.build().bytes().to_vec())
        .collect();
    storage
        .replace(&path("00000000000000000000.log.swap"), &compacted)
        .unwrap();
    storage
        .replace(&path("00000000000000000000.index.swap"), b"")
        .unwrap();
    let (log, report) = reopen(&storage, &clean());
    assert_eq!(
        content(&log),
        [3, 9].into_iter().chain(10..20).collect::<Vec<_>>()
    );
    assert_eq!((report.rebuilt_indexes, log.segment_count()), (1, 3));
    assert_eq!(
        log.snapshot()
            .read(&request(5, 1))
            .unwrap()
            .unwrap()
            .base_offset,
        9
    );
}

#[test]
fn a_swap_beside_an_unfinished_segment_is_dropped() {
    let storage = closed();
    storage
        .replace(&path("00000000000000000000.log.swap"), b"")
        .unwrap();
    storage
        .create(&path("00000000000000000000.log.cleaned"))
        .unwrap();
    assert_eq!(
        content(&reopen(&storage, &clean()).0),
        (0..20).collect::<Vec<_>>()
    );
}

#[test]
fn a_log_that_ends_below_its_start_offset_begins_anew_there() {
    let storage = closed();
    let (mut log, _) = reopen(
        &storage,
        &LogStart {
            log_start_offset: 50,
            ..clean()
        },
    );
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (50, 50));
    fill(&mut log, 52);
    assert_eq!(content(&log), [50, 51]);
}

#[test]
fn half_a_topic_id_is_written_again() {
    let storage = closed();
    storage
        .replace(&path("partition.metadata"), b"version: 0\ntopic_")
        .unwrap();
    assert!(matches!(
        open_with(&storage, small_segments(), &clean()),
        Err(LogError::Corrupt { .. })
    ));
    let topic_id = Some(moldau_protocol::Uuid([5; 16]));
    let (log, _) = reopen(
        &storage,
        &LogStart {
            topic_id,
            ..clean()
        },
    );
    assert_eq!(log.topic_id(), topic_id);
    drop(log);
    assert_eq!(reopen(&storage, &clean()).0.topic_id(), topic_id);
}

#[derive(Debug, Default, PartialEq)]
struct Seen {
    snapshot: Option<i64>,
    producers: usize,
    batches: Vec<i64>,
    markers: Vec<i64>,
}

impl RecoveryObserver for Seen {
    fn producer_snapshot(&mut self, offset: i64, snapshot: &ProducerSnapshot) {
        self.snapshot = Some(offset);
        self.producers = snapshot.producer_entries.len();
    }

    fn batch(&mut self, header: &BatchHeader) {
        self.batches.push(header.base_offset);
    }

    fn control_batch(&mut self, batch: &RecordBatch) -> Option<AbortedTransaction> {
        assert!(EndTransactionMarker::from_batch(batch).unwrap().is_some());
        self.markers.push(batch.base_offset());
        None
    }
}

fn observe(storage: &SimStorage, start: &LogStart) -> Seen {
    let mut seen = Seen::default();
    Log::open(
        storage.clone(),
        DIRECTORY,
        small_segments(),
        start,
        &mut seen,
    )
    .unwrap();
    seen
}

fn one_producer() -> ProducerSnapshot {
    ProducerSnapshot {
        crc: 0,
        producer_entries: vec![ProducerEntry {
            producer_id: 1,
            ..ProducerEntry::default()
        }],
    }
}

#[test]
fn batches_after_the_newest_producer_snapshot_are_replayed() {
    // After a crash the aborted transactions of scanned segments are found anew, from before them.
    for (start, used) in [(clean(), Some(7)), (unclean(), None)] {
        let storage = SimStorage::new();
        let mut log = new_log(&storage);
        fill(&mut log, 7);
        log.write_producer_snapshot(7, &one_producer()).unwrap();
        fill(&mut log, 12);
        let marker = EndTransactionMarker {
            committed: true,
            coordinator_epoch: 3,
        }
        .to_batch(12, 1_012, 0, 4711, 0);
        log.append(&[AppendBatch::new(&RecordBatch::parse(marker).unwrap())])
            .unwrap();
        fill(&mut log, 15);
        log.close().unwrap();
        let seen = observe(&storage, &start);
        let replayed = used.unwrap_or(0)..15;
        assert_eq!(
            seen,
            Seen {
                snapshot: used,
                producers: usize::from(used.is_some()),
                batches: replayed.filter(|offset| *offset != 12).collect(),
                markers: vec![12]
            }
        );
    }
}

#[test]
fn a_crash_without_transactions_replays_from_the_newest_snapshot() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 7);
    log.write_producer_snapshot(7, &one_producer()).unwrap();
    fill(&mut log, 9);
    log.close().unwrap();
    let seen = observe(&storage, &unclean());
    assert_eq!((seen.snapshot, seen.batches), (Some(7), vec![7, 8]));
}

#[test]
fn without_a_snapshot_all_batches_are_replayed() {
    let seen = observe(&closed(), &clean());
    assert_eq!(
        seen,
        Seen {
            batches: (0..20).collect(),
            ..Seen::default()
        }
    );
}

#[test]
fn a_damaged_snapshot_is_removed_and_an_older_one_used() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 5);
    log.roll().unwrap();
    log.write_producer_snapshot(5, &one_producer()).unwrap();
    fill(&mut log, 10);
    log.write_producer_snapshot(10, &one_producer()).unwrap();
    log.close().unwrap();
    storage
        .corrupt(&path("00000000000000000010.snapshot"), 20, b"x")
        .unwrap();
    let seen = observe(&storage, &clean());
    assert_eq!((seen.snapshot, seen.batches), (Some(5), (5..10).collect()));
    assert!(!file_names(&storage).contains(&"00000000000000000010.snapshot".to_owned()));
}

#[test]
fn a_snapshot_of_batches_that_a_crash_took_is_not_used() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    fill(&mut log, 4);
    log.sync_handle().sync().unwrap();
    fill(&mut log, 5);
    log.write_producer_snapshot(5, &one_producer()).unwrap();
    let file = storage.open(&path("00000000000000000000.log")).unwrap();
    file.set_size(4 * 173 + 20).unwrap();
    storage.kill();
    assert_eq!(observe(&storage, &unclean()).snapshot, None);
}

#[test]
fn snapshots_that_no_recovery_needs_are_removed() {
    let storage = SimStorage::new();
    let mut log = new_log(&storage);
    for offset in [2, 4, 5, 6, 8, 10, 11] {
        fill(&mut log, offset);
        log.write_producer_snapshot(offset, &one_producer())
            .unwrap();
    }
    let snapshots: Vec<_> = file_names(&storage)
        .into_iter()
        .filter(|name| name.ends_with("snapshot"))
        .collect();
    assert_eq!(
        snapshots,
        [
            "00000000000000000005.snapshot",
            "00000000000000000010.snapshot",
            "00000000000000000011.snapshot",
        ],
        "those at the beginning of a segment, and the newest"
    );
}
