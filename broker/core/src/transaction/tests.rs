//! The rules of transactions as sentences.

use super::fixture::World;
use super::*;

const NONE: (i64, i16) = (-1, -1);

#[test]
fn a_transaction_is_decided_told_and_completed() {
    let mut world = World::new();
    let producer = world.init("a");
    assert_eq!(producer, (101, 0));
    assert_eq!(world.add(3, "a", producer, &[1, 0]), ErrorCode::None);
    assert_eq!(world.add_offsets(3, "a", producer), ErrorCode::None);
    assert_eq!(world.state("a"), TransactionState::Ongoing);
    assert_eq!(world.end(4, "a", producer, true), Ok(NONE));
    assert_eq!(world.state("a"), TransactionState::PrepareCommit);
    let markers = world.finish();
    assert!(markers.committed);
    assert_eq!(
        (markers.producer_epoch, markers.transaction_version),
        (ProducerEpoch(0), 0)
    );
    assert_eq!(markers.coordinator_epoch, 7);
    let partitions: Vec<_> = markers
        .partitions
        .iter()
        .map(|(topic, index)| format!("{topic}-{index}"))
        .collect();
    assert_eq!(partitions, ["__consumer_offsets-3", "t-0", "t-1"]);
    assert_eq!(world.state("a"), TransactionState::CompleteCommit);
    assert_eq!(world.add(3, "a", producer, &[0]), ErrorCode::None);
    assert_eq!(world.end(4, "a", producer, false), Ok(NONE));
    assert!(!world.finish().committed);
    assert_eq!(world.state("a"), TransactionState::CompleteAbort);
}

#[test]
fn the_answer_leaves_when_the_record_is_committed() {
    let mut world = World::new();
    let producer = world.init("a");
    let add = world.send_add(3, "a", producer, &[0], false);
    assert!(!world.is_answered(add));
    world.commit_one();
    assert_eq!(world.added(3, add), Some(ErrorCode::None));
    let end = world.send_end(4, "a", producer, true);
    assert!(!world.is_answered(end));
    assert!(world.markers.is_empty());
    world.commit_one();
    assert_eq!(world.ended(end), Some(Ok(NONE)));
    assert_eq!(world.markers.len(), 1);
}

#[test]
fn a_record_that_cannot_be_written_changes_nothing() {
    let mut world = World::new();
    let producer = world.init("a");
    let add = world.send_add(3, "a", producer, &[0], false);
    world.fail_one();
    assert_eq!(
        world.added(3, add),
        Some(ErrorCode::CoordinatorNotAvailable)
    );
    assert_eq!(world.state("a"), TransactionState::Empty);
    world.add(3, "a", producer, &[0]);
    world.end(4, "a", producer, true).unwrap();
    world.write_markers();
    world.fail_one();
    assert_eq!(world.state("a"), TransactionState::PrepareCommit);
    world.pass(1_000);
    world.commit_all();
    assert_eq!(world.state("a"), TransactionState::CompleteCommit);
}

#[test]
fn trap_11_while_a_change_is_on_its_way_others_are_told_to_come_again() {
    let mut world = World::new();
    let producer = world.init("a");
    let concurrent = Some(ErrorCode::ConcurrentTransactions);
    world.send_add(3, "a", producer, &[0], false);
    let second = world.send_add(3, "a", producer, &[1], false);
    assert_eq!(world.added(3, second), concurrent);
    let end = world.send_end(4, "a", producer, true);
    assert_eq!(
        world.ended(end),
        Some(Err(ErrorCode::ConcurrentTransactions))
    );
    world.commit_all();
    world.end(4, "a", producer, true).unwrap();
    let next = world.send_add(3, "a", producer, &[0], false);
    assert_eq!(world.added(3, next), concurrent, "markers are on their way");
    assert_eq!(
        world.init_again("a", None),
        Err(ErrorCode::ConcurrentTransactions)
    );
    assert_eq!(
        world.end(4, "a", producer, true),
        Err(ErrorCode::ConcurrentTransactions)
    );
    assert_eq!(
        world.end(4, "a", producer, false),
        Err(ErrorCode::InvalidTxnState)
    );
    world.finish();
    assert_eq!(world.end(4, "a", producer, true), Ok(NONE), "again");
    assert_eq!(
        world.end(4, "a", producer, false),
        Err(ErrorCode::InvalidTxnState)
    );
}

#[test]
fn trap_11_a_new_instance_fences_the_old_one_and_aborts_what_it_left_open() {
    let mut world = World::new();
    let old = world.init("a");
    world.add(3, "a", old, &[0]);
    assert_eq!(
        world.init_again("a", None),
        Err(ErrorCode::ConcurrentTransactions)
    );
    let markers = world.finish();
    assert!(!markers.committed);
    assert_eq!(
        markers.producer_epoch,
        ProducerEpoch(1),
        "above the old one"
    );
    let new = world.init("a");
    assert_eq!(new, (old.0, 2));
    assert_eq!(world.add(2, "a", old, &[0]), ErrorCode::ProducerFenced);
    assert_eq!(
        world.add(1, "a", old, &[0]),
        ErrorCode::InvalidProducerEpoch
    );
    assert_eq!(
        world.add_offsets(1, "a", old),
        ErrorCode::InvalidProducerEpoch
    );
    assert_eq!(world.end(2, "a", old, true), Err(ErrorCode::ProducerFenced));
    assert_eq!(
        world.end(1, "a", old, true),
        Err(ErrorCode::InvalidProducerEpoch)
    );
    assert_eq!(
        world.add(3, "a", (999, 2), &[0]),
        ErrorCode::InvalidProducerIdMapping
    );
    assert_eq!(
        world.end(3, "b", new, true),
        Err(ErrorCode::InvalidProducerIdMapping)
    );
}

#[test]
fn trap_11_fencing_is_told_by_the_words_of_the_version() {
    let mut world = World::new();
    let old = world.init("a");
    world.init("a");
    for (version, code) in [
        (3, ErrorCode::InvalidProducerEpoch),
        (4, ErrorCode::ProducerFenced),
    ] {
        let wrong = (old.0 + 50, old.1);
        let token = world.send_init(version, "a", Some(wrong));
        assert!(world.is_answered(token));
        let told = world.init_code(token);
        assert_eq!(told, code, "v{version}");
    }
}

#[test]
fn a_producer_that_says_what_it_believes_gets_the_next_epoch_once() {
    let mut world = World::new();
    let first = world.init("a");
    let second = world.init_again("a", Some(first)).unwrap();
    assert_eq!(second, (first.0, 1));
    assert_eq!(
        world.init_again("a", Some(first)),
        Ok(second),
        "asked again"
    );
    assert_eq!(
        world.init_again("a", Some((first.0, 7))),
        Err(ErrorCode::ProducerFenced)
    );
}

#[test]
fn a_used_up_epoch_is_followed_by_a_new_producer_id() {
    let mut world = World::new();
    let first = world.init("a");
    world.set_epoch("a", i16::MAX - 1);
    let second = world.init("a");
    assert_eq!(second, (first.0 + 1, 0));
    world.set_epoch("a", i16::MAX - 1);
    world.add(5, "a", (second.0, i16::MAX - 1), &[0]);
    let third = world.end(5, "a", (second.0, i16::MAX - 1), true).unwrap();
    assert_eq!(third, (second.0 + 1, 0));
    let markers = world.finish();
    assert_eq!(markers.producer_id, ProducerId(second.0));
    assert_eq!(markers.producer_epoch, ProducerEpoch(i16::MAX));
    let again = world.end(5, "a", (second.0, i16::MAX - 1), true);
    assert_eq!(again, Ok(third), "asked again over the change of id");
    assert_eq!(world.add(5, "a", third, &[0]), ErrorCode::None);
}

#[test]
fn trap_11_the_timeout_of_a_transaction_is_bounded() {
    let mut world = World::new();
    for (timeout, expected) in [
        (0, ErrorCode::InvalidTransactionTimeout),
        (900_001, ErrorCode::InvalidTransactionTimeout),
        (900_000, ErrorCode::None),
    ] {
        assert_eq!(world.init_with_timeout("a", timeout), expected, "{timeout}");
    }
}

#[test]
fn trap_11_a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    for version in [3, 5] {
        let mut world = World::new();
        let producer = world.init("a");
        world.add(version, "a", producer, &[0]);
        world.pass(59_999);
        assert!(world.appends.is_empty());
        world.pass(1);
        world.commit_all();
        assert_eq!(world.state("a"), TransactionState::PrepareAbort);
        assert_eq!(world.finish().producer_epoch, ProducerEpoch(1));
        assert_eq!(
            world.end(2, "a", producer, true),
            Err(ErrorCode::ProducerFenced)
        );
        assert_eq!(world.init("a"), (producer.0, 2));
    }
}

#[test]
fn with_version_2_every_end_bumps_the_epoch() {
    let mut world = World::new();
    let first = world.init("a");
    world.add(5, "a", first, &[0]);
    let second = world.end(5, "a", first, true).unwrap();
    assert_eq!(second, (first.0, 1));
    let markers = world.finish();
    assert_eq!(
        (markers.producer_epoch, markers.transaction_version),
        (ProducerEpoch(1), 2)
    );
    assert_eq!(world.end(5, "a", first, true), Ok(second), "asked again");
    assert_eq!(
        world.end(5, "a", first, false),
        Err(ErrorCode::InvalidTxnState),
        "asked again for something else"
    );
    assert_eq!(world.add(5, "a", first, &[0]), ErrorCode::ProducerFenced);
    let third = world.end(5, "a", second, false).unwrap();
    assert_eq!(third, (first.0, 2), "without any partition");
    assert!(world.markers.is_empty());
    assert_eq!(world.state("a"), TransactionState::CompleteAbort);
    assert_eq!(
        world.end(5, "a", third, true),
        Err(ErrorCode::InvalidTxnState),
        "nothing to commit"
    );
}

#[test]
fn trap_11_the_next_end_waits_for_the_markers_of_the_last() {
    let mut world = World::new();
    let first = world.init("a");
    world.add(5, "a", first, &[0]);
    let second = world.end(5, "a", first, true).unwrap();
    assert_eq!(
        world.end(5, "a", second, false),
        Err(ErrorCode::ConcurrentTransactions)
    );
    assert_eq!(
        world.end(5, "a", first, false),
        Err(ErrorCode::InvalidTxnState),
        "asked again for something else"
    );
    world.finish();
    assert!(world.end(5, "a", second, false).is_ok());
}

#[test]
fn trap_11_a_late_end_does_not_end_the_next_transaction() {
    let mut world = World::new();
    let first = world.init("a");
    world.add(5, "a", first, &[0]);
    let second = world.end(5, "a", first, true).unwrap();
    world.finish();
    world.add(5, "a", second, &[0]);
    assert_eq!(
        world.end(5, "a", first, true),
        Err(ErrorCode::ProducerFenced)
    );
    assert_eq!(world.state("a"), TransactionState::Ongoing);
}

#[test]
fn partitions_are_verified_without_being_added() {
    let mut world = World::new();
    let producer = world.init("a");
    assert_eq!(
        world.verify("a", producer, 0),
        ErrorCode::TransactionAbortable
    );
    world.add(3, "a", producer, &[0]);
    assert_eq!(world.verify("a", producer, 0), ErrorCode::None);
    assert_eq!(
        world.verify("a", producer, 1),
        ErrorCode::TransactionAbortable
    );
    assert_eq!(
        world.verify("a", (producer.0, 9), 0),
        ErrorCode::ProducerFenced
    );
    assert_eq!(world.state("a"), TransactionState::Ongoing);
}

#[test]
fn after_a_restart_in_any_state_the_transaction_goes_on() {
    let mut world = World::new();
    let producer = world.init("a");
    world.restart();
    assert_eq!(world.add(3, "a", producer, &[0, 1]), ErrorCode::None);
    world.restart();
    assert_eq!(world.state("a"), TransactionState::Ongoing);
    world.end(4, "a", producer, true).unwrap();
    world.restart();
    let markers = world.finish();
    assert_eq!(
        (markers.partitions.len(), markers.coordinator_epoch),
        (2, 8)
    );
    world.restart();
    assert_eq!(world.state("a"), TransactionState::CompleteCommit);
    assert!(world.markers.is_empty());
    world.add(3, "a", producer, &[0]);
    world.restart();
    world.pass(60_000);
    world.commit_all();
    assert_eq!(
        world.state("a"),
        TransactionState::PrepareAbort,
        "timeouts go on"
    );
}

#[test]
fn trap_11_an_id_that_is_not_used_expires_but_never_in_a_transaction() {
    let mut world = World::new();
    let actions = world.coordinator.loaded(world.now_ms);
    world.act(actions);
    let producer = world.init("a");
    world.init("b");
    world.pass(604_800_000 - 60_000);
    world.add(3, "a", producer, &[0]);
    world.pass(59_000);
    assert_eq!(world.state("a"), TransactionState::Ongoing);
    world.pass(3_600_000);
    world.commit_all();
    assert_eq!(world.state("b"), TransactionState::Dead);
    assert_ne!(world.state("a"), TransactionState::Dead);
    world.restart();
    assert_eq!(world.state("b"), TransactionState::Dead);
    assert_eq!(world.init("b").1, 0, "as a new one");
}

#[test]
fn resigning_answers_all_who_wait() {
    let mut world = World::new();
    let producer = world.init("a");
    let add = world.send_add(3, "a", producer, &[0], false);
    let actions = world.coordinator.resign(ErrorCode::NotCoordinator);
    world.act(actions);
    assert_eq!(world.added(3, add), Some(ErrorCode::NotCoordinator));
    world.commit_all();
    assert!(world.coordinator.is_empty());
}

#[test]
fn transactions_are_listed_and_described() {
    let mut world = World::new();
    let producer = world.init("a");
    world.init("b");
    world.add(3, "a", producer, &[2, 1]);
    world.now_ms += 500;
    let list = |filter: TransactionFilter| {
        let listed = world.coordinator.list_transactions(&filter, world.now_ms);
        listed
            .iter()
            .map(|listed| listed.transactional_id.to_string())
            .collect::<Vec<_>>()
    };
    let all = TransactionFilter {
        duration_ms: -1,
        ..Default::default()
    };
    assert_eq!(list(all.clone()), ["a", "b"]);
    let ongoing = TransactionFilter {
        states: vec![TransactionState::Ongoing],
        ..all.clone()
    };
    assert_eq!(list(ongoing), ["a"]);
    let long = |duration_ms| TransactionFilter {
        duration_ms,
        ..all.clone()
    };
    assert_eq!(list(long(499)), ["a"]);
    assert_eq!(list(long(500)), [""; 0]);
    let described = world.coordinator.describe_transaction(&"a".into());
    assert_eq!(described.transaction_state, "Ongoing");
    assert_eq!(described.topics[0].partitions, [1, 2]);
    let unknown = world.coordinator.describe_transaction(&"c".into());
    assert_eq!(
        unknown.error_code,
        ErrorCode::TransactionalIdNotFound.code()
    );
}
