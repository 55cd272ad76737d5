//! Random interleavings of transactions over several producers and partitions, against a simple
//! model: every record is committed or aborted together with the others of its transaction, and
//! what a reader of committed records sees never changes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixture::World;
use super::*;
use crate::config::FlushMode;
use crate::ids::{LeaderEpoch, Offset};
use crate::partition::fixture::transactional;
use crate::partition::{BatchSummary, Partition, PartitionStart, Prepared};
use crate::producer_state::{Marker, ProducerStates};

#[derive(Clone, Debug)]
enum Event {
    /// A producer adds a partition, and writes a record there.
    Write { producer: usize, partition: usize },
    /// A producer ends its transaction.
    End { producer: usize, committed: bool },
    /// A new instance of a producer starts.
    Begin { producer: usize },
    /// The oldest decision is told to one of its partitions, or completed if all were told.
    Tell,
    /// Time passes.
    Pass { ms: i64 },
    /// The coordinator starts anew from its log.
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        8 => (0..3_usize, 0..3_usize)
            .prop_map(|(producer, partition)| Event::Write { producer, partition }),
        3 => (0..3_usize, any::<bool>())
            .prop_map(|(producer, committed)| Event::End { producer, committed }),
        1 => (0..3_usize).prop_map(|producer| Event::Begin { producer }),
        5 => Just(Event::Tell),
        1 => (1..70_000_i64).prop_map(|ms| Event::Pass { ms }),
        1 => Just(Event::Restart),
    ];
    prop::collection::vec(event, 1..80)
}

/// One partition: its leader, and what lies in its log.
struct Log {
    leader: Partition,
    /// Offset to transaction; markers have none.
    records: BTreeMap<i64, u64>,
    /// Aborted: producer, first offset, marker.
    aborted: Vec<(i64, i64, i64)>,
    producers: BTreeMap<i64, i64>,
    /// What a reader of committed records has seen so far.
    seen: Vec<u64>,
    read_to: i64,
}

/// What a client knows of itself.
#[derive(Clone, Copy, Default)]
struct Client {
    producer: (i64, i16),
    started: bool,
    /// The number of its transaction.
    transaction: Option<u64>,
}

struct Model {
    world: World,
    logs: Vec<Log>,
    clients: Vec<Client>,
    sequences: BTreeMap<(usize, i64, i16), i32>,
    /// What was decided of each transaction, as the client was told.
    decided: BTreeMap<u64, bool>,
    written: BTreeMap<u64, Vec<(usize, i64)>>,
    next_transaction: u64,
}

const IDS: [&str; 3] = ["a", "b", "c"];

impl Model {
    fn new() -> Self {
        let log = || Log {
            leader: Partition::open(PartitionStart {
                log_start_offset: Offset(0),
                log_end_offset: Offset(0),
                leader_epoch: LeaderEpoch(0),
                flush: FlushMode::Os,
                producers: ProducerStates::default(),
            }),
            records: BTreeMap::new(),
            aborted: Vec::new(),
            producers: BTreeMap::new(),
            seen: Vec::new(),
            read_to: 0,
        };
        Self {
            world: World::new(),
            logs: (0..3).map(|_| log()).collect(),
            clients: vec![Client::default(); 3],
            sequences: BTreeMap::new(),
            decided: BTreeMap::new(),
            written: BTreeMap::new(),
            next_transaction: 0,
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Write {
                producer,
                partition,
            } => self.write(producer, partition),
            Event::End {
                producer,
                committed,
            } => self.end(producer, committed),
            Event::Begin { producer } => self.begin(producer),
            Event::Tell => self.tell(),
            Event::Pass { ms } => {
                self.world.pass(ms);
                self.world.commit_all();
            }
            Event::Restart => {
                self.world.restart();
                self.world.commit_all();
            }
        }
        self.read_all();
    }

    fn begin(&mut self, producer: usize) {
        self.clients[producer].started = false;
        if let Ok(fresh) = self.world.init_again(IDS[producer], None) {
            self.clients[producer] = Client {
                producer: fresh,
                started: true,
                transaction: None,
            };
        }
    }

    fn write(&mut self, index: usize, partition: usize) {
        let client = self.clients[index];
        if !client.started {
            return self.begin(index);
        }
        let (id, epoch) = client.producer;
        let log = &mut self.logs[partition];
        let producer_id = ProducerId(id);
        let (guard, open) = log
            .leader
            .producers()
            .verification_guard(producer_id, ProducerEpoch(epoch));
        if !open {
            let added = self.world.add(
                5,
                IDS[index],
                client.producer,
                &[i32::try_from(partition).unwrap()],
            );
            match added {
                ErrorCode::None => {}
                ErrorCode::ConcurrentTransactions => return,
                _ => return self.fenced(index),
            }
        }
        let sequence = self.sequences.entry((partition, id, epoch)).or_default();
        let batch = BatchSummary {
            producer_epoch: ProducerEpoch(epoch),
            guard: Some(guard),
            ..transactional(id, *sequence, 1)
        };
        match log.leader.prepare(&batch, 0) {
            Ok(Prepared::Append { base_offset, .. }) => {
                *sequence += 1;
                let _ = log.leader.written(0);
                let next = &mut self.next_transaction;
                let transaction = *self.clients[index].transaction.get_or_insert_with(|| {
                    *next += 1;
                    *next
                });
                log.records.insert(base_offset.0, transaction);
                log.producers.insert(base_offset.0, id);
                let written = self.written.entry(transaction).or_default();
                written.push((partition, base_offset.0));
            }
            Ok(Prepared::Duplicate(_)) => panic!("sequence numbers are fresh"),
            Err(_) => self.fenced(index),
        }
    }

    fn fenced(&mut self, index: usize) {
        self.clients[index].started = false;
        self.clients[index].transaction = None;
    }

    fn end(&mut self, index: usize, committed: bool) {
        let client = self.clients[index];
        let Some(transaction) = client.transaction.filter(|_| client.started) else {
            return;
        };
        match self.world.end(5, IDS[index], client.producer, committed) {
            Ok(next) => {
                self.clients[index].producer = next;
                self.clients[index].transaction = None;
                self.decided.insert(transaction, committed);
            }
            Err(ErrorCode::ConcurrentTransactions) => {}
            Err(_) => self.fenced(index),
        }
    }

    /// Writes the markers of the oldest decision.
    fn tell(&mut self) {
        if self.world.markers.is_empty() {
            return;
        }
        let markers = self.world.write_markers();
        for (_, partition) in &markers.partitions {
            let log = &mut self.logs[usize::try_from(*partition).unwrap()];
            let marker = BatchSummary {
                transactional: true,
                control: true,
                base_sequence: -1,
                producer_epoch: markers.producer_epoch,
                marker: Some(Marker {
                    committed: markers.committed,
                    coordinator_epoch: markers.coordinator_epoch,
                    transaction_version: markers.transaction_version,
                }),
                ..transactional(markers.producer_id.0, 0, 1)
            };
            if let Ok(Prepared::Append { completed, .. }) = log.leader.prepare(&marker, 0) {
                let aborted = completed.filter(|completed| !completed.committed);
                log.aborted.extend(aborted.map(|completed| {
                    let (first, last) = (completed.first_offset.0, completed.last_offset.0);
                    (completed.producer_id.0, first, last)
                }));
            }
            let _ = log.leader.written(0);
        }
        self.world.commit_all();
    }

    /// Reads what has become stable, as a consumer does: without what the aborted list names.
    fn read_all(&mut self) {
        for log in &mut self.logs {
            let stable = log.leader.last_stable_offset().0;
            assert!(stable >= log.read_to && stable <= log.leader.high_watermark().0);
            for (offset, transaction) in log.records.range(log.read_to..stable) {
                let producer = log.producers[offset];
                let is_aborted = log
                    .aborted
                    .iter()
                    .any(|(id, first, last)| *id == producer && (*first..*last).contains(offset));
                if is_aborted {
                    assert_ne!(
                        self.decided.get(transaction),
                        Some(&true),
                        "a commit was aborted"
                    );
                } else {
                    let decided = self.decided.get(transaction);
                    assert_eq!(
                        decided,
                        Some(&true),
                        "an undecided or aborted record is read"
                    );
                    log.seen.push(*transaction);
                }
            }
            log.read_to = stable;
        }
    }

    /// Lets everything come to its end: all or nothing of each transaction was read.
    fn finish(&mut self) {
        self.world.pass(100_000);
        self.world.commit_all();
        while !self.world.markers.is_empty() {
            self.tell();
        }
        self.read_all();
        for log in &self.logs {
            assert_eq!(log.leader.last_stable_offset(), log.leader.high_watermark());
        }
        for (transaction, written) in &self.written {
            let seen: usize = self
                .logs
                .iter()
                .map(|log| log.seen.iter().filter(|seen| *seen == transaction).count())
                .sum();
            let expected = if self.decided.get(transaction) == Some(&true) {
                written.len()
            } else {
                0
            };
            assert_eq!(seen, expected, "transaction {transaction}");
        }
    }
}

proptest! {
    #[test]
    fn readers_see_all_or_nothing_of_each_transaction(events in events()) {
        let mut model = Model::new();
        for event in &events {
            model.happen(event);
        }
        model.finish();
    }
}
