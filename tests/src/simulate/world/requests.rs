//! What clients send to partitions, and what becomes of it.

use moldau_protocol::ResponseKind;
use moldau_protocol::batch::RecordBatch;
use rand::RngExt;

use super::{MEMBERS, World};
use crate::simulate::model::title;
use crate::simulate::network::{Produce, Request, Response};
use crate::simulate::node::Origin;
use crate::simulate::partition::{Append, Outcome, Reply};
use crate::simulate::shard::batches_of;

impl World {
    pub(super) fn produce(&mut self) {
        let producer = self.random.random_range(0..self.producers.len());
        let partition = self.random.random_range(0..self.settings.data.len());
        let random = &mut self.random;
        if let Some(produce) = self.producers[producer].produce(partition, self.now_ms, random) {
            self.network.send(Request::Produce(produce));
        }
    }

    pub(super) fn resend(&mut self) {
        let producer = self.random.random_range(0..self.producers.len());
        let partition = self.random.random_range(0..self.settings.data.len());
        let again = self.producers[producer].resend(partition, &mut self.random);
        if let Some(produce) = again {
            self.network.send(Request::Produce(produce));
        }
    }

    pub(super) fn deliver_request(&mut self) {
        match self.network.take_request(&mut self.random) {
            None => {}
            Some(Request::Produce(produce)) => self.arrives(produce),
            Some(Request::Group { from, body }) => self.group_request(from, body),
            Some(Request::Transactor { from, body }) => self.transactor_request(from, body),
        }
    }

    pub(super) fn arrives(&mut self, produce: Produce) {
        let Some(node) = &mut self.node else { return };
        let (batch, acks_all) = (produce.batch.clone(), produce.acks_all);
        let partition = produce.partition;
        let request = node.await_answer(Origin::Produce(produce));
        let append = Append::plain(batch, acks_all, Reply::Request(request));
        node.partitions[partition].push(append);
    }

    pub(super) fn deliver_response(&mut self) {
        match self.network.take_response(&mut self.random) {
            None => {}
            Some(Response::Produced {
                producer,
                partition,
                number,
                result,
            }) => self.producers[producer].answered(partition, number, result),
            Some(Response::Group {
                to,
                body: ResponseKind::ConsumerGroupHeartbeat(body),
            }) => self.consumers[to.member].answered(to.attempt, &body),
            Some(Response::Group { to, body }) => {
                self.members[to.group * MEMBERS + to.member].answered(to.attempt, &body);
            }
            Some(Response::Transactor { to, answer }) => self.transactor_answered(to, &answer),
        }
    }

    pub(super) fn write_any(&mut self) {
        let node = self.node.as_ref().expect("it runs");
        let busy = |index: &usize| node.partitions[*index].has_queue();
        let busy: Vec<usize> = (0..node.partitions.len()).filter(busy).collect();
        if let Some(partition) = self.any_of(&busy) {
            self.write(partition);
        }
    }

    pub(super) fn write(&mut self, partition: usize) {
        let Some(node) = &mut self.node else { return };
        let round = node.partitions[partition].write(self.now_ms);
        let said = |batches: &[RecordBatch]| -> Vec<String> { batches.iter().map(title).collect() };
        if !round.written.is_empty() {
            let line = format!("partition {partition} got {:?}", said(&round.written));
            self.trace.push_back(line);
        }
        if !round.refused.is_empty() {
            let line = format!("partition {partition} refused {:?}", said(&round.refused));
            self.trace.push_back(line);
        }
        let model = &mut self.models[partition];
        model.written(&round);
        model.check(&node.partitions[partition]);
        self.summary.batches += round.written.len() as u64;
        self.summary.duplicates += round.duplicates;
        self.settle(partition, round.outcomes);
    }

    /// Tells whoever waits what became of appends.
    pub(super) fn settle(&mut self, partition: usize, outcomes: Vec<Outcome>) {
        let node = self.node.as_ref().expect("it runs");
        self.models[partition].check(&node.partitions[partition]);
        for (reply, result) in outcomes {
            let Some(node) = &mut self.node else { return };
            match reply {
                Reply::Coordinator(id) if partition == self.settings.transaction_partition() => {
                    node.transactions.note(id, result.map(drop));
                }
                Reply::Marker { id, partition } => {
                    self.marker_outcome((id, partition), result.map(drop));
                }
                Reply::Coordinator(id) => {
                    let shard = partition - self.settings.data.len();
                    node.shards[shard].note(id, result.map(|_| ()));
                }
                Reply::Request(request) => {
                    let produce = match node.waiting.remove(&request) {
                        Some(Origin::Produce(produce)) => produce,
                        Some(Origin::Write(write)) => {
                            self.wrote(&write, result);
                            continue;
                        }
                        _ => panic!("a second answer to request {request}: {result:?}"),
                    };
                    if let Ok(base_offset) = result {
                        let (batch, acks_all) = (&produce.batch, produce.acks_all);
                        self.models[partition].acknowledged(batch, base_offset, acks_all);
                    }
                    self.network.answer(Response::Produced {
                        producer: produce.producer,
                        partition,
                        number: produce.number,
                        result,
                    });
                }
            }
        }
    }

    pub(super) fn start_sync(&mut self) {
        let now_ms = self.now_ms;
        let node = self.node.as_ref().expect("it runs");
        let due = |index: &usize| node.partitions[*index].is_sync_due(now_ms);
        let due: Vec<usize> = (0..node.partitions.len()).filter(due).collect();
        if let Some(partition) = self.any_of(&due)
            && let Some(node) = &mut self.node
        {
            node.partitions[partition].start_sync();
        }
    }

    pub(super) fn finish_sync(&mut self) {
        let node = self.node.as_ref().expect("it runs");
        let over = |index: &usize| node.partitions[*index].has_finished_sync();
        let over: Vec<usize> = (0..node.partitions.len()).filter(over).collect();
        if let Some(partition) = self.any_of(&over)
            && let Some(node) = &mut self.node
        {
            let outcomes = node.partitions[partition].finish_sync(self.now_ms);
            self.settle(partition, outcomes);
        }
    }

    pub(super) fn read(&mut self) {
        let partition = self.random.random_range(0..self.settings.partitions());
        let node = self.node.as_ref().expect("it runs");
        let (leader, log) = {
            let partition = &node.partitions[partition];
            (partition, &partition.log)
        };
        let Some(log) = log else { return };
        let mut batches = batches_of(&log.snapshot());
        batches.retain(|batch| batch.next_offset() <= leader.readable_end());
        let skipped = self.random.random_range(0..batches.len() + 1);
        self.models[partition].seen(&batches[skipped..]);
    }
}
