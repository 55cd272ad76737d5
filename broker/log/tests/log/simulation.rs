//! Random work, random crashes: after each recovery everything synced is there, in order, and what
//! follows it was written at that place since the last sync.
//!
//! One seed is the whole input. A failure prints the seed; replay it alone with
//! `MOLDAU_SEED=<seed> cargo test -p moldau-log simulation`, or run many more with
//! `MOLDAU_SEED=0..100000`.

use std::collections::BTreeMap;
use std::ops::Range;

use moldau_log::{Log, LogConfig, LogError, LogStart, SimOperation, SimStorage};
use moldau_protocol::batch::RecordBatch;

use crate::batches::{Spec, open_with, read_all, request, whole_batches};

#[test]
fn nothing_synced_is_lost_and_nothing_torn_is_seen() {
    for seed in seeds(0..100) {
        let mut simulation = Simulation::new(seed);
        for _ in 0..120 {
            simulation.step();
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut simulation = Simulation::new(seed);
        (0..200).map(|_| simulation.step()).collect::<Vec<_>>()
    };
    for seed in seeds(0..3) {
        assert_eq!(run(seed), run(seed));
    }
}

pub(crate) fn seeds(default: Range<u64>) -> Range<u64> {
    let Ok(given) = std::env::var("MOLDAU_SEED") else {
        return default;
    };
    let number = |text: &str| {
        text.parse()
            .expect("MOLDAU_SEED is a number, or two like 0..5000")
    };
    match given.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => number(&given)..number(&given) + 1,
    }
}

struct Simulation {
    seed: u64,
    random: u64,
    storage: SimStorage,
    log: Option<Log<SimStorage>>,
    config: LogConfig,
    /// What the log must hold, by base offset.
    expected: BTreeMap<i64, RecordBatch>,
    /// Batches that an append could not bring in, since the last sync: the disk may have kept some.
    failed: Vec<RecordBatch>,
    /// What the checkpoint file would say.
    recovery_point: i64,
    log_start_offset: i64,
    clock: i64,
    epoch: i32,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut simulation = Self {
            seed,
            random: seed,
            storage: SimStorage::new(),
            log: None,
            config: LogConfig::default(),
            expected: BTreeMap::new(),
            failed: Vec::new(),
            recovery_point: 0,
            log_start_offset: 0,
            clock: 1_000_000,
            epoch: 0,
        };
        simulation.config = LogConfig {
            segment_bytes: 500 + simulation.below(5_000) as u32,
            index_interval_bytes: simulation.below(1_500) as u32,
            segment_index_bytes: 60 + simulation.below(500) as u32,
            segment_ms: 1 + simulation.below(5_000) as i64,
            retention_ms: simulation.below(100_000) as i64,
            ..LogConfig::default()
        };
        simulation.open(false);
        simulation
    }

    /// One random step; returns what it was and where the log ends then.
    fn step(&mut self) -> (usize, i64) {
        let choice = self.below(100);
        match choice {
            0..50 => self.append(),
            50..65 => self.sync(),
            65..70 => self.log().roll().unwrap(),
            70..75 => self.truncate(),
            75..80 => self.delete(),
            80..85 => self.append_with_fault(),
            85..88 => self.check_readers(),
            88..91 => self.recovery_point = self.log().durable_offset(),
            91..95 => self.crash(),
            95..98 => self.kill(),
            _ => self.close(),
        }
        (choice, self.log().log_end_offset())
    }

    fn append(&mut self) {
        let batches = self.batches();
        let appended = self.log().append(
            &batches
                .iter()
                .map(moldau_log::AppendBatch::new)
                .collect::<Vec<_>>(),
        );
        assert_eq!(
            appended.unwrap().next_offset,
            batches[batches.len() - 1].last_offset() + 1
        );
        self.expected.extend(
            batches
                .into_iter()
                .map(|batch| (batch.base_offset(), batch)),
        );
    }

    fn append_with_fault(&mut self) {
        let batches = self.batches();
        if self.below(2) == 0 {
            let room = self.below(4_000) as u64;
            self.storage.set_capacity(Some(self.storage.used() + room));
        } else {
            let bytes = self.below(1_000);
            self.storage
                .tear_next_write(bytes, std::io::ErrorKind::Other);
        }
        let result = self.log().append(
            &batches
                .iter()
                .map(moldau_log::AppendBatch::new)
                .collect::<Vec<_>>(),
        );
        self.storage.set_capacity(None);
        self.storage.clear_faults();
        match result {
            Ok(_) => self.expected.extend(
                batches
                    .into_iter()
                    .map(|batch| (batch.base_offset(), batch)),
            ),
            Err(LogError::DiskFull { .. }) => self.failed.extend(batches),
            Err(_) => {
                self.failed.extend(batches);
                if self.log().failure().is_some() {
                    self.kill();
                }
            }
        }
    }

    fn sync(&mut self) {
        if self.below(20) == 0 {
            self.storage
                .fail_next(SimOperation::Sync, std::io::ErrorKind::Other);
        }
        let handle = self.log().sync_handle();
        let synced = handle.sync();
        self.storage.clear_faults();
        match synced {
            Ok(durable) => {
                assert_eq!(durable, self.log().log_end_offset());
                self.failed.clear();
            }
            Err(_) => self.crash(),
        }
    }

    fn truncate(&mut self) {
        let (start, end) = (self.log().log_start_offset(), self.log().log_end_offset());
        let offset = start + self.below(usize::try_from(end - start).unwrap() + 1) as i64;
        if self.below(4) > 0 {
            return; // rare, or nothing would ever grow
        }
        self.log().truncate_to(offset).unwrap();
        self.recovery_point = self.recovery_point.min(self.log().log_end_offset());
        self.expected
            .retain(|_, batch| batch.last_offset() < offset);
        // Batches of failed appends that lie in a file behind the cut are gone from there.
        self.check();
    }

    fn delete(&mut self) {
        let (start, end) = (self.log().log_start_offset(), self.log().log_end_offset());
        if self.below(3) == 0 {
            let offset = start + self.below(usize::try_from(end - start).unwrap() + 1) as i64 / 2;
            self.log().advance_log_start(offset).unwrap();
        }
        let durable = self.log().durable_offset();
        let clock = self.clock;
        self.log().apply_retention(clock, durable).unwrap();
        self.log().remove_deleted(clock).unwrap();
        self.log_start_offset = self.log().log_start_offset();
    }

    fn crash(&mut self) {
        let durable = self.log().durable_offset();
        let seed = self.below(usize::MAX) as u64;
        self.log = None;
        self.storage.crash(seed);
        self.recover(durable);
    }

    fn kill(&mut self) {
        let written = self.log().snapshot().log_end_offset();
        self.log = None;
        self.storage.kill();
        self.recover(written);
    }

    /// Opens the log and compares it with what it must hold, given that all below `kept` must be
    /// there.
    fn recover(&mut self, kept: i64) {
        self.open(false);
        let snapshot = self.log().snapshot();
        let (start, end) = (snapshot.log_start_offset(), snapshot.log_end_offset());
        assert!(
            end >= kept,
            "{} lost offsets {end} to {kept}",
            self.context()
        );
        let found = read_all(&snapshot, start, 1_500);
        for batch in found.iter().filter(|batch| batch.base_offset() >= kept) {
            let written = self.expected.get(&batch.base_offset()) == Some(batch)
                || self.failed.contains(batch);
            assert!(
                written,
                "{} never wrote the batch at {}",
                self.context(),
                batch.base_offset()
            );
        }
        if self.failed.is_empty() {
            let written = self
                .expected
                .last_key_value()
                .map_or(0, |(_, batch)| batch.last_offset() + 1);
            assert!(end <= written.max(start), "{}", self.context());
        }
        self.expected.retain(|base_offset, _| *base_offset < kept);
        let unacknowledged = found
            .into_iter()
            .filter(|batch| batch.base_offset() >= kept);
        self.expected
            .extend(unacknowledged.map(|batch| (batch.base_offset(), batch)));
        self.failed.clear();
        self.check();
        self.check_readers();
    }

    fn close(&mut self) {
        if let Some(log) = self.log.take() {
            log.close().unwrap();
        }
        let seed = self.below(usize::MAX) as u64;
        self.storage.crash(seed);
        self.failed.clear();
        self.open(true);
        self.check();
        self.check_readers();
    }

    fn open(&mut self, clean_shutdown: bool) {
        let (recovery_point, log_start_offset) = (self.recovery_point, self.log_start_offset);
        let start = LogStart {
            clean_shutdown,
            recovery_point,
            log_start_offset,
            ..LogStart::default()
        };
        match open_with(&self.storage, self.config.clone(), &start) {
            Ok((log, report)) => {
                assert!(
                    !clean_shutdown || report.scanned_segments == 0,
                    "{}",
                    self.context()
                );
                self.log = Some(log);
            }
            Err(error) => panic!("{} cannot open the log: {error}", self.context()),
        }
    }

    /// The log holds exactly what it must.
    fn check(&mut self) {
        let snapshot = self.log().snapshot();
        let start = snapshot.log_start_offset();
        let found = read_all(&snapshot, start, 2_000);
        let expected = self
            .expected
            .values()
            .filter(|batch| batch.last_offset() >= start);
        let same = found.iter().eq(expected.clone());
        let (found, expected) = (bases(found.iter()), bases(expected));
        assert!(
            same,
            "{}: found {found:?}, expected {expected:?}",
            self.context()
        );
    }

    /// Random reads and look-ups give what a scan would.
    fn check_readers(&mut self) {
        let snapshot = self.log().snapshot();
        let (start, end) = (snapshot.log_start_offset(), snapshot.log_end_offset());
        let records: Vec<(i64, i64)> = self
            .expected
            .values()
            .flat_map(timestamps)
            .filter(|(offset, _)| *offset >= start)
            .collect();
        for _ in 0..5 {
            let timestamp = self.clock - self.below(4_000) as i64;
            let expected = records.iter().find(|(_, at)| *at >= timestamp).copied();
            let found = snapshot.offset_for_timestamp(timestamp, i64::MAX).unwrap();
            assert_eq!(
                found.map(|found| (found.offset, found.timestamp)),
                expected,
                "{}",
                self.context()
            );
            if end > start {
                let offset = start + self.below(usize::try_from(end - start).unwrap()) as i64;
                let slice = snapshot
                    .read(&request(offset, self.below(3_000)))
                    .unwrap()
                    .unwrap();
                let first = &whole_batches(slice.read_bytes().unwrap())[0];
                assert!(
                    (first.base_offset()..=first.last_offset()).contains(&offset),
                    "{}",
                    self.context()
                );
            }
        }
        let largest = records.iter().map(|(_, at)| *at).max();
        let expected = records.iter().find(|(_, at)| Some(*at) == largest).copied();
        let found = snapshot.offset_of_max_timestamp().unwrap();
        let found = found.map(|found| (found.offset, found.timestamp));
        assert_eq!(found, expected, "{}", self.context());
    }

    fn batches(&mut self) -> Vec<RecordBatch> {
        let mut base_offset = self.log().log_end_offset();
        if self.below(20) == 0 {
            self.epoch += 1;
        }
        let count = 1 + self.below(6);
        (0..count)
            .map(|_| {
                self.clock += self.below(600) as i64;
                let (records, value_size) = (1 + self.below(4), self.below(300));
                let timestamp = self.clock - self.below(800) as i64;
                let batch = Spec {
                    base_offset,
                    records,
                    value_size,
                    timestamp,
                    leader_epoch: self.epoch,
                }
                .build();
                base_offset = batch.last_offset() + 1;
                batch
            })
            .collect()
    }

    fn log(&mut self) -> &mut Log<SimStorage> {
        self.log.as_mut().unwrap()
    }

    fn context(&self) -> String {
        format!("MOLDAU_SEED={}", self.seed)
    }

    fn below(&mut self, end: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % end.max(1)
    }
}

fn timestamps(batch: &RecordBatch) -> Vec<(i64, i64)> {
    batch
        .records()
        .unwrap()
        .map(|record| record.unwrap())
        .map(|record| (record.offset, record.timestamp))
        .collect()
}

fn bases<'a>(batches: impl Iterator<Item = &'a RecordBatch>) -> Vec<i64> {
    batches.map(RecordBatch::base_offset).collect()
}
