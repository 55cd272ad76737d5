//! Transactions in compacted logs, against a model: any sequence of transactions, compactions and
//! crashes leaves readers of committed records with the last committed value of every key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use moldau_log::{
    AbortedTransaction, AppendBatch, CleanableRequest, LastRecord, Log, LogConfig, LogSnapshot,
    LogStart, RecoveryObserver, SimStorage, Storage,
};
use moldau_protocol::batch::{
    Compression, EndTransactionMarker, Record, RecordBatch, RecordBatchBuilder,
};

use crate::batches::{DIRECTORY, read_all};
use crate::compaction::{compact_with, compaction_request, request_all};
use crate::simulation::seeds;
use crate::transactions::Open;

#[test]
fn readers_of_committed_records_always_find_the_last_committed_value() {
    for seed in seeds(0..40) {
        let mut model = Model::new(seed);
        for _ in 0..100 {
            model.step();
        }
    }
}

#[test]
fn an_aborted_value_neither_stays_nor_replaces_an_older_one_and_its_marker_goes_in_the_end() {
    let mut model = Model::new(0);
    model.config.segment_bytes = 100_000;
    model.log().set_config(LogConfig {
        segment_bytes: 100_000,
        ..LogConfig::default()
    });
    model.producers_expired = true;
    model.write(None, "a", Some("kept"));
    model.write(Some(1), "a", Some("aborted"));
    model.end(1, false);
    model.log().roll().unwrap();
    model.sync();
    let batches = |model: &mut Model| read_all(&model.log().snapshot(), 0, 10_000).len();
    assert_eq!(batches(&mut model), 3);
    model.compact();
    assert_eq!(batches(&mut model), 2, "the value and the marker");
    let index = |model: &mut Model| model.log().snapshot().aborted_transactions(0, 99).unwrap();
    assert_eq!(
        index(&mut model).len(),
        1,
        "readers in the middle may need it"
    );
    model.write(None, "b", Some("more"));
    model.log().roll().unwrap();
    model.sync();
    model.first_dirty_offset = 0;
    model.compact();
    assert_eq!(index(&mut model), []);
    model.clock += model.delete_retention_ms;
    model.write(None, "c", Some("more"));
    model.log().roll().unwrap();
    model.sync();
    model.compact();
    let left = read_all(&model.log().snapshot(), 0, 10_000);
    assert!(!left.iter().any(RecordBatch::is_control));
    assert_eq!(left.len(), 3);
}

/// What was written at an offset.
enum Entry {
    Record(Option<i64>, Record),
    Marker(i64, bool),
}

struct Model {
    seed: u64,
    random: u64,
    storage: SimStorage,
    log: Option<Log<SimStorage>>,
    config: LogConfig,
    open: Open,
    entries: BTreeMap<i64, Entry>,
    first_dirty_offset: i64,
    recovery_point: i64,
    delete_retention_ms: i64,
    producers_expired: bool,
    clock: i64,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut model = Self {
            seed,
            random: seed ^ 0x7a,
            storage: SimStorage::new(),
            log: None,
            config: LogConfig::default(),
            open: Open::default(),
            entries: BTreeMap::new(),
            first_dirty_offset: 0,
            recovery_point: 0,
            delete_retention_ms: 0,
            producers_expired: false,
            clock: 1_000_000,
        };
        model.config = LogConfig {
            segment_bytes: 300 + model.below(2_000) as u32,
            index_interval_bytes: model.below(400) as u32,
            file_delete_delay_ms: 0,
            ..LogConfig::default()
        };
        model.delete_retention_ms = model.below(1_000) as i64;
        model.storage.create_directory(Path::new("/data")).unwrap();
        model.storage.sync_directory(Path::new("/")).unwrap();
        model.reopen(false);
        model
    }

    fn step(&mut self) {
        self.clock += self.below(100) as i64;
        match self.below(100) {
            0..20 => self.write_any(None),
            20..50 => {
                let producer = 1 + self.below(3) as i64;
                self.write_any(Some(producer));
            }
            50..65 => {
                let producer = 1 + self.below(3) as i64;
                let committed = self.below(2) == 0;
                self.end(producer, committed);
            }
            65..72 => self.sync(),
            72..76 => self.log().roll().unwrap(),
            76..92 => self.compact(),
            92..94 => self.recovery_point = self.log().durable_offset(),
            94..98 => self.crash(),
            _ => self.close(),
        }
    }

    fn write_any(&mut self, producer: Option<i64>) {
        let key = format!("key-{}", self.below(6));
        let value = format!("value-{}", self.below(1_000_000));
        let is_tombstone = self.below(6) == 0;
        self.write(producer, &key, (!is_tombstone).then_some(value.as_str()));
    }

    fn write(&mut self, producer: Option<i64>, key: &str, value: Option<&str>) {
        let base_offset = self.log().log_end_offset();
        let mut builder = RecordBatchBuilder::new(Compression::None)
            .base_offset(base_offset)
            .leader_epoch(0);
        if let Some(producer) = producer {
            builder = builder.producer(producer, 0, 0).transactional(true);
        }
        builder.append(
            self.clock,
            Some(key.as_bytes()),
            value.map(str::as_bytes),
            &[],
        );
        let batch = RecordBatch::parse(builder.build()).unwrap();
        self.open.batch(batch.header());
        self.log().append(&[AppendBatch::new(&batch)]).unwrap();
        let record = batch.records().unwrap().next().unwrap().unwrap();
        self.entries
            .insert(base_offset, Entry::Record(producer, record));
    }

    fn end(&mut self, producer: i64, committed: bool) {
        if !self.open.0.contains_key(&producer) {
            return;
        }
        let offset = self.log().log_end_offset();
        let marker = EndTransactionMarker {
            committed,
            coordinator_epoch: 0,
        };
        let batch = RecordBatch::parse(marker.to_batch(offset, self.clock, 0, producer, 0));
        let aborted = self.open.end(producer, offset, committed);
        let batch = AppendBatch {
            aborted,
            ..AppendBatch::new(&batch.unwrap())
        };
        self.log().append(&[batch]).unwrap();
        self.entries
            .insert(offset, Entry::Marker(producer, committed));
    }

    fn sync(&mut self) {
        self.log().sync_handle().sync().unwrap();
    }

    fn last_stable_offset(&mut self) -> i64 {
        let end = self.log().log_end_offset();
        self.open.0.values().min().copied().unwrap_or(end)
    }

    fn compact(&mut self) {
        let up_to_offset = self.last_stable_offset();
        self.sync();
        let request = CleanableRequest {
            up_to_offset,
            ..request_all(self.first_dirty_offset, self.clock)
        };
        let cleanable = self.log().reader().cleanable(&request).unwrap();
        let mut request = compaction_request(cleanable, self.clock);
        request.delete_retention_ms = self.delete_retention_ms;
        request.config = self.config.clone();
        for (offset, entry) in &self.entries {
            if let Entry::Record(Some(producer), _) = entry {
                let last = LastRecord {
                    offset: Some(*offset),
                    producer_epoch: 0,
                };
                request.last_records.insert(*producer, last);
            }
        }
        if self.producers_expired || self.below(2) == 0 {
            request.last_records.clear(); // they expired
        }
        self.first_dirty_offset = compact_with(self.log(), request).unwrap().0;
        self.check();
    }

    fn crash(&mut self) {
        self.log = None;
        let seed = self.below(usize::MAX) as u64;
        self.storage.crash(seed);
        self.reopen(false);
        let end = self.log().log_end_offset();
        self.entries.split_off(&end);
        self.check();
    }

    fn close(&mut self) {
        if let Some(log) = self.log.take() {
            log.close().unwrap();
        }
        self.storage.crash(self.seed);
        self.reopen(true);
        self.check();
    }

    fn reopen(&mut self, clean_shutdown: bool) {
        let start = LogStart {
            clean_shutdown,
            recovery_point: self.recovery_point,
            ..LogStart::default()
        };
        self.open = Open::default();
        let config = self.config.clone();
        let storage = self.storage.clone();
        let opened = Log::open(storage, DIRECTORY, config, &start, &mut self.open);
        self.log = Some(opened.unwrap().0);
    }

    fn check(&mut self) {
        let context = format!("MOLDAU_SEED={}", self.seed);
        let up_to = self.last_stable_offset();
        let found = committed(&self.log().snapshot(), up_to);
        assert_eq!(found, self.expected(up_to), "{context}");
    }

    /// The last committed value of each key, of what was written.
    fn expected(&self, up_to: i64) -> BTreeMap<bytes::Bytes, (i64, bytes::Bytes)> {
        let mut open: BTreeMap<i64, Vec<&Record>> = BTreeMap::new();
        let mut committed = Vec::new();
        for entry in self.entries.values() {
            match entry {
                Entry::Record(None, record) => committed.push(record),
                Entry::Record(Some(producer), record) => {
                    open.entry(*producer).or_default().push(record);
                }
                Entry::Marker(producer, true) => {
                    committed.extend(open.remove(producer).unwrap_or_default());
                }
                Entry::Marker(producer, false) => drop(open.remove(producer)),
            }
        }
        committed.retain(|record| record.offset < up_to);
        committed.sort_by_key(|record| record.offset);
        last_values(committed.into_iter().cloned())
    }

    fn log(&mut self) -> &mut Log<SimStorage> {
        self.log.as_mut().unwrap()
    }

    fn below(&mut self, end: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % end.max(1)
    }
}

/// What a consumer of committed records makes of the log, as Kafka's clients do it.
fn committed(
    snapshot: &std::sync::Arc<LogSnapshot<SimStorage>>,
    up_to: i64,
) -> BTreeMap<bytes::Bytes, (i64, bytes::Bytes)> {
    let mut later: Vec<AbortedTransaction> = snapshot.aborted_transactions(0, up_to).unwrap();
    later.sort_by_key(|aborted| std::cmp::Reverse(aborted.first_offset));
    let mut aborted = BTreeSet::new();
    let mut records = Vec::new();
    let batches = read_all(snapshot, 0, 2_000);
    for batch in batches.iter().filter(|batch| batch.last_offset() < up_to) {
        while let Some(next) = later.pop_if(|next| next.first_offset <= batch.last_offset()) {
            aborted.insert(next.producer_id);
        }
        if batch.is_control() {
            if batch.record_count() > 0
                && !EndTransactionMarker::from_batch(batch)
                    .unwrap()
                    .unwrap()
                    .committed
            {
                aborted.remove(&batch.producer_id());
            }
        } else if !(batch.is_transactional() && aborted.contains(&batch.producer_id())) {
            records.extend(batch.records().unwrap().map(|record| record.unwrap()));
        }
    }
    last_values(records.into_iter())
}

fn last_values(
    records: impl Iterator<Item = Record>,
) -> BTreeMap<bytes::Bytes, (i64, bytes::Bytes)> {
    let mut values = BTreeMap::new();
    for record in records {
        let key = record.key.unwrap();
        match record.value {
            Some(value) => values.insert(key, (record.offset, value)),
            None => values.remove(&key),
        };
    }
    values
}
