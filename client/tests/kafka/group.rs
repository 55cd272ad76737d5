//! Groups.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use moldau_client::consumer::AssignmentStrategy;
use moldau_client::{
    Client, ClientError, Consumer, ConsumerConfig, OffsetAndMetadata, OffsetReset, TopicPartition,
};

use crate::cluster::{client, numbers, produce, read, topic, unique, values};

fn member(client: &Client, group: &str, topic: &str) -> Consumer {
    member_with(client, topic, config(group))
}

fn config(group: &str) -> ConsumerConfig {
    ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        heartbeat_interval_ms: 100,
        session_timeout_ms: 10_000,
        ..ConsumerConfig::group(group)
    }
}

fn member_with(client: &Client, topic: &str, config: ConsumerConfig) -> Consumer {
    let mut consumer = client.consumer(config);
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

/// Polls all members until each has as many partitions as wanted.
async fn settle(members: &mut [&mut Consumer], wanted: &[usize]) {
    let settled = async {
        loop {
            for member in members.iter_mut() {
                member.poll(Duration::from_millis(50)).await.unwrap();
            }
            let have: Vec<_> = members
                .iter()
                .map(|member| member.assignment().len())
                .collect();
            if have == wanted {
                return;
            }
        }
    };
    let finished = tokio::time::timeout(Duration::from_secs(60), settled).await;
    assert!(finished.is_ok(), "the group did not settle");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_reads_commits_and_goes_on_after_a_restart() {
    let Some(client) = client().await else { return };
    let (topic, group) = (topic(&client, 1).await, unique("group"));
    let partition = TopicPartition::new(&topic, 0);
    produce(&client, &topic, 0, 10).await;

    let mut consumer = member(&client, &group, &topic);
    assert_eq!(values(&read(&mut consumer, 10).await), numbers(0..10));
    let position = OffsetAndMetadata {
        offset: 7,
        leader_epoch: Some(0),
        metadata: "seven".into(),
    };
    let offsets = [(partition.clone(), position.clone())];
    consumer.commit(&offsets).await.unwrap();
    let committed = consumer.committed(std::slice::from_ref(&partition)).await;
    assert_eq!(committed.unwrap().get(&partition), Some(&position));
    consumer.close().await;

    let mut consumer = member(&client, &group, &topic);
    assert_eq!(values(&read(&mut consumer, 3).await), numbers(7..10));
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_when_members_come_and_go() {
    let Some(client) = client().await else { return };
    let (topic, group) = (topic(&client, 4).await, unique("group"));
    let mut first = member(&client, &group, &topic);
    settle(&mut [&mut first], &[4]).await;
    let generation = first.group_generation().unwrap();
    let mut second = member(&client, &group, &topic);
    settle(&mut [&mut first, &mut second], &[2, 2]).await;
    assert!(first.group_generation().unwrap() > generation);
    let all: BTreeSet<_> = first
        .assignment()
        .into_iter()
        .chain(second.assignment())
        .collect();
    assert_eq!(all.len(), 4);
    second.close().await;
    settle(&mut [&mut first], &[4]).await;
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_is_told_first_and_can_be_committed() {
    let Some(client) = client().await else { return };
    let (topic, group) = (topic(&client, 2).await, unique("group"));
    let mut first = member(&client, &group, &topic);
    settle(&mut [&mut first], &[2]).await;
    let mut second = member(&client, &group, &topic);
    let rebalance = loop {
        second.poll(Duration::from_millis(50)).await.unwrap();
        let poll = first.poll(Duration::from_millis(50)).await.unwrap();
        if let Some(rebalance) = poll.rebalanced {
            break rebalance;
        }
    };
    assert_eq!((rebalance.revoked.len(), rebalance.assigned.len()), (2, 0));
    assert!(!rebalance.lost);
    let offsets: Vec<_> = rebalance
        .revoked
        .iter()
        .map(|partition| (partition.clone(), OffsetAndMetadata::new(3)))
        .collect();
    first.commit(&offsets).await.unwrap();
    settle(&mut [&mut first, &mut second], &[1, 1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_polls_too_late_is_fenced_and_comes_back() {
    let Some(client) = client().await else { return };
    let (topic, group) = (topic(&client, 1).await, unique("group"));
    let mut consumer = member_with(
        &client,
        &topic,
        ConsumerConfig {
            max_poll_interval_ms: 500,
            ..config(&group)
        },
    );
    settle(&mut [&mut consumer], &[1]).await;
    let partition = TopicPartition::new(&topic, 0);
    let admin = client.admin();
    let is_gone = async {
        loop {
            let described = admin.describe_groups(&[&group]).await.unwrap();
            if described[0].members.is_empty() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_gone)
        .await
        .unwrap();
    let offsets = [(partition, OffsetAndMetadata::new(1))];
    let error = consumer.commit(&offsets).await.unwrap_err();
    assert!(matches!(error, ClientError::Fenced { .. }), "{error}");
    let poll = consumer.poll(Duration::from_secs(5)).await.unwrap();
    let rebalance = poll.rebalanced.unwrap();
    assert!(rebalance.lost && rebalance.revoked.len() == 1);
    settle(&mut [&mut consumer], &[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic_commits_happen_at_a_rebalance_and_at_the_end() {
    let Some(client) = client().await else { return };
    let (topic, group) = (topic(&client, 1).await, unique("group"));
    produce(&client, &topic, 0, 10).await;
    let mut consumer = member_with(
        &client,
        &topic,
        ConsumerConfig {
            enable_auto_commit: true,
            ..config(&group)
        },
    );
    read(&mut consumer, 10).await;
    consumer.close().await;
    let offsets = client.admin().group_offsets(&group).await.unwrap();
    let expected = BTreeMap::from([(TopicPartition::new(&topic, 0), OffsetAndMetadata::new(10))]);
    assert_eq!(offsets, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn round_robin_spreads_the_partitions_of_several_topics() {
    let Some(client) = client().await else { return };
    let (one, two, group) = (
        topic(&client, 1).await,
        topic(&client, 1).await,
        unique("group"),
    );
    let with = ConsumerConfig {
        assignor: AssignmentStrategy::RoundRobin,
        ..config(&group)
    };
    let mut members = [client.consumer(with.clone()), client.consumer(with.clone())];
    for member in &mut members {
        member.subscribe(&[&one, &two]).unwrap();
    }
    let [first, second] = &mut members;
    settle(&mut [first, second], &[1, 1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_gets_more_partitions_is_shared_out_again() {
    let Some(client) = client().await else { return };
    let (topic, group) = (topic(&client, 1).await, unique("group"));
    let mut consumer = member(&client, &group, &topic);
    settle(&mut [&mut consumer], &[1]).await;
    client.admin().create_partitions(&topic, 3).await.unwrap();
    // Somebody asks for the topic, and so the picture that the leader watches is renewed.
    let count = async {
        while client.partition_count(&topic).await.unwrap() != Some(3) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), count)
        .await
        .unwrap();
    settle(&mut [&mut consumer], &[3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_can_change() {
    let Some(client) = client().await else { return };
    let (one, two, group) = (
        topic(&client, 1).await,
        topic(&client, 2).await,
        unique("group"),
    );
    let mut consumer = member(&client, &group, &one);
    settle(&mut [&mut consumer], &[1]).await;
    consumer.subscribe(&[&two]).unwrap();
    settle(&mut [&mut consumer], &[2]).await;
    assert!(
        consumer
            .assignment()
            .iter()
            .all(|partition| partition.topic == two)
    );
}
