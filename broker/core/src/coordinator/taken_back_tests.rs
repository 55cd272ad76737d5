//! Changes of consumer groups that fail while the group is being removed, or while another of its
//! name has begun: what the coordinator knows is what the log tells in the end.

use std::collections::BTreeSet;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use moldau_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};

use super::consumer_fixture::Consumer;
use super::fixture::{GROUP, World};
use crate::consumer_group::ConsumerGroup;
use crate::ids::Token;

/// A group of one member, which then leaves; that is not written yet.
fn left() -> World {
    let mut world = World::held();
    let mut member = Consumer::of("a", &["orders"]);
    let joined = world.send_beat(&member.full());
    world.commit_one();
    let response = world.beaten(joined).clone();
    member.told(&response);
    world.send_beat(&ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: member.member_id,
        member_epoch: -1,
        ..Default::default()
    });
    world
}

fn delete(world: &mut World) {
    let caller = world.caller(2);
    let actions = world.coordinator.delete_group(&caller, &GROUP.into());
    world.act(actions);
    assert!(world.is_waiting(caller.token), "the removal is written");
}

fn begin_another(world: &mut World) -> Token {
    world.send_beat(&Consumer::of("b", &["orders"]).full())
}

fn fail(world: &mut World) {
    world.fail_one(ErrorCode::NotEnoughReplicas);
}

/// Everything is written or has failed; gives the members.
fn members_as_in_log(world: &World) -> Vec<String> {
    assert!(world.unanswered().is_empty(), "everyone is answered");
    let replayed = world.replayed();
    let durable = |groups: &super::Coordinator| {
        let group = groups.consumer_groups.get(GROUP);
        group.map(ConsumerGroup::durable)
    };
    assert_eq!(durable(&world.coordinator), durable(&replayed));
    let described = world.coordinator.describe_consumer_group(&GROUP.into());
    let members = described.members.iter();
    members.map(|member| member.member_id.to_string()).collect()
}

#[test]
fn a_group_whose_removal_fails_comes_back_without_what_failed_before() {
    let mut world = left();
    delete(&mut world);
    fail(&mut world);
    fail(&mut world);
    assert_eq!(members_as_in_log(&world), ["a"]);
}

#[test]
fn a_removed_group_leaves_nothing_even_if_a_change_before_failed() {
    let mut world = left();
    delete(&mut world);
    fail(&mut world);
    world.commit_one();
    assert!(members_as_in_log(&world).is_empty());
    assert_eq!(world.replayed().groups().count(), 0);
}

#[test]
fn a_change_that_failed_is_not_taken_back_from_the_next_group_of_the_name() {
    let mut world = left();
    delete(&mut world);
    begin_another(&mut world);
    fail(&mut world);
    world.commit_one();
    world.commit_one();
    assert_eq!(members_as_in_log(&world), ["b"]);
}

fn commit_all(world: &mut World) {
    while !world.appends.is_empty() {
        world.commit_one();
    }
}

#[test]
fn a_group_whose_removal_fails_refuses_who_has_joined_since() {
    // Simulator seed 30014249 with timeouts: both had all partitions in one epoch.
    for join_fails in [false, true] {
        let mut world = left();
        delete(&mut world);
        let joined = begin_another(&mut world);
        fail(&mut world);
        fail(&mut world);
        assert_ne!(world.beaten(joined).error_code, 0, "b is told at once");
        match join_fails {
            true => fail(&mut world),
            false => world.commit_one(),
        }
        commit_all(&mut world);
        assert_eq!(members_as_in_log(&world), ["a"]);
    }
}

#[test]
fn a_group_that_was_removed_twice_in_vain_is_as_before_the_first() {
    let mut world = left();
    delete(&mut world);
    begin_another(&mut world);
    world.send_beat(&ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: "b".into(),
        member_epoch: -1,
        ..Default::default()
    });
    delete(&mut world);
    world.commit_one();
    fail(&mut world);
    world.commit_one();
    fail(&mut world);
    fail(&mut world);
    commit_all(&mut world);
    assert!(members_as_in_log(&world).is_empty());
    let described = world.coordinator.describe_consumer_group(&GROUP.into());
    assert_eq!(described.error_code, 0, "it is there, without members");
}

#[test]
fn offsets_that_were_on_their_way_outlive_a_group_that_could_not_be_written() {
    let mut world = World::held();
    let caller = world.caller(8);
    let topic = OffsetCommitRequestTopic {
        name: "orders".into(),
        partitions: vec![OffsetCommitRequestPartition {
            committed_offset: 7,
            ..Default::default()
        }],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: GROUP.into(),
        topics: vec![topic],
        ..Default::default()
    };
    let actions = world
        .coordinator
        .offset_commit(&caller, request, &world.image, world.now_ms);
    world.act(actions);
    begin_another(&mut world);
    world.commit_one();
    fail(&mut world);
    let offsets = |coordinator: &super::Coordinator| -> Vec<(String, i64)> {
        let mut offsets = Vec::new();
        for group in coordinator.groups() {
            let of_group = group.offsets();
            offsets.extend(of_group.map(|(topic, _, at)| (topic.to_string(), at.offset)));
        }
        offsets
    };
    assert_eq!(offsets(&world.coordinator), [("orders".to_owned(), 7)]);
    assert_eq!(offsets(&world.replayed()), offsets(&world.coordinator));
}

#[test]
fn a_target_that_stands_on_a_change_that_failed_is_made_anew() {
    let mut world = World::new();
    let mut members = ["a", "b"].map(|name| Consumer::of(name, &["orders"]));
    world.settle(&mut members);
    world.commits_at_once = false;
    // That b leaves is not written; the target made since then gives c what is still b's.
    world.send_beat(&ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: "b".into(),
        member_epoch: -1,
        ..Default::default()
    });
    world.pass(1_000);
    let mut c = Consumer::of("c", &["orders"]);
    let joined = world.send_beat(&c.full());
    fail(&mut world);
    world.commits_at_once = true;
    world.commit_one();
    let response = world.beaten(joined).clone();
    c.told(&response);
    let [a, b] = members;
    let mut members = [a, b, c];
    world.settle(&mut members);
    let owned: Vec<_> = members
        .iter()
        .flat_map(|member| member.owned.clone())
        .collect();
    let all: BTreeSet<_> = owned.iter().collect();
    assert_eq!(
        (owned.len(), all.len()),
        (4, 4),
        "every partition is read once"
    );
    assert_eq!(world.consumer_state(), "Stable");
}

#[test]
fn a_target_whose_epoch_was_never_written_does_not_stay() {
    let mut world = World::new();
    let mut members = ["a", "b"].map(|name| Consumer::of(name, &["orders"]));
    world.settle(&mut members[..1]);
    world.beat(&mut members[1]);
    world.commits_at_once = false;
    // It is too soon for another target: that c joins is not written, but the target of it is.
    let c = Consumer::of("c", &["orders"]);
    let joined = world.send_beat(&c.full());
    world.pass(1_000);
    let mut beat = members[0].full();
    beat.member_epoch = members[0].epoch;
    world.send_beat(&beat);
    fail(&mut world);
    while !world.appends.is_empty() {
        world.commit_one();
    }
    assert_ne!(world.beaten(joined).error_code, 0, "c is not in the group");
    world.commits_at_once = true;
    world.settle(&mut members);
    let owned = members.iter().map(|member| member.owned.len());
    assert_eq!(owned.sum::<usize>(), 4, "every partition is read");
    members_as_in_log(&world);
}
