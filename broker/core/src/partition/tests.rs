//! The rules of the leader's offsets as sentences.

use super::fixture::{batch, idempotent, marker, transactional};
use super::*;
use crate::ids::ProducerId;

fn partition(flush: FlushMode) -> Partition {
    Partition::open(PartitionStart {
        log_start_offset: Offset(0),
        log_end_offset: Offset(10),
        leader_epoch: LeaderEpoch(4),
        flush,
        producers: ProducerStates::default(),
    })
}

fn append(partition: &mut Partition, records: i32, now_ms: i64) -> Progress {
    partition.prepare(&batch(records), now_ms).unwrap();
    partition.written(now_ms)
}

#[test]
fn batches_get_dense_offsets_and_the_leader_epoch() {
    let mut partition = partition(FlushMode::Os);
    let leader_epoch = LeaderEpoch(4);
    let expected = Prepared::Append {
        base_offset: Offset(10),
        leader_epoch,
        completed: None,
    };
    assert_eq!(partition.prepare(&batch(3), 0), Ok(expected));
    let expected = Prepared::Append {
        base_offset: Offset(13),
        leader_epoch,
        completed: None,
    };
    assert_eq!(partition.prepare(&batch(1), 0), Ok(expected));
    assert_eq!(
        partition.log_end_offset(),
        Offset(10),
        "nothing is written yet"
    );
    let _ = partition.written(0);
    assert_eq!(partition.log_end_offset(), Offset(14));
}

#[test]
fn a_single_replica_commits_what_is_on_disk() {
    let mut partition = partition(FlushMode::Commit);
    assert_eq!(append(&mut partition, 3, 0), Progress::default());
    assert_eq!(
        partition.await_committed(Token(1), Offset(13)),
        Ack::Waiting
    );
    assert_eq!(partition.high_watermark(), Offset(10));
    assert_eq!(partition.next_sync(), NextSync::Now);

    let progress = partition.synced(Offset(13), 1);
    assert_eq!(
        progress,
        Progress {
            transaction_decided: false,
            high_watermark_moved: true,
            released: vec![Token(1)]
        }
    );
    assert_eq!(partition.high_watermark(), Offset(13));
    assert_eq!(partition.next_sync(), NextSync::None);
}

#[test]
fn one_sync_releases_all_who_wait_below_it_and_nobody_else() {
    let mut partition = partition(FlushMode::Commit);
    let _ = append(&mut partition, 1, 0);
    let _ = append(&mut partition, 1, 0);
    let _ = append(&mut partition, 1, 0);
    for (token, end) in [(3, 13), (2, 12), (1, 11)] {
        assert_eq!(
            partition.await_committed(Token(token), Offset(end)),
            Ack::Waiting
        );
    }
    assert_eq!(
        partition.synced(Offset(12), 1).released,
        [Token(1), Token(2)]
    );
    assert_eq!(partition.next_sync(), NextSync::Now);
    assert_eq!(partition.synced(Offset(13), 2).released, [Token(3)]);
    assert_eq!(partition.await_committed(Token(4), Offset(13)), Ack::Ready);
}

#[test]
fn under_os_and_interval_what_is_written_is_committed() {
    for (flush, sync) in [
        (FlushMode::Os, NextSync::None),
        (FlushMode::Interval { ms: 100 }, NextSync::At(107)),
    ] {
        let mut partition = partition(flush);
        assert!(append(&mut partition, 3, 7).high_watermark_moved);
        let _ = append(&mut partition, 1, 50);
        assert_eq!(partition.await_committed(Token(1), Offset(14)), Ack::Ready);
        assert_eq!(
            partition.next_sync(),
            sync,
            "counted from the oldest unsynced record"
        );
    }
}

#[test]
fn a_failed_write_gives_its_offsets_and_sequence_numbers_out_again() {
    let mut partition = partition(FlushMode::Os);
    partition.prepare(&idempotent(1, 0, 2), 0).unwrap();
    let _ = partition.written(0);
    partition.prepare(&idempotent(1, 2, 2), 0).unwrap();
    partition.prepare(&idempotent(1, 4, 2), 0).unwrap();
    partition.prepare(&idempotent(2, 0, 1), 0).unwrap();
    partition.write_failed();
    assert_eq!(partition.log_end_offset(), Offset(12));
    assert_eq!(partition.producers().len(), 1);

    let again = partition.prepare(&idempotent(1, 2, 2), 0);
    assert_eq!(
        again,
        Ok(Prepared::Append {
            base_offset: Offset(12),
            leader_epoch: LeaderEpoch(4),
            completed: None,
        })
    );
}

#[test]
fn a_repeated_batch_is_answered_with_its_first_offset_even_within_one_round() {
    let mut partition = partition(FlushMode::Commit);
    partition.prepare(&idempotent(1, 0, 2), 0).unwrap();
    let duplicate = partition.prepare(&idempotent(1, 0, 2), 0).unwrap();
    let original = AppendedBatch {
        base_offset: Offset(10),
        last_offset: Offset(11),
        timestamp: -1,
    };
    assert_eq!(duplicate, Prepared::Duplicate(original));
    let _ = partition.written(0);
    assert_eq!(partition.log_end_offset(), Offset(12));
}

#[test]
fn the_high_watermark_never_falls_when_the_flush_mode_changes() {
    let mut partition = partition(FlushMode::Os);
    let _ = append(&mut partition, 5, 0);
    assert_eq!(partition.set_flush(FlushMode::Commit), Progress::default());
    assert_eq!(partition.high_watermark(), Offset(15));
    let _ = append(&mut partition, 1, 1);
    assert_eq!(
        partition.await_committed(Token(1), Offset(16)),
        Ack::Waiting
    );
    assert_eq!(partition.set_flush(FlushMode::Os).released, [Token(1)]);
}

#[test]
fn the_log_start_moves_forward_up_to_the_high_watermark() {
    let mut partition = partition(FlushMode::Os);
    partition.advance_log_start(Offset(4)).unwrap();
    partition.advance_log_start(Offset(2)).unwrap();
    assert_eq!(partition.log_start_offset(), Offset(4));
    let refused = partition.advance_log_start(Offset(11)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::OffsetOutOfRange);
}

#[test]
fn the_last_stable_offset_stays_below_an_open_transaction() {
    let mut partition = partition(FlushMode::Os);
    partition.prepare(&transactional(1, 0, 2), 0).unwrap();
    let _ = append(&mut partition, 3, 0);
    assert_eq!(
        (partition.last_stable_offset(), partition.high_watermark()),
        (Offset(10), Offset(15))
    );
    partition.prepare(&marker(1, 0, true), 0).unwrap();
    let progress = partition.written(0);
    assert!(progress.transaction_decided);
    assert_eq!(partition.last_stable_offset(), Offset(16));
}

#[test]
fn the_last_stable_offset_waits_until_the_marker_is_committed() {
    let mut partition = partition(FlushMode::Commit);
    partition.prepare(&transactional(1, 0, 2), 0).unwrap();
    let _ = partition.written(0);
    let _ = partition.synced(Offset(12), 0);
    partition.prepare(&marker(1, 0, false), 0).unwrap();
    let progress = partition.written(0);
    assert!(!progress.transaction_decided);
    assert_eq!(partition.last_stable_offset(), Offset(10));
    let progress = partition.synced(Offset(13), 0);
    assert!(progress.transaction_decided);
    assert_eq!(partition.last_stable_offset(), Offset(13));
}

#[test]
fn a_marker_that_is_not_written_leaves_the_transaction_open() {
    let mut partition = partition(FlushMode::Os);
    partition.prepare(&transactional(1, 0, 2), 0).unwrap();
    let _ = partition.written(0);
    partition.prepare(&marker(1, 0, false), 0).unwrap();
    partition.write_failed();
    let _ = append(&mut partition, 1, 0);
    assert_eq!(partition.last_stable_offset(), Offset(10));
}

#[test]
fn an_aborted_transaction_names_the_next_offset_that_is_undecided() {
    let mut partition = partition(FlushMode::Os);
    partition.prepare(&transactional(1, 0, 2), 0).unwrap();
    partition.prepare(&transactional(2, 0, 1), 0).unwrap();
    let aborted = |producer_id, first, last, stable| CompletedTransaction {
        producer_id: ProducerId(producer_id),
        first_offset: Offset(first),
        last_offset: Offset(last),
        committed: false,
        last_stable_offset: Offset(stable),
    };
    let completed = |prepared| match prepared {
        Ok(Prepared::Append { completed, .. }) => completed,
        _ => None,
    };
    let first = completed(partition.prepare(&marker(1, 0, false), 0));
    assert_eq!(first, Some(aborted(1, 10, 13, 12)));
    let second = completed(partition.prepare(&marker(2, 0, false), 0));
    assert_eq!(second, Some(aborted(2, 12, 14, 15)));
    let empty = completed(partition.prepare(&marker(3, 0, false), 0));
    assert_eq!(empty, None, "a transaction without records here");
}

#[test]
fn a_lost_leader_fails_all_who_wait() {
    let mut partition = partition(FlushMode::Commit);
    let _ = append(&mut partition, 2, 0);
    partition.await_committed(Token(2), Offset(12));
    partition.await_committed(Token(1), Offset(11));
    assert_eq!(partition.fail_waiters(), [Token(1), Token(2)]);
    assert_eq!(partition.synced(Offset(12), 0).released, []);
}
