//! Membership by the new group protocol (KIP-848) when things go wrong.

use std::sync::Arc;
use std::time::Duration;

use moldau_client::consumer::GroupProtocol;
use moldau_client::{
    ClientError, Consumer, ConsumerConfig, ErrorCode, OffsetAndMetadata, OffsetReset, Rebalance,
};
use moldau_protocol::{ApiKey, Uuid};

use crate::broker::Broker;
use crate::group::{assigned, both, next_rebalance, revoked};

fn broker() -> Arc<Broker> {
    let broker = Broker::with_topic("orders", 2);
    {
        let mut state = broker.lock();
        state.topic_id = Uuid([7; 16]);
        // The scripted logs are found by name.
        let by_name = [(ApiKey::Produce, 12), (ApiKey::Fetch, 12)];
        state.max_versions.extend(by_name);
    }
    broker
}

fn member(broker: &Arc<Broker>) -> Consumer {
    let mut consumer = broker.client().consumer(ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        group_protocol: GroupProtocol::Consumer,
        max_poll_interval_ms: 60_000,
        ..ConsumerConfig::group("billing")
    });
    consumer.subscribe(&["orders"]).unwrap();
    consumer
}

#[tokio::test(start_paused = true)]
async fn a_member_joins_through_all_that_may_pass_and_says_what_it_reads() {
    let broker = broker();
    broker.lock().coordinator.heartbeats.extend([
        ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::NotCoordinator,
        ErrorCode::CoordinatorNotAvailable,
    ]);
    let mut consumer = member(&broker);
    assert_eq!(next_rebalance(&mut consumer).await, assigned());
    assert_eq!(consumer.group_generation(), Some(1));
    consumer.poll(Duration::from_secs(1)).await.unwrap();
    assert_eq!(broker.lock().coordinator.owned, [0, 1]);
    assert_eq!(broker.count(ApiKey::JoinGroup), 0);
    consumer.close().await;
    assert!(broker.lock().coordinator.member.is_none());
}

#[tokio::test(start_paused = true)]
async fn only_what_goes_is_given_up_and_the_coordinator_is_told_after_the_next_poll() {
    let broker = broker();
    let mut consumer = member(&broker);
    assert_eq!(next_rebalance(&mut consumer).await, assigned());
    consumer.poll(Duration::from_secs(1)).await.unwrap();
    broker.lock().coordinator.target = Some(vec![0]);
    let change = next_rebalance(&mut consumer).await;
    let expected = Rebalance {
        revoked: both()[1..].to_vec(),
        ..Rebalance::default()
    };
    assert_eq!(change, expected);
    assert_eq!(consumer.assignment(), both()[..1]);
    let offsets = [(both()[1].clone(), OffsetAndMetadata::new(5))];
    consumer.commit(&offsets).await.unwrap();
    assert_eq!(broker.lock().coordinator.owned, [0, 1], "not before poll");
    consumer.poll(Duration::from_secs(1)).await.unwrap();
    assert_eq!(broker.lock().coordinator.owned, [0]);
    broker.lock().coordinator.target = Some(vec![0, 1]);
    let change = next_rebalance(&mut consumer).await;
    assert_eq!(
        (change.revoked, change.assigned),
        (vec![], both()[1..].to_vec())
    );
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_fenced_loses_its_partitions_and_joins_anew() {
    for code in [ErrorCode::UnknownMemberId, ErrorCode::FencedMemberEpoch] {
        let broker = broker();
        let mut consumer = member(&broker);
        assert_eq!(next_rebalance(&mut consumer).await, assigned());
        broker.lock().coordinator.heartbeats.push_back(code);
        assert_eq!(next_rebalance(&mut consumer).await, revoked(true));
        let offsets = [(both()[0].clone(), OffsetAndMetadata::new(5))];
        let error = consumer.commit(&offsets).await.unwrap_err();
        assert!(matches!(error, ClientError::Fenced { .. }), "{error}");
        assert_eq!(next_rebalance(&mut consumer).await, assigned());
        assert_eq!(consumer.group_generation(), Some(2));
        consumer.commit(&offsets).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_with_an_old_epoch_is_made_again() {
    let broker = broker();
    let mut consumer = member(&broker);
    assert_eq!(next_rebalance(&mut consumer).await, assigned());
    let stale = ErrorCode::StaleMemberEpoch;
    broker.lock().coordinator.commits.extend([stale, stale]);
    let offsets = [(both()[0].clone(), OffsetAndMetadata::new(5))];
    consumer.commit(&offsets).await.unwrap();
    let committed = broker.lock().coordinator.committed.clone();
    assert_eq!(committed.get(&("orders".into(), 0)), Some(&5));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_once_with_the_setting_to_change() {
    let broker = broker();
    let refusal = ErrorCode::UnsupportedAssignor;
    broker.lock().coordinator.heartbeats.push_back(refusal);
    let mut consumer = member(&broker);
    let error = loop {
        if let Err(error) = consumer.poll(Duration::from_secs(1)).await {
            break error;
        }
    };
    assert_eq!(error.code(), Some(refusal));
    assert!(
        error.to_string().contains("group_remote_assignor"),
        "{error}"
    );
    assert_eq!(next_rebalance(&mut consumer).await, assigned());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_poll_leaves_in_time() {
    let broker = broker();
    let mut consumer = member(&broker);
    next_rebalance(&mut consumer).await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert!(broker.lock().coordinator.member.is_some());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(broker.lock().coordinator.member.is_none(), "it has left");
    assert_eq!(next_rebalance(&mut consumer).await, revoked(true));
    assert_eq!(next_rebalance(&mut consumer).await, assigned());
}

#[tokio::test(start_paused = true)]
async fn automatic_is_classic_where_the_broker_has_no_group_version() {
    let broker = broker();
    let mut consumer = broker.client().consumer(ConsumerConfig {
        group_protocol: GroupProtocol::Automatic,
        ..ConsumerConfig::group("billing")
    });
    consumer.subscribe(&["orders"]).unwrap();
    assert_eq!(next_rebalance(&mut consumer).await, assigned());
    assert_eq!(broker.count(ApiKey::ConsumerGroupHeartbeat), 0);
    assert_eq!(broker.count(ApiKey::JoinGroup), 2);
}
