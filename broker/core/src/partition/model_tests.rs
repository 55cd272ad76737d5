//! Random producers, failing writes and late syncs: what is in the log is dense, in order and there
//! once.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixture::idempotent;
use super::*;
use crate::partition::PartitionStart;

#[derive(Clone, Debug)]
enum Event {
    /// A producer sends its next batch, or one of its last again.
    Send {
        producer: usize,
        again: bool,
        records: i32,
    },
    Written,
    WriteFailed,
    Synced {
        up_to: i64,
    },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        5 => (0..3_usize, prop::bool::weighted(0.3), 1..4_i32)
            .prop_map(|(producer, again, records)| Event::Send { producer, again, records }),
        2 => Just(Event::Written),
        1 => Just(Event::WriteFailed),
        2 => (0..40_i64).prop_map(|up_to| Event::Synced { up_to }),
    ];
    prop::collection::vec(event, 1..60)
}

/// A partition, the log it writes, and what its producers know.
struct Model {
    partition: Partition,
    /// Batches in the file, and those prepared for it: (producer, base sequence, records, offset).
    log: Vec<(usize, i32, i32, i64)>,
    prepared: Vec<(usize, i32, i32, i64)>,
    /// The last batch of each producer; it is sent again until it is in the log.
    last: BTreeMap<usize, (i32, i32)>,
    waiting: Vec<(Token, i64)>,
    last_token: u64,
}

impl Model {
    fn new() -> Self {
        let partition = Partition::open(PartitionStart {
            log_start_offset: Offset(0),
            log_end_offset: Offset(0),
            leader_epoch: LeaderEpoch(0),
            flush: FlushMode::Commit,
            producers: ProducerStates::default(),
        });
        let (log, prepared, last, waiting) = (Vec::new(), Vec::new(), BTreeMap::new(), Vec::new());
        Self {
            partition,
            log,
            prepared,
            last,
            waiting,
            last_token: 0,
        }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Send {
                producer,
                again,
                records,
            } => self.send(*producer, *again, *records),
            Event::Written => {
                self.log.append(&mut self.prepared);
                let progress = self.partition.written(0);
                self.release(progress);
                self.wait_for_the_end();
            }
            Event::WriteFailed => {
                self.prepared.clear();
                self.partition.write_failed();
                self.forget_unwritten();
            }
            Event::Synced { up_to } => {
                let progress = self.partition.synced(Offset(*up_to), 0);
                self.release(progress);
            }
        }
    }

    fn send(&mut self, producer: usize, again: bool, records: i32) {
        let (sequence, records) = match self.last.get(&producer) {
            Some(last) if again => *last,
            Some((sequence, count)) => (sequence + count, records),
            None => (0, records),
        };
        let batch = idempotent(producer as i64, sequence, records);
        let known = self
            .log
            .iter()
            .chain(&self.prepared)
            .find(|entry| (entry.0, entry.1) == (producer, sequence));
        match self
            .partition
            .prepare(&batch, 0)
            .expect("in order, or a duplicate")
        {
            Prepared::Duplicate(original) => {
                assert_eq!(known.map(|entry| entry.3), Some(original.base_offset.0))
            }
            Prepared::Append { base_offset, .. } => {
                assert_eq!(known, None, "no batch is there twice");
                self.prepared
                    .push((producer, sequence, records, base_offset.0));
            }
        }
        self.last.insert(producer, (sequence, records));
    }

    /// Producers whose batches were lost go on after the last one in the log.
    fn forget_unwritten(&mut self) {
        self.last.clear();
        for (producer, sequence, records, _) in &self.log {
            self.last.insert(*producer, (*sequence, *records));
        }
    }

    fn wait_for_the_end(&mut self) {
        self.last_token += 1;
        let (token, end) = (Token(self.last_token), self.partition.log_end_offset());
        if self.partition.await_committed(token, end) == Ack::Waiting {
            self.waiting.push((token, end.0));
        }
    }

    fn release(&mut self, progress: Progress) {
        let high_watermark = self.partition.high_watermark().0;
        let released: Vec<Token> = self
            .waiting
            .iter()
            .filter(|(_, end)| *end <= high_watermark)
            .map(|(token, _)| *token)
            .collect();
        self.waiting.retain(|(_, end)| *end > high_watermark);
        assert_eq!(
            progress.released, released,
            "whoever waits below the high watermark, and nobody else"
        );
    }

    fn check(&self) {
        let mut end = 0;
        let mut sequences: BTreeMap<usize, i32> = BTreeMap::new();
        for (producer, sequence, records, offset) in &self.log {
            assert_eq!(*offset, end, "offsets are dense");
            end += i64::from(*records);
            let expected = sequences.entry(*producer).or_default();
            assert_eq!(
                sequence, expected,
                "records of a producer are in order without gaps"
            );
            *expected += records;
        }
        assert_eq!(self.partition.log_end_offset().0, end);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_has_every_batch_once_and_in_order(events in events()) {
        let mut model = Model::new();
        let mut high_watermark = Offset(0);
        for event in &events {
            model.happen(event);
            model.check();
            prop_assert!(model.partition.high_watermark() >= high_watermark);
            high_watermark = model.partition.high_watermark();
        }
        let progress = model.partition.synced(model.partition.log_end_offset(), 0);
        model.release(progress);
        prop_assert_eq!(model.waiting, vec![]);
    }
}
