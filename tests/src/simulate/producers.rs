//! Simulated producers: they number their batches, keep up to five on their way, and try again
//! until each is acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use moldau_protocol::ErrorCode;
use moldau_protocol::batch::{Compression, RecordBatch, RecordBatchBuilder};
use rand::RngExt;
use rand::rngs::SmallRng;

use super::network::Produce;

/// A producer, idempotent or not.
#[derive(Debug)]
pub(super) struct Producer {
    index: usize,
    /// -1 without idempotence.
    id: i64,
    epoch: i16,
    lanes: Vec<Lane>,
}

/// What a producer has on its way to one partition.
#[derive(Debug)]
struct Lane {
    next_number: u64,
    /// Answers to earlier batches are of an epoch that was given up.
    first_number: u64,
    next_sequence: i32,
    /// Whether a batch of this epoch was acknowledged. Before that, only one is sent: to a broker
    /// that does not know the producer, any number is the first.
    is_known: bool,
    /// Batches from the oldest without an answer on, and whether they have one. Requests of a
    /// connection are answered in order, so no more than five lie between the oldest and the next.
    in_flight: VecDeque<(Produce, bool)>,
    /// Offsets that were acknowledged, by number.
    acknowledged: BTreeMap<u64, i64>,
}

impl Producer {
    pub(super) fn new(
        index: usize,
        is_idempotent: bool,
        partitions: usize,
        random: &mut SmallRng,
    ) -> Self {
        let id = match is_idempotent {
            true => 1_000 + i64::try_from(index).expect("a few producers"),
            false => -1,
        };
        let first_sequence = match random.random_range(0..4) {
            0 => i32::MAX - random.random_range(0..30),
            _ => 0,
        };
        let lane = || Lane {
            next_number: 0,
            first_number: 0,
            next_sequence: first_sequence,
            is_known: false,
            in_flight: VecDeque::new(),
            acknowledged: BTreeMap::new(),
        };
        Self {
            index,
            id,
            epoch: 0,
            lanes: (0..partitions).map(|_| lane()).collect(),
        }
    }

    const fn is_idempotent(&self) -> bool {
        self.id >= 0
    }

    /// A new batch for a partition, if the producer may send one.
    pub(super) fn produce(
        &mut self,
        partition: usize,
        now_ms: i64,
        random: &mut SmallRng,
    ) -> Option<Produce> {
        let is_idempotent = self.is_idempotent();
        let lane = &mut self.lanes[partition];
        let limit = if lane.is_known { MAX_IN_FLIGHT } else { 1 };
        if is_idempotent && lane.in_flight.len() >= limit {
            return None;
        }
        let records = random.random_range(1..4);
        let compression = [Compression::None, Compression::Lz4][random.random_range(0..2)];
        let mut builder = RecordBatchBuilder::new(compression);
        if is_idempotent {
            builder = builder.producer(self.id, self.epoch, lane.next_sequence);
        }
        let filler = vec![b'.'; random.random_range(0..300)];
        for record in 0..records {
            let key = format!("{}/{}", self.index, lane.next_number + record);
            let timestamp = now_ms - random.random_range(0..500);
            builder.append(timestamp, Some(key.as_bytes()), Some(&filler), &[]);
        }
        let batch = RecordBatch::parse(builder.build()).expect("a batch just built");
        let produce = Produce {
            producer: self.index,
            partition,
            number: lane.next_number,
            acks_all: is_idempotent || random.random_bool(0.5),
            batch,
        };
        lane.next_number += records;
        lane.next_sequence = produce.batch.last_sequence().wrapping_add(1) & i32::MAX;
        if is_idempotent {
            lane.in_flight.push_back((produce.clone(), false));
        }
        Some(produce)
    }

    /// One of the batches without an answer, again; mostly the oldest.
    pub(super) fn resend(&self, partition: usize, random: &mut SmallRng) -> Option<Produce> {
        let open: Vec<&Produce> = self.open(partition).collect();
        let index = match open.len() {
            0 => return None,
            count if random.random_bool(0.3) => random.random_range(0..count),
            _ => 0,
        };
        Some(open[index].clone())
    }

    /// The oldest batch without an answer.
    pub(super) fn oldest(&self, partition: usize) -> Option<&Produce> {
        self.open(partition).next()
    }

    fn open(&self, partition: usize) -> impl Iterator<Item = &Produce> {
        let in_flight = self.lanes[partition].in_flight.iter();
        in_flight
            .filter(|(_, is_answered)| !is_answered)
            .map(|(produce, _)| produce)
    }

    /// An answer has come.
    pub(super) fn answered(
        &mut self,
        partition: usize,
        number: u64,
        result: Result<i64, ErrorCode>,
    ) {
        let is_idempotent = self.is_idempotent();
        let lane = &mut self.lanes[partition];
        // Whatever the error, the batch is tried again: it may have arrived too early or too late.
        let Ok(offset) = result else { return };
        if !is_idempotent || number < lane.first_number {
            return;
        }
        let before = lane.acknowledged.insert(number, offset);
        assert!(
            before.is_none_or(|before| before == offset),
            "batch {number} of producer {} is answered with {offset}, before with {before:?}",
            self.index
        );
        for (produce, is_answered) in &mut lane.in_flight {
            *is_answered |= produce.number == number;
        }
        while lane
            .in_flight
            .front()
            .is_some_and(|(_, is_answered)| *is_answered)
        {
            lane.in_flight.pop_front();
            lane.is_known = true;
        }
    }

    /// Gives up what is on its way and goes on in a new epoch, as after a loss of data.
    pub(super) fn start_over(&mut self) {
        self.epoch += 1;
        for lane in &mut self.lanes {
            lane.in_flight.clear();
            lane.acknowledged.clear();
            lane.is_known = false;
            lane.first_number = lane.next_number;
            lane.next_sequence = 0;
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.lanes.iter().all(|lane| lane.in_flight.is_empty())
    }
}

impl fmt::Display for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "producer {} epoch {}:", self.index, self.epoch)?;
        for (partition, lane) in self.lanes.iter().enumerate() {
            for produce in self.open(partition) {
                let sequence = produce.batch.base_sequence();
                write!(f, " partition {partition} lacks sequence {sequence}")?;
            }
            write!(f, " next {}", lane.next_sequence)?;
        }
        Ok(())
    }
}

/// Batches that a producer has on its way to one partition (max.in.flight.requests.per.connection).
const MAX_IN_FLIGHT: usize = 5;
