//! The index of aborted transactions: kept with its segment, and found anew after a crash.

use std::collections::BTreeMap;
use std::path::Path;

use moldau_log::{
    AbortedTransaction, AppendBatch, Log, LogConfig, LogStart, RecoveryObserver, SimStorage,
    Storage,
};
use moldau_protocol::batch::{
    BatchHeader, Compression, EndTransactionMarker, RecordBatch, RecordBatchBuilder,
};
use moldau_protocol::records::producer_snapshot::{ProducerEntry, ProducerSnapshot};

use crate::batches::{DIRECTORY, file_names, new_log, small_segments};

/// The open transactions of a partition: what the broker's producer states know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Open(pub(crate) BTreeMap<i64, i64>);

impl Open {
    pub(crate) fn end(
        &mut self,
        producer_id: i64,
        marker: i64,
        committed: bool,
    ) -> Option<AbortedTransaction> {
        let first_offset = self.0.remove(&producer_id)?;
        (!committed).then(|| AbortedTransaction {
            producer_id,
            first_offset,
            last_offset: marker,
            last_stable_offset: self.0.values().min().copied().unwrap_or(marker + 1),
        })
    }

    fn snapshot(&self) -> ProducerSnapshot {
        let entries = self.0.iter().map(|(producer_id, first)| ProducerEntry {
            producer_id: *producer_id,
            current_txn_first_offset: *first,
            ..ProducerEntry::default()
        });
        ProducerSnapshot {
            crc: 0,
            producer_entries: entries.collect(),
        }
    }
}

impl RecoveryObserver for Open {
    fn producer_snapshot(&mut self, _offset: i64, snapshot: &ProducerSnapshot) {
        self.0 = snapshot
            .producer_entries
            .iter()
            .map(|entry| (entry.producer_id, entry.current_txn_first_offset))
            .filter(|(_, first)| *first >= 0)
            .collect();
    }

    fn batch(&mut self, header: &BatchHeader) {
        if header.is_transactional() {
            self.0
                .entry(header.producer_id)
                .or_insert(header.base_offset);
        }
    }

    fn control_batch(&mut self, batch: &RecordBatch) -> Option<AbortedTransaction> {
        if batch.record_count() == 0 {
            return None; // compaction left the header alone
        }
        let marker = EndTransactionMarker::from_batch(batch).unwrap().unwrap();
        self.end(batch.producer_id(), batch.base_offset(), marker.committed)
    }
}

/// A log with the transactions in it.
struct Transactions {
    log: Log<SimStorage>,
    open: Open,
    all: Vec<AbortedTransaction>,
}

impl Transactions {
    fn new(storage: &SimStorage) -> Self {
        let (log, open, all) = (new_log(storage), Open::default(), Vec::new());
        Self { log, open, all }
    }

    fn data(&mut self, producer_id: i64) {
        let offset = self.log.log_end_offset();
        let builder = RecordBatchBuilder::new(Compression::None).base_offset(offset);
        let mut builder = builder.producer(producer_id, 0, 0).transactional(true);
        builder.append(1_000, Some(b"key"), Some(&[b'v'; 100]), &[]);
        let batch = RecordBatch::parse(builder.build()).unwrap();
        self.open.batch(batch.header());
        self.log.append(&[AppendBatch::new(&batch)]).unwrap();
    }

    fn end(&mut self, producer_id: i64, committed: bool) {
        let offset = self.log.log_end_offset();
        let marker = EndTransactionMarker {
            committed,
            coordinator_epoch: 0,
        };
        let batch = marker.to_batch(offset, 1_000, 0, producer_id, 0);
        let batch = RecordBatch::parse(batch).unwrap();
        let aborted = self.open.end(producer_id, offset, committed);
        self.all.extend(aborted);
        let batch = AppendBatch {
            aborted,
            ..AppendBatch::new(&batch)
        };
        self.log.append(&[batch]).unwrap();
    }

    /// Interleaved transactions of two producers over several segments, every third one committed.
    fn fill(&mut self, rounds: i64) {
        for round in 0..rounds {
            self.data(1);
            if round % 2 == 0 {
                self.data(2);
            }
            self.data(1);
            self.end(1, round % 3 == 0);
            if round % 4 == 3 {
                self.end(2, false);
            }
        }
    }

    fn check(&self) {
        assert_eq!(all(&self.log), self.all);
    }

    /// Lets retention keep the last few segments; returns the end of the log.
    fn keep_few(&mut self) -> i64 {
        self.log.set_config(LogConfig {
            retention_bytes: 1_500,
            ..small_segments()
        });
        self.log.log_end_offset()
    }
}

fn all(log: &Log<SimStorage>) -> Vec<AbortedTransaction> {
    let snapshot = log.snapshot();
    snapshot
        .aborted_transactions(log.log_start_offset(), i64::MAX)
        .unwrap()
}

fn reopen(storage: &SimStorage, clean: bool, recovery_point: i64) -> Log<SimStorage> {
    let start = LogStart {
        clean_shutdown: clean,
        recovery_point,
        ..LogStart::default()
    };
    let mut open = Open::default();
    let opened = Log::open(
        storage.clone(),
        DIRECTORY,
        small_segments(),
        &start,
        &mut open,
    );
    opened.unwrap().0
}

fn transaction_indexes(storage: &SimStorage) -> Vec<String> {
    let names = file_names(storage).into_iter();
    names.filter(|name| name.ends_with(".txnindex")).collect()
}

#[test]
fn aborted_transactions_are_found_by_the_offsets_that_are_read() {
    let storage = SimStorage::new();
    let mut log = Transactions::new(&storage);
    log.fill(1);
    log.data(3);
    log.data(4);
    log.end(4, false);
    log.end(3, false);
    log.check();
    let [.., fourth, third] = log.all[..] else {
        panic!("two aborted transactions");
    };
    assert_eq!(fourth.last_stable_offset, 1, "of producer 2");
    let snapshot = log.log.snapshot();
    let between = |from, to| snapshot.aborted_transactions(from, to).unwrap();
    assert_eq!(between(fourth.first_offset, fourth.first_offset), [third]);
    assert_eq!(between(fourth.first_offset, i64::MAX), [fourth, third]);
    assert_eq!(between(fourth.last_offset + 1, i64::MAX), [third]);
    assert_eq!(between(0, third.first_offset), []);
}

#[test]
fn the_index_survives_a_clean_shutdown() {
    let storage = SimStorage::new();
    let mut log = Transactions::new(&storage);
    log.fill(20);
    log.check();
    assert!(log.log.segment_count() > 3);
    let (expected, end) = (log.all.clone(), log.log.log_end_offset());
    log.log.close().unwrap();
    assert!(transaction_indexes(&storage).len() > 3);
    assert_eq!(all(&reopen(&storage, true, end)), expected);
}

#[test]
fn a_crash_lets_the_index_be_found_anew() {
    for seed in 0..30 {
        let storage = SimStorage::new();
        let mut log = Transactions::new(&storage);
        log.fill(4 + seed as i64 % 9);
        let synced = log.log.sync_handle().sync().unwrap();
        log.data(9);
        storage.crash(seed);
        let recovered = reopen(&storage, false, synced / 2);
        assert_eq!(all(&recovered), log.all, "seed {seed}");
        recovered.close().unwrap();
        let reopened = reopen(&storage, true, synced);
        assert_eq!(all(&reopened), log.all, "seed {seed}, reopened");
    }
}

#[test]
fn after_a_crash_the_snapshot_before_the_scanned_segments_knows_the_open_transactions() {
    let storage = SimStorage::new();
    let mut log = Transactions::new(&storage);
    log.data(7);
    log.fill(10);
    log.log.roll().unwrap();
    let base = log.log.log_end_offset();
    log.log
        .write_producer_snapshot(base, &log.open.snapshot())
        .unwrap();
    log.end(7, false);
    let end = log.log.log_end_offset();
    log.log
        .write_producer_snapshot(end, &log.open.snapshot())
        .unwrap();
    log.log.sync_handle().sync().unwrap();
    storage.crash(1);
    let recovered = reopen(&storage, false, end);
    assert_eq!(all(&recovered), log.all);
    assert_eq!(log.all.last().unwrap().first_offset, 0);
}

#[test]
fn a_cut_takes_the_aborted_transactions_behind_it_along() {
    let storage = SimStorage::new();
    let mut log = Transactions::new(&storage);
    log.fill(12);
    let middle = log.all[log.all.len() / 2].last_offset;
    log.log.truncate_to(middle).unwrap();
    let kept: Vec<_> = log
        .all
        .iter()
        .copied()
        .filter(|aborted| aborted.last_offset < middle)
        .collect();
    assert_eq!(all(&log.log), kept);
    log.log.close().unwrap();
    assert_eq!(all(&reopen(&storage, true, middle)), kept);
}

#[test]
fn the_index_goes_with_its_segment() {
    let storage = SimStorage::new();
    let mut log = Transactions::new(&storage);
    log.fill(12);
    let end = log.keep_few();
    log.log.apply_retention(2_000, end).unwrap();
    let first = log.log.log_start_offset();
    let kept: Vec<_> = log
        .all
        .iter()
        .copied()
        .filter(|aborted| aborted.last_offset >= first)
        .collect();
    assert_eq!(all(&log.log), kept);
    log.log.remove_deleted(i64::MAX).unwrap();
    for name in transaction_indexes(&storage) {
        assert!(name[..20].parse::<i64>().unwrap() >= first, "{name}");
    }
}

#[test]
fn a_damaged_index_is_found_anew_even_after_a_clean_shutdown() {
    let storage = SimStorage::new();
    let mut log = Transactions::new(&storage);
    log.fill(12);
    let (expected, end) = (log.all.clone(), log.log.log_end_offset());
    log.log.close().unwrap();
    let name = transaction_indexes(&storage).remove(1);
    let file = storage.open(&Path::new(DIRECTORY).join(name)).unwrap();
    moldau_log::StorageFile::set_size(&file, 33).unwrap();
    assert_eq!(all(&reopen(&storage, true, end)), expected);
}

/// What is told of producers whose batches are all deleted.
#[derive(Default)]
struct Deleted {
    before: Option<i64>,
    batches: usize,
    after: Vec<i64>,
}

impl RecoveryObserver for Deleted {
    fn producer_snapshot(&mut self, offset: i64, _snapshot: &ProducerSnapshot) {
        self.before = Some(offset);
    }

    fn batch(&mut self, _header: &BatchHeader) {
        self.batches += 1;
    }

    fn newer_producer_snapshot(&mut self, snapshot: &ProducerSnapshot) {
        assert!(self.batches > 0, "it comes after the batches");
        let entries = snapshot.producer_entries.iter();
        self.after.extend(entries.map(|entry| entry.producer_id));
    }
}

#[test]
fn producers_of_deleted_batches_are_known_also_where_an_index_is_found_anew() {
    let storage = SimStorage::new();
    let mut log = Transactions::new(&storage);
    log.fill(12);
    let end = log.keep_few();
    let forgotten = ProducerEntry {
        producer_id: 9,
        ..ProducerEntry::default()
    };
    let snapshot = ProducerSnapshot {
        crc: 0,
        producer_entries: vec![forgotten],
    };
    log.log.write_producer_snapshot(end, &snapshot).unwrap();
    log.log.apply_retention(2_000, end).unwrap();
    log.log.remove_deleted(i64::MAX).unwrap();
    log.log.close().unwrap();
    let name = transaction_indexes(&storage).remove(0);
    let file = storage.open(&Path::new(DIRECTORY).join(name)).unwrap();
    moldau_log::StorageFile::set_size(&file, 33).unwrap();
    let start = LogStart {
        clean_shutdown: true,
        recovery_point: end,
        ..LogStart::default()
    };
    let mut deleted = Deleted::default();
    let config = small_segments();
    Log::open(storage.clone(), DIRECTORY, config, &start, &mut deleted).unwrap();
    assert_eq!(deleted.before, None, "no snapshot is old enough");
    assert_eq!(deleted.after, [9]);
}
