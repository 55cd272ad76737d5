//! Consumer groups of the new protocol (KIP-848).

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use moldau_protocol::messages::list_groups::ListGroupsRequest;
use moldau_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use moldau_protocol::messages::offset_fetch::OffsetFetchRequestGroup;
use moldau_protocol::{KString, ResponseKind};

use super::consumer_fixture::Consumer;
use super::fixture::{GROUP, World};
use crate::metadata::controller::fixture::topic_id;

fn owned_counts(consumers: &[Consumer]) -> Vec<usize> {
    consumers
        .iter()
        .map(|consumer| consumer.owned.len())
        .collect()
}

/// Two consumers of `orders` who hold two partitions each.
fn pair(world: &mut World) -> [Consumer; 2] {
    let mut pair = [
        Consumer::of("a", &["orders"]),
        Consumer::of("b", &["orders"]),
    ];
    world.settle(&mut pair);
    assert_eq!(owned_counts(&pair), [2, 2]);
    assert_eq!(world.consumer_state(), "Stable");
    pair
}

fn commit(world: &mut World, member_id: &KString, epoch: i32, partition: i32) -> ErrorCode {
    let caller = world.caller(9);
    let request = OffsetCommitRequest {
        group_id: GROUP.into(),
        member_id: member_id.clone(),
        generation_id_or_member_epoch: epoch,
        topics: vec![OffsetCommitRequestTopic {
            name: "orders".into(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: 7,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let image = world.image.clone();
    let now_ms = world.now_ms;
    let actions = world
        .coordinator
        .offset_commit(&caller, request, &image, now_ms);
    world.act(actions);
    match world.answer(caller.token) {
        Some(ResponseKind::OffsetCommit(response)) => {
            ErrorCode::from_code(response.topics[0].partitions[0].error_code)
        }
        other => panic!("a commit is answered: {other:?}"),
    }
}

#[test]
fn the_first_member_gets_everything_with_its_first_heartbeat() {
    let mut world = World::new();
    let mut consumer = Consumer::of("a", &["orders", "visits", "not-there"]);
    assert_eq!(world.beat(&mut consumer), ErrorCode::None);
    assert_eq!((consumer.epoch, consumer.owned.len()), (1, 8));
    assert_eq!(world.consumer_state(), "Stable");
}

#[test]
fn a_partition_moves_only_after_its_owner_gave_it_up() {
    let mut world = World::new();
    let mut a = Consumer::of("a", &["orders"]);
    let mut b = Consumer::of("b", &["orders"]);
    world.beat(&mut a);
    world.pass(5_000);
    world.beat(&mut b);
    assert_eq!(
        (b.epoch, b.owned.len()),
        (2, 0),
        "everything is still held by the other"
    );
    let still_owned = a.clone();
    let token = world.send_beat(&a.full());
    let told = world.beaten(token).clone();
    assert_eq!(told.member_epoch, 1, "it must give up before it goes on");
    assert_eq!(
        told.assignment.as_ref().unwrap().topic_partitions[0]
            .partitions
            .len(),
        2
    );
    world.send_beat(&still_owned.full());
    world.beat(&mut b);
    assert!(b.owned.is_empty());
    a.told(&told);
    world.beat(&mut a);
    assert_eq!(a.epoch, 2);
    world.beat(&mut b);
    assert_eq!(owned_counts(&[a, b]), [2, 2]);
    assert_eq!(world.consumer_state(), "Stable");
}

#[test]
fn a_heartbeat_without_news_writes_nothing_and_tells_no_assignment() {
    let mut world = World::new();
    let [a, _] = pair(&mut world);
    let written = world.log.len();
    let token = world.send_beat(&ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: a.member_id.clone(),
        member_epoch: a.epoch,
        ..Default::default()
    });
    assert_eq!(world.beaten(token).assignment, None);
    assert_eq!(world.beaten(token).heartbeat_interval_ms, 5_000);
    assert_eq!(world.log.len(), written);
}

#[test]
fn a_new_assignment_is_computed_at_most_once_in_its_interval() {
    let mut world = World::new();
    let mut a = Consumer::of("a", &["orders"]);
    let mut b = Consumer::of("b", &["orders"]);
    world.pass(1);
    world.beat(&mut a);
    world.beat(&mut b);
    assert_eq!(b.epoch, 1, "the target is still that of epoch 1");
    assert_eq!(world.consumer_state(), "Assigning");
    world.pass(1_000);
    world.beat(&mut b);
    assert_eq!(b.epoch, 2);
}

#[test]
fn epochs_other_than_the_members_own_are_fenced() {
    let mut world = World::new();
    let [a, b] = pair(&mut world);
    assert_eq!((a.epoch, b.epoch), (2, 2));
    // Only what it held at the epoch before may come with that epoch.
    let too_much = a.owned.union(&b.owned).copied().collect();
    let mut stale = Consumer {
        epoch: 1,
        owned: too_much,
        ..a.clone()
    };
    assert_eq!(world.beat(&mut stale), ErrorCode::FencedMemberEpoch);
    for epoch in [3, 9] {
        let mut stale = Consumer { epoch, ..a.clone() };
        assert_eq!(
            world.beat(&mut stale),
            ErrorCode::FencedMemberEpoch,
            "{epoch}"
        );
        assert_eq!((stale.epoch, stale.owned.len()), (0, 0));
    }
    let mut unknown = Consumer {
        epoch: 1,
        ..Consumer::of("x", &["orders"])
    };
    assert_eq!(world.beat(&mut unknown), ErrorCode::UnknownMemberId);
    let mut again = Consumer {
        epoch: 0,
        owned: Default::default(),
        ..a.clone()
    };
    assert_eq!(
        world.beat(&mut again),
        ErrorCode::None,
        "who joins again is let in"
    );
    assert_eq!((again.epoch, again.owned), (a.epoch, a.owned));
}

#[test]
fn the_previous_epoch_is_taken_while_the_answer_may_have_been_lost() {
    let mut world = World::new();
    let [a, b] = pair(&mut world);
    world.leave_with(&b, -1);
    world.pass(5_000);
    let lost = world.send_beat(&a.full());
    assert_eq!(world.beaten(lost).member_epoch, a.epoch + 1);
    let mut a = a;
    assert_eq!(world.beat(&mut a), ErrorCode::None);
    assert_eq!(a.owned.len(), 4);
}

/// A request that joins, with one field changed.
fn joining(
    change: impl FnOnce(&mut ConsumerGroupHeartbeatRequest),
) -> ConsumerGroupHeartbeatRequest {
    let mut request = Consumer::of("a", &["orders"]).full();
    change(&mut request);
    request
}

#[test]
fn fields_that_make_no_sense_are_refused() {
    let invalid = [
        joining(|request| request.group_id = "".into()),
        joining(|request| request.member_id = "".into()),
        joining(|request| request.instance_id = Some("".into())),
        joining(|request| request.rack_id = Some("".into())),
        joining(|request| request.rebalance_timeout_ms = -1),
        joining(|request| request.topic_partitions = None),
        joining(|request| request.subscribed_topic_names = None),
        joining(|request| request.member_epoch = -2),
        joining(|request| request.member_epoch = -3),
    ];
    let invalid = invalid.map(|request| (request, ErrorCode::InvalidRequest));
    let others = [
        (
            joining(|request| request.server_assignor = Some("sticky".into())),
            ErrorCode::UnsupportedAssignor,
        ),
        (
            joining(|request| request.subscribed_topic_regex = Some("(".into())),
            ErrorCode::InvalidRegularExpression,
        ),
        (
            joining(|request| request.member_epoch = 5),
            ErrorCode::GroupIdNotFound,
        ),
    ];
    let mut world = World::new();
    for (request, expected) in invalid.into_iter().chain(others) {
        let token = world.send_beat(&request);
        let response = world.beaten(token);
        assert_eq!(
            ErrorCode::from_code(response.error_code),
            expected,
            "{request:?}"
        );
        assert!(response.error_message.is_some());
    }
    assert!(
        world.log.is_empty(),
        "what is refused leaves nothing behind"
    );
    assert_eq!(world.coordinator.groups().count(), 0);
}

#[test]
fn a_full_group_takes_nobody_in() {
    let mut settings = super::CoordinatorSettings::default();
    settings.consumer_group.max_size = 1;
    let mut world = World::with(settings);
    let mut a = Consumer::of("a", &["orders"]);
    assert_eq!(world.beat(&mut a), ErrorCode::None);
    assert_eq!(
        world.beat(&mut Consumer::of("b", &["orders"])),
        ErrorCode::GroupMaxSizeReached
    );
    assert_eq!(world.beat(&mut a), ErrorCode::None);
}

#[test]
fn a_silent_member_is_removed_when_its_session_ends() {
    let mut world = World::new();
    let [mut a, mut b] = pair(&mut world);
    for _ in 0..10 {
        world.pass(5_000);
        world.beat(&mut a);
    }
    assert_eq!(a.owned.len(), 4);
    assert_eq!(world.beat(&mut b), ErrorCode::UnknownMemberId);
}

#[test]
fn a_member_that_does_not_give_up_in_time_is_removed() {
    let mut world = World::new();
    let mut a = Consumer::of("a", &["orders"]);
    let mut b = Consumer::of("b", &["orders"]);
    world.beat(&mut a);
    world.pass(5_000);
    world.beat(&mut b);
    let hanging = a.full();
    for _ in 0..7 {
        world.send_beat(&hanging);
        world.pass(5_000);
        world.beat(&mut b);
    }
    assert_eq!(b.owned.len(), 4);
    assert_eq!(world.beat(&mut a), ErrorCode::UnknownMemberId);
}

#[test]
fn static_members_come_back_to_their_place() {
    let mut world = World::new();
    let mut pair = [
        Consumer::instance("a", "one"),
        Consumer::of("b", &["orders"]),
    ];
    world.settle(&mut pair);
    let [a, _] = pair;
    let mut early = Consumer::instance("a2", "one");
    assert_eq!(world.beat(&mut early), ErrorCode::UnreleasedInstanceId);
    assert_eq!(world.leave_with(&a, -2), ErrorCode::None);
    let epoch = world.consumers().epoch();
    let mut successor = Consumer::instance("a2", "one");
    assert_eq!(world.beat(&mut successor), ErrorCode::None);
    assert_eq!((successor.epoch, &successor.owned), (a.epoch, &a.owned));
    assert_eq!(world.consumers().epoch(), epoch, "nobody else notices");
    assert_eq!(world.beat(&mut a.clone()), ErrorCode::FencedInstanceId);
    assert_eq!(world.leave_with(&a, -1), ErrorCode::FencedInstanceId);
    let stranger = Consumer::instance("c", "none");
    assert_eq!(world.leave_with(&stranger, -1), ErrorCode::UnknownMemberId);
}

#[test]
fn a_static_member_that_stays_away_is_removed_at_last() {
    let mut world = World::new();
    let mut pair = [
        Consumer::instance("a", "one"),
        Consumer::of("b", &["orders"]),
    ];
    world.settle(&mut pair);
    let [a, mut b] = pair;
    world.leave_with(&a, -2);
    for _ in 0..9 {
        world.pass(5_000);
        world.beat(&mut b);
    }
    assert_eq!(b.owned.len(), 4);
}

#[test]
fn new_topics_and_partitions_reach_subscribers_with_their_next_heartbeat() {
    let mut world = World::new();
    let mut by_name = Consumer::of("a", &["orders", "late"]);
    let mut by_regex = Consumer {
        regex: Some("l.*|v.+".into()),
        ..Consumer::of("b", &[])
    };
    world.beat(&mut by_name);
    world.pass(5_000);
    world.beat(&mut by_regex);
    assert_eq!((by_name.owned.len(), by_regex.owned.len()), (4, 4));
    world.add_topic("late", 6);
    let mut both = [by_name, by_regex];
    world.settle(&mut both);
    assert_eq!(owned_counts(&both), [7, 7]);
    let regexes = world.consumers().durable();
    assert!(regexes.contains("l.*|v.+"));
    both[1].regex = Some("".into());
    both[1].topics = vec!["visits".into()];
    world.settle(&mut both);
    assert_eq!(owned_counts(&both), [10, 4]);
    assert!(
        !world.consumers().durable().contains("l.*|v.+"),
        "nobody uses it any more"
    );
}

#[test]
fn a_member_gives_up_topics_at_once_that_it_no_longer_wants() {
    let mut world = World::new();
    let mut consumer = Consumer::of("a", &["orders", "visits"]);
    world.pass(1);
    world.beat(&mut consumer);
    consumer.topics = vec!["visits".into()];
    world.beat(&mut consumer);
    assert!(
        consumer
            .owned
            .iter()
            .all(|(id, _)| *id == topic_id("visits"))
    );
}

#[test]
fn the_assignor_that_most_members_ask_for_is_used() {
    let mut world = World::new();
    let topics = ["orders", "visits"];
    let ranged = |id| Consumer {
        assignor: Some("range".into()),
        ..Consumer::of(id, &topics)
    };
    let mut group = [ranged("a"), ranged("b"), Consumer::of("c", &topics)];
    world.settle(&mut group);
    let described = world.coordinator.describe_consumer_group(&GROUP.into());
    assert_eq!(described.assignor_name, "range");
    let zeros = |consumer: &Consumer| {
        consumer
            .owned
            .iter()
            .filter(|(_, index)| *index == 0)
            .count()
    };
    assert_eq!(
        group.iter().map(zeros).collect::<Vec<_>>(),
        [2, 0, 0],
        "ranges are co-located"
    );
}

#[test]
fn offsets_are_taken_from_members_with_their_epoch() {
    let mut world = World::new();
    let [a, _] = pair(&mut world);
    let own = a.owned.iter().next().unwrap().1;
    let member = &a.member_id;
    assert_eq!(commit(&mut world, member, a.epoch, own), ErrorCode::None);
    assert_eq!(
        commit(&mut world, member, a.epoch + 1, own),
        ErrorCode::StaleMemberEpoch
    );
    assert_eq!(
        commit(&mut world, &"x".into(), a.epoch, own),
        ErrorCode::UnknownMemberId
    );
    assert_eq!(
        commit(&mut world, &"".into(), -1, own),
        ErrorCode::UnknownMemberId
    );
    // It has held this one since its first epoch, and never the others of that time.
    assert_eq!(commit(&mut world, member, 1, own), ErrorCode::None);
    let foreign = (0..4).find(|index| !a.owned.contains(&(topic_id("orders"), *index)));
    assert_eq!(
        commit(&mut world, member, 1, foreign.unwrap()),
        ErrorCode::StaleMemberEpoch
    );
}

#[test]
fn a_transaction_may_commit_for_a_group_without_being_its_member() {
    let mut world = World::new();
    let [a, _] = pair(&mut world);
    let committer = |member_id: &'static str, epoch| {
        let committer = world
            .consumers()
            .transactional_committer(&member_id.into(), None, epoch);
        committer.map(drop)
    };
    assert_eq!(committer("", -1), Ok(()));
    assert_eq!(committer("a", a.epoch), Ok(()));
    assert_eq!(
        committer("a", a.epoch + 1),
        Err(ErrorCode::StaleMemberEpoch)
    );
    assert_eq!(committer("x", -1), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn offsets_are_shown_to_members_with_their_epoch_and_to_anyone_who_is_none() {
    let mut world = World::new();
    let [a, _] = pair(&mut world);
    commit(
        &mut world,
        &a.member_id,
        a.epoch,
        a.owned.iter().next().unwrap().1,
    );
    let image = world.image.clone();
    let fetch = |member_id: Option<&str>, member_epoch| {
        let group = OffsetFetchRequestGroup {
            group_id: GROUP.into(),
            member_id: member_id.map(KString::copy_from),
            member_epoch,
            topics: None,
            ..Default::default()
        };
        let fetched = world.coordinator.fetch_offsets(&group, 9, &image);
        (
            ErrorCode::from_code(fetched.error_code),
            fetched.topics.len(),
        )
    };
    assert_eq!(fetch(None, -1), (ErrorCode::None, 1));
    assert_eq!(fetch(Some("a"), a.epoch), (ErrorCode::None, 1));
    assert_eq!(
        fetch(Some("a"), a.epoch - 1),
        (ErrorCode::StaleMemberEpoch, 0)
    );
    assert_eq!(fetch(Some("x"), a.epoch), (ErrorCode::UnknownMemberId, 0));
}

#[test]
fn groups_are_listed_and_described_by_their_kind() {
    let mut world = World::new();
    pair(&mut world);
    let list = |states: &[&'static str], types: &[&'static str]| {
        let names =
            |names: &[&'static str]| names.iter().map(|name| KString::from(*name)).collect();
        let request = ListGroupsRequest {
            states_filter: names(states),
            types_filter: names(types),
            ..Default::default()
        };
        world.coordinator.list_groups(&request).len()
    };
    assert_eq!((list(&[], &["consumer"]), list(&[], &["classic"])), (1, 0));
    assert_eq!(
        (list(&["stable"], &[]), list(&["Reconciling"], &[])),
        (1, 0)
    );
    let classic = world.coordinator.describe_group(&GROUP.into(), 6);
    assert_eq!(classic.error_code, ErrorCode::GroupIdNotFound.code());
    assert_eq!(
        classic.error_message.unwrap(),
        "group \"readers\" is not a classic group"
    );
    let described = world.coordinator.describe_consumer_group(&GROUP.into());
    assert_eq!(described.group_epoch, described.assignment_epoch);
    let member = &described.members[0];
    assert_eq!(member.assignment, member.target_assignment);
    assert_eq!(
        (member.member_type, &*member.client_host),
        (1, "/127.0.0.1")
    );
    let missing = world.coordinator.describe_consumer_group(&"none".into());
    assert_eq!(missing.error_code, ErrorCode::GroupIdNotFound.code());
}

#[test]
fn a_group_can_be_deleted_once_it_is_empty() {
    let mut world = World::new();
    let [a, b] = pair(&mut world);
    let delete = |world: &mut World| {
        let caller = world.caller(2);
        let actions = world.coordinator.delete_group(&caller, &GROUP.into());
        world.act(actions);
        match world.answer(caller.token) {
            Some(ResponseKind::DeleteGroups(response)) => response.results[0].error_code,
            other => panic!("an answer: {other:?}"),
        }
    };
    assert_eq!(delete(&mut world), ErrorCode::NonEmptyGroup.code());
    for consumer in [&a, &b] {
        assert_eq!(world.leave_with(consumer, -1), ErrorCode::None);
    }
    assert_eq!(world.consumer_state(), "Empty");
    assert_eq!(delete(&mut world), 0);
    assert_eq!(world.coordinator.groups().count(), 0);
    assert_eq!(world.replayed().groups().count(), 0);
}

#[test]
fn nobody_is_told_of_a_change_before_it_is_durable() {
    let mut world = World::held();
    let consumer = Consumer::of("a", &["orders"]);
    let joined = world.send_beat(&consumer.full());
    assert!(world.is_waiting(joined));
    let told = Consumer {
        epoch: 1,
        ..consumer
    };
    let later = world.send_beat(&ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: told.member_id.clone(),
        member_epoch: 1,
        ..Default::default()
    });
    assert!(
        world.is_waiting(later),
        "it would tell of an epoch that a crash undoes"
    );
    world.commit_one();
    assert_eq!(world.beaten(joined).member_epoch, 1);
    assert_eq!(world.beaten(later).member_epoch, 1);
}

#[test]
fn a_change_that_cannot_be_written_is_taken_back() {
    let mut world = World::held();
    let consumer = Consumer::of("a", &["orders"]);
    let joined = world.send_beat(&consumer.full());
    world.fail_one(ErrorCode::NotEnoughReplicas);
    assert_eq!(
        world.beaten(joined).error_code,
        ErrorCode::CoordinatorNotAvailable.code()
    );
    assert_eq!(world.coordinator.groups().count(), 0);
    let again = world.send_beat(&consumer.full());
    world.commit_one();
    assert_eq!(world.beaten(again).member_epoch, 1);
}

#[test]
fn a_new_coordinator_has_the_same_groups_and_gives_everyone_a_session() {
    let mut world = World::new();
    let [mut a, mut b] = pair(&mut world);
    let before = world.consumers().durable();
    let image = std::sync::Arc::new(world.image.clone());
    world.coordinator = world.replayed();
    world.coordinator.metadata_changed(&image);
    let now_ms = world.now_ms;
    world.coordinator.loaded(now_ms);
    assert_eq!(world.consumers().durable(), before);
    world.pass(44_000);
    assert_eq!(world.beat(&mut a), ErrorCode::None);
    assert_eq!(
        world.consumers().durable(),
        before,
        "nothing has changed, so nothing moves"
    );
    world.pass(1_000);
    assert_eq!(world.beat(&mut b), ErrorCode::UnknownMemberId);
}

#[test]
fn a_group_may_have_settings_of_its_own_within_the_brokers_bounds() {
    use crate::metadata::{ConfigRecord, MetadataRecord, ResourceType};
    let mut world = World::new();
    let mut consumer = Consumer::of("a", &["orders"]);
    world.beat(&mut consumer);
    for (name, value) in [
        ("consumer.session.timeout.ms", "50000"),
        ("consumer.heartbeat.interval.ms", "99999"),
    ] {
        let record = ConfigRecord {
            resource_type: ResourceType::Group,
            resource_name: GROUP.into(),
            name: name.into(),
            value: Some(value.into()),
        };
        world.image.apply(&MetadataRecord::Config(record)).unwrap();
    }
    let image = std::sync::Arc::new(world.image.clone());
    world.coordinator.metadata_changed(&image);
    let token = world.send_beat(&consumer.full());
    assert_eq!(world.beaten(token).heartbeat_interval_ms, 15_000);
    world.pass(49_999);
    assert_eq!(world.beat(&mut consumer), ErrorCode::None);
    world.pass(50_000);
    assert_eq!(world.beat(&mut consumer), ErrorCode::UnknownMemberId);
}
