//! The rules of classic groups as sentences, told through a coordinator whose appends succeed.

use moldau_protocol::messages::heartbeat::HeartbeatRequest;
use moldau_protocol::messages::join_group::JoinGroupRequest;
use moldau_protocol::messages::sync_group::SyncGroupRequest;
use moldau_protocol::{ErrorCode, KString};

use crate::coordinator::CoordinatorSettings;
use crate::coordinator::fixture::{
    GROUP, INITIAL_DELAY_MS, JoinAs, REBALANCE_MS, SESSION_MS, World, sync_request,
};
use crate::group::GroupSettings;

fn with_group(group: GroupSettings) -> World {
    World::with(CoordinatorSettings {
        group,
        ..Default::default()
    })
}

/// Trap 9: from v4 on, an id first.
#[test]
fn a_new_member_first_gets_an_id_and_must_come_back_with_it() {
    let mut world = World::new();
    let asked = world.join(JoinAs::default());
    assert_eq!(world.join_code(asked), ErrorCode::MemberIdRequired);
    let member_id = world.joined(asked).member_id.clone();
    assert_eq!(member_id, "client-00000000-0000-4000-8000-000000000001");
    assert_eq!(
        world.coordinator.describe_group(&GROUP.into(), 6).members,
        []
    );

    let joined = world.join(JoinAs::member(&member_id));
    world.pass(INITIAL_DELAY_MS);
    assert_eq!(world.joined(joined).member_id, member_id);
}

#[test]
fn clients_before_version_4_join_without_an_id() {
    let mut world = World::new();
    let joined = world.join(JoinAs {
        version: 3,
        ..JoinAs::default()
    });
    world.pass(INITIAL_DELAY_MS);
    assert_eq!(world.join_code(joined), ErrorCode::None);
    assert_eq!(world.joined(joined).generation_id, 1);
}

/// Trap 9: `group.initial.rebalance.delay.ms`.
#[test]
fn a_new_group_waits_for_company_until_nobody_new_comes() {
    let mut world = World::new();
    let (_, first) = world.join_new();
    world.pass(INITIAL_DELAY_MS - 1);
    let (_, second) = world.join_new();
    world.pass(1);
    assert!(
        world.is_waiting(first),
        "someone came, so the delay starts over"
    );
    world.pass(INITIAL_DELAY_MS);
    assert_eq!(world.joined(first).generation_id, 1);
    assert_eq!(world.joined(second).generation_id, 1);
    assert_eq!(world.state(), "CompletingRebalance");
}

#[test]
fn a_new_group_does_not_wait_for_company_longer_than_a_rebalance_may_take() {
    let mut world = World::new();
    let (_, first) = world.join_new();
    for _ in 0..(i64::from(REBALANCE_MS) / 2_000 - 1) {
        world.pass(2_000);
        world.join_new();
        assert!(world.is_waiting(first));
    }
    world.pass(2_000);
    assert!(!world.is_waiting(first));
}

#[test]
fn without_a_delay_the_first_member_starts_at_once() {
    let mut world = with_group(GroupSettings {
        initial_rebalance_delay_ms: 0,
        ..Default::default()
    });
    let (_, joined) = world.join_new();
    assert_eq!(world.joined(joined).generation_id, 1);
}

#[test]
fn the_leader_alone_learns_of_all_members() {
    let mut world = World::new();
    let (first_id, first) = world.join_new();
    let (_, second) = world.join_new();
    world.pass(2 * INITIAL_DELAY_MS);
    assert_eq!(world.joined(first).leader, first_id);
    assert_eq!(world.joined(second).leader, first_id);
    assert_eq!(world.joined(first).members.len(), 2);
    assert_eq!(world.joined(second).members, []);
    assert_eq!(world.joined(second).protocol_type, Some("consumer".into()));
    assert_eq!(world.joined(second).protocol_name, Some("range".into()));
}

#[test]
fn members_get_their_assignment_when_the_leader_has_handed_it_in() {
    let mut world = World::new();
    let (leader, _) = world.join_new();
    let (follower, _) = world.join_new();
    world.pass(2 * INITIAL_DELAY_MS);
    let waiting = world.sync(&follower, &[]);
    assert!(world.is_waiting(waiting));
    let leading = world.sync(&leader, &[(&follower, "f"), (&leader, "l")]);
    assert_eq!(world.synced(waiting).assignment, "f");
    assert_eq!(world.synced(leading).assignment, "l");
    assert_eq!(world.state(), "Stable");
    let again = world.sync(&follower, &[]);
    assert_eq!(world.synced(again).assignment, "f");
}

#[test]
fn members_that_the_leader_forgot_get_an_empty_assignment() {
    let mut world = World::new();
    let (leader, _) = world.join_new();
    let (follower, _) = world.join_new();
    world.pass(2 * INITIAL_DELAY_MS);
    let waiting = world.sync(&follower, &[]);
    world.sync(&leader, &[(&"stranger".into(), "?")]);
    assert_eq!(world.synced(waiting).assignment, "");
    assert_eq!(world.sync_code(waiting), ErrorCode::None);
}

#[test]
fn a_further_member_makes_the_others_join_again() {
    let mut world = World::new();
    let ids = world.stable(2);
    let (new_id, joining) = world.join_new();
    assert_eq!(world.state(), "PreparingRebalance");
    for id in &ids {
        assert_eq!(world.heartbeat(id), ErrorCode::RebalanceInProgress);
        assert!(world.is_waiting(joining));
        world.join(JoinAs::member(id));
    }
    assert_eq!(world.joined(joining).generation_id, 2);
    assert_eq!(world.joined(joining).leader, ids[0], "the leader stays");
    world.assign(&[ids[0].clone(), ids[1].clone(), new_id]);
}

#[test]
fn members_that_do_not_join_again_in_time_are_left_behind() {
    let mut world = World::new();
    let ids = world.stable(2);
    let (_, joining) = world.join_new();
    let rejoined = world.join(JoinAs::member(&ids[1]));
    for _ in 0..(REBALANCE_MS / 5_000) {
        assert!(world.is_waiting(joining));
        world.heartbeat(&ids[0]);
        world.pass(5_000);
    }
    assert_eq!(world.join_code(joining), ErrorCode::None);
    assert_eq!(world.heartbeat(&ids[0]), ErrorCode::UnknownMemberId);
    let leader = world.joined(joining).leader.clone();
    assert_eq!(world.joined(rejoined).leader, leader);
    assert_ne!(leader, ids[0], "the old leader is gone");
}

#[test]
fn a_silent_member_is_removed_when_its_session_ends() {
    let mut world = World::new();
    let ids = world.stable(2);
    world.pass(i64::from(SESSION_MS) - 1);
    assert_eq!(world.heartbeat(&ids[0]), ErrorCode::None);
    world.pass(1);
    assert_eq!(world.heartbeat(&ids[1]), ErrorCode::UnknownMemberId);
    assert_eq!(world.heartbeat(&ids[0]), ErrorCode::RebalanceInProgress);
    let alone = world.join(JoinAs::member(&ids[0]));
    assert_eq!(world.joined(alone).members.len(), 1);
}

/// Trap 9: heartbeats that are delayed because a request waits.
#[test]
fn a_member_whose_request_waits_is_not_taken_for_dead() {
    let mut world = World::new();
    let ids = world.stable(2);
    world.join_new();
    let waiting = world.join(JoinAs::member(&ids[0]));
    for _ in 0..4 {
        world.heartbeat(&ids[1]);
        world.pass(i64::from(SESSION_MS) - 1);
    }
    assert!(world.is_waiting(waiting));
    world.join(JoinAs::member(&ids[1]));
    assert_eq!(world.join_code(waiting), ErrorCode::None);
}

#[test]
fn an_id_that_was_given_out_is_forgotten_after_a_session() {
    let mut world = World::new();
    let ids = world.stable(1);
    let asked = world.join(JoinAs::default());
    let pending = world.joined(asked).member_id.clone();
    world.pass(i64::from(SESSION_MS) - 1);
    world.heartbeat(&ids[0]);
    world.pass(1);
    let late = world.join(JoinAs::member(&pending));
    assert_eq!(world.join_code(late), ErrorCode::UnknownMemberId);
}

/// Trap 9: pending members.
#[test]
fn a_rebalance_waits_for_a_member_that_was_given_an_id() {
    let mut world = World::new();
    let ids = world.stable(1);
    let asked = world.join(JoinAs::default());
    let pending = world.joined(asked).member_id.clone();
    let leading = world.join(JoinAs::member(&ids[0]));
    assert!(world.is_waiting(leading));
    let joined = world.join(JoinAs::member(&pending));
    assert_eq!(world.joined(leading).members.len(), 2);
    assert_eq!(world.join_code(joined), ErrorCode::None);
}

#[test]
fn members_that_do_not_ask_for_their_assignment_are_left_behind() {
    let mut world = World::new();
    let (leader, _) = world.join_new();
    let (follower, _) = world.join_new();
    world.pass(2 * INITIAL_DELAY_MS);
    let waiting = world.sync(&follower, &[]);
    for _ in 0..(REBALANCE_MS / 5_000 + 1) {
        world.heartbeat(&leader);
        world.pass(5_000);
    }
    assert_eq!(world.sync_code(waiting), ErrorCode::RebalanceInProgress);
    assert_eq!(world.heartbeat(&leader), ErrorCode::UnknownMemberId);
}

#[test]
fn a_member_that_missed_an_answer_gets_it_again_without_a_rebalance() {
    let mut world = World::new();
    let ids = world.stable(2);
    let follower = world.join(JoinAs::member(&ids[1]));
    assert_eq!(world.joined(follower).generation_id, 1);
    assert_eq!(world.state(), "Stable");

    let changed = world.join(JoinAs {
        protocols: vec![("range", "other")],
        ..JoinAs::member(&ids[1])
    });
    assert!(
        world.is_waiting(changed),
        "other metadata needs another assignment"
    );
    assert_eq!(world.state(), "PreparingRebalance");
}

#[test]
fn the_leader_can_ask_for_a_new_assignment_by_joining_again() {
    let mut world = World::new();
    let ids = world.stable(2);
    let leading = world.join(JoinAs::member(&ids[0]));
    assert!(world.is_waiting(leading));
    assert_eq!(world.state(), "PreparingRebalance");
}

#[test]
fn a_member_that_joins_while_the_leader_assigns_starts_over_unless_nothing_changed() {
    let mut world = World::new();
    let (leader, _) = world.join_new();
    let (follower, _) = world.join_new();
    world.pass(2 * INITIAL_DELAY_MS);
    let again = world.join(JoinAs::member(&leader));
    assert_eq!(world.joined(again).members.len(), 2);
    let waiting = world.sync(&follower, &[]);
    let changed = world.join(JoinAs {
        protocols: vec![("range", "x")],
        ..JoinAs::member(&leader)
    });
    assert!(world.is_waiting(changed));
    assert_eq!(world.sync_code(waiting), ErrorCode::RebalanceInProgress);
}

#[test]
fn the_protocol_that_all_speak_and_most_prefer_is_chosen() {
    for (members, expected) in [
        (vec![vec!["a", "b"], vec!["b", "a"], vec!["b", "a"]], "b"),
        (vec![vec!["a", "b"], vec!["a", "b"], vec!["b", "a"]], "a"),
        (vec![vec!["x", "b"], vec!["y", "b", "z"], vec!["b"]], "b"),
        (vec![vec!["b", "a"], vec!["a", "b"]], "b"),
    ] {
        let mut world = World::new();
        let joined: Vec<_> = members
            .iter()
            .map(|protocols| {
                let protocols = protocols.iter().map(|name| (*name, "m")).collect();
                world
                    .join_new_as(JoinAs {
                        protocols,
                        ..JoinAs::default()
                    })
                    .1
            })
            .collect();
        world.pass(REBALANCE_MS.into());
        for token in joined {
            assert_eq!(
                world.joined(token).protocol_name,
                Some(expected.into()),
                "{members:?}"
            );
        }
    }
}

#[test]
fn a_member_that_shares_no_protocol_with_the_group_is_refused() {
    let mut world = World::new();
    world.stable(1);
    for protocols in [vec![], vec![("roundrobin", "m")]] {
        let refused = world.join(JoinAs {
            protocols,
            ..JoinAs::default()
        });
        assert_eq!(
            world.join_code(refused),
            ErrorCode::InconsistentGroupProtocol
        );
    }
    assert_eq!(world.state(), "Stable");
}

#[test]
fn requests_that_are_refused_before_they_reach_a_group() {
    let mut world = World::new();
    for (group_id, session_timeout_ms, member_id, code) in [
        ("", SESSION_MS, "", ErrorCode::InvalidGroupId),
        ("g", 5_999, "", ErrorCode::InvalidSessionTimeout),
        ("g", 1_800_001, "", ErrorCode::InvalidSessionTimeout),
        ("g", SESSION_MS, "somebody", ErrorCode::UnknownMemberId),
    ] {
        let caller = world.caller(9);
        let (group_id, member_id) = (group_id.into(), member_id.into());
        let request = JoinGroupRequest {
            group_id,
            session_timeout_ms,
            member_id,
            ..Default::default()
        };
        let actions = world.coordinator.join_group(&caller, request, 1, 0);
        world.act(actions);
        assert_eq!(world.join_code(caller.token), code);
    }
    let unknown = sync_request(&"m".into(), &[]);
    let nowhere = SyncGroupRequest {
        group_id: KString::EMPTY,
        ..unknown.clone()
    };
    for (request, code) in [
        (unknown, ErrorCode::UnknownMemberId),
        (nowhere, ErrorCode::InvalidGroupId),
    ] {
        let token = world.sync_with(request);
        assert_eq!(world.sync_code(token), code);
    }
}

#[test]
fn only_members_of_the_current_generation_are_served() {
    let mut world = World::new();
    let ids = world.stable(1);
    let beat = |member_id: &KString, generation_id| HeartbeatRequest {
        group_id: GROUP.into(),
        member_id: member_id.clone(),
        generation_id,
        ..Default::default()
    };
    assert_eq!(world.heartbeat_with(beat(&ids[0], 1)), ErrorCode::None);
    assert_eq!(
        world.heartbeat_with(beat(&ids[0], 0)),
        ErrorCode::IllegalGeneration
    );
    assert_eq!(
        world.heartbeat_with(beat(&"other".into(), 1)),
        ErrorCode::UnknownMemberId
    );
    let request = sync_request(&ids[0], &[]);
    let protocol = SyncGroupRequest {
        generation_id: 1,
        protocol_name: Some("other".into()),
        ..request.clone()
    };
    for (request, code) in [
        (request, ErrorCode::IllegalGeneration),
        (protocol, ErrorCode::InconsistentGroupProtocol),
    ] {
        let token = world.sync_with(request);
        assert_eq!(world.sync_code(token), code);
    }
}

#[test]
fn a_full_group_takes_nobody_else() {
    let mut world = with_group(GroupSettings {
        max_size: 2,
        ..Default::default()
    });
    let ids = world.stable(2);
    let refused = world.join(JoinAs::default());
    assert_eq!(world.join_code(refused), ErrorCode::GroupMaxSizeReached);
    let member = world.join(JoinAs::member(&ids[1]));
    assert_eq!(world.join_code(member), ErrorCode::None);
}

#[test]
fn members_leave_and_the_last_one_leaves_an_empty_group() {
    let mut world = World::new();
    let ids = world.stable(2);
    let left = world.leave(&[(&ids[1], None)]);
    assert_eq!(world.left(left).error_code, 0);
    assert_eq!(world.state(), "PreparingRebalance");
    let left = world.leave(&[(&ids[0], None), (&"stranger".into(), None)]);
    let codes: Vec<i16> = world
        .left(left)
        .members
        .iter()
        .map(|member| member.error_code)
        .collect();
    assert_eq!(codes, [0, ErrorCode::UnknownMemberId.code()]);
    assert_eq!(world.state(), "Empty");
    assert_eq!(world.generation(), 2);
}

#[test]
fn a_member_that_leaves_while_it_joins_is_answered() {
    let mut world = World::new();
    world.stable(1);
    let (id, joining) = world.join_new();
    world.leave(&[(&id, None)]);
    assert_eq!(world.join_code(joining), ErrorCode::UnknownMemberId);
}

#[test]
fn old_clients_leave_one_at_a_time() {
    let mut world = World::new();
    let ids = world.stable(1);
    for (member_id, code) in [
        ("stranger".into(), ErrorCode::UnknownMemberId),
        (ids[0].clone(), ErrorCode::None),
    ] {
        let caller = world.caller(2);
        let request = moldau_protocol::messages::leave_group::LeaveGroupRequest {
            group_id: GROUP.into(),
            member_id,
            ..Default::default()
        };
        let actions = world
            .coordinator
            .leave_group(&caller, request, world.now_ms);
        world.act(actions);
        let response = world.left(caller.token);
        assert_eq!(
            (response.error_code, response.members.len()),
            (code.code(), 0)
        );
    }
}
