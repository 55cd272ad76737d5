use moldau_protocol::batch::{Compression, RecordBatch, RecordBatchBuilder};

use super::*;

const ENDS: Ends = Ends {
    high_watermark: 9,
    readable: 9,
};

fn name(partition: i32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

fn batch(offset: i64) -> RecordBatch {
    let mut builder = RecordBatchBuilder::new(Compression::None).base_offset(offset);
    builder.append(0, None, Some(b"a"), &[]);
    builder.append(0, None, Some(b"b"), &[]);
    RecordBatch::parse(builder.build()).unwrap()
}

fn readable(offset: i64) -> Readable {
    Readable {
        batches: vec![batch(offset)],
        next_offset: offset + 2,
        last_epoch: Some(0),
    }
}

fn partitions(count: i32) -> Partitions {
    let mut partitions = Partitions::new(&ConsumerConfig {
        max_partition_bytes: 1,
        ..ConsumerConfig::default()
    });
    let names: Vec<_> = (0..count).map(name).collect();
    partitions.assign(&names, Search::Committed);
    for name in &names {
        partitions.seek(name, 0);
    }
    partitions
}

fn plan(partitions: &mut Partitions) -> Vec<Wanted> {
    let mut wanted = partitions.plan(|_| Some(0), Instant::now()).wanted;
    wanted.sort_by(|left, right| left.name.cmp(&right.name));
    wanted
}

#[test]
fn positions_follow_what_poll_has_given_not_what_was_fetched() {
    let mut partitions = partitions(1);
    let wanted = plan(&mut partitions);
    assert!(partitions.fetched(&wanted[0], readable(0), ENDS));
    assert_eq!(partitions.position(&name(0)), Some(0));
    let taken = partitions.take(1);
    assert_eq!(taken.len(), 1);
    assert_eq!(partitions.position(&name(0)), Some(2));
    assert_eq!(partitions.ends(&name(0)), Some(ENDS));
}

#[test]
fn a_full_partition_is_not_fetched_until_poll_has_made_room() {
    let mut partitions = partitions(1);
    let wanted = plan(&mut partitions);
    assert!(plan(&mut partitions).is_empty(), "a fetch is under way");
    partitions.fetched(&wanted[0], readable(0), ENDS);
    let full = partitions.plan(|_| Some(0), Instant::now());
    assert!(full.wanted.is_empty() && full.others_are_full);
    partitions.take(1);
    assert_eq!(plan(&mut partitions)[0].fetch_offset, 2);
}

#[test]
fn an_answer_from_before_a_seek_is_dropped() {
    let mut partitions = partitions(1);
    let wanted = plan(&mut partitions);
    partitions.seek(&name(0), 40);
    assert!(!partitions.fetched(&wanted[0], readable(0), ENDS));
    assert!(partitions.take(usize::MAX).is_empty());
    assert_eq!(partitions.position(&name(0)), Some(40));
}

#[test]
fn a_seek_drops_what_was_fetched_ahead() {
    let mut partitions = partitions(1);
    let wanted = plan(&mut partitions);
    partitions.fetched(&wanted[0], readable(0), ENDS);
    partitions.seek(&name(0), 40);
    assert!(partitions.take(usize::MAX).is_empty());
    assert_eq!(plan(&mut partitions)[0].fetch_offset, 40);
}

#[test]
fn a_paused_partition_keeps_its_batches() {
    let mut partitions = partitions(2);
    let wanted = plan(&mut partitions);
    partitions.fetched(&wanted[0], readable(0), ENDS);
    partitions.fetched(&wanted[1], readable(0), ENDS);
    partitions.set_paused(&name(0), true);
    let taken = partitions.take(usize::MAX);
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].topic_partition, name(1));
    partitions.set_paused(&name(0), false);
    assert_eq!(partitions.take(usize::MAX)[0].topic_partition, name(0));
}

#[test]
fn poll_gives_at_most_max_bytes_but_one_batch_at_least() {
    let mut partitions = partitions(1);
    let wanted = plan(&mut partitions);
    let three = Readable {
        batches: vec![batch(0), batch(2), batch(4)],
        next_offset: 7,
        last_epoch: Some(0),
    };
    partitions.fetched(&wanted[0], three, ENDS);
    assert_eq!(partitions.take(1).len(), 1);
    assert_eq!(partitions.position(&name(0)), Some(2));
    assert_eq!(partitions.take(usize::MAX).len(), 2);
    assert_eq!(
        partitions.position(&name(0)),
        Some(7),
        "behind a control batch"
    );
}

#[test]
fn a_revoked_partition_gives_nothing_more() {
    let mut partitions = partitions(2);
    let wanted = plan(&mut partitions);
    partitions.fetched(&wanted[0], readable(0), ENDS);
    partitions.assign(&[name(1)], Search::Committed);
    assert!(!partitions.fetched(&wanted[0], readable(2), ENDS));
    assert!(partitions.take(usize::MAX).is_empty());
    assert_eq!(partitions.names(), [name(1)]);
    assert_eq!(partitions.position(&name(1)), Some(0), "it stays");
}

#[test]
fn out_of_range_asks_for_a_reset_and_remembers_the_offset() {
    let mut partitions = partitions(1);
    let wanted = plan(&mut partitions);
    partitions.out_of_range(&wanted[0], Instant::now());
    let searches = partitions.searches();
    assert_eq!(searches[0].2, Search::Reset { from: Some(0) });
    partitions.found(&name(0), searches[0].1, 5, None);
    assert_eq!(partitions.position(&name(0)), Some(5));
}

/// Everything read up to offset 4, but only up to 2 given out; then a leader of epoch 3.
fn in_doubt() -> (Partitions, Check) {
    let mut partitions = partitions(1);
    for base_offset in [0, 2] {
        let wanted = plan(&mut partitions);
        partitions.fetched(&wanted[0], readable(base_offset), ENDS);
        if base_offset == 0 {
            partitions.take(1);
        }
    }
    let doubtful = partitions.plan(|_| Some(3), Instant::now());
    assert!(doubtful.has_doubts && doubtful.wanted.is_empty());
    let check = partitions.checks().remove(0);
    assert_eq!((check.fetch_offset, check.last_epoch), (4, 0));
    (partitions, check)
}

#[test]
fn a_new_leader_that_has_what_was_read_is_fetched_from() {
    let (mut partitions, check) = in_doubt();
    assert_eq!(partitions.checked(&check, 3, 4, true), Checked::Good);
    assert!(partitions.checks().is_empty());
    assert_eq!(partitions.take(usize::MAX).len(), 1);
    let plan = partitions.plan(|_| Some(3), Instant::now());
    assert_eq!(plan.wanted[0].fetch_offset, 4);
}

#[test]
fn what_was_fetched_ahead_and_cut_off_is_fetched_again() {
    let (mut partitions, check) = in_doubt();
    assert_eq!(partitions.checked(&check, 3, 3, true), Checked::Good);
    assert!(partitions.take(usize::MAX).is_empty());
    assert_eq!(partitions.position(&name(0)), Some(2));
}

#[test]
fn a_log_that_was_cut_off_below_the_position_is_noticed() {
    let (mut partitions, check) = in_doubt();
    assert_eq!(partitions.checked(&check, 3, 1, true), Checked::CutOff(1));
    assert_eq!(partitions.position(&name(0)), Some(1));
    let (mut partitions, check) = in_doubt();
    assert_eq!(partitions.checked(&check, 3, 1, false), Checked::CutOff(1));
    assert_eq!(partitions.position(&name(0)), None);
}

#[test]
fn an_answer_about_a_position_from_before_a_seek_changes_nothing() {
    let (mut partitions, check) = in_doubt();
    partitions.seek(&name(0), 40);
    assert_eq!(partitions.checked(&check, 3, 1, true), Checked::Good);
    assert_eq!(partitions.position(&name(0)), Some(40));
}
