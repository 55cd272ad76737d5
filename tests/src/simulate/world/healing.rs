//! The end of a run: all trouble is over, and everyone must get on.

use super::{GROUPS, World};
use crate::simulate::consumers::{Consumer, have_settled};
use crate::simulate::members::{Member, group_id};
use crate::simulate::model::End;
use crate::simulate::network::Request;
use crate::simulate::producers::Producer;
use crate::simulate::transactors::Transactor;

impl World {
    /// Ends all trouble, and expects that everyone gets on.
    pub(in crate::simulate) fn heal(&mut self) {
        self.deleting = false;
        self.storage.clear_faults();
        self.storage.set_capacity(None);
        self.restart(End::Kill);
        self.note("healing".to_owned());
        for _ in 0..MAX_HEALING_ROUNDS {
            if self.is_well() {
                self.check_replay();
                self.check_offsets();
                self.check_transactions_at_the_end();
                return;
            }
            self.healing_round();
        }
        let stuck: Vec<String> = self.producers.iter().map(Producer::to_string).collect();
        let members: Vec<String> = self.members.iter().map(Member::to_string).collect();
        let transactors = self.transactors.iter().map(Transactor::to_string);
        let transactors: Vec<String> = transactors.collect();
        let consumers: Vec<String> = self.consumers.iter().map(Consumer::to_string).collect();
        let node = self.node.as_ref().expect("it runs");
        let shards = node.shards.iter();
        let groups =
            shards.map(|shard| shard.coordinator.describe_consumer_group(&group_id(GROUPS)));
        let groups: Vec<_> = groups.collect();
        panic!(
            "not everyone gets on: {stuck:?}, {members:?}, {consumers:?} of {groups:?}, {transactors:?}"
        );
    }

    pub(super) fn is_well(&self) -> bool {
        let in_one_generation = (0..GROUPS).all(|group| {
            let mut members = self.members.iter().filter(|member| member.group() == group);
            let first = members.next().and_then(Member::stable_generation);
            first.is_some() && members.all(|member| member.stable_generation() == first)
        });
        let settled = self.network.requests.is_empty() && self.network.responses.is_empty();
        let node = self.node.as_ref().expect("it runs");
        in_one_generation
            && have_settled(&self.consumers)
            && settled
            && node.transactions.is_settled()
            && self.producers.iter().all(Producer::is_done)
            && self.transactors.iter().all(Transactor::is_done)
    }

    pub(super) fn healing_round(&mut self) {
        for producer in 0..self.producers.len() {
            for partition in 0..self.settings.data.len() {
                if let Some(oldest) = self.producers[producer].oldest(partition).cloned() {
                    self.network.send(Request::Produce(oldest));
                }
            }
        }
        for _ in 0..self.members.len() {
            self.member_acts(true);
        }
        for _ in 0..self.consumers.len() {
            self.consumer_acts(true);
        }
        for _ in 0..self.transactors.len() {
            self.transactor_acts(true);
        }
        while !self.network.requests.is_empty() {
            self.deliver_request();
        }
        for _ in 0..self.transactors.len() * self.settings.data.len() {
            self.send_marker();
        }
        for partition in 0..self.settings.partitions() {
            self.write(partition);
            if let Some(node) = &mut self.node
                && node.partitions[partition].log.is_some()
            {
                node.partitions[partition].start_sync();
                let outcomes = node.partitions[partition].finish_sync(self.now_ms);
                self.settle(partition, outcomes);
            }
        }
        while self
            .node
            .as_ref()
            .is_some_and(|node| node.shards.iter().any(|s| s.has_news()))
        {
            self.tell_coordinator();
        }
        while self
            .node
            .as_ref()
            .is_some_and(|node| node.transactions.has_news())
        {
            self.tell_transactions();
        }
        while !self.network.responses.is_empty() {
            self.deliver_response();
        }
        self.now_ms += 200;
        self.time_out();
        self.after_step();
    }
}

/// Rounds of 200 ms each, longer than all time-outs one after another.
const MAX_HEALING_ROUNDS: usize = 1_000;
