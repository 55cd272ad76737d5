//! Fetch: whole batches, limits, waiting.

use std::time::Duration;

use moldau_protocol::messages::delete_topics::DeleteTopicsRequest;
use moldau_protocol::messages::fetch::{FetchRequest, FetchResponse, ForgottenTopic};
use moldau_protocol::{ApiKey, ErrorCode, KString, Uuid};

use crate::fixture::*;

#[tokio::test]
async fn nothing_to_read_is_an_empty_field_and_not_null() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    for version in 4..=12 {
        let data = only(wire.call(version, fetch_request("t", 0, 0)).await);
        assert_eq!(data.records.expect("not null").len(), 0);
        assert_eq!((data.error_code, data.high_watermark), (0, 0));
        assert_eq!(data.preferred_read_replica, -1);
    }
}

#[tokio::test]
async fn a_fetch_waits_until_records_arrive() {
    let broker = TestBroker::start().await;
    let mut consumer = broker.connect().await;
    let mut producer = broker.connect().await;
    producer.create_topic("t", 1).await;
    let waiting = FetchRequest {
        max_wait_ms: 60_000,
        ..fetch_request("t", 0, 0)
    };
    consumer.send(FETCH, waiting).await;
    producer.produce_values("t", 0, &["woken"]).await;
    let (_, response) = consumer.receive(ApiKey::Fetch, FETCH).await;
    let data = only(FetchResponse::try_from(response).unwrap());
    assert_eq!(text(records(&data)[0].value.as_ref()), "woken");
}

#[tokio::test]
async fn a_fetch_waits_for_min_bytes_of_all_its_partitions_together() {
    let broker = TestBroker::start().await;
    let mut consumer = broker.connect().await;
    let mut producer = broker.connect().await;
    producer.create_topic("t", 2).await;
    let mut request = FetchRequest {
        max_wait_ms: 60_000,
        min_bytes: 250,
        ..fetch_request("t", 0, 0)
    };
    let mut second = request.topics[0].partitions[0].clone();
    second.partition = 1;
    request.topics[0].partitions.push(second);
    consumer.send(FETCH, request).await;
    let value = "v".repeat(60);
    producer.produce_values("t", 0, &[&value]).await;
    producer.produce_values("t", 1, &[&value]).await;
    let (_, response) = consumer.receive(ApiKey::Fetch, FETCH).await;
    let response = FetchResponse::try_from(response).unwrap();
    let counts: Vec<usize> = response.responses[0]
        .partitions
        .iter()
        .map(|data| records(data).len())
        .collect();
    assert_eq!(counts, [1, 1]);
}

#[tokio::test]
async fn when_the_wait_is_over_what_is_there_is_given() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    wire.produce_values("t", 0, &["little"]).await;
    let request = FetchRequest {
        max_wait_ms: 20,
        min_bytes: 1_000_000,
        ..fetch_request("t", 0, 0)
    };
    assert_eq!(records(&only(wire.call(FETCH, request).await)).len(), 1);
}

#[tokio::test]
async fn a_waiting_fetch_does_not_block_other_connections_or_later_produces() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let fetch = wire
        .send(
            FETCH,
            FetchRequest {
                max_wait_ms: 60_000,
                ..fetch_request("t", 0, 0)
            },
        )
        .await;
    let produce = wire
        .send(PRODUCE, produce_request("t", 0, -1, batch(&["own"])))
        .await;
    assert_eq!(wire.receive(ApiKey::Fetch, FETCH).await.0, fetch);
    assert_eq!(wire.receive(ApiKey::Produce, PRODUCE).await.0, produce);
}

/// Trap 6: KIP-74.
#[tokio::test]
async fn the_first_batch_is_given_even_if_it_is_larger_than_the_limits() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let value = "v".repeat(5000);
    wire.produce_values("t", 0, &[&value]).await;
    wire.produce_values("t", 0, &[&value]).await;
    let mut request = fetch_request("t", 0, 0);
    request.max_bytes = 1;
    request.topics[0].partitions[0].partition_max_bytes = 1;
    assert_eq!(records(&only(wire.call(FETCH, request).await)).len(), 1);
}

#[tokio::test]
async fn only_the_first_partition_with_records_may_exceed_the_limit() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 3).await;
    let value = "v".repeat(5000);
    for partition in [1, 2] {
        wire.produce_values("t", partition, &[&value]).await;
    }
    let mut request = fetch_request("t", 0, 0);
    request.max_bytes = 1;
    for partition in [1, 2] {
        let mut more = request.topics[0].partitions[0].clone();
        more.partition = partition;
        request.topics[0].partitions.push(more);
    }
    let mut served = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let response = wire.call(FETCH, request.clone()).await;
        let partitions = &response.responses[0].partitions;
        let with_records: Vec<i32> = partitions
            .iter()
            .filter(|data| !records(data).is_empty())
            .map(|data| data.partition_index)
            .collect();
        assert_eq!(with_records.len(), 1);
        served.extend(with_records);
    }
    assert_eq!(served.len(), 2, "another partition comes first each time");
}

#[tokio::test]
async fn an_offset_inside_a_batch_gives_the_whole_batch() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    wire.produce_values("t", 0, &["a", "b", "c"]).await;
    let offsets: Vec<i64> = records(&wire.fetch("t", 0, 2).await)
        .iter()
        .map(|record| record.offset)
        .collect();
    assert_eq!(offsets, [0, 1, 2]);
}

#[tokio::test]
async fn an_offset_outside_of_the_log_is_out_of_range() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    wire.produce_values("t", 0, &["a"]).await;
    assert_eq!(wire.fetch("t", 0, 1).await.error_code, 0);
    for offset in [2, -1, i64::MAX] {
        let data = wire.fetch("t", 0, offset).await;
        assert_eq!(data.error_code, ErrorCode::OffsetOutOfRange.code());
        assert_eq!(data.high_watermark, -1);
    }
}

#[tokio::test]
async fn errors_are_told_at_once() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    let request = FetchRequest {
        max_wait_ms: 60_000,
        ..fetch_request("missing", 0, 0)
    };
    let data = only(wire.call(FETCH, request).await);
    assert_eq!(data.error_code, ErrorCode::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn a_waiting_fetch_learns_that_its_topic_is_deleted() {
    let broker = TestBroker::start().await;
    let mut consumer = broker.connect().await;
    let mut admin = broker.connect().await;
    admin.create_topic("t", 1).await;
    consumer
        .send(
            FETCH,
            FetchRequest {
                max_wait_ms: 60_000,
                ..fetch_request("t", 0, 0)
            },
        )
        .await;
    // Both connections are served at the same time: wait until the fetch has begun.
    while broker.handle.metrics().snapshot().network_bytes_in < 100 {
        tokio::task::yield_now().await;
    }
    let delete = DeleteTopicsRequest {
        topic_names: vec![KString::from("t")],
        ..Default::default()
    };
    admin.call(5, delete).await;
    let (_, response) = consumer.receive(ApiKey::Fetch, FETCH).await;
    assert_ne!(
        only(FetchResponse::try_from(response).unwrap()).error_code,
        0
    );
}

/// Trap 12: FENCED_LEADER_EPOCH and UNKNOWN_LEADER_EPOCH.
#[tokio::test]
async fn leader_epochs_are_compared() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    for (epoch, code) in [
        (-1, ErrorCode::None),
        (0, ErrorCode::None),
        (7, ErrorCode::UnknownLeaderEpoch),
    ] {
        let mut request = fetch_request("t", 0, 0);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        assert_eq!(
            only(wire.call(FETCH, request).await).error_code,
            code.code()
        );
    }
}

#[tokio::test]
async fn topics_are_found_by_id_from_v13_on() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    wire.produce_values("t", 0, &["a"]).await;
    let id = wire.call(12, all_topics()).await.topics[0].topic_id;
    for version in 13..=18 {
        let mut request = fetch_request("", 0, 0);
        request.topics[0].topic_id = id;
        let response = wire.call(version, request.clone()).await;
        assert_eq!(response.responses[0].topic_id, id);
        assert_eq!(records(&only(response)).len(), 1);
        request.topics[0].topic_id = Uuid([1; 16]);
        assert_eq!(
            only(wire.call(version, request).await).error_code,
            ErrorCode::UnknownTopicId.code()
        );
    }
}

/// The partitions that a response names, with the number of their records.
fn named(response: &FetchResponse) -> Vec<(i32, usize)> {
    assert_eq!(response.error_code, 0);
    let partitions = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions);
    partitions
        .map(|data| (data.partition_index, records(data).len()))
        .collect()
}

/// A request that goes on with a session and changes nothing.
fn goes_on(session_id: i32, session_epoch: i32) -> FetchRequest {
    FetchRequest {
        session_id,
        session_epoch,
        topics: Vec::new(),
        ..fetch_request("t", 0, 0)
    }
}

#[tokio::test]
async fn a_fetch_session_names_only_what_changed() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 2).await;
    for version in 7..=12 {
        let mut full = fetch_request("t", 0, 0);
        full.session_epoch = 0;
        let mut second = full.topics[0].partitions[0].clone();
        second.partition = 1;
        full.topics[0].partitions.push(second);
        let offset = wire.fetch("t", 1, 0).await.high_watermark;
        full.topics[0].partitions[1].fetch_offset = offset;
        let response = wire.call(version, full).await;
        assert_eq!(named(&response), [(0, 0), (1, 0)]);
        let id = response.session_id;
        assert!(id > 0);
        assert_eq!(named(&wire.call(version, goes_on(id, 1)).await), []);
        wire.produce_values("t", 1, &["a"]).await;
        assert_eq!(named(&wire.call(version, goes_on(id, 2)).await), [(1, 1)]);
        let mut moved = fetch_request("t", 1, offset + 1);
        (moved.session_id, moved.session_epoch) = (id, 3);
        moved.forgotten_topics_data = vec![ForgottenTopic {
            topic: KString::from("t"),
            partitions: vec![0],
            ..Default::default()
        }];
        assert_eq!(named(&wire.call(version, moved).await), []);
        wire.call(version, goes_on(id, -1)).await;
        let ended = wire.call(version, goes_on(id, 4)).await;
        assert_eq!(ended.error_code, ErrorCode::FetchSessionIdNotFound.code());
    }
}

#[tokio::test]
async fn a_waiting_fetch_of_a_session_is_woken_by_records_of_any_of_its_partitions() {
    let broker = TestBroker::start().await;
    let mut consumer = broker.connect().await;
    let mut producer = broker.connect().await;
    producer.create_topic("t", 1).await;
    let fresh = FetchRequest {
        session_epoch: 0,
        ..fetch_request("t", 0, 0)
    };
    let id = consumer.call(FETCH, fresh).await.session_id;
    let waiting = FetchRequest {
        max_wait_ms: 60_000,
        ..goes_on(id, 1)
    };
    consumer.send(FETCH, waiting).await;
    producer.produce_values("t", 0, &["woken"]).await;
    let (_, response) = consumer.receive(ApiKey::Fetch, FETCH).await;
    let response = FetchResponse::try_from(response).unwrap();
    assert_eq!((response.session_id, named(&response)), (id, vec![(0, 1)]));
}

#[tokio::test]
async fn sessions_by_topic_id_and_by_name_do_not_mix() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    wire.produce_values("t", 0, &["a"]).await;
    let mut fresh = fetch_request("", 0, 0);
    fresh.session_epoch = 0;
    fresh.topics[0].topic_id = wire.call(12, all_topics()).await.topics[0].topic_id;
    let response = wire.call(13, fresh).await;
    assert_eq!(named(&response), [(0, 1)]);
    let mixed = wire.call(12, goes_on(response.session_id, 1)).await;
    assert_eq!(mixed.error_code, ErrorCode::FetchSessionTopicIdError.code());
    let wrong = wire.call(13, goes_on(response.session_id, 7)).await;
    assert_eq!(wrong.error_code, ErrorCode::InvalidFetchSessionEpoch.code());
    assert_eq!(
        named(&wire.call(13, goes_on(response.session_id, 1)).await),
        [(0, 1)]
    );
}

#[tokio::test]
async fn without_slots_every_fetch_is_answered_in_full() {
    let broker = TestBroker::start_with(|config| {
        config
            .set("max.incremental.fetch.session.cache.slots", "0")
            .unwrap();
    })
    .await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let fresh = FetchRequest {
        session_epoch: 0,
        ..fetch_request("t", 0, 0)
    };
    let response = wire.call(FETCH, fresh).await;
    assert_eq!((response.session_id, named(&response)), (0, vec![(0, 0)]));
}

/// Trap 6: big partitions do not starve others, in sessions too.
#[tokio::test]
async fn partitions_of_a_session_take_turns_when_one_response_cannot_hold_all() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 3).await;
    let value = "v".repeat(5000);
    let mut fresh = fetch_request("t", 0, 0);
    (fresh.session_epoch, fresh.max_bytes) = (0, 1);
    for partition in 0..3 {
        wire.produce_values("t", partition, &[&value]).await;
        let mut more = fresh.topics[0].partitions[0].clone();
        more.partition = partition;
        fresh.topics[0].partitions.push(more);
    }
    fresh.topics[0].partitions.remove(0);
    let id = wire.call(FETCH, fresh).await.session_id;
    let mut served = std::collections::BTreeSet::new();
    for epoch in 1..=3 {
        let mut next = goes_on(id, epoch);
        next.max_bytes = 1;
        let response = wire.call(FETCH, next).await;
        served.extend(named(&response).iter().filter(|one| one.1 > 0).copied());
    }
    assert_eq!(served, [(0, 1), (1, 1), (2, 1)].into());
}

#[tokio::test]
async fn read_committed_reads_below_the_last_stable_offset() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    wire.produce_values("t", 0, &["a"]).await;
    let request = FetchRequest {
        isolation_level: 1,
        ..fetch_request("t", 0, 0)
    };
    let data = only(wire.call(FETCH, request).await);
    assert_eq!((data.last_stable_offset, records(&data).len()), (1, 1));
}

#[tokio::test]
async fn old_records_come_from_files_and_new_ones_from_memory_without_a_seam() {
    let broker = TestBroker::start_with(|config| config.tail_cache_bytes = 4000).await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let values: Vec<String> = (0..100)
        .map(|number| format!("{number}-{}", "x".repeat(500)))
        .collect();
    for value in &values {
        wire.produce_values("t", 0, &[value]).await;
    }
    assert_eq!(wire.values("t", 0, 0).await, values);
    assert_eq!(wire.values("t", 0, 50).await, values[50..]);
    assert_eq!(wire.values("t", 0, 98).await, values[98..]);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    let mut stuck = broker.connect().await;
    wire.create_topic("t", 1).await;
    let value = "v".repeat(900_000);
    for _ in 0..10 {
        wire.produce_values("t", 0, &[&value]).await;
    }
    for _ in 0..20 {
        let request = fetch_request("t", 0, 0);
        let sent = stuck.send(FETCH, request);
        if tokio::time::timeout(Duration::from_millis(100), sent)
            .await
            .is_err()
        {
            break;
        }
    }
    assert_eq!(wire.produce_values("t", 0, &["still served"]).await, 10);
}

#[tokio::test]
async fn a_client_that_takes_no_byte_for_too_long_is_disconnected() {
    let broker = TestBroker::start_with(|config| config.connections_max_idle_ms = 2_000).await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let value = "v".repeat(900_000);
    for _ in 0..10 {
        wire.produce_values("t", 0, &[&value]).await;
    }
    drop(wire);
    let mut stuck = broker.connect().await;
    for _ in 0..20 {
        stuck.send(FETCH, fetch_request("t", 0, 0)).await;
    }
    while broker.handle.metrics().snapshot().connections > 0 {
        tokio::task::yield_now().await;
    }
}
