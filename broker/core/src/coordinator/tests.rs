//! What is written, when it takes effect, and what is read again, as sentences.

use bytes::Bytes;
use moldau_protocol::messages::delete_groups::DeleteGroupsResponse;
use moldau_protocol::messages::list_groups::ListGroupsRequest;
use moldau_protocol::records::group_metadata_key::GroupMetadataKey;
use moldau_protocol::records::group_metadata_value::GroupMetadataValue;
use moldau_protocol::{ErrorCode, KString, Message, RecordKey, ResponseKind};

use super::fixture::{GROUP, INITIAL_DELAY_MS, JoinAs, SESSION_MS, World};
use super::*;

/// The groups of the log, newest last.
fn group_records(world: &World) -> Vec<Option<GroupMetadataValue>> {
    let groups = world
        .log
        .iter()
        .filter(|record| GroupMetadataKey::decode_key(record.key.clone()).is_ok());
    groups
        .map(|r| {
            r.value
                .clone()
                .map(|value| GroupMetadataValue::decode_versioned(value).unwrap())
        })
        .collect()
}

#[test]
fn groups_are_spread_by_javas_hash_of_their_id() {
    for (group_id, partition) in [
        ("", 0),
        ("a", 47),
        ("my-group", 12),
        ("console-consumer-12345", 6),
        ("grün", 49),
    ] {
        assert_eq!(partition_for(group_id, 50), partition, "{group_id}");
    }
    assert_eq!(
        partition_for("polygenelubricants", 50),
        0,
        "its hash has no positive counterpart"
    );
}

#[test]
fn nobody_gets_an_assignment_before_it_is_committed() {
    let mut world = World::held();
    let (leader, _) = world.join_new();
    let (follower, _) = world.join_new();
    world.pass(2 * INITIAL_DELAY_MS);
    let waiting = world.sync(&follower, &[]);
    let leading = world.sync(&leader, &[(&leader, "l"), (&follower, "f")]);
    assert!(world.is_waiting(waiting) && world.is_waiting(leading));
    assert_eq!(world.state(), "CompletingRebalance");
    world.commit_one();
    assert_eq!(
        (
            &world.synced(waiting).assignment,
            &world.synced(leading).assignment
        ),
        (&"f".into(), &"l".into())
    );
}

#[test]
fn the_record_of_a_group_is_kafkas() {
    let mut world = World::new();
    let ids = world.stable(2);
    let records = group_records(&world);
    let Some(Some(group)) = records.last() else {
        panic!("a group")
    };
    assert_eq!(
        (
            group.protocol_type.as_str(),
            group.protocol.as_deref(),
            group.generation
        ),
        ("consumer", Some("range"), 1)
    );
    assert_eq!(group.leader.as_ref(), Some(&ids[0]));
    let member = group
        .members
        .iter()
        .find(|member| member.member_id == ids[1])
        .unwrap();
    assert_eq!(
        (member.client_id.as_str(), member.client_host.as_str()),
        ("client", "/127.0.0.1")
    );
    assert_eq!(
        (member.session_timeout, member.rebalance_timeout),
        (SESSION_MS, 60_000)
    );
    assert_eq!(
        (&member.subscription[..], &member.assignment[..]),
        (&b"m"[..], &b"work"[..])
    );
    let record = world.log.last().unwrap();
    assert_eq!(&record.key[..], b"\x00\x02\x00\x07readers");
    assert_eq!(
        record.value.as_ref().map(|value| value.slice(..2)),
        Some(Bytes::from_static(&[0, 3]))
    );
}

#[test]
fn members_are_told_to_join_again_if_the_assignment_cannot_be_stored() {
    let mut world = World::held();
    let (leader, _) = world.join_new();
    let (follower, _) = world.join_new();
    world.pass(2 * INITIAL_DELAY_MS);
    let waiting = world.sync(&follower, &[]);
    let leading = world.sync(&leader, &[]);
    world.fail_one(ErrorCode::NotEnoughReplicas);
    assert_eq!(world.sync_code(waiting), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(world.sync_code(leading), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(world.state(), "PreparingRebalance");
}

#[test]
fn an_assignment_that_was_overtaken_by_a_rebalance_is_dropped() {
    let mut world = World::held();
    let (leader, _) = world.join_new();
    world.pass(INITIAL_DELAY_MS);
    let leading = world.sync(&leader, &[]);
    let (_, joining) = world.join_new();
    assert_eq!(world.sync_code(leading), ErrorCode::RebalanceInProgress);
    world.commit_one();
    assert_eq!(world.state(), "PreparingRebalance");
    assert!(world.is_waiting(joining));
}

#[test]
fn a_leader_that_asks_twice_writes_once() {
    let mut world = World::held();
    let (leader, _) = world.join_new();
    world.pass(INITIAL_DELAY_MS);
    let first = world.sync(&leader, &[(&leader, "work")]);
    let second = world.sync(&leader, &[(&leader, "work")]);
    assert_eq!(world.appends.len(), 1);
    assert_eq!(world.sync_code(first), ErrorCode::RebalanceInProgress);
    world.commit_one();
    assert_eq!(world.synced(second).assignment, "work");
}

#[test]
fn a_restarted_static_member_is_told_once_its_new_id_is_committed() {
    let mut world = World::new();
    let joined = world.join(JoinAs::instance("a"));
    world.until_answered(joined);
    let id = world.joined(joined).member_id.clone();
    world.assign(std::slice::from_ref(&id));
    world.commits_at_once = false;

    let back = world.join(JoinAs::instance("a"));
    assert!(world.is_waiting(back));
    world.fail_one(ErrorCode::RequestTimedOut);
    assert_eq!(world.join_code(back), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(
        world.heartbeat(&id),
        ErrorCode::None,
        "the old instance has its place again"
    );

    let back = world.join(JoinAs::instance("a"));
    world.commit_one();
    assert_eq!(world.join_code(back), ErrorCode::None);
    assert_eq!(world.heartbeat(&id), ErrorCode::UnknownMemberId);
}

#[test]
fn leaving_is_answered_once_the_empty_group_is_committed() {
    let mut world = World::new();
    let ids = world.stable(1);
    world.commits_at_once = false;
    let leaving = world.leave(&[(&ids[0], None)]);
    assert!(world.is_waiting(leaving));
    world.commit_one();
    assert_eq!(world.left(leaving).error_code, 0);
    let records = group_records(&world);
    let Some(Some(group)) = records.last() else {
        panic!("a group")
    };
    assert_eq!(
        (
            group.members.len(),
            group.generation,
            group.protocol_type.as_str()
        ),
        (0, 2, "consumer")
    );
}

#[test]
fn a_new_coordinator_goes_on_where_the_log_ends() {
    let mut world = World::new();
    let ids = world.stable(2);
    world.coordinator = world.replayed();
    assert_eq!(
        world.coordinator.poll_timeout(),
        None,
        "no session runs while the log is read"
    );
    world.now_ms = 1_000_000;
    world.coordinator.loaded(world.now_ms);
    assert_eq!(world.state(), "Stable");
    assert_eq!(world.heartbeat(&ids[0]), ErrorCode::None);
    let synced = world.sync(&ids[1], &[]);
    assert_eq!(world.synced(synced).assignment, "work");
    world.pass(i64::from(SESSION_MS) - 1);
    assert_eq!(world.heartbeat(&ids[0]), ErrorCode::None);
    world.pass(1);
    assert_eq!(world.heartbeat(&ids[1]), ErrorCode::UnknownMemberId);
}

#[test]
fn records_of_other_kinds_are_skipped_and_damaged_ones_named() {
    let mut coordinator = Coordinator::new(CoordinatorSettings::default());
    let bytes = Bytes::from_static;
    assert_eq!(
        coordinator.replay(&bytes(&[0, 11, 0, 1, b'g']), Some(&bytes(&[0, 0]))),
        Ok(())
    );
    assert_eq!(coordinator.replay(&bytes(&[9]), None), Ok(()));
    let damaged = coordinator
        .replay(&bytes(&[0, 3, 0, 1, b'g']), Some(&bytes(&[0, 0])))
        .unwrap_err();
    assert_eq!(damaged.record_type, 3);
    let damaged = coordinator
        .replay(&bytes(&[0, 2, 0, 9, b'g']), None)
        .unwrap_err();
    assert_eq!(damaged.record_type, 2);
    let damaged = coordinator
        .replay(&bytes(&[0, 2, 0, 1, b'g']), Some(&bytes(&[0, 3, 0])))
        .unwrap_err();
    assert_eq!(damaged.record_type, 2);
    assert_eq!(coordinator.groups().count(), 0);
}

#[test]
fn whoever_waits_is_sent_elsewhere_when_the_coordinator_moves() {
    let mut world = World::held();
    let (leader, _) = world.join_new();
    world.pass(INITIAL_DELAY_MS);
    world.sync(&leader, &[]);
    let (_, joining) = world.join_new();
    world.resign();
    assert_eq!(world.unanswered(), []);
    assert_eq!(world.join_code(joining), ErrorCode::NotCoordinator);
    assert_eq!(world.coordinator.committed(AppendId(0), 0), []);
    assert_eq!(world.coordinator.poll_timeout(), None);
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut world = World::new();
    world.stable(1);
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
    for (states, types, expected) in [
        (&[][..], &[][..], 1),
        (&["stable"], &["Classic"], 1),
        (&["Empty", "Stable"], &[], 1),
        (&["Empty"], &[], 0),
        (&[], &["consumer"], 0),
        (&[], &["what"], 0),
    ] {
        assert_eq!(list(states, types), expected, "{states:?} {types:?}");
    }
}

#[test]
fn a_group_is_described_with_metadata_once_it_is_stable() {
    let mut world = World::new();
    let ids = world.stable(1);
    let described = world.coordinator.describe_group(&GROUP.into(), 6);
    assert_eq!(
        (
            described.group_state.as_str(),
            described.protocol_data.as_str()
        ),
        ("Stable", "range")
    );
    let [member] = described.members.as_slice() else {
        panic!("one member")
    };
    assert_eq!(
        (&member.member_metadata[..], &member.member_assignment[..]),
        (&b"m"[..], &b"work"[..])
    );
    world.join(JoinAs::member(&ids[0]));
    let described = world.coordinator.describe_group(&GROUP.into(), 6);
    assert!(
        described.protocol_data == "range"
            || described
                .members
                .iter()
                .all(|m| m.member_metadata.is_empty())
    );
}

#[test]
fn a_group_that_is_not_there_is_dead_or_an_error_by_version() {
    let world = World::new();
    let old = world.coordinator.describe_group(&"x".into(), 5);
    assert_eq!((old.error_code, old.group_state.as_str()), (0, "Dead"));
    let new = world.coordinator.describe_group(&"x".into(), 6);
    assert_eq!(new.error_code, ErrorCode::GroupIdNotFound.code());
}

#[test]
fn only_groups_without_members_can_be_deleted() {
    let mut world = World::new();
    let ids = world.stable(1);
    let delete = |world: &mut World| {
        let caller = world.caller(2);
        let actions = world.coordinator.delete_group(&caller, &GROUP.into());
        world.act(actions);
        match world.answer(caller.token) {
            Some(ResponseKind::DeleteGroups(DeleteGroupsResponse { results, .. })) => {
                ErrorCode::from_code(results[0].error_code)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(delete(&mut world), ErrorCode::NonEmptyGroup);
    world.leave(&[(&ids[0], None)]);
    assert_eq!(delete(&mut world), ErrorCode::None);
    assert_eq!(delete(&mut world), ErrorCode::GroupIdNotFound);
    assert_eq!(group_records(&world).last(), Some(&None), "a tombstone");
    assert_eq!(world.replayed().groups().count(), 0);
}
