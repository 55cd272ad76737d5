//! Random sequences of events: whatever clients, time and the log do, the rules hold.

use std::collections::BTreeMap;

use moldau_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use moldau_protocol::{ErrorCode, KString, ResponseKind};
use proptest::prelude::*;

use super::fixture::{GROUP, JoinAs, World};
use crate::coordinator::CoordinatorSettings;
use crate::group::{GroupSettings, GroupState};

/// One thing that happens. Members are drawn from those that were ever given an id.
#[derive(Clone, Debug)]
enum Event {
    JoinNew {
        old_client: bool,
    },
    JoinStatic {
        instance: usize,
        version: i16,
    },
    JoinAgain {
        member: usize,
        other_metadata: bool,
    },
    Sync {
        member: usize,
    },
    Heartbeat {
        member: usize,
    },
    Leave {
        member: usize,
    },
    CommitOffset {
        member: usize,
        offset: i64,
    },
    /// Every member does what the group's state asks of it, as good clients do.
    AllCooperate,
    CommitAppend,
    FailAppend,
    Pass {
        ms: i64,
    },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let member = 0..8_usize;
    let event = prop_oneof![
        3 => any::<bool>().prop_map(|old_client| Event::JoinNew { old_client }),
        2 => (0..2_usize, prop_oneof![Just(8_i16), Just(9)])
            .prop_map(|(instance, version)| Event::JoinStatic { instance, version }),
        4 => (member.clone(), prop::bool::weighted(0.2))
            .prop_map(|(member, other_metadata)| Event::JoinAgain { member, other_metadata }),
        6 => member.clone().prop_map(|member| Event::Sync { member }),
        3 => member.clone().prop_map(|member| Event::Heartbeat { member }),
        1 => member.clone().prop_map(|member| Event::Leave { member }),
        2 => (member, 0..100_i64).prop_map(|(member, offset)| Event::CommitOffset { member, offset }),
        6 => Just(Event::AllCooperate),
        6 => Just(Event::CommitAppend),
        1 => Just(Event::FailAppend),
        4 => prop_oneof![8 => 1..4_000_i64, 1 => Just(20_000), 1 => Just(120_000)]
            .prop_map(|ms| Event::Pass { ms }),
    ];
    prop::collection::vec(event, 1..80)
}

/// The world and what its clients remember.
struct Model {
    world: World,
    /// Ids that were ever given out, with the generation their owner has heard of.
    members: Vec<KString>,
    highest_generation: i32,
}

impl Model {
    fn new(waits_for_company: bool) -> Self {
        // A group without members and offsets is removed after a while, and starts again at 0.
        let offsets_retention_check_interval_ms = i64::MAX;
        let initial_rebalance_delay_ms = if waits_for_company { 3_000 } else { 0 };
        let group = GroupSettings {
            initial_rebalance_delay_ms,
            ..Default::default()
        };
        let settings = CoordinatorSettings {
            group,
            offsets_retention_check_interval_ms,
            ..Default::default()
        };
        let world = World::held_with(settings);
        Self {
            world,
            members: Vec::new(),
            highest_generation: -1,
        }
    }

    fn member(&self, index: usize) -> Option<KString> {
        self.members.get(index % self.members.len().max(1)).cloned()
    }

    fn happen(&mut self, event: &Event) {
        let world = &mut self.world;
        match event {
            Event::JoinNew { old_client: true } => {
                world.join(JoinAs {
                    version: 3,
                    ..JoinAs::default()
                });
            }
            Event::JoinNew { old_client: false } => {
                let (member_id, _) = world.join_new();
                self.members.push(member_id);
            }
            Event::JoinStatic { instance, version } => {
                let instance = if *instance == 0 { "a" } else { "b" };
                world.join(JoinAs {
                    version: *version,
                    ..JoinAs::instance(instance)
                });
            }
            Event::AllCooperate => self.cooperate(),
            Event::CommitAppend => world.commit_one(),
            Event::FailAppend => world.fail_one(ErrorCode::NotEnoughReplicas),
            Event::Pass { ms } => world.pass(*ms),
            Event::JoinAgain { .. }
            | Event::Sync { .. }
            | Event::Heartbeat { .. }
            | Event::Leave { .. }
            | Event::CommitOffset { .. } => self.member_acts(event),
        }
        self.learn_ids();
    }

    fn cooperate(&mut self) {
        let world = &mut self.world;
        let Some(group) = world.coordinator.groups.get(GROUP) else {
            return;
        };
        let (state, leader) = (group.state(), group.leader().cloned());
        let members = group.describe().members;
        let all: Vec<_> = members
            .iter()
            .map(|member| (&member.member_id, "work"))
            .collect();
        for member in &members {
            let (id, instance) = (&member.member_id, member.group_instance_id.clone());
            match state {
                GroupState::Empty => {}
                GroupState::PreparingRebalance => {
                    world.join(JoinAs {
                        instance,
                        ..JoinAs::member(id)
                    });
                }
                GroupState::CompletingRebalance => {
                    let leads = Some(id) == leader.as_ref();
                    world.sync(id, if leads { &all } else { &[] });
                }
                GroupState::Stable => {
                    world.heartbeat(id);
                }
            }
        }
    }

    fn member_acts(&mut self, event: &Event) {
        let (Event::JoinAgain { member, .. }
        | Event::Sync { member }
        | Event::Heartbeat { member }
        | Event::Leave { member }
        | Event::CommitOffset { member, .. }) = event
        else {
            return;
        };
        let Some(id) = self.member(*member) else {
            return;
        };
        let world = &mut self.world;
        match event {
            Event::JoinAgain { other_metadata, .. } => {
                let protocols = vec![("range", if *other_metadata { "n" } else { "m" })];
                world.join(JoinAs {
                    protocols,
                    ..JoinAs::member(&id)
                });
            }
            Event::Sync { .. } => {
                let all = self.members.clone();
                let assignments: Vec<_> = all.iter().map(|member| (member, "work")).collect();
                world.sync(&id, &assignments);
            }
            Event::Heartbeat { .. } => {
                world.heartbeat(&id);
            }
            Event::Leave { .. } => {
                world.leave(&[(&id, None)]);
            }
            Event::CommitOffset { offset, .. } => commit_offset(world, &id, *offset),
            _ => {}
        }
    }

    fn learn_ids(&mut self) {
        let Some(group) = self.world.coordinator.groups.get(GROUP) else {
            return;
        };
        for member in group.describe().members {
            if !self.members.contains(&member.member_id) {
                self.members.push(member.member_id);
            }
        }
    }

    fn check(&mut self) {
        let Some(group) = self.world.coordinator.groups.get(GROUP) else {
            return;
        };
        group.assert_invariants();
        assert!(
            group.generation_id() >= self.highest_generation,
            "the generation never falls"
        );
        self.highest_generation = group.generation_id();
        // Sessions, deadlines and waiting requests: something must end every wait.
        if group.state() != GroupState::Empty {
            assert!(self.world.coordinator.poll_timeout().is_some());
        }
        if self.world.appends.is_empty() {
            self.check_replay();
        }
    }

    /// With nothing on its way, the log tells the same as the coordinator.
    fn check_replay(&self) {
        let replayed = self.world.replayed();
        assert_eq!(replayed.offsets, self.world.coordinator.offsets);
        let group = self.world.coordinator.groups.get(GROUP);
        let Some(group) = group.filter(|group| group.state() == GroupState::Stable) else {
            return;
        };
        let stored = replayed
            .groups
            .get(GROUP)
            .expect("a stable group is in the log");
        assert_eq!(stored.generation_id(), group.generation_id());
        assert_eq!(stored.leader(), group.leader());
        assert_eq!(stored.describe(), group.describe());
    }
}

fn commit_offset(world: &mut World, member_id: &KString, offset: i64) {
    let caller = world.caller(9);
    let partition = OffsetCommitRequestPartition {
        committed_offset: offset,
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: "orders".into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: world.generation(),
        member_id: member_id.clone(),
        topics: vec![topic],
        ..Default::default()
    };
    let actions = world
        .coordinator
        .offset_commit(&caller, request, &world.image, world.now_ms);
    world.act(actions);
}

/// Members that believe to be in the same generation agree about it.
fn assert_generations_agree(world: &World) {
    let mut leaders: BTreeMap<i32, KString> = BTreeMap::new();
    for response in world.answers() {
        let ResponseKind::JoinGroup(joined) = response else {
            continue;
        };
        if joined.error_code == 0 && !joined.members.is_empty() && !joined.skip_assignment {
            let leader = leaders
                .entry(joined.generation_id)
                .or_insert_with(|| joined.leader.clone());
            assert_eq!(
                *leader, joined.leader,
                "one leader in generation {}",
                joined.generation_id
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_whatever_happens(events in events(), waits_for_company: bool) {
        let mut model = Model::new(waits_for_company);
        for event in &events {
            model.happen(event);
            model.check();
        }
        assert_generations_agree(&model.world);

        // Let the log catch up and all time run out: everyone has been answered.
        for _ in 0..50 {
            while !model.world.appends.is_empty() {
                model.world.commit_one();
            }
            model.world.pass(400_000);
            model.check();
        }
        prop_assert_eq!(model.world.unanswered(), vec![]);
        prop_assert_eq!(model.world.state(), if model.world.generation() < 0 { "Dead" } else { "Empty" });
    }

    #[test]
    fn the_same_events_give_the_same_records(events in events(), waits_for_company: bool) {
        let run = || {
            let mut model = Model::new(waits_for_company);
            events.iter().for_each(|event| model.happen(event));
            (model.world.log, model.world.appends)
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn everyone_is_answered_when_the_coordinator_moves(events in events(), waits_for_company: bool) {
        let mut model = Model::new(waits_for_company);
        events.iter().for_each(|event| model.happen(event));
        model.world.resign();
        prop_assert_eq!(model.world.unanswered(), vec![]);
    }
}
