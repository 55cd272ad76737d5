//! The rules of static members (KIP-345, KIP-814) as sentences.

use moldau_protocol::messages::heartbeat::HeartbeatRequest;
use moldau_protocol::{ErrorCode, KString};

use crate::coordinator::Coordinator;
use crate::coordinator::fixture::{GROUP, JoinAs, SESSION_MS, World};

/// A stable group of static members "a" and "b"; "a" leads.
fn stable() -> (World, KString, KString) {
    let mut world = World::new();
    let first = world.join(JoinAs::instance("a"));
    let second = world.join(JoinAs::instance("b"));
    world.until_answered(second);
    let (a, b) = (
        world.joined(first).member_id.clone(),
        world.joined(second).member_id.clone(),
    );
    assert_eq!(world.joined(second).leader, a);
    world.assign(&[a.clone(), b.clone()]);
    (world, a, b)
}

#[test]
fn a_static_member_joins_without_asking_for_an_id_first() {
    let (_, a, _) = stable();
    assert!(a.starts_with("a-"));
}

#[test]
fn a_static_member_that_restarts_keeps_its_place_without_a_rebalance() {
    let (mut world, a, b) = stable();
    let back = world.join(JoinAs::instance("b"));
    let new_b = world.joined(back).member_id.clone();
    assert_ne!(new_b, b);
    assert_eq!(world.joined(back).generation_id, 1);
    assert_eq!(
        (
            world.joined(back).leader.clone(),
            world.joined(back).skip_assignment
        ),
        (a, false)
    );
    assert_eq!(world.state(), "Stable");
    let synced = world.sync(&new_b, &[]);
    assert_eq!(world.synced(synced).assignment, "work");
}

/// Trap 9: v9 `skip_assignment`.
#[test]
fn a_static_leader_that_restarts_is_told_not_to_assign() {
    let (mut world, a, _) = stable();
    let back = world.join(JoinAs::instance("a"));
    let response = world.joined(back);
    assert_eq!(
        (&response.leader, response.skip_assignment),
        (&response.member_id, true)
    );
    assert_eq!(
        response.members.len(),
        2,
        "it still watches the subscriptions of all"
    );

    // Before version 9 it could not be told, so it is given the id it had before as the leader's.
    let now_leads = response.member_id.clone();
    let back = world.join(JoinAs {
        version: 8,
        ..JoinAs::instance("a")
    });
    let response = world.joined(back);
    assert_eq!(
        (
            &response.leader,
            response.skip_assignment,
            response.members.len()
        ),
        (&now_leads, false, 0)
    );
    assert_ne!(now_leads, a);
}

/// Trap 9: FENCED_INSTANCE_ID.
#[test]
fn the_instance_that_was_replaced_is_fenced() {
    let (mut world, _, b) = stable();
    world.join(JoinAs::instance("b"));
    let fenced = world.heartbeat_with(HeartbeatRequest {
        group_id: GROUP.into(),
        member_id: b.clone(),
        generation_id: 1,
        group_instance_id: Some("b".into()),
        ..Default::default()
    });
    assert_eq!(fenced, ErrorCode::FencedInstanceId);
    let joined = world.join(JoinAs {
        member_id: b.clone(),
        ..JoinAs::instance("b")
    });
    assert_eq!(world.join_code(joined), ErrorCode::FencedInstanceId);
    let left = world.leave(&[(&b, Some("b"))]);
    let codes: Vec<i16> = world
        .left(left)
        .members
        .iter()
        .map(|member| member.error_code)
        .collect();
    assert_eq!(codes, [ErrorCode::FencedInstanceId.code()]);
}

#[test]
fn requests_of_the_replaced_instance_that_wait_are_fenced_too() {
    let mut world = World::new();
    let first = world.join(JoinAs::instance("a"));
    let second = world.join(JoinAs::instance("a"));
    assert_eq!(world.join_code(first), ErrorCode::FencedInstanceId);
    world.until_answered(second);
    assert_eq!(world.joined(second).members.len(), 1);
}

#[test]
fn a_static_member_that_comes_back_with_other_protocols_causes_a_rebalance() {
    let mut world = World::new();
    let protocols = vec![("range", "m"), ("roundrobin", "m")];
    let first = world.join(JoinAs {
        protocols: protocols.clone(),
        ..JoinAs::instance("a")
    });
    let second = world.join(JoinAs {
        protocols,
        ..JoinAs::instance("b")
    });
    world.until_answered(second);
    let ids = [
        world.joined(first).member_id.clone(),
        world.joined(second).member_id.clone(),
    ];
    world.assign(&ids);
    let back = world.join(JoinAs {
        protocols: vec![("roundrobin", "m")],
        ..JoinAs::instance("b")
    });
    assert!(world.is_waiting(back));
    assert_eq!(world.state(), "PreparingRebalance");
}

#[test]
fn a_static_member_that_comes_back_while_the_leader_assigns_causes_a_rebalance() {
    let (mut world, a, _) = stable();
    world.join(JoinAs {
        member_id: a.clone(),
        ..JoinAs::instance("a")
    });
    let back = world.join(JoinAs::instance("b"));
    assert_eq!(world.state(), "CompletingRebalance");
    let waiting = world.sync(&a, &[]);
    assert_eq!(world.sync_code(waiting), ErrorCode::None);
    assert_eq!(world.joined(back).generation_id, 2);
}

#[test]
fn a_static_member_that_is_away_stays_until_its_session_ends() {
    let (mut world, a, _) = stable();
    world.pass(i64::from(SESSION_MS) - 1);
    assert_eq!(world.heartbeat(&a), ErrorCode::None);
    world.pass(1);
    assert_eq!(world.state(), "PreparingRebalance");
}

#[test]
fn an_admin_removes_a_static_member_by_its_instance_id() {
    let (mut world, _, _) = stable();
    let left = world.leave(&[
        (&KString::EMPTY, Some("b")),
        (&KString::EMPTY, Some("z")),
        (&KString::EMPTY, None),
    ]);
    let codes: Vec<i16> = world
        .left(left)
        .members
        .iter()
        .map(|member| member.error_code)
        .collect();
    let unknown = ErrorCode::UnknownMemberId.code();
    assert_eq!(codes, [0, unknown, unknown]);
    assert_eq!(
        world
            .coordinator
            .describe_group(&GROUP.into(), 0)
            .members
            .len(),
        1
    );
}

#[test]
fn an_unknown_instance_with_a_member_id_is_refused() {
    let (mut world, a, _) = stable();
    let refused = world.join(JoinAs {
        member_id: a,
        ..JoinAs::instance("z")
    });
    assert_eq!(world.join_code(refused), ErrorCode::UnknownMemberId);
}

/// The group is, after all, what its log says.
fn assert_as_in_the_log(world: &World) {
    let describe = |coordinator: &Coordinator| coordinator.describe_group(&GROUP.into(), 5);
    assert_eq!(describe(&world.coordinator), describe(&world.replayed()));
}

#[test]
fn a_place_that_was_taken_twice_in_vain_goes_back_to_the_one_in_the_log() {
    let (mut world, _, _) = stable();
    world.commits_at_once = false;
    world.join(JoinAs::instance("b"));
    let second = world.join(JoinAs::instance("b"));
    world.fail_one(ErrorCode::NotEnoughReplicas);
    world.fail_one(ErrorCode::NotEnoughReplicas);
    assert_eq!(world.join_code(second), ErrorCode::CoordinatorNotAvailable);
    assert_as_in_the_log(&world);
}

#[test]
fn a_place_is_taken_after_all_if_a_later_record_of_the_group_tells_of_it() {
    let (mut world, _, _) = stable();
    world.commits_at_once = false;
    let failed = world.join(JoinAs::instance("a"));
    let stored = world.join(JoinAs::instance("b"));
    world.fail_one(ErrorCode::NotEnoughReplicas);
    world.commit_one();
    assert_eq!(world.join_code(failed), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(world.join_code(stored), ErrorCode::None);
    assert_as_in_the_log(&world);
    // The instance that was told of the failure joins again, and nobody is in its way.
    let again = world.join(JoinAs::instance("a"));
    world.commit_one();
    assert_eq!(world.join_code(again), ErrorCode::None);
    assert_as_in_the_log(&world);
}
