//! What upgrades and downgrades that fail leave in the log of a group is removed from there.

use moldau_protocol::error_code::ErrorCode;

use super::migration_tests::Mixed;
use crate::ids::Token;

/// A classic group with a member, and two consumers that join it; neither is written yet.
fn upgrading() -> (Mixed, [Token; 2]) {
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
    (mixed, joins)
}

#[test]
fn what_a_failed_upgrade_left_in_the_log_is_removed_in_the_end_even_if_that_fails_at_first() {
    let (mut mixed, _) = upgrading();
    mixed.world.fail_one(ErrorCode::NotEnoughReplicas);
    mixed.world.commit_one();
    for _ in 0..3 {
        assert_eq!(mixed.world.appends.len(), 1, "it is to be removed");
        mixed.world.fail_one(ErrorCode::NotEnoughReplicas);
        assert!(mixed.world.appends.is_empty(), "not at once");
        mixed.world.pass(1_000);
    }
    mixed.world.commit_one();
    assert!(mixed.world.appends.is_empty());
    assert_eq!(mixed.kind(), "classic");
    mixed.check_kinds_of_replay();
    mixed.world.commits_at_once = true;
    mixed.settle();
    assert_eq!(mixed.readers().iter().sum::<usize>(), 8);
}

#[test]
fn a_classic_group_that_is_written_removes_what_a_failed_upgrade_left_with_the_same_batch() {
    let (mut mixed, _) = upgrading();
    mixed.world.fail_one(ErrorCode::NotEnoughReplicas);
    mixed.world.commit_one();
    mixed.world.fail_one(ErrorCode::NotEnoughReplicas);
    let leaving = mixed.classic.remove(0);
    mixed.world.leave(&[(&leaving.member_id, None)]);
    mixed.world.commit_one();
    assert_eq!(mixed.kind(), "classic");
    mixed.check_kinds_of_replay();
    mixed.world.commits_at_once = true;
    mixed.settle();
    assert_eq!(mixed.readers().iter().sum::<usize>(), 8);
}

#[test]
fn nobody_upgrades_a_group_in_whose_log_a_failed_upgrade_is_left() {
    let (mut mixed, _) = upgrading();
    mixed.world.fail_one(ErrorCode::NotEnoughReplicas);
    mixed.world.commit_one();
    let again = mixed.consumers[0].full();
    let again = mixed.world.send_beat(&again);
    let code = mixed.world.beaten(again).error_code;
    assert_eq!(code, ErrorCode::CoordinatorNotAvailable.code());
    mixed.world.commits_at_once = true;
    mixed.world.commit_one();
    mixed.settle();
    assert_eq!(mixed.kind(), "consumer");
    assert_eq!(mixed.readers().iter().sum::<usize>(), 8);
}

#[test]
fn a_group_that_left_the_new_protocol_before_its_upgrade_failed_is_as_before_both() {
    for outcomes in 0..8 {
        let (mut mixed, joins) = upgrading();
        // Both leave again: with the second of them, the group is to be a classic one.
        let leave = |mixed: &mut Mixed, index: usize| {
            let mut leaving = mixed.consumers[index].full();
            leaving.member_epoch = -1;
            mixed.world.send_beat(&leaving)
        };
        let left = [leave(&mut mixed, 0), leave(&mut mixed, 1)];
        assert_eq!(mixed.kind(), "classic");
        mixed.world.fail_one(ErrorCode::NotEnoughReplicas);
        for later in 0..3 {
            match outcomes >> later & 1 {
                0 => mixed.world.commit_one(),
                _ => mixed.world.fail_one(ErrorCode::NotEnoughReplicas),
            }
        }
        while !mixed.world.appends.is_empty() {
            mixed.world.commit_one();
        }
        for token in joins.into_iter().chain(left) {
            let code = mixed.world.beaten(token).error_code;
            assert_ne!(code, ErrorCode::None.code(), "nobody came nor went");
        }
        assert_eq!(mixed.kind(), "classic");
        mixed.check_kinds_of_replay();
        mixed.world.commits_at_once = true;
        mixed.settle();
        assert_eq!(mixed.readers().iter().sum::<usize>(), 8);
    }
}

#[test]
fn a_downgrade_that_fails_takes_with_it_the_upgrade_that_followed() {
    for outcomes in 0..8 {
        let mut mixed = Mixed::new();
        mixed.add_classic();
        mixed.add_consumer();
        mixed.settle();
        mixed.world.commits_at_once = false;
        let mut leaving = mixed.consumers[0].full();
        leaving.member_epoch = -1;
        mixed.world.send_beat(&leaving);
        assert_eq!(mixed.kind(), "classic");
        mixed.add_consumer();
        mixed.add_consumer();
        for index in [1, 2] {
            let joining = mixed.consumers[index].full();
            mixed.world.send_beat(&joining);
        }
        assert_eq!(mixed.kind(), "consumer");
        mixed.world.fail_one(ErrorCode::NotEnoughReplicas);
        for later in 0..2 {
            match outcomes >> later & 1 {
                0 => mixed.world.commit_one(),
                _ => mixed.world.fail_one(ErrorCode::NotEnoughReplicas),
            }
        }
        while !mixed.world.appends.is_empty() {
            mixed.world.commit_one();
        }
        mixed.check_kinds_of_replay();
        mixed.check_replay();
        mixed.world.commits_at_once = true;
        mixed.settle();
        assert_eq!(mixed.readers().iter().sum::<usize>(), 8);
    }
}
