//! Groups that change their protocol while they have members, as KIP-848 lets them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use moldau_protocol::Message;
use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::consumer_protocol_assignment::{
    ConsumerProtocolAssignment, TopicPartition as AssignedTopic,
};
use moldau_protocol::messages::consumer_protocol_subscription::{
    ConsumerProtocolSubscription, TopicPartition as OwnedTopic,
};
use moldau_protocol::messages::heartbeat::HeartbeatRequest;
use moldau_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use moldau_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use moldau_protocol::types::KString;
use proptest::prelude::*;

use super::consumer_fixture::Consumer;
use super::fixture::{GROUP, World};
use super::{Coordinator, CoordinatorSettings};
use crate::consumer_group::{ConsumerGroup, MigrationPolicy};
use crate::group::GroupSettings;
use crate::ids::Token;

/// A consumer of the classic protocol with the cooperative assignor.
#[derive(Clone, Debug, Default)]
pub(super) struct Classic {
    pub(super) member_id: KString,
    instance: Option<KString>,
    generation: i32,
    owned: BTreeSet<(KString, i32)>,
    joining: Option<Token>,
    syncing: Option<Token>,
    rejoin: bool,
}

const TOPICS: [(&str, i32); 2] = [("orders", 4), ("visits", 4)];

impl Classic {
    fn new(instance: Option<&'static str>) -> Self {
        Self {
            instance: instance.map(KString::from),
            generation: -1,
            rejoin: true,
            ..Self::default()
        }
    }

    /// One turn of the client's loop.
    fn turn(&mut self, world: &mut World) {
        if let Some(token) = self.joining {
            if !world.is_waiting(token) {
                self.joining = None;
                let response = world.joined(token).clone();
                self.joined(&response, world);
            }
        } else if let Some(token) = self.syncing {
            if !world.is_waiting(token) {
                self.syncing = None;
                self.synced(token, world);
            }
        } else if self.rejoin {
            self.joining = Some(self.join(world));
        } else {
            self.heartbeat(world);
        }
    }

    fn subscription(&self) -> Bytes {
        let mut owned: BTreeMap<KString, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in &self.owned {
            owned.entry(topic.clone()).or_default().push(*partition);
        }
        let topic = |(topic, partitions)| OwnedTopic { topic, partitions };
        let subscription = ConsumerProtocolSubscription {
            topics: TOPICS
                .iter()
                .map(|(name, _)| KString::from(*name))
                .collect(),
            owned_partitions: owned.into_iter().map(topic).collect(),
            generation_id: self.generation,
            ..Default::default()
        };
        subscription.encode_versioned(3).expect("short names")
    }

    fn join(&self, world: &mut World) -> Token {
        let caller = world.caller(9);
        let protocol = JoinGroupRequestProtocol {
            name: "cooperative-sticky".into(),
            metadata: self.subscription(),
            ..Default::default()
        };
        let request = JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: 60_000,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        };
        let (fresh_id, now_ms) = (u128::from(caller.token.0), world.now_ms);
        let actions = world
            .coordinator
            .join_group(&caller, request, fresh_id, now_ms);
        world.act(actions);
        caller.token
    }

    fn joined(&mut self, response: &JoinGroupResponse, world: &mut World) {
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => {
                self.member_id = response.member_id.clone();
                self.generation = response.generation_id;
                self.rejoin = false;
                let leads = response.leader == response.member_id && !response.skip_assignment;
                let assignments = if leads { assign(response) } else { Vec::new() };
                self.syncing = Some(self.sync(assignments, world));
            }
            ErrorCode::MemberIdRequired => self.member_id = response.member_id.clone(),
            ErrorCode::RebalanceInProgress => {}
            ErrorCode::UnknownMemberId => self.abandon(),
            other => panic!("a join is answered {other:?}"),
        }
    }

    fn sync(&self, assignments: Vec<SyncGroupRequestAssignment>, world: &mut World) -> Token {
        world.sync_with(SyncGroupRequest {
            group_id: GROUP.into(),
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
            generation_id: self.generation,
            protocol_type: Some("consumer".into()),
            protocol_name: Some("cooperative-sticky".into()),
            assignments,
            ..Default::default()
        })
    }

    fn synced(&mut self, token: Token, world: &World) {
        match world.sync_code(token) {
            ErrorCode::None => {
                let assigned = read_assignment(&world.synced(token).assignment);
                // The cooperative way: whoever gives something up joins again to say so.
                self.rejoin = self.owned.iter().any(|at| !assigned.contains(at));
                self.owned = assigned;
            }
            ErrorCode::RebalanceInProgress => self.rejoin = true,
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => self.abandon(),
            other => panic!("a sync is answered {other:?}"),
        }
    }

    fn heartbeat(&mut self, world: &mut World) {
        let code = world.heartbeat_with(HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
            ..Default::default()
        });
        match code {
            ErrorCode::None => {}
            ErrorCode::RebalanceInProgress => self.rejoin = true,
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => self.abandon(),
            other => panic!("a heartbeat is answered {other:?}"),
        }
    }

    fn abandon(&mut self) {
        let instance = self.instance.take();
        *self = Self {
            instance,
            ..Self::new(None)
        };
    }

    fn leave(&mut self, world: &mut World) {
        if !self.member_id.is_empty() && self.joining.is_none() && self.syncing.is_none() {
            world.leave(&[(&self.member_id.clone(), None)]);
            self.abandon();
        }
    }
}

/// The leader gives every member an equal part, and nothing to two who might both hold it.
fn assign(response: &JoinGroupResponse) -> Vec<SyncGroupRequestAssignment> {
    let mut owners: BTreeMap<(KString, i32), usize> = BTreeMap::new();
    for (position, member) in response.members.iter().enumerate() {
        let metadata = member.metadata.clone();
        let subscription = ConsumerProtocolSubscription::decode_versioned(metadata).expect("ours");
        for topic in subscription.owned_partitions {
            for partition in topic.partitions {
                owners.insert((topic.topic.clone(), partition), position);
            }
        }
    }
    let mut parts: Vec<BTreeMap<KString, Vec<i32>>> = vec![BTreeMap::new(); response.members.len()];
    let all = TOPICS
        .iter()
        .flat_map(|(name, count)| (0..*count).map(|index| (KString::from(*name), index)));
    for (number, at) in all.enumerate() {
        let position = number % parts.len();
        if owners.get(&at).is_none_or(|owner| *owner == position) {
            parts[position].entry(at.0).or_default().push(at.1);
        }
    }
    let assignment = |(member, part): (&_, BTreeMap<KString, Vec<i32>>)| {
        let moldau_protocol::messages::join_group::JoinGroupResponseMember { member_id, .. } =
            member;
        let topic = |(topic, partitions)| AssignedTopic { topic, partitions };
        let assignment = ConsumerProtocolAssignment {
            assigned_partitions: part.into_iter().map(topic).collect(),
            ..Default::default()
        };
        SyncGroupRequestAssignment {
            member_id: member_id.clone(),
            assignment: assignment.encode_versioned(3).expect("short names"),
            ..Default::default()
        }
    };
    response.members.iter().zip(parts).map(assignment).collect()
}

fn read_assignment(bytes: &Bytes) -> BTreeSet<(KString, i32)> {
    if bytes.is_empty() {
        return BTreeSet::new();
    }
    let assignment = ConsumerProtocolAssignment::decode_versioned(bytes.clone()).expect("ours");
    let of_topic = |topic: AssignedTopic| {
        let name = topic.topic;
        topic
            .partitions
            .into_iter()
            .map(move |index| (name.clone(), index))
    };
    assignment
        .assigned_partitions
        .into_iter()
        .flat_map(of_topic)
        .collect()
}

/// The world with consumers of both kinds.
pub(super) struct Mixed {
    pub(super) world: World,
    pub(super) classic: Vec<Classic>,
    pub(super) consumers: Vec<Consumer>,
}

impl Mixed {
    pub(super) fn new() -> Self {
        Self::with(MigrationPolicy::Bidirectional)
    }

    fn with(policy: MigrationPolicy) -> Self {
        let mut settings = CoordinatorSettings {
            group: GroupSettings {
                initial_rebalance_delay_ms: 0,
                ..Default::default()
            },
            offsets_retention_check_interval_ms: i64::MAX,
            ..Default::default()
        };
        settings.consumer_group.migration_policy = policy;
        Self {
            world: World::with(settings),
            classic: Vec::new(),
            consumers: Vec::new(),
        }
    }

    pub(super) fn add_classic(&mut self) {
        self.classic.push(Classic::new(None));
    }

    pub(super) fn add_consumer(&mut self) {
        let mut consumer = Consumer::of("", &["orders", "visits"]);
        consumer.member_id = KString::from(format!("new-{}", self.consumers.len()));
        self.consumers.push(consumer);
    }

    pub(super) fn settle(&mut self) {
        for _ in 0..40 {
            self.world.pass(3_000);
            for classic in &mut self.classic {
                classic.turn(&mut self.world);
            }
            for consumer in &mut self.consumers {
                self.world.beat(consumer);
            }
            self.check();
        }
        self.check_replay();
    }

    /// What everyone reads; nothing is read twice.
    pub(super) fn readers(&self) -> Vec<usize> {
        let mut all = BTreeSet::new();
        let mut counts = Vec::new();
        let name = |id| self.world.image.topic_by_id(id).unwrap().name.clone();
        let consumers = self.consumers.iter().map(|consumer| {
            let owned = consumer.owned.iter().map(|(id, index)| (name(*id), *index));
            owned.collect::<Vec<_>>()
        });
        let classic = self
            .classic
            .iter()
            .map(|classic| classic.owned.iter().cloned().collect());
        for owned in classic.chain(consumers) {
            counts.push(owned.len());
            for at in owned {
                assert!(all.insert(at.clone()), "{at:?} is read twice");
            }
        }
        counts
    }

    fn check(&self) {
        let coordinator = &self.world.coordinator;
        let (classic, consumer) = (&coordinator.groups, &coordinator.consumer_groups);
        assert!(
            classic.keys().all(|id| !consumer.contains_key(id)),
            "a group is of one kind"
        );
        if let Some(group) = consumer.get(GROUP) {
            group.assert_invariants();
        }
        if let Some(group) = classic.get(GROUP) {
            group.assert_invariants();
        }
    }

    /// A replay of the log gives the same consumer group, or none.
    pub(super) fn check_replay(&self) {
        let replayed = self.world.replayed();
        let now = &self.world.coordinator.consumer_groups;
        let durable = |group: Option<&ConsumerGroup>| group.map(ConsumerGroup::durable);
        assert_eq!(
            durable(replayed.consumer_groups.get(GROUP)),
            durable(now.get(GROUP))
        );
    }

    /// A replay of the log gives a group of the same kind.
    pub(super) fn check_kinds_of_replay(&self) {
        assert_eq!(kind(&self.world.replayed()), self.kind());
    }

    pub(super) fn kind(&self) -> &'static str {
        kind(&self.world.coordinator)
    }
}

fn kind(coordinator: &Coordinator) -> &'static str {
    match (
        coordinator.groups.contains_key(GROUP),
        coordinator.consumer_groups.contains_key(GROUP),
    ) {
        (true, false) => "classic",
        (false, true) => "consumer",
        (true, true) => "both",
        (false, false) => "none",
    }
}

#[test]
fn a_classic_group_becomes_a_consumer_group_and_back_with_its_members_on_board() {
    let mut mixed = Mixed::new();
    mixed.add_classic();
    mixed.add_classic();
    mixed.settle();
    assert_eq!((mixed.kind(), mixed.readers()), ("classic", vec![4, 4]));
    mixed.add_consumer();
    mixed.settle();
    assert_eq!(mixed.kind(), "consumer");
    let mut counts = mixed.readers();
    counts.sort_unstable();
    assert_eq!(counts, [2, 3, 3]);
    let described = mixed
        .world
        .coordinator
        .describe_consumer_group(&GROUP.into());
    let kinds: Vec<i8> = described
        .members
        .iter()
        .map(|member| member.member_type)
        .collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == 0).count(), 2);
    let leaving = mixed.consumers.remove(0);
    mixed.world.leave_with(&leaving, -1);
    assert_eq!(mixed.kind(), "classic");
    let before: Vec<_> = mixed
        .classic
        .iter()
        .map(|classic| classic.owned.clone())
        .collect();
    for classic in &mut mixed.classic {
        classic.turn(&mut mixed.world);
        assert!(classic.rejoin, "it is asked to join again");
    }
    let after: Vec<_> = mixed
        .classic
        .iter()
        .map(|classic| classic.owned.clone())
        .collect();
    assert_eq!(after, before, "nobody has to give up anything for it");
    mixed.settle();
    assert_eq!((mixed.kind(), mixed.readers()), ("classic", vec![4, 4]));
}

#[test]
fn whoever_waits_in_a_classic_group_is_told_to_join_again_when_it_changes_its_protocol() {
    let mut mixed = Mixed::new();
    mixed.add_classic();
    mixed.settle();
    let mut waiting = Classic::new(None);
    let asked = waiting.join(&mut mixed.world);
    waiting.member_id = mixed.world.joined(asked).member_id.clone();
    let waits = waiting.join(&mut mixed.world);
    assert!(
        mixed.world.is_waiting(waits),
        "the other has to join as well"
    );
    mixed.add_consumer();
    let joined = mixed.world.beat(&mut mixed.consumers[0]);
    assert_eq!(joined, ErrorCode::None);
    assert_eq!(mixed.world.join_code(waits), ErrorCode::RebalanceInProgress);
    mixed.classic.push(waiting);
    mixed.settle();
    assert_eq!(mixed.readers().iter().sum::<usize>(), 8);
}

#[test]
fn a_classic_group_whose_upgrade_fails_stays_one_whatever_was_written_since() {
    for later_fails in [false, true] {
        let mut mixed = Mixed::new();
        mixed.add_classic();
        mixed.settle();
        mixed.add_consumer();
        mixed.add_consumer();
        mixed.world.commits_at_once = false;
        let joins = [0, 1].map(|index| {
            let request = mixed.consumers[index].full();
            mixed.world.send_beat(&request)
        });
        mixed.world.fail_one(ErrorCode::NotEnoughReplicas);
        match later_fails {
            true => mixed.world.fail_one(ErrorCode::NotEnoughReplicas),
            false => mixed.world.commit_one(),
        }
        while !mixed.world.appends.is_empty() {
            mixed.world.commit_one();
        }
        for joined in joins {
            let code = mixed.world.beaten(joined).error_code;
            assert_ne!(code, ErrorCode::None.code(), "nobody has joined");
        }
        assert_eq!(mixed.kind(), "classic");
        let replayed = mixed.world.replayed();
        assert!(replayed.groups.contains_key(GROUP), "the log keeps it");
        assert!(!replayed.consumer_groups.contains_key(GROUP), "and only it");
        mixed.world.commits_at_once = true;
        mixed.settle();
        assert_eq!(mixed.readers().iter().sum::<usize>(), 8);
    }
}

#[test]
fn the_last_consumer_to_leave_takes_an_empty_group_with_it_not_a_classic_one() {
    let mut mixed = Mixed::new();
    mixed.add_consumer();
    mixed.settle();
    let leaving = mixed.consumers.remove(0);
    mixed.world.leave_with(&leaving, -1);
    assert_eq!(
        (mixed.kind(), mixed.world.consumer_state().as_str()),
        ("consumer", "Empty")
    );
    mixed.add_classic();
    mixed.settle();
    assert_eq!((mixed.kind(), mixed.readers()), ("classic", vec![8]));
    mixed.classic.remove(0).leave(&mut mixed.world);
    mixed.add_consumer();
    mixed.settle();
    assert_eq!((mixed.kind(), mixed.readers()), ("consumer", vec![8]));
}

#[test]
fn the_migration_policy_can_forbid_either_way() {
    let mut mixed = Mixed::with(MigrationPolicy::Downgrade);
    mixed.add_classic();
    mixed.settle();
    mixed.add_consumer();
    let refused = mixed.world.beat(&mut mixed.consumers[0]);
    assert_eq!(
        (refused, mixed.kind()),
        (ErrorCode::GroupIdNotFound, "classic")
    );
    let mut mixed = Mixed::with(MigrationPolicy::Upgrade);
    mixed.add_classic();
    mixed.add_consumer();
    mixed.settle();
    let leaving = mixed.consumers.remove(0);
    mixed.world.leave_with(&leaving, -1);
    mixed.settle();
    assert_eq!((mixed.kind(), mixed.readers()), ("consumer", vec![8]));
}

#[test]
fn a_classic_group_of_another_kind_than_consumers_is_left_alone() {
    let mut world = World::new();
    let caller = world.caller(9);
    let request = JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        group_instance_id: Some("worker".into()),
        protocol_type: "connect".into(),
        protocols: vec![JoinGroupRequestProtocol::default()],
        ..Default::default()
    };
    let actions = world.coordinator.join_group(&caller, request, 1, 0);
    world.act(actions);
    let mut consumer = Consumer::of("a", &["orders"]);
    assert_eq!(world.beat(&mut consumer), ErrorCode::GroupIdNotFound);
    assert!(world.is_waiting(caller.token));
}

#[test]
fn a_classic_member_takes_the_place_of_the_last_static_consumer() {
    let mut mixed = Mixed::new();
    mixed.classic.push(Classic::new(Some("one")));
    mixed.consumers.push(Consumer {
        topics: vec!["orders".into(), "visits".into()],
        ..Consumer::instance("new", "two")
    });
    mixed.settle();
    assert_eq!((mixed.kind(), mixed.readers()), ("consumer", vec![4, 4]));
    mixed.consumers.clear();
    mixed.classic.push(Classic::new(Some("two")));
    mixed.settle();
    assert_eq!((mixed.kind(), mixed.readers()), ("classic", vec![4, 4]));
}

#[derive(Clone, Debug)]
enum Event {
    AddClassic,
    AddConsumer,
    Turn { classic: usize },
    Beat { consumer: usize },
    LeaveClassic { classic: usize },
    LeaveConsumer { consumer: usize },
    Pass { ms: i64 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        1 => Just(Event::AddClassic),
        1 => Just(Event::AddConsumer),
        10 => (0..4_usize).prop_map(|classic| Event::Turn { classic }),
        6 => (0..4_usize).prop_map(|consumer| Event::Beat { consumer }),
        1 => (0..4_usize).prop_map(|classic| Event::LeaveClassic { classic }),
        1 => (0..4_usize).prop_map(|consumer| Event::LeaveConsumer { consumer }),
        3 => (1..4_000_i64).prop_map(|ms| Event::Pass { ms }),
    ];
    prop::collection::vec(event, 1..150)
}

impl Mixed {
    fn happen(&mut self, event: &Event) {
        match event {
            Event::AddClassic if self.classic.len() < 4 => self.add_classic(),
            Event::AddConsumer if self.consumers.len() < 4 => self.add_consumer(),
            Event::Turn { classic } => {
                if let Some(classic) = self.classic.get_mut(*classic) {
                    classic.turn(&mut self.world);
                }
            }
            Event::Beat { consumer } => {
                if let Some(consumer) = self.consumers.get_mut(*consumer) {
                    self.world.beat(consumer);
                }
            }
            Event::LeaveClassic { classic } => {
                if let Some(classic) = self.classic.get_mut(*classic) {
                    classic.leave(&mut self.world);
                }
            }
            Event::LeaveConsumer { consumer } => {
                if let Some(consumer) = self.consumers.get_mut(*consumer)
                    && consumer.epoch > 0
                {
                    self.world.leave_with(&consumer.clone(), -1);
                    consumer.abandon();
                }
            }
            Event::Pass { ms } => self.world.pass(*ms),
            Event::AddClassic | Event::AddConsumer => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn groups_of_both_kinds_of_members_settle_with_everything_read_once(events in events()) {
        let mut mixed = Mixed::new();
        mixed.add_classic();
        for (number, event) in events.iter().enumerate() {
            mixed.happen(event);
            mixed.check();
            if number % 16 == 0 {
                mixed.check_replay();
            }
        }
        mixed.settle();
        prop_assert_eq!(mixed.readers().iter().sum::<usize>(), 8);
        let expected = if mixed.consumers.is_empty() { "classic" } else { "consumer" };
        prop_assert_eq!(mixed.kind(), expected);
    }
}
