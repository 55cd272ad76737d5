//! Random sequences of events around a consumer group: whatever clients, topics, time and the log do,
//! no two members hold a partition at once, a replay builds the same group, and when all is quiet
//! every partition is read by exactly one subscriber.

use std::collections::{BTreeMap, BTreeSet};

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::types::{KString, Uuid};
use proptest::prelude::*;

use super::CoordinatorSettings;
use super::consumer_fixture::Consumer;
use super::fixture::{GROUP, World};
use crate::consumer_group::ConsumerGroup;

#[derive(Clone, Debug)]
enum Event {
    /// A heartbeat whose answer arrives.
    Beat {
        consumer: usize,
    },
    /// A heartbeat whose answer is lost.
    LostBeat {
        consumer: usize,
    },
    /// Leaves for good; as a static member also for a while.
    Leave {
        consumer: usize,
        comes_back: bool,
    },
    /// The process is gone, and another begins with the same id.
    Restart {
        consumer: usize,
    },
    Subscribe {
        consumer: usize,
        to: usize,
    },
    AddTopic,
    CommitAppend,
    FailAppend,
    Pass {
        ms: i64,
    },
}

const CONSUMERS: usize = 5;
const SUBSCRIPTIONS: &[(&[&str], Option<&str>)] = &[
    (&["orders"], None),
    (&["orders", "visits"], None),
    (&["visits", "none"], None),
    (&["late-0", "orders"], None),
    (&[], Some("late-.*|visits")),
    (&["orders"], Some(".*")),
    (&[], None),
];
const LATE: &[&str] = &["late-0", "late-1", "late-2"];

fn events() -> impl Strategy<Value = Vec<Event>> {
    let consumer = 0..CONSUMERS;
    let event = prop_oneof![
        12 => consumer.clone().prop_map(|consumer| Event::Beat { consumer }),
        2 => consumer.clone().prop_map(|consumer| Event::LostBeat { consumer }),
        2 => (consumer.clone(), any::<bool>())
            .prop_map(|(consumer, comes_back)| Event::Leave { consumer, comes_back }),
        1 => consumer.clone().prop_map(|consumer| Event::Restart { consumer }),
        2 => (consumer, 0..SUBSCRIPTIONS.len())
            .prop_map(|(consumer, to)| Event::Subscribe { consumer, to }),
        1 => Just(Event::AddTopic),
        12 => Just(Event::CommitAppend),
        1 => Just(Event::FailAppend),
        4 => prop_oneof![8 => 1..3_000_i64, 1 => Just(20_000), 1 => Just(60_000)]
            .prop_map(|ms| Event::Pass { ms }),
    ];
    prop::collection::vec(event, 1..120)
}

struct Model {
    world: World,
    consumers: Vec<Consumer>,
    late_topics: usize,
}

impl Model {
    fn new() -> Self {
        let settings = CoordinatorSettings {
            offsets_retention_check_interval_ms: i64::MAX,
            ..Default::default()
        };
        let consumer = |index: usize| Consumer {
            member_id: KString::from(format!("consumer-{index}")),
            instance: (index < 2).then(|| KString::from(format!("instance-{index}"))),
            assignor: (index == 4).then(|| "range".into()),
            ..Consumer::of("", &["orders"])
        };
        Self {
            world: World::held_with(settings),
            consumers: (0..CONSUMERS).map(consumer).collect(),
            late_topics: 0,
        }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Beat { consumer } => self.beat(*consumer),
            Event::LostBeat { consumer } => {
                let request = self.consumers[*consumer].full();
                self.world.send_beat(&request);
            }
            Event::Leave {
                consumer,
                comes_back,
            } => self.leave(*consumer, *comes_back),
            Event::Restart { consumer } => self.consumers[*consumer].abandon(),
            Event::Subscribe { consumer, to } => {
                let (topics, regex) = SUBSCRIPTIONS[*to];
                let consumer = &mut self.consumers[*consumer];
                consumer.topics = topics.iter().map(|name| KString::from(*name)).collect();
                consumer.regex = Some(KString::from(regex.unwrap_or_default()));
            }
            Event::AddTopic => {
                if let Some(name) = LATE.get(self.late_topics) {
                    self.late_topics += 1;
                    self.world.add_topic(name, 3);
                }
            }
            Event::CommitAppend => self.world.commit_one(),
            Event::FailAppend => self.fail_newest(),
            Event::Pass { ms } => self.world.pass(*ms),
        }
    }

    /// The answer arrives when everything before it is durable.
    fn beat(&mut self, consumer: usize) {
        let request = self.consumers[consumer].full();
        let token = self.world.send_beat(&request);
        while self.world.is_waiting(token) {
            self.world.commit_one();
        }
        let response = self.world.beaten(token).clone();
        self.consumers[consumer].told(&response);
    }

    fn leave(&mut self, consumer: usize, comes_back: bool) {
        let consumer = &mut self.consumers[consumer];
        if consumer.epoch == 0 {
            return;
        }
        let epoch = if comes_back && consumer.instance.is_some() {
            -2
        } else {
            -1
        };
        let mut request = consumer.full();
        request.member_epoch = epoch;
        consumer.abandon();
        self.world.send_beat(&request);
    }

    /// Only the newest append fails: a disk that is full stays full for those behind it.
    fn fail_newest(&mut self) {
        while self.world.appends.len() > 1 {
            self.world.commit_one();
        }
        self.world.fail_one(ErrorCode::NotEnoughReplicas);
    }

    fn check(&self) {
        if let Some(group) = self.world.coordinator.consumer_groups.get(GROUP) {
            group.assert_invariants();
            self.check_readers();
        }
    }

    /// A replay of what is written and what is on its way gives the same group.
    fn check_replay(&self) {
        let mut replayed = self.world.replayed();
        for record in self.world.appends.iter().flat_map(|(_, records)| records) {
            replayed
                .replay(&record.key, record.value.as_ref())
                .expect("our own records");
        }
        let durable = |group: Option<&ConsumerGroup>| group.map(ConsumerGroup::durable);
        let now = self.world.coordinator.consumer_groups.get(GROUP);
        assert_eq!(durable(replayed.consumer_groups.get(GROUP)), durable(now));
    }

    /// No two consumers that are members read the same partition.
    fn check_readers(&self) {
        let seen = self.world.consumers().seen(&self.world.image);
        let mut readers: BTreeMap<(Uuid, i32), &KString> = BTreeMap::new();
        for consumer in &self.consumers {
            let Some(member) = seen.get(&consumer.member_id) else {
                continue;
            };
            for at in consumer.owned.iter().filter(|at| member.held.contains(at)) {
                let other = readers.insert(*at, &consumer.member_id);
                assert_eq!(other, None, "{at:?} is read twice");
            }
        }
    }

    /// Everyone behaves for a while: then the group is stable and all is assigned.
    fn settle(&mut self) {
        for _ in 0..12 {
            self.world.pass(5_000);
            for consumer in 0..CONSUMERS {
                self.beat(consumer);
            }
            self.check();
        }
        self.check_replay();
        assert_eq!(self.world.consumer_state(), "Stable");
        let seen = self.world.consumers().seen(&self.world.image);
        let mut expected: BTreeSet<(Uuid, i32)> = BTreeSet::new();
        for topic_id in seen.values().flat_map(|member| &member.topics) {
            let topic = self.world.image.topic_by_id(*topic_id).expect("it exists");
            expected.extend(
                (0..)
                    .zip(&topic.partitions)
                    .map(|(index, _)| (*topic_id, index)),
            );
        }
        let mut assigned = BTreeSet::new();
        for consumer in &self.consumers {
            let member = &seen[&consumer.member_id];
            assert_eq!(consumer.epoch, member.epoch);
            assert_eq!(consumer.owned, member.assigned.iter().copied().collect());
            for at in &member.assigned {
                assert!(member.topics.contains(&at.0), "only what it subscribes to");
                assert!(assigned.insert(*at), "{at:?} is assigned twice");
            }
        }
        assert_eq!(assigned, expected, "every partition is assigned");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn consumer_groups_keep_their_promises(events in events()) {
        let mut model = Model::new();
        for (number, event) in events.iter().enumerate() {
            model.happen(event);
            model.check();
            if number % 16 == 0 || matches!(event, Event::FailAppend) {
                model.check_replay();
            }
        }
        while !model.world.appends.is_empty() {
            model.world.commit_one();
        }
        prop_assert!(model.world.unanswered().is_empty(), "every request is answered");
        model.settle();
    }
}
