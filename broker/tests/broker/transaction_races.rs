//! What happens at the same time in a producer's transactions: the end of one, the first requests of
//! the next, and what was sent before the end. Each test does it again and again.

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::produce::ProduceRequest;
use moldau_protocol::{Request, ResponseKind};

use crate::fixture::*;
use crate::transaction_client::*;

/// Enough for the markers of an end to be late at times.
const ROUNDS: usize = 60;

/// Trap 11: until the markers of the last transaction are written, the next one waits. A client is
/// told to come again, never that its transaction is in a wrong state.
#[tokio::test]
async fn trap_11_the_first_batch_of_the_next_transaction_waits_for_the_end_of_the_last() {
    let (_broker, mut wire) = started().await;
    group_coordinator(&mut wire).await;
    let mut producer = NEW.init(&mut wire).await;
    let mut expected = Vec::new();
    for round in 0..ROUNDS {
        let value = format!("{round}");
        let partitions: &[i32] = [&[0, 1][..], &[0], &[1, 0]][round % 3];
        for partition in partitions {
            let at = (*partition, 0);
            let code = loop {
                let code = NEW.produce_once(&mut wire, producer, at, &[&value]).await;
                if code != ErrorCode::ConcurrentTransactions {
                    break code;
                }
            };
            assert_eq!(code, ErrorCode::None, "round {round}");
        }
        if round % 4 == 1 {
            let code = NEW.commit_offset(&mut wire, producer, 1).await;
            assert_eq!(code, ErrorCode::None, "round {round}");
        }
        let committed = round % 5 != 0;
        expected.extend(committed.then_some(value));
        producer = NEW.end(&mut wire, producer, committed).await.unwrap();
    }
    settled(&mut wire, 0).await;
    assert_eq!(committed_values(&mut wire, 0).await, expected);
}

/// Trap 11: also for producers that add partitions themselves and keep their epoch, so that nothing
/// but the guard tells one transaction from the next.
#[tokio::test]
async fn trap_11_an_old_client_goes_on_right_after_the_end() {
    let (_broker, mut wire) = started().await;
    let producer = OLD.init(&mut wire).await;
    let mut expected = Vec::new();
    for round in 0..ROUNDS {
        let value = format!("{round}");
        let added = OLD.add(&mut wire, producer, &[0]).await;
        assert_eq!(added, ErrorCode::None, "round {round}");
        let sequence = i32::try_from(round).unwrap();
        let at = (0, sequence);
        let code = OLD.produce_once(&mut wire, producer, at, &[&value]).await;
        assert_eq!(code, ErrorCode::None, "round {round}");
        let committed = round % 3 != 0;
        expected.extend(committed.then_some(value));
        OLD.end(&mut wire, producer, committed).await.unwrap();
    }
    settled(&mut wire, 0).await;
    assert_eq!(committed_values(&mut wire, 0).await, expected);
}

/// Trap 11: every end bumps the epoch, so what the last transaction sends after it is fenced.
#[tokio::test]
async fn trap_11_a_batch_of_the_epoch_before_the_bump_is_fenced() {
    let (_broker, mut wire) = started().await;
    let mut producer = NEW.init(&mut wire).await;
    for round in 0..ROUNDS {
        let code = NEW.produce(&mut wire, producer, (0, 0), &["in"]).await;
        assert_eq!(code, ErrorCode::None, "round {round}");
        let next = NEW.end(&mut wire, producer, round % 2 == 0).await.unwrap();
        assert_eq!(next, (producer.0, producer.1 + 1));
        // Partition 1 never took part, so nothing but the coordinator knows of the end.
        for partition in [1, 0] {
            if partition == 0 {
                settled(&mut wire, 0).await;
            }
            let code = NEW
                .produce(&mut wire, producer, (partition, 1), &["late"])
                .await;
            assert_eq!(code, ErrorCode::InvalidProducerEpoch, "round {round}");
        }
        producer = next;
    }
    assert_eq!(committed_values(&mut wire, 1).await, [""; 0]);
}

/// Trap 11: an end that overtakes a batch leaves nothing open, whichever of them is first.
#[tokio::test]
async fn trap_11_a_batch_that_meets_the_end_leaves_no_transaction_open() {
    let (broker, mut wire) = started().await;
    let mut other = broker.connect().await;
    let mut producer = NEW.init(&mut wire).await;
    for round in 0..ROUNDS {
        let code = NEW.produce(&mut wire, producer, (0, 0), &["aborted"]).await;
        assert_eq!(code, ErrorCode::None, "round {round}");
        // Into the partition of the transaction and into one that is to be added.
        let at = if round % 2 == 0 { (0, 1) } else { (1, 0) };
        let (ended, code) = tokio::join!(
            NEW.end(&mut wire, producer, false),
            NEW.produce(&mut other, producer, at, &["aborted"]),
        );
        let allowed = [ErrorCode::None, ErrorCode::InvalidProducerEpoch];
        assert!(allowed.contains(&code), "round {round}: {code:?}");
        producer = match ended {
            Ok(next) => next,
            // The partition was just being added.
            Err(ErrorCode::ConcurrentTransactions) => end_after_all(&mut wire, producer).await,
            Err(code) => panic!("round {round}: {code:?}"),
        };
        for partition in [0, 1] {
            settled(&mut wire, partition).await;
            assert_eq!(committed_values(&mut wire, partition).await, [""; 0]);
        }
    }
}

async fn end_after_all(wire: &mut Wire, producer: Producer) -> Producer {
    loop {
        match NEW.end(wire, producer, false).await {
            Ok(next) => return next,
            Err(ErrorCode::ConcurrentTransactions) => {}
            Err(code) => panic!("{code:?}"),
        }
    }
}

/// Trap 5: the broker adds partitions for requests that come at the same time.
#[tokio::test]
async fn trap_5_partitions_are_added_by_several_requests_at_once() {
    let (broker, mut wire) = started().await;
    group_coordinator(&mut wire).await;
    let (mut second, mut third) = (broker.connect().await, broker.connect().await);
    let mut producer = NEW.init(&mut wire).await;
    for round in 0..ROUNDS {
        let offset = i64::try_from(round).unwrap();
        let codes = tokio::join!(
            NEW.produce(&mut wire, producer, (0, 0), &["a"]),
            NEW.produce(&mut second, producer, (1, 0), &["b"]),
            NEW.commit_offset(&mut third, producer, offset),
        );
        let fine = ErrorCode::None;
        assert_eq!(codes, (fine, fine, fine), "round {round}");
        producer = NEW.end(&mut wire, producer, true).await.unwrap();
    }
    for partition in [0, 1] {
        settled(&mut wire, partition).await;
        let values = committed_values(&mut wire, partition).await;
        assert_eq!(values.len(), ROUNDS);
    }
    assert_eq!(stable_offset(&mut wire).await, 59);
}

async fn stable_offset(wire: &mut Wire) -> i64 {
    loop {
        match group_offset(wire, true).await {
            Ok(offset) => return offset,
            Err(ErrorCode::UnstableOffsetCommit) => {}
            Err(code) => panic!("{code:?}"),
        }
    }
}

/// Trap 5: two batches in flight, the first of which adds the partition.
#[tokio::test]
async fn trap_5_batches_that_follow_at_once_find_the_partition_added() {
    let (_broker, mut wire) = started().await;
    let mut producer = NEW.init(&mut wire).await;
    let mut expected = Vec::new();
    for round in 0..ROUNDS {
        // The first may meet the end of the last transaction; the next two are in flight together.
        let code = NEW.produce(&mut wire, producer, (0, 0), &["1"]).await;
        assert_eq!(code, ErrorCode::None, "round {round}");
        for (partition, sequence, value) in [(1, 0, "2"), (1, 1, "3"), (0, 1, "4")] {
            let at = (partition, sequence);
            let request = NEW.produce_request(producer, at, &[value]);
            wire.send(NEW.produce, request).await;
        }
        for _ in 0..3 {
            let (_, response) = wire.receive(ProduceRequest::KEY, NEW.produce).await;
            let ResponseKind::Produce(response) = response else {
                panic!("response of another API");
            };
            let code = response.responses[0].partition_responses[0].error_code;
            assert_eq!(ErrorCode::from_code(code), ErrorCode::None, "round {round}");
        }
        expected.extend(["2", "3"]);
        producer = NEW.end(&mut wire, producer, true).await.unwrap();
    }
    settled(&mut wire, 1).await;
    assert_eq!(committed_values(&mut wire, 1).await, expected);
}
