//! The rules of idempotent producers as sentences.

use super::*;
use crate::partition::fixture::{batch, idempotent, marker, transactional};

/// Producer 7 with these batches of (base sequence, records), from offset 100 on.
fn after(batches: &[(i32, i32)]) -> ProducerStates {
    let mut states = ProducerStates::default();
    let mut offset = 100;
    for (sequence, records) in batches {
        let base_offset = Offset(offset);
        states.replay(
            &BatchSummary {
                base_offset,
                ..idempotent(7, *sequence, *records)
            },
            0,
        );
        offset += i64::from(*records);
    }
    states
}

fn out_of_order(sequence: i32, last: i32) -> Result<SequenceCheck, ProducerError> {
    Err(ProducerError::OutOfOrder {
        producer_id: ProducerId(7),
        sequence,
        last,
    })
}

fn duplicate(base_offset: i64, last_offset: i64) -> Result<SequenceCheck, ProducerError> {
    let (base_offset, last_offset) = (Offset(base_offset), Offset(last_offset));
    Ok(SequenceCheck::Duplicate(AppendedBatch {
        base_offset,
        last_offset,
        timestamp: -1,
    }))
}

#[test]
fn sequence_numbers_follow_each_other() {
    let in_order = Ok(SequenceCheck::InOrder);
    let states = after(&[(0, 3), (3, 2)]);
    for (sequence, records, expected) in [
        (5, 1, in_order),
        (6, 1, out_of_order(6, 4)),
        (3, 2, duplicate(103, 104)),
        (0, 3, duplicate(100, 102)),
        (0, 2, out_of_order(0, 4)),
        (3, 1, out_of_order(3, 4)),
        (4, 2, out_of_order(4, 4)),
    ] {
        assert_eq!(
            states.check(&idempotent(7, sequence, records)),
            expected,
            "{sequence}+{records}"
        );
    }
}

/// Trap 5: the sequence wraps.
#[test]
fn after_the_largest_sequence_number_comes_zero() {
    let states = after(&[(i32::MAX - 1, 2)]);
    assert_eq!(
        states.check(&idempotent(7, 0, 1)),
        Ok(SequenceCheck::InOrder)
    );
    assert_eq!(
        states.check(&idempotent(7, 1, 1)),
        out_of_order(1, i32::MAX)
    );

    let across = after(&[(i32::MAX - 1, 4)]);
    assert_eq!(
        across.check(&idempotent(7, 2, 1)),
        Ok(SequenceCheck::InOrder)
    );
    assert_eq!(
        across.check(&idempotent(7, i32::MAX - 1, 4)),
        duplicate(100, 103)
    );
}

/// Trap 5: as many as may be in flight.
#[test]
fn five_batches_are_remembered() {
    let states = after(&[(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]);
    assert_eq!(states.check(&idempotent(7, 1, 1)), duplicate(101, 101));
    assert_eq!(states.check(&idempotent(7, 0, 1)), out_of_order(0, 5));
}

#[test]
fn an_unknown_producer_may_start_with_any_sequence_number() {
    assert_eq!(
        ProducerStates::default().check(&idempotent(7, 42, 1)),
        Ok(SequenceCheck::InOrder)
    );
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
    let mut states = after(&[(0, 3)]);
    let newer = |sequence| BatchSummary {
        producer_epoch: ProducerEpoch(1),
        ..idempotent(7, sequence, 1)
    };
    assert_eq!(states.check(&newer(3)), out_of_order(3, -1));
    assert_eq!(states.check(&newer(0)), Ok(SequenceCheck::InOrder));
    states.replay(&newer(0), 0);
    let fenced = states.check(&idempotent(7, 3, 1)).unwrap_err();
    assert_eq!(fenced.code(), ErrorCode::InvalidProducerEpoch);
}

#[test]
fn batches_without_a_producer_id_are_not_remembered() {
    let mut states = ProducerStates::default();
    states.replay(&batch(3), 0);
    assert!(states.is_empty());
    assert_eq!(states.check(&batch(3)), Ok(SequenceCheck::InOrder));
}

#[test]
fn a_silent_producer_is_forgotten_unless_its_transaction_is_open() {
    let mut states = ProducerStates::default();
    states.replay(&idempotent(1, 0, 1), 1_000);
    states.replay(
        &BatchSummary {
            transactional: true,
            ..idempotent(2, 0, 1)
        },
        1_000,
    );
    states.replay(&idempotent(3, 0, 1), 1_001);
    states.expire(2_000, 1_000);
    assert_eq!(
        states.producers.keys().map(|id| id.0).collect::<Vec<_>>(),
        [2, 3]
    );
}

#[test]
fn a_producer_of_old_records_is_not_forgotten_early() {
    let mut states = ProducerStates::default();
    states.replay(
        &BatchSummary {
            max_timestamp: 1,
            ..idempotent(1, 0, 1)
        },
        1_000_000,
    );
    states.expire(1_000_001, 1_000);
    assert_eq!(states.len(), 1);
}

#[test]
fn a_snapshot_keeps_all_kept_batches_of_each_producer() {
    let mut states = after(&[(0, 3), (3, 2)]);
    states.replay(
        &BatchSummary {
            transactional: true,
            base_offset: Offset(105),
            ..idempotent(8, 0, 1)
        },
        0,
    );
    let restored = ProducerStates::from_snapshot(&states.to_snapshot(), 50);
    assert_eq!(restored.check(&idempotent(7, 3, 2)), duplicate(103, 104));
    assert_eq!(
        restored.check(&idempotent(7, 5, 1)),
        Ok(SequenceCheck::InOrder)
    );
    assert_eq!(restored.check(&idempotent(7, 0, 3)), duplicate(100, 102));
    assert_eq!(restored.check(&idempotent(7, 0, 2)), out_of_order(0, 4));
    assert_eq!(restored.first_unstable_offset(), Some(Offset(105)));
    assert_eq!(restored.to_snapshot(), states.to_snapshot());
}

#[test]
fn undo_brings_back_what_was_before() {
    let mut states = after(&[(0, 3)]);
    let before = states.clone();
    let first = states.record(&transactional(7, 3, 1), 9).undo.unwrap();
    let second = states.record(&idempotent(8, 0, 1), 9).undo.unwrap();
    let third = states.record(&marker(7, 0, true), 9).undo.unwrap();
    states.undo(third);
    states.undo(second);
    states.undo(first);
    assert_eq!(states, before);
}

#[test]
fn trap_11_an_older_coordinator_or_instance_writes_no_marker() {
    let mut states = ProducerStates::default();
    states.replay(&transactional(7, 0, 1), 0);
    let by = |coordinator_epoch, producer_epoch, transaction_version| BatchSummary {
        marker: Some(Marker {
            committed: true,
            coordinator_epoch,
            transaction_version,
        }),
        ..marker(7, producer_epoch, true)
    };
    states.replay(&by(5, 1, 0), 0);
    let code = |batch: &BatchSummary| states.check(batch).map_err(|error| error.code());
    assert_eq!(
        code(&by(4, 1, 0)),
        Err(ErrorCode::TransactionCoordinatorFenced)
    );
    assert_eq!(code(&by(5, 0, 0)), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(code(&by(5, 1, 0)), Ok(SequenceCheck::InOrder));
}

#[test]
fn trap_11_with_transaction_version_2_a_late_marker_does_not_end_the_next_transaction() {
    let mut states = ProducerStates::default();
    states.replay(&transactional(7, 0, 1), 0);
    let bumped = BatchSummary {
        marker: Some(Marker {
            committed: false,
            coordinator_epoch: 0,
            transaction_version: 2,
        }),
        ..marker(7, 1, false)
    };
    assert_eq!(states.check(&bumped), Ok(SequenceCheck::InOrder));
    states.replay(&bumped, 0);
    assert_eq!(
        states.check(&bumped),
        Ok(SequenceCheck::InOrder),
        "repeated"
    );
    states.replay(
        &BatchSummary {
            producer_epoch: ProducerEpoch(1),
            ..transactional(7, 0, 1)
        },
        0,
    );
    let refused = states.check(&bumped).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidProducerEpoch);
}

#[test]
fn trap_11_a_late_batch_opens_no_transaction_after_the_marker() {
    let mut states = ProducerStates::default();
    let (guard, open) = states.verification_guard(ProducerId(7), ProducerEpoch(0));
    assert!(!open);
    let guarded = |sequence, guard| BatchSummary {
        guard: Some(guard),
        ..transactional(7, sequence, 1)
    };
    assert_eq!(states.check(&guarded(0, guard)), Ok(SequenceCheck::InOrder));
    states.replay(&guarded(0, guard), 0);
    assert!(states.verification_guard(ProducerId(7), ProducerEpoch(0)).1);
    states.replay(&marker(7, 0, false), 0);
    let refused = states.check(&guarded(1, guard)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidTxnState);
    let (fresh, _) = states.verification_guard(ProducerId(7), ProducerEpoch(0));
    assert_eq!(states.check(&guarded(1, fresh)), Ok(SequenceCheck::InOrder));
}

/// With transaction version 2 the repetition has the epoch of the next transaction, so it must not
/// look like that one's end.
#[test]
fn trap_11_a_repeated_marker_of_the_last_transaction_leaves_the_next_one_its_guard() {
    let mut states = ProducerStates::default();
    states.replay(&transactional(7, 0, 1), 0);
    let bumped = BatchSummary {
        marker: Some(Marker {
            committed: true,
            coordinator_epoch: 0,
            transaction_version: 2,
        }),
        ..marker(7, 1, true)
    };
    let (early, _) = states.verification_guard(ProducerId(7), ProducerEpoch(1));
    states.replay(&bumped, 0);
    let next = |guard| BatchSummary {
        producer_epoch: ProducerEpoch(1),
        guard: Some(guard),
        ..transactional(7, 0, 1)
    };
    let refused = states.check(&next(early)).unwrap_err();
    assert_eq!(
        refused.code(),
        ErrorCode::InvalidTxnState,
        "a guard from before the end"
    );
    let (guard, open) = states.verification_guard(ProducerId(7), ProducerEpoch(1));
    assert!(!open);
    states.replay(&bumped, 0);
    assert_eq!(states.check(&next(guard)), Ok(SequenceCheck::InOrder));
}

#[test]
fn a_plain_batch_is_refused_while_its_producer_has_a_transaction() {
    let mut states = ProducerStates::default();
    states.replay(&transactional(7, 0, 1), 0);
    let refused = states.check(&idempotent(7, 1, 1)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidTxnState);
}

#[test]
fn sequence_numbers_go_on_over_the_end_of_a_transaction_and_start_over_with_the_epoch() {
    let mut states = ProducerStates::default();
    states.replay(&transactional(7, 0, 3), 0);
    states.replay(&marker(7, 0, true), 0);
    assert_eq!(
        states.check(&transactional(7, 3, 1)),
        Ok(SequenceCheck::InOrder)
    );
    states.replay(&marker(7, 1, true), 0);
    let next = |sequence| BatchSummary {
        producer_epoch: ProducerEpoch(1),
        ..transactional(7, sequence, 1)
    };
    assert_eq!(states.check(&next(0)), Ok(SequenceCheck::InOrder));
    assert_eq!(states.check(&next(3)), out_of_order(3, -1));
    let zombie = states.check(&transactional(7, 3, 1)).unwrap_err();
    assert_eq!(zombie.code(), ErrorCode::InvalidProducerEpoch);
}

#[test]
fn what_is_older_than_the_log_comes_from_a_snapshot() {
    let mut before = after(&[(0, 1), (1, 1), (2, 1), (3, 1)]);
    before.replay(&idempotent(8, 0, 1), 0);
    // Only the last two batches of producer 7 are still in the log, and one that came after the snapshot.
    let mut found = ProducerStates::default();
    for (sequence, offset) in [(2, 102), (3, 103), (4, 110)] {
        let base_offset = Offset(offset);
        let batch = BatchSummary {
            base_offset,
            ..idempotent(7, sequence, 1)
        };
        found.replay(&batch, 0);
    }
    found.add_older(&before.to_snapshot(), 0);
    assert_eq!(found.check(&idempotent(7, 0, 1)), duplicate(100, 100));
    assert_eq!(found.check(&idempotent(7, 3, 1)), duplicate(103, 103));
    assert_eq!(found.check(&idempotent(7, 4, 1)), duplicate(110, 110));
    let next = found.check(&idempotent(7, 5, 1));
    assert_eq!(next, Ok(SequenceCheck::InOrder));
    let known: Vec<i64> = found
        .to_snapshot()
        .producer_entries
        .iter()
        .map(|entry| entry.producer_id)
        .collect();
    assert_eq!(known, [7, 7, 7, 7, 7, 8]);
}

#[test]
fn a_snapshot_keeps_open_transactions_and_coordinator_epochs() {
    let mut states = ProducerStates::default();
    states.replay(
        &BatchSummary {
            base_offset: Offset(42),
            ..transactional(7, 0, 3)
        },
        0,
    );
    let snapshot = states.to_snapshot();
    assert_eq!(snapshot.producer_entries[0].current_txn_first_offset, 42);
    let restored = ProducerStates::from_snapshot(&snapshot, 0);
    assert_eq!(restored.first_unstable_offset(), Some(Offset(42)));
    assert_eq!(restored.active().count(), 1);
}
