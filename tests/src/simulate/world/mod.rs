//! Everything in one run, and what one step does.

mod disk;
mod groups;
mod healing;
mod requests;
mod transactions;

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use moldau_log::SimStorage;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::consumers::Consumer;
use super::groups::Promises;
use super::members::Member;
use super::model::{End, Model};
use super::network::Network;
use super::node::{Node, Settings};
use super::producers::Producer;
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
        self.summary.aborted = self.transactions.aborted;
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
            Action::FollowTransactions => self.follow_transactions(),
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
