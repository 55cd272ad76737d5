//! Compaction against a model: any sequence of writes, compactions and crashes.
//!
//! After each step, what a reader finds is a subset of what was written, at the same offsets and in
//! the same order, and leads to the same last value of every key. `MOLDAU_SEED` replays a seed or
//! runs a range of them, as in `simulation`.

use std::collections::BTreeMap;

use moldau_log::{AppendBatch, Compaction, Log, LogConfig, LogStart, SimOperation, SimStorage};
use moldau_protocol::batch::{Compression, Record, RecordBatch, RecordBatchBuilder};

use crate::batches::{open_with, read_all};
use crate::compaction::{compaction_request, request_all};
use crate::simulation::seeds;

#[test]
fn the_last_value_of_every_key_is_always_readable() {
    for seed in seeds(0..40) {
        let mut model = Model::new(seed);
        for _ in 0..80 {
            model.step();
        }
    }
}

struct Model {
    seed: u64,
    random: u64,
    storage: SimStorage,
    log: Option<Log<SimStorage>>,
    config: LogConfig,
    /// Every record that was acknowledged or may have survived, by offset.
    written: BTreeMap<i64, Record>,
    /// When each record was written.
    written_at: BTreeMap<i64, i64>,
    first_dirty_offset: i64,
    recovery_point: i64,
    delete_retention_ms: i64,
    clock: i64,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut model = Self {
            seed,
            random: seed ^ 0xc0_ffee,
            storage: SimStorage::new(),
            log: None,
            config: LogConfig::default(),
            written: BTreeMap::new(),
            written_at: BTreeMap::new(),
            first_dirty_offset: 0,
            recovery_point: 0,
            delete_retention_ms: 0,
            clock: 1_000_000,
        };
        model.config = LogConfig {
            segment_bytes: 300 + model.below(3_000) as u32,
            index_interval_bytes: model.below(600) as u32,
            file_delete_delay_ms: model.below(2_000) as i64,
            retention_ms: -1,
            ..LogConfig::default()
        };
        model.delete_retention_ms = model.below(4_000) as i64;
        model.open(false);
        model
    }

    fn step(&mut self) {
        self.clock += self.below(500) as i64;
        match self.below(100) {
            0..50 => self.append(),
            50..58 => self.sync(),
            58..63 => self.log().roll().unwrap(),
            63..85 => self.compact(),
            85..88 => self.recovery_point = self.log().durable_offset(),
            88..92 => {
                let clock = self.clock;
                self.log().remove_deleted(clock).unwrap();
            }
            92..97 => self.crash(),
            _ => self.close(),
        }
    }

    fn append(&mut self) {
        for _ in 0..=self.below(4) {
            let batch = self.batch();
            self.log().append(&[AppendBatch::new(&batch)]).unwrap();
            for record in batch.records().unwrap() {
                let record = record.unwrap();
                self.written_at.insert(record.offset, self.clock);
                self.written.insert(record.offset, record);
            }
        }
    }

    fn batch(&mut self) -> RecordBatch {
        let codecs = [
            Compression::None,
            Compression::None,
            Compression::Lz4,
            Compression::Zstd,
        ];
        let codec = codecs[self.below(codecs.len())];
        let base_offset = self.log().log_end_offset();
        let mut builder = RecordBatchBuilder::new(codec)
            .base_offset(base_offset)
            .leader_epoch(0);
        for _ in 0..=self.below(5) {
            let key = format!("key-{}", self.below(12));
            let number = self.below(1_000);
            let value = format!("value-{}-{number}", self.clock);
            let is_tombstone = self.below(5) == 0;
            let value = (!is_tombstone).then_some(value.as_bytes());
            let timestamp = self.clock - self.below(300) as i64;
            builder.append(timestamp, Some(key.as_bytes()), value, &[]);
        }
        RecordBatch::parse(builder.build()).unwrap()
    }

    fn sync(&mut self) {
        self.log().sync_handle().sync().unwrap();
    }

    /// Compacts, and maybe lets a call fail or the process die in the middle.
    fn compact(&mut self) {
        let request = moldau_log::CleanableRequest {
            min_lag_ms: self.below(3) as i64 * 400,
            ..request_all(self.first_dirty_offset, self.clock)
        };
        let cleanable = self.log().reader().cleanable(&request).unwrap();
        let mut request = compaction_request(cleanable, self.clock);
        request.delete_retention_ms = self.delete_retention_ms;
        request.config = self.config.clone();
        let before = self.log().snapshot();
        let seen = read_all(&before, 0, 700);
        let faulty = self.below(3) == 0;
        if faulty {
            use SimOperation::{Create, Rename, Sync, SyncDirectory, Write};
            let operation = [Create, Write, Sync, SyncDirectory, Rename][self.below(5)];
            let passed = self.below(20);
            self.storage
                .fail_after(operation, passed, std::io::ErrorKind::Other);
        }
        let done = self.run(request, faulty);
        self.storage.clear_faults();
        assert_eq!(read_all(&before, 0, 700), seen, "{}", self.context());
        if self.log().failure().is_some() || self.below(6) == 0 {
            self.crash();
        } else if let Some(end_offset) = done {
            self.first_dirty_offset = end_offset;
        }
        self.check();
    }

    fn run(&mut self, request: moldau_log::CompactionRequest, faulty: bool) -> Option<i64> {
        let clock = self.clock;
        let reader = self.log().reader();
        let mut compaction = Compaction::begin(reader, request, &mut ()).ok()?;
        loop {
            let cleaned = compaction.next_segment(&mut ()).ok()?;
            if !faulty && self.below(3) == 0 {
                self.append();
            }
            let Some(cleaned) = cleaned else {
                return Some(compaction.end_offset());
            };
            assert!(self.log().replace_segments(cleaned, clock).ok()?);
        }
    }

    fn crash(&mut self) {
        let durable = self.log().durable_offset();
        self.log = None;
        let seed = self.below(usize::MAX) as u64;
        self.storage.crash(seed);
        self.open(false);
        let end = self.log().log_end_offset();
        assert!(
            end >= durable,
            "{} lost offsets {end} to {durable}",
            self.context()
        );
        self.written.split_off(&end);
        self.check();
    }

    fn close(&mut self) {
        if let Some(log) = self.log.take() {
            log.close().unwrap();
        }
        self.storage.crash(self.seed);
        self.open(true);
        self.check();
    }

    fn open(&mut self, clean_shutdown: bool) {
        let start = LogStart {
            clean_shutdown,
            recovery_point: self.recovery_point,
            ..LogStart::default()
        };
        match open_with(&self.storage, self.config.clone(), &start) {
            Ok((log, _)) => self.log = Some(log),
            Err(error) => panic!("{} cannot open the log: {error}", self.context()),
        }
    }

    fn check(&mut self) {
        let context = self.context();
        let found: Vec<Record> = read_all(&self.log().snapshot(), 0, 900)
            .iter()
            .flat_map(|batch| batch.records().unwrap())
            .map(|record| record.unwrap())
            .collect();
        assert!(found.is_sorted_by(|a, b| a.offset < b.offset), "{context}");
        for record in &found {
            assert_eq!(Some(record), self.written.get(&record.offset), "{context}");
        }
        let state = |records: &mut dyn Iterator<Item = &Record>| {
            let mut state = BTreeMap::new();
            for record in records {
                state.insert(record.key.clone(), record.clone());
            }
            state
        };
        let mut expected = state(&mut self.written.values());
        let found = state(&mut found.iter());
        for record in found.values().filter(|record| record.value.is_none()) {
            assert_eq!(
                expected.get(&record.key),
                Some(record),
                "{context}: old tombstone"
            );
        }
        // A tombstone may be gone, but not before its time.
        let (written_at, clock, retention) =
            (&self.written_at, self.clock, self.delete_retention_ms);
        expected.retain(|key, record| {
            let young = written_at[&record.offset] + retention > clock;
            record.value.is_some() || young || found.contains_key(key)
        });
        assert_eq!(found, expected, "{context}");
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
