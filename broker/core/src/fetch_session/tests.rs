//! Sessions as a client meets them, and who keeps a slot.

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::fetch::{FetchPartition, FetchTopic, ForgottenTopic};
use moldau_protocol::{KString, Uuid};

use super::*;

/// Sessions, a clock, and ids that count up.
struct Client {
    sessions: FetchSessions,
    now_ms: i64,
    next_id: i32,
}

/// What a client is told: the session, and the partitions that are named, in order.
type Told = Result<(i32, Vec<i32>), ErrorCode>;

impl Client {
    fn with_slots(slots: usize) -> Self {
        let limits = SessionLimits {
            slots,
            evict_after_ms: 100,
            partitions: 5,
        };
        Self {
            sessions: FetchSessions::new(limits),
            now_ms: 0,
            next_id: 0,
        }
    }

    fn fetch(
        &mut self,
        request: &SessionRequest,
        outcome: impl Fn(&FetchTarget) -> FetchOutcome,
    ) -> Told {
        let context = self.sessions.begin(request, self.now_ms)?;
        let outcomes: Vec<_> = context.targets().iter().map(outcome).collect();
        let fresh = || {
            self.next_id += 1;
            self.next_id
        };
        let answer = self
            .sessions
            .finish(&context, &outcomes, self.now_ms, fresh)?;
        let named = context.targets().iter().enumerate();
        let named = named.filter(|(place, _)| answer.included.contains(*place));
        let partitions = named.map(|(_, target)| target.partition).collect();
        Ok((answer.session_id, partitions))
    }

    /// A full request for these partitions; nothing is there to read.
    fn open(&mut self, partitions: &[i32]) -> i32 {
        self.fetch(&full(partitions), quiet).expect("served").0
    }
}

fn full(partitions: &[i32]) -> SessionRequest {
    incremental(0, 0, partitions)
}

fn incremental(session_id: i32, session_epoch: i32, partitions: &[i32]) -> SessionRequest {
    let asked = partitions.iter().map(|&partition| FetchPartition {
        partition,
        ..Default::default()
    });
    let topic = FetchTopic {
        topic: KString::from_static("t"),
        partitions: asked.collect(),
        ..Default::default()
    };
    SessionRequest {
        session_id,
        session_epoch,
        topics: vec![topic],
        ..Default::default()
    }
}

fn forgetting(session_id: i32, session_epoch: i32, partitions: &[i32]) -> SessionRequest {
    let topic = ForgottenTopic {
        topic: KString::from_static("t"),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    SessionRequest {
        forgotten: vec![topic],
        ..incremental(session_id, session_epoch, &[])
    }
}

fn quiet(_: &FetchTarget) -> FetchOutcome {
    FetchOutcome {
        error: ErrorCode::None,
        has_records: false,
        diverged: false,
        high_watermark: 7,
        log_start_offset: 0,
    }
}

fn with_records(target: &FetchTarget) -> FetchOutcome {
    FetchOutcome {
        has_records: true,
        ..quiet(target)
    }
}

#[test]
fn the_first_response_names_every_partition_and_later_ones_what_changed() {
    let mut client = Client::with_slots(1);
    assert_eq!(
        client.fetch(&full(&[0, 1, 2]), quiet),
        Ok((1, vec![0, 1, 2]))
    );
    assert_eq!(
        client.fetch(&incremental(1, 1, &[]), quiet),
        Ok((1, vec![]))
    );
    let grown = |target: &FetchTarget| FetchOutcome {
        high_watermark: if target.partition == 1 { 8 } else { 7 },
        ..quiet(target)
    };
    assert_eq!(
        client.fetch(&incremental(1, 2, &[]), grown),
        Ok((1, vec![1]))
    );
    assert_eq!(
        client.fetch(&incremental(1, 3, &[]), grown),
        Ok((1, vec![]))
    );
    let cut = |target: &FetchTarget| FetchOutcome {
        log_start_offset: i64::from(target.partition == 2),
        ..grown(target)
    };
    assert_eq!(client.fetch(&incremental(1, 4, &[]), cut), Ok((1, vec![2])));
}

#[test]
fn records_a_diverged_log_and_errors_are_named_each_time() {
    let mut client = Client::with_slots(1);
    client.open(&[0]);
    let diverged = |target: &FetchTarget| FetchOutcome {
        diverged: true,
        ..quiet(target)
    };
    let failed = |target: &FetchTarget| FetchOutcome {
        error: ErrorCode::NotLeaderOrFollower,
        high_watermark: -1,
        log_start_offset: -1,
        ..quiet(target)
    };
    let mut epoch = 1..;
    let mut next = || incremental(1, epoch.next().expect("endless"), &[]);
    for _ in 0..2 {
        assert_eq!(client.fetch(&next(), with_records), Ok((1, vec![0])));
        assert_eq!(client.fetch(&next(), diverged), Ok((1, vec![0])));
        assert_eq!(client.fetch(&next(), failed), Ok((1, vec![0])));
        assert_eq!(client.fetch(&next(), failed), Ok((1, vec![0])));
    }
    assert_eq!(client.fetch(&next(), quiet), Ok((1, vec![0])), "well again");
    assert_eq!(client.fetch(&next(), quiet), Ok((1, vec![])));
}

#[test]
fn partitions_are_added_changed_and_forgotten() {
    let mut client = Client::with_slots(1);
    client.open(&[0, 1]);
    assert_eq!(
        client.fetch(&incremental(1, 1, &[2]), quiet),
        Ok((1, vec![2]))
    );
    let mut changed = incremental(1, 2, &[1]);
    changed.topics[0].partitions[0].fetch_offset = 40;
    let offsets = |target: &FetchTarget| FetchOutcome {
        high_watermark: 7 + target.fetch_offset,
        ..quiet(target)
    };
    assert_eq!(client.fetch(&changed, offsets), Ok((1, vec![1])));
    assert_eq!(
        client.fetch(&forgetting(1, 3, &[0, 9]), with_records),
        Ok((1, vec![1, 2]))
    );
    assert_eq!(client.sessions.partitions(), 2);
}

#[test]
fn a_session_without_partitions_ends() {
    let mut client = Client::with_slots(1);
    client.open(&[0]);
    assert_eq!(
        client.fetch(&forgetting(1, 1, &[0]), quiet),
        Ok((0, vec![]))
    );
    assert!(client.sessions.is_empty());
    assert_eq!(client.fetch(&full(&[]), quiet), Ok((0, vec![])));
}

#[test]
fn a_session_that_is_not_known_must_be_begun_anew() {
    let mut client = Client::with_slots(1);
    let unknown = Err(ErrorCode::FetchSessionIdNotFound);
    assert_eq!(client.fetch(&incremental(5, 1, &[0]), quiet), unknown);
    assert_eq!(client.fetch(&incremental(0, 1, &[0]), quiet), unknown);
}

#[test]
fn requests_must_come_in_the_order_of_their_epochs() {
    let mut client = Client::with_slots(1);
    client.open(&[0]);
    let wrong = Err(ErrorCode::InvalidFetchSessionEpoch);
    assert_eq!(client.fetch(&incremental(1, 2, &[]), quiet), wrong);
    assert_eq!(
        client.fetch(&incremental(1, 1, &[]), quiet),
        Ok((1, vec![]))
    );
    assert_eq!(client.fetch(&incremental(1, 1, &[]), quiet), wrong);
    assert_eq!(client.fetch(&incremental(1, -2, &[]), quiet), wrong);
}

#[test]
fn two_requests_of_one_session_at_once_do_not_mix_their_answers() {
    let mut client = Client::with_slots(1);
    client.open(&[0]);
    let first = client
        .sessions
        .begin(&incremental(1, 1, &[]), 0)
        .expect("ok");
    client
        .sessions
        .begin(&incremental(1, 2, &[1]), 0)
        .expect("ok");
    let outcomes = [quiet(&first.targets()[0])];
    assert_eq!(
        client.sessions.finish(&first, &outcomes, 0, || 9),
        Err(ErrorCode::InvalidFetchSessionEpoch)
    );
}

#[test]
fn after_the_greatest_epoch_comes_1() {
    let mut session = session::Session::new(false, false);
    assert_eq!(session.epoch, 1);
    session.epoch = i32::MAX;
    session.advance();
    assert_eq!(session.epoch, 1);
}

#[test]
fn topics_of_a_session_are_named_either_by_id_or_by_name() {
    let mut client = Client::with_slots(2);
    client.open(&[0]);
    let by_id = SessionRequest {
        uses_topic_ids: true,
        ..incremental(1, 1, &[])
    };
    let mixed = Err(ErrorCode::FetchSessionTopicIdError);
    assert_eq!(client.fetch(&by_id, quiet), mixed);
    let mut fresh = SessionRequest {
        uses_topic_ids: true,
        ..full(&[3])
    };
    fresh.topics[0].topic_id = Uuid([1; 16]);
    assert_eq!(client.fetch(&fresh, quiet), Ok((2, vec![3])));
    assert_eq!(client.fetch(&incremental(2, 1, &[]), quiet), mixed);
}

#[test]
fn a_full_request_replaces_the_session_that_it_names_and_the_final_epoch_ends_it() {
    let mut client = Client::with_slots(1);
    client.open(&[0]);
    assert_eq!(
        client.fetch(&incremental(1, 0, &[4]), quiet),
        Ok((2, vec![4]))
    );
    assert_eq!(
        client.fetch(&incremental(2, -1, &[5]), quiet),
        Ok((0, vec![5]))
    );
    assert!(client.sessions.is_empty());
}

/// Trap 6: big partitions do not starve others.
#[test]
fn a_partition_that_gave_records_is_read_last_the_next_time() {
    let mut client = Client::with_slots(1);
    client.open(&[0, 1, 2]);
    let busy = |target: &FetchTarget| FetchOutcome {
        has_records: target.partition == 0,
        ..quiet(target)
    };
    client.fetch(&incremental(1, 1, &[]), busy).expect("served");
    let context = client.sessions.begin(&incremental(1, 2, &[]), 0);
    let order: Vec<i32> = context
        .expect("served")
        .targets()
        .iter()
        .map(|target| target.partition)
        .collect();
    assert_eq!(order, [1, 2, 0]);
}

#[test]
fn without_a_free_slot_a_client_is_served_without_session() {
    let mut client = Client::with_slots(1);
    client.open(&[0]);
    assert_eq!(client.open(&[0, 1, 2]), 0);
    assert_eq!(Client::with_slots(0).open(&[0]), 0);
}

#[test]
fn a_session_that_nobody_uses_gives_way() {
    let mut client = Client::with_slots(2);
    let (idle, used) = (client.open(&[0, 1]), client.open(&[0]));
    client.now_ms = 60;
    client
        .fetch(&incremental(used, 1, &[]), quiet)
        .expect("served");
    client.now_ms = 101;
    assert_ne!(client.open(&[0]), 0);
    assert_eq!(client.sessions.evictions(), 1);
    let gone = client.fetch(&incremental(idle, 1, &[]), quiet);
    assert_eq!(gone, Err(ErrorCode::FetchSessionIdNotFound));
}

#[test]
fn an_old_session_gives_way_to_a_larger_one_only() {
    let mut client = Client::with_slots(1);
    let old = client.open(&[0, 1]);
    for (epoch, now_ms) in [(1, 60), (2, 101)] {
        client.now_ms = now_ms;
        client
            .fetch(&incremental(old, epoch, &[]), quiet)
            .expect("served");
    }
    assert_eq!(client.open(&[0, 1]), 0, "of the same size");
    assert_ne!(client.open(&[0, 1, 2]), 0);
}

#[test]
fn followers_displace_consumers_and_never_the_other_way_round() {
    let mut client = Client::with_slots(1);
    client.open(&[0, 1]);
    let follower = SessionRequest {
        from_follower: true,
        ..full(&[0])
    };
    let (id, _) = client.fetch(&follower, quiet).expect("served");
    assert_ne!(id, 0, "even a young session of a consumer gives way");
    for (epoch, now_ms) in [(1, 60), (2, 101)] {
        client.now_ms = now_ms;
        let goes_on = incremental(id, epoch, &[]);
        client.fetch(&goes_on, quiet).expect("served");
    }
    assert_eq!(client.open(&[0, 1, 2]), 0);
    let other = client.fetch(&follower, quiet).expect("served");
    assert_eq!(other.0, 0, "of the same worth");
}

#[test]
fn more_partitions_than_a_session_may_have_are_served_without_one() {
    let mut client = Client::with_slots(1);
    assert_eq!(client.open(&[0, 1, 2, 3, 4, 5]), 0);
    let id = client.open(&[0, 1, 2, 3, 4]);
    let grown = client.fetch(&incremental(id, 1, &[5]), quiet);
    assert_eq!(grown, Err(ErrorCode::FetchSessionIdNotFound));
    assert!(client.sessions.is_empty());
}
