//! Everything in one run, and what one step does.

mod transactions;

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

use moldau_core::config::FlushMode;
use moldau_core::coordinator::Caller;
use moldau_core::ids::Token;
use moldau_log::{SimOperation, SimStorage};
use moldau_protocol::batch::RecordBatch;
use moldau_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use moldau_protocol::{KString, RequestKind, ResponseKind};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::consumers::{Consumer, have_settled};
use super::groups::{Promises, check_replay, offsets_of};
use super::members::{Member, group_id, metadata};
use super::model::{End, Model, title};
use super::network::{FromMember, Network, Produce, Request, Response};
use super::node::{GROUP_PARTITIONS, Node, Origin, Settings, TOPIC};
use super::partition::{Append, Outcome, Reply};
use super::producers::Producer;
use super::shard::{self, Answer, batches_of};
use super::transaction_model::Transactions;
use super::transactors::Transactor;
use super::weather::{Action, Weather};
use super::{Run, Summary};

pub(super) struct World {
    random: SmallRng,
    settings: Settings,
    weather: Weather,
    now_ms: i64,
    storage: SimStorage,
    /// `None` only while it starts.
    node: Option<Node>,
    /// How often the broker has started; the leader epoch of its batches.
    life: i32,
    /// By partition.
    models: Vec<Model>,
    producers: Vec<Producer>,
    members: Vec<Member>,
    /// Those of the new protocol, all in one group, whose number is [`GROUPS`].
    consumers: Vec<Consumer>,
    network: Network,
    promises: Promises,
    transactors: Vec<Transactor>,
    transactions: Transactions,
    next_producer_id: i64,
    /// A data partition has lost what its flush mode need not keep.
    has_lost_data: bool,
    next_offset: i64,
    /// The broker deletes old segments in this step.
    deleting: bool,
    step: u32,
    summary: Summary,
    digest: DefaultHasher,
    /// The last steps, for whoever looks for a mistake.
    trace: VecDeque<String>,
}

impl World {
    pub(super) fn new(run: Run) -> Self {
        let mut random = SmallRng::seed_from_u64(run.seed);
        let settings = Settings::random(run.mistake, &mut random);
        let weather = Weather::new(&mut random);
        let models = (0..settings.partitions())
            .map(|index| Model::new(format!("partition {index}"), settings.flush(index)))
            .collect();
        let partitions = settings.data.len();
        let producers = (0..PRODUCERS)
            .map(|index| Producer::new(index, index > 0, partitions, &mut random))
            .collect();
        let members = (0..GROUPS * MEMBERS)
            .map(|index| Member::new(index / MEMBERS, index % MEMBERS, index % 4 == 3))
            .collect();
        let mut world = Self {
            random,
            settings,
            weather,
            now_ms: 1_700_000_000_000,
            storage: SimStorage::new(),
            node: None,
            life: 0,
            models,
            producers,
            members,
            consumers: (0..CONSUMERS)
                .map(|index| Consumer::new(GROUPS, index, index == 0))
                .collect(),
            network: Network::default(),
            promises: Promises::default(),
            transactors: (0..TRANSACTORS).map(Transactor::new).collect(),
            transactions: Transactions::default(),
            next_producer_id: 5_000,
            has_lost_data: false,
            next_offset: 0,
            deleting: false,
            step: 0,
            summary: Summary::default(),
            digest: DefaultHasher::new(),
            trace: VecDeque::new(),
        };
        let node = Node::start(&world.settings, &world.storage, 0, world.now_ms);
        world.node = Some(node.expect("a broker starts on an empty disk"));
        world
    }

    pub(super) fn into_summary(mut self) -> Summary {
        self.summary.generations = self.promises.generations.len() as u64;
        self.summary.commits = self.promises.acknowledged;
        self.summary.transactions = self.transactions.committed;
        self.summary.digest = self.digest.finish();
        self.summary
    }

    pub(super) fn into_trace(self) -> (u32, Vec<String>) {
        (self.step, self.trace.into())
    }

    pub(super) fn step(&mut self) {
        self.step += 1;
        let action = self.weather.draw(&mut self.random);
        self.note(format!("{action:?}"));
        self.deleting = action == Action::Maintain;
        self.act(action);
        self.after_step();
    }

    fn after_step(&mut self) {
        if !self.storage.has_power() {
            self.restart(End::PowerLoss);
        }
        let node = self.node.as_ref().expect("it runs");
        for (model, partition) in self.models.iter_mut().zip(&node.partitions) {
            model.check(partition);
            partition.leader.log_end_offset().hash(&mut self.digest);
        }
        self.now_ms.hash(&mut self.digest);
        let has_failed = node
            .partitions
            .iter()
            .any(|partition| partition.has_failed());
        if has_failed && self.chance(20) {
            // Somebody looks at the disk and starts the broker again.
            self.restart(End::Kill);
        }
        self.forget_gone_groups();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Produce => self.produce(),
            Action::Resend => self.resend(),
            Action::DeliverRequest => self.deliver_request(),
            Action::DeliverResponse => self.deliver_response(),
            Action::DoubleRequest => self.network.double_request(&mut self.random),
            Action::DropRequest => drop(self.network.take_request(&mut self.random)),
            Action::DropResponse => drop(self.network.take_response(&mut self.random)),
            Action::Write => self.write_any(),
            Action::StartSync => self.start_sync(),
            Action::FinishSync => self.finish_sync(),
            Action::TellCoordinator => self.tell_coordinator(),
            Action::MemberActs => self.member_acts(false),
            Action::Commit => self.commit(),
            Action::FetchOffsets => self.check_offsets(),
            Action::DeleteOffsets => self.delete_offsets(),
            Action::PassTime => self.pass_time(),
            Action::JumpTime => self.jump_time(),
            Action::Read => self.read(),
            Action::Maintain => self.maintain(),
            Action::DeleteRecords => self.delete_records(),
            Action::Checkpoint => self.checkpoint(),
            Action::FailDisk => self.fail_disk(),
            Action::FillDisk => self.fill_disk(),
            Action::CutPower => {
                let calls = self.random.random_range(0..40);
                self.storage.cut_power_after(calls);
            }
            Action::Crash => self.restart(End::PowerLoss),
            Action::Kill => self.restart(End::Kill),
            Action::Close => self.close(),
            Action::CheckReplay => self.check_replay(),
            Action::ConsumerActs => self.consumer_acts(false),
            Action::TransactorActs => self.transactor_acts(false),
            Action::SendMarker => self.send_marker(),
            Action::CheckTransactions => drop(self.check_transactions()),
        }
    }

    fn produce(&mut self) {
        let producer = self.random.random_range(0..self.producers.len());
        let partition = self.random.random_range(0..self.settings.data.len());
        let random = &mut self.random;
        if let Some(produce) = self.producers[producer].produce(partition, self.now_ms, random) {
            self.network.send(Request::Produce(produce));
        }
    }

    fn resend(&mut self) {
        let producer = self.random.random_range(0..self.producers.len());
        let partition = self.random.random_range(0..self.settings.data.len());
        let again = self.producers[producer].resend(partition, &mut self.random);
        if let Some(produce) = again {
            self.network.send(Request::Produce(produce));
        }
    }

    fn deliver_request(&mut self) {
        match self.network.take_request(&mut self.random) {
            None => {}
            Some(Request::Produce(produce)) => self.arrives(produce),
            Some(Request::Group { from, body }) => self.group_request(from, body),
            Some(Request::Transactor { from, body }) => self.transactor_request(from, body),
        }
    }

    fn arrives(&mut self, produce: Produce) {
        let Some(node) = &mut self.node else { return };
        let (batch, acks_all) = (produce.batch.clone(), produce.acks_all);
        let partition = produce.partition;
        let request = node.await_answer(Origin::Produce(produce));
        let append = Append::plain(batch, acks_all, Reply::Request(request));
        node.partitions[partition].push(append);
    }

    fn group_request(&mut self, from: FromMember, body: RequestKind) {
        let group = from.group;
        let tag = match &body {
            RequestKind::OffsetCommit(request) => {
                let partition = &request.topics[0].partitions[0];
                let offset = Some(partition.committed_offset);
                self.promises
                    .arrived(group, [partition.partition_index], offset)
            }
            RequestKind::OffsetDelete(request) => {
                let partition = request.topics[0].partitions[0].partition_index;
                self.promises.arrived(group, [partition], None)
            }
            RequestKind::DeleteGroups(_) => self.promises.arrived(group, 0..GROUP_PARTITIONS, None),
            RequestKind::SyncGroup(request) => self.promises.asks(group, request),
            RequestKind::ConsumerGroupHeartbeat(request) => self.promises.beats(group, request),
            _ => 0,
        };
        let shard = self.settings.partition_of_group(&group_id(group)) - self.settings.data.len();
        let (now_ms, fresh_id) = (self.now_ms, self.random.random());
        let Some(node) = &mut self.node else { return };
        let image = node.image.clone();
        let token = node.await_answer(Origin::Group { from, tag });
        let (shard, partition) = node.shard(shard);
        let coordinator = &mut shard.coordinator;
        let caller = |api_version| Caller {
            token: Token(token),
            api_version,
            client_id: KString::from("client"),
            client_host: KString::from("/127.0.0.1"),
        };
        let actions = match body {
            RequestKind::JoinGroup(request) => {
                coordinator.join_group(&caller(9), request, fresh_id, now_ms)
            }
            RequestKind::SyncGroup(request) => coordinator.sync_group(&caller(5), request, now_ms),
            RequestKind::Heartbeat(request) => coordinator.heartbeat(&caller(4), request, now_ms),
            RequestKind::LeaveGroup(request) => {
                coordinator.leave_group(&caller(5), request, now_ms)
            }
            RequestKind::OffsetCommit(request) => {
                coordinator.offset_commit(&caller(9), request, &image, now_ms)
            }
            RequestKind::OffsetDelete(request) => coordinator.offset_delete(&caller(0), request),
            RequestKind::DeleteGroups(request) => {
                coordinator.delete_group(&caller(2), &request.groups_names[0])
            }
            RequestKind::ConsumerGroupHeartbeat(request) => {
                coordinator.consumer_group_heartbeat(&caller(1), &request, fresh_id, now_ms)
            }
            other => unreachable!("members do not send {other:?}"),
        };
        let answers = shard.act(actions, partition, now_ms);
        self.answer_all(answers);
        self.forget_gone_groups();
    }

    /// Sends what coordinators answer.
    fn answer_all(&mut self, answers: Vec<Answer>) {
        let Some(node) = &mut self.node else { return };
        for (token, body) in answers {
            let Some(Origin::Group { from, tag }) = node.waiting.remove(&token.0) else {
                panic!("a second answer to request {token}: {body:?}");
            };
            self.promises.answered(tag, &body);
            if from.attempt > 0 {
                self.network.answer(Response::Group { to: from, body });
            }
        }
    }

    fn deliver_response(&mut self) {
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

    fn write_any(&mut self) {
        let node = self.node.as_ref().expect("it runs");
        let busy = |index: &usize| node.partitions[*index].has_queue();
        let busy: Vec<usize> = (0..node.partitions.len()).filter(busy).collect();
        if let Some(partition) = self.any_of(&busy) {
            self.write(partition);
        }
    }

    fn write(&mut self, partition: usize) {
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
    fn settle(&mut self, partition: usize, outcomes: Vec<Outcome>) {
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

    fn start_sync(&mut self) {
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

    fn finish_sync(&mut self) {
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

    fn tell_coordinator(&mut self) {
        let shard = self.random.random_range(0..self.settings.offsets.len() + 1);
        if shard == self.settings.offsets.len() {
            return self.tell_transactions();
        }
        let now_ms = self.now_ms;
        let Some(node) = &mut self.node else { return };
        let (shard, partition) = node.shard(shard);
        let answers = shard.tell(partition, now_ms);
        self.answer_all(answers);
        self.forget_gone_groups();
    }

    fn member_acts(&mut self, calm: bool) {
        let member = self.random.random_range(0..self.members.len());
        if let Some((from, body)) = self.members[member].act(calm, &mut self.random) {
            self.network.send(Request::Group { from, body });
        }
    }

    fn consumer_acts(&mut self, calm: bool) {
        let consumer = self.random.random_range(0..self.consumers.len());
        if let Some((from, body)) = self.consumers[consumer].act(calm, &mut self.random) {
            self.network.send(Request::Group { from, body });
        }
    }

    fn commit(&mut self) {
        let count = self.members.len();
        let member = self.random.random_range(0..count + self.consumers.len());
        let partition = self.random.random_range(0..GROUP_PARTITIONS);
        self.next_offset += 1;
        let (from, body) = match self.members.get(member) {
            Some(member) => member.commit(self.next_offset, partition),
            None => self.consumers[member - count].commit(self.next_offset, partition),
        };
        self.network.send(Request::Group { from, body });
    }

    fn delete_offsets(&mut self) {
        let group = self.random.random_range(0..=GROUPS);
        let from = FromMember {
            group,
            member: 0,
            attempt: 0,
        };
        let body = if self.chance(3) {
            let request = moldau_protocol::messages::delete_groups::DeleteGroupsRequest {
                groups_names: vec![group_id(group)],
                ..Default::default()
            };
            request.into()
        } else {
            let partition = OffsetDeleteRequestPartition {
                partition_index: self.random.random_range(0..GROUP_PARTITIONS),
            };
            let topic = OffsetDeleteRequestTopic {
                name: KString::from(TOPIC),
                partitions: vec![partition],
            };
            let request = OffsetDeleteRequest {
                group_id: group_id(group),
                topics: vec![topic],
            };
            request.into()
        };
        self.network.send(Request::Group { from, body });
    }

    /// Every group finds the offsets that were acknowledged, with their metadata.
    fn check_offsets(&self) {
        let node = self.node.as_ref().expect("it runs");
        for group in 0..=GROUPS {
            let group_id = group_id(group);
            let shard = self.settings.partition_of_group(&group_id) - self.settings.data.len();
            let offsets = offsets_of(&node.shards[shard].coordinator);
            for partition in 0..GROUP_PARTITIONS {
                let found = offsets.get(&(group_id.clone(), partition));
                self.promises
                    .check_offset(group, partition, found.map(|found| found.offset));
                assert!(
                    found.is_none_or(|found| found.metadata == metadata(found.offset)),
                    "the metadata of an offset is lost: {found:?}"
                );
            }
        }
    }

    /// What groups promised that are gone counts no more. Called after everything that may end one:
    /// the next request may begin another of the same name.
    fn forget_gone_groups(&mut self) {
        let Some(node) = &self.node else { return };
        for group in 0..=GROUPS {
            let group_id = group_id(group);
            let shard = self.settings.partition_of_group(&group_id) - self.settings.data.len();
            let coordinator = &node.shards[shard].coordinator;
            let is_there = match group {
                // Under its name there may be one that only stores offsets.
                GROUPS => coordinator.describe_consumer_group(&group_id).error_code == 0,
                _ => coordinator
                    .groups()
                    .any(|known| *known.group_id() == group_id),
            };
            if !is_there {
                self.promises.forget_owners(group);
            }
        }
    }

    fn pass_time(&mut self) {
        self.now_ms += self.random.random_range(1..2_000);
        self.time_out();
    }

    fn time_out(&mut self) {
        let now_ms = self.now_ms;
        for shard in 0..self.settings.offsets.len() {
            let Some(node) = &mut self.node else { return };
            let (shard, partition) = node.shard(shard);
            let due = shard.coordinator.poll_timeout();
            if due.is_some_and(|due| due <= now_ms) {
                let actions = shard.coordinator.handle_timeout(now_ms);
                let answers = shard.act(actions, partition, now_ms);
                self.answer_all(answers);
            }
        }
        self.time_out_transactions();
    }

    /// The clock is set, forward or back.
    fn jump_time(&mut self) {
        match self.random.random_range(0..4) {
            0 => self.now_ms -= self.random.random_range(0..60_000),
            1 => {
                // So far that nothing waits any more, and clients have given up what was on its way.
                for partition in 0..self.settings.partitions() {
                    self.write(partition);
                }
                self.now_ms += 2 * PRODUCER_EXPIRATION_MS;
                self.network.requests.clear();
                self.models.iter_mut().for_each(Model::allow_to_forget);
                self.producers.iter_mut().for_each(Producer::start_over);
            }
            _ => self.now_ms += self.random.random_range(0..10 * 60_000),
        }
        self.time_out();
    }

    fn read(&mut self) {
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

    fn maintain(&mut self) {
        let Some(node) = &mut self.node else { return };
        for (index, partition) in node.partitions.iter_mut().enumerate() {
            let before = partition.files();
            // A disk that refuses is tried again later.
            let done = partition.maintain(self.now_ms, PRODUCER_EXPIRATION_MS);
            let after = partition.files();
            if before != after {
                let line = format!("partition {index} maintained ({done:?}), now {after:?}");
                self.trace.push_back(line);
            }
        }
    }

    fn delete_records(&mut self) {
        let partition = self.random.random_range(0..self.settings.data.len());
        let Some(node) = &mut self.node else { return };
        let partition = &mut node.partitions[partition];
        let start = partition.leader.log_start_offset().0;
        let end = partition.leader.high_watermark().0;
        let offset = self.random.random_range(start..end + 1);
        let _deleted = partition.delete_records(offset);
    }

    fn checkpoint(&mut self) {
        // An error is tried again later.
        let _written = self.node.as_ref().expect("it runs").checkpoint();
    }

    fn fail_disk(&mut self) {
        let kind = io::ErrorKind::Other;
        match self.random.random_range(0..7) {
            0 => self.storage.fail_next(SimOperation::Sync, kind),
            1 => self.storage.fail_next(SimOperation::SyncDirectory, kind),
            2 => self.storage.fail_next(SimOperation::Create, kind),
            3 => self.storage.fail_next(SimOperation::Rename, kind),
            4 => self.storage.fail_next(SimOperation::SetSize, kind),
            _ => {
                let written = self.random.random_range(0..500);
                self.storage.tear_next_write(written, kind);
            }
        }
    }

    fn fill_disk(&mut self) {
        let capacity = match self.chance(2) {
            true => None,
            false => Some(self.storage.used() + self.random.random_range(0..4_000)),
        };
        self.storage.set_capacity(capacity);
    }

    fn close(&mut self) {
        let kept = self.kept(End::Kill);
        // What was queued is written and synced before.
        for partition in 0..self.settings.partitions() {
            self.write(partition);
        }
        let ends = self.kept(End::Kill);
        let Some(node) = self.node.take() else { return };
        let failed = node
            .partitions
            .iter()
            .any(|partition| partition.has_failed());
        let lost_power = self.kept_of(&node, End::PowerLoss);
        match node.close() {
            Ok(()) => {
                // Nothing may be lost then, even if the power goes at once.
                self.storage.crash(self.random.random());
                self.note("closed cleanly".to_owned());
                self.start_again(&ends, &ends);
            }
            Err(_) if !self.storage.has_power() => {
                self.storage.crash(self.random.random());
                self.start_again(&lost_power, &lost_power);
            }
            Err(error) => {
                self.note(format!("close failed ({failed}): {error}"));
                self.storage.kill();
                self.start_again(&kept, &lost_power);
            }
        }
    }

    /// What of each partition must be there after such an end.
    fn kept(&self, end: End) -> Vec<i64> {
        self.kept_of(self.node.as_ref().expect("it runs"), end)
    }

    fn kept_of(&self, node: &Node, end: End) -> Vec<i64> {
        let partitions = self.models.iter().zip(&node.partitions);
        partitions
            .map(|(model, partition)| model.kept(partition, end))
            .collect()
    }

    fn restart(&mut self, end: End) {
        let kept = self.kept(end);
        let lost_power = self.kept(End::PowerLoss);
        self.node = None;
        match end {
            End::Kill => self.storage.kill(),
            End::PowerLoss => self.storage.crash(self.random.random()),
        }
        self.note(format!("{end:?}, kept {kept:?}"));
        self.start_again(&kept, &lost_power);
    }

    /// Starts the broker; the power may go again while it starts, after which only what is in
    /// `lost_power` must be there.
    fn start_again(&mut self, kept: &[i64], lost_power: &[i64]) {
        self.storage.set_capacity(None);
        self.storage.clear_faults();
        let mut kept = kept.to_vec();
        self.life += 1;
        self.summary.restarts += 1;
        let node = loop {
            if self.chance(4) {
                let calls = self.random.random_range(0..60);
                self.storage.cut_power_after(calls);
            }
            match Node::start(&self.settings, &self.storage, self.life, self.now_ms) {
                Ok(node) if self.storage.has_power() => break node,
                Ok(_) => {}
                Err(error) => {
                    assert!(
                        !self.storage.has_power(),
                        "the broker does not start: {error}"
                    );
                }
            }
            self.storage.crash(self.random.random());
            self.note("power lost while starting".to_owned());
            kept.clear();
            kept.extend(lost_power);
        };
        self.node = Some(node);
        self.compare(&kept);
    }

    /// Compares what the broker found with what must be there.
    fn compare(&mut self, kept: &[i64]) {
        let mut lost_data = false;
        for (index, kept) in kept.iter().enumerate() {
            let node = self.node.as_ref().expect("it runs");
            let partition = &node.partitions[index];
            let lost = self.models[index].recovered(partition, *kept, self.deleting);
            if !lost || self.settings.flush(index) == FlushMode::Commit {
                continue;
            }
            if index < self.settings.data.len() {
                lost_data = true;
            } else {
                let groups = (0..=GROUPS)
                    .filter(|group| self.settings.partition_of_group(&group_id(*group)) == index);
                for group in groups.collect::<Vec<_>>() {
                    self.promises.forget(group);
                }
            }
        }
        if lost_data {
            self.producers.iter_mut().for_each(Producer::start_over);
            self.transactions_lost_data();
        }
        self.check_transactions();
        self.forget_gone_groups();
        self.check_offsets();
    }

    fn check_replay(&self) {
        let node = self.node.as_ref().expect("it runs");
        for (index, shard) in node.shards.iter().enumerate() {
            let partition = &node.partitions[self.settings.data.len() + index];
            // After a failed sync nobody knows which of the last records will be there.
            if shard.is_settled() && !partition.has_queue() && !partition.has_failed() {
                let replayed =
                    shard::replay(partition, self.settings.coordinator, &node.image, None);
                check_replay(&shard.coordinator, &replayed);
            }
        }
    }

    /// Ends all trouble, and expects that everyone gets on.
    pub(super) fn heal(&mut self) {
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
        panic!("not everyone gets on: {stuck:?}, {members:?}, {consumers:?}, {transactors:?}");
    }

    fn is_well(&self) -> bool {
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

    fn healing_round(&mut self) {
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

    fn any_of(&mut self, choices: &[usize]) -> Option<usize> {
        if choices.is_empty() {
            return None;
        }
        Some(choices[self.random.random_range(0..choices.len())])
    }

    /// True once in `times`.
    fn chance(&mut self, times: u32) -> bool {
        self.random.random_range(0..times) == 0
    }

    fn note(&mut self, what: String) {
        what.hash(&mut self.digest);
        while self.trace.len() >= TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(format!("step {}: {what}", self.step));
    }
}

/// The first of them is not idempotent.
const PRODUCERS: usize = 3;
const GROUPS: usize = 2;
const MEMBERS: usize = 3;
const TRANSACTORS: usize = 2;
const CONSUMERS: usize = 3;

/// `producer.id.expiration.ms`, Kafka's default.
const PRODUCER_EXPIRATION_MS: i64 = 86_400_000;

/// Lines that a failure shows.
const TRACE: usize = 60;

/// Rounds of 200 ms each, longer than all time-outs one after another.
const MAX_HEALING_ROUNDS: usize = 1_000;
