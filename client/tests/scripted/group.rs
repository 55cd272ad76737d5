//! Group membership when things go wrong.

use std::time::Duration;

use bytes::Bytes;
use moldau_client::{
    ClientError, Consumer, ConsumerConfig, ErrorCode, OffsetAndMetadata, OffsetReset,
    ProducerConfig, ProducerRecord, Rebalance, TopicPartition,
};
use moldau_protocol::ApiKey;

use crate::broker::Broker;
use crate::consumer::{numbers, read};

fn config() -> ConsumerConfig {
    ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::group("billing")
    }
}

fn member(broker: &std::sync::Arc<Broker>, config: ConsumerConfig) -> Consumer {
    let mut consumer = broker.client().consumer(config);
    consumer.subscribe(&["orders"]).unwrap();
    consumer
}

/// Polls until the assignment changes.
pub(crate) async fn next_rebalance(consumer: &mut Consumer) -> Rebalance {
    for _ in 0..1_000 {
        let poll = consumer.poll(Duration::from_secs(1)).await.unwrap();
        if let Some(rebalance) = poll.rebalanced {
            return rebalance;
        }
    }
    panic!("the assignment did not change");
}

pub(crate) fn both() -> Vec<TopicPartition> {
    vec![
        TopicPartition::new("orders", 0),
        TopicPartition::new("orders", 1),
    ]
}

pub(crate) fn assigned() -> Rebalance {
    Rebalance {
        assigned: both(),
        ..Rebalance::default()
    }
}

pub(crate) fn revoked(lost: bool) -> Rebalance {
    Rebalance {
        revoked: both(),
        lost,
        ..Rebalance::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_revokes_first_lets_commit_and_then_assigns() {
    let broker = Broker::with_topic("orders", 2);
    let mut consumer = member(&broker, config());
    assert_eq!(next_rebalance(&mut consumer).await, assigned());
    assert_eq!(consumer.group_generation(), Some(1));
    broker
        .lock()
        .coordinator
        .heartbeats
        .push_back(ErrorCode::RebalanceInProgress);
    assert_eq!(next_rebalance(&mut consumer).await, revoked(false));
    assert!(consumer.assignment().is_empty());
    let offsets = [(both()[1].clone(), OffsetAndMetadata::new(5))];
    consumer.commit(&offsets).await.unwrap();
    assert_eq!(
        broker.lock().coordinator.generation,
        1,
        "no join before the next poll"
    );
    assert_eq!(next_rebalance(&mut consumer).await, assigned());
    assert_eq!(consumer.group_generation(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_the_group_has_forgotten_loses_its_partitions_and_joins_anew() {
    for code in [ErrorCode::UnknownMemberId, ErrorCode::IllegalGeneration] {
        let broker = Broker::with_topic("orders", 2);
        let mut consumer = member(&broker, config());
        assert_eq!(next_rebalance(&mut consumer).await, assigned());
        broker.lock().coordinator.heartbeats.push_back(code);
        assert_eq!(next_rebalance(&mut consumer).await, revoked(true));
        let offsets = [(both()[0].clone(), OffsetAndMetadata::new(5))];
        let error = consumer.commit(&offsets).await.unwrap_err();
        assert!(matches!(error, ClientError::Fenced { .. }), "{error}");
        assert_eq!(next_rebalance(&mut consumer).await, assigned());
        consumer.commit(&offsets).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn joining_goes_through_all_that_may_pass() {
    let broker = Broker::with_topic("orders", 2);
    {
        let coordinator = &mut broker.lock().coordinator;
        coordinator.joins.extend([
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::NotCoordinator,
            ErrorCode::UnknownMemberId,
        ]);
        coordinator.syncs.extend([
            ErrorCode::RebalanceInProgress,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::IllegalGeneration,
        ]);
    }
    let mut consumer = member(&broker, config());
    assert_eq!(next_rebalance(&mut consumer).await, assigned());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_changes_while_joining_is_joined_for() {
    let broker = Broker::with_topic("orders", 2);
    let refusals = [ErrorCode::CoordinatorLoadInProgress; 3];
    broker.lock().coordinator.joins.extend(refusals);
    let mut consumer = broker.client().consumer(config());
    consumer.subscribe(&["bills"]).unwrap();
    consumer.poll(Duration::from_millis(1)).await.unwrap();
    assert_eq!(broker.lock().coordinator.generation, 0, "it joins still");
    consumer.subscribe(&["orders"]).unwrap();
    // The first join was for bills.
    while next_rebalance(&mut consumer).await != assigned() {}
    assert_eq!(broker.lock().coordinator.generation, 2);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_refuses_is_reported_once_and_tried_again() {
    let broker = Broker::with_topic("orders", 2);
    let refusal = ErrorCode::InconsistentGroupProtocol;
    broker.lock().coordinator.joins.push_back(refusal);
    let mut consumer = member(&broker, config());
    let error = loop {
        if let Err(error) = consumer.poll(Duration::from_secs(1)).await {
            break error;
        }
    };
    assert_eq!(error.code(), Some(refusal));
    assert!(error.to_string().contains("same `assignor`"), "{error}");
    assert_eq!(next_rebalance(&mut consumer).await, assigned());
}

#[tokio::test(start_paused = true)]
async fn commits_go_through_a_coordinator_that_moves() {
    let broker = Broker::with_topic("orders", 2);
    let mut consumer = member(&broker, config());
    next_rebalance(&mut consumer).await;
    broker.lock().coordinator.commits.extend([
        ErrorCode::NotCoordinator,
        ErrorCode::CoordinatorLoadInProgress,
    ]);
    let lookups = broker.count(ApiKey::FindCoordinator);
    let offsets = [(both()[0].clone(), OffsetAndMetadata::new(5))];
    consumer.commit(&offsets).await.unwrap();
    assert!(broker.count(ApiKey::FindCoordinator) > lookups);
    let committed = consumer.committed(&both()).await.unwrap();
    assert_eq!(committed.len(), 1);
    assert_eq!(committed[&both()[0]].offset, 5);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_go_on_while_the_program_works_until_max_poll_interval() {
    let broker = Broker::with_topic("orders", 2);
    let mut consumer = member(
        &broker,
        ConsumerConfig {
            max_poll_interval_ms: 60_000,
            ..config()
        },
    );
    next_rebalance(&mut consumer).await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert!(broker.count(ApiKey::Heartbeat) >= 15);
    assert!(broker.lock().coordinator.member.is_some());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(broker.lock().coordinator.member.is_none(), "it has left");
    assert_eq!(next_rebalance(&mut consumer).await, revoked(true));
    assert_eq!(next_rebalance(&mut consumer).await, assigned());
}

#[tokio::test(start_paused = true)]
async fn closing_and_dropping_both_leave_the_group() {
    let broker = Broker::with_topic("orders", 2);
    let mut consumer = member(&broker, config());
    next_rebalance(&mut consumer).await;
    consumer.close().await;
    assert_eq!(broker.count(ApiKey::LeaveGroup), 1);

    let mut consumer = member(&broker, config());
    next_rebalance(&mut consumer).await;
    drop(consumer);
    while broker.count(ApiKey::LeaveGroup) < 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_static_member_does_not_leave() {
    let broker = Broker::with_topic("orders", 2);
    let mut consumer = member(
        &broker,
        ConsumerConfig {
            group_instance_id: Some("till-1".to_owned()),
            ..config()
        },
    );
    assert_eq!(next_rebalance(&mut consumer).await, assigned());
    consumer.close().await;
    assert_eq!(broker.count(ApiKey::LeaveGroup), 0);
}

#[tokio::test(start_paused = true)]
async fn automatic_commits_cover_what_earlier_polls_gave() {
    let broker = Broker::with_topic("orders", 2);
    let producer = broker.client().producer(ProducerConfig::default());
    for value in 0..10 {
        let mut record = ProducerRecord::new("orders", None, Some(Bytes::from(value.to_string())));
        record.partition = Some(0);
        producer.send(record).await.unwrap();
    }
    producer.close().await;
    let mut consumer = member(
        &broker,
        ConsumerConfig {
            enable_auto_commit: true,
            ..config()
        },
    );
    assert_eq!(read(&mut consumer, 10).await, numbers(0..10));
    assert!(broker.lock().coordinator.committed.is_empty());
    consumer.poll(Duration::from_secs(6)).await.unwrap();
    consumer.poll(Duration::from_secs(1)).await.unwrap();
    let committed = broker.lock().coordinator.committed.clone();
    assert_eq!(committed.get(&("orders".into(), 0)), Some(&10));
}

#[tokio::test(start_paused = true)]
async fn an_older_cluster_is_spoken_to_in_its_own_versions() {
    let broker = Broker::with_topic("orders", 2);
    broker.lock().max_versions.extend([
        (ApiKey::FindCoordinator, 2),
        (ApiKey::OffsetFetch, 5),
        (ApiKey::OffsetCommit, 5),
        (ApiKey::JoinGroup, 3),
        (ApiKey::SyncGroup, 2),
        (ApiKey::Heartbeat, 2),
        (ApiKey::LeaveGroup, 2),
        (ApiKey::Metadata, 5),
        (ApiKey::Fetch, 8),
        (ApiKey::ListOffsets, 3),
        (ApiKey::Produce, 7),
        (ApiKey::InitProducerId, 1),
        (ApiKey::ApiVersions, 2),
    ]);
    let producer = broker.client().producer(ProducerConfig::default());
    let mut record = ProducerRecord::new("orders", None, Some(Bytes::from_static(b"0")));
    record.partition = Some(0);
    producer.send(record).await.unwrap().await.unwrap();
    let mut consumer = member(&broker, config());
    assert_eq!(next_rebalance(&mut consumer).await, assigned());
    assert_eq!(read(&mut consumer, 1).await, numbers(0..1));
    let offsets = [(both()[0].clone(), OffsetAndMetadata::new(1))];
    consumer.commit(&offsets).await.unwrap();
    assert_eq!(consumer.committed(&both()).await.unwrap().len(), 1);
    consumer.close().await;
    assert_eq!(broker.count(ApiKey::LeaveGroup), 1);
}

#[tokio::test(start_paused = true)]
async fn a_group_needs_a_name() {
    let broker = Broker::with_topic("orders", 1);
    let mut consumer = broker.client().consumer(ConsumerConfig::default());
    let error = consumer.subscribe(&["orders"]).unwrap_err();
    assert!(error.to_string().starts_with("group_id:"), "{error}");
}
