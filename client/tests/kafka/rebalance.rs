//! Rebalances in which members keep what they have: the new group protocol (KIP-848) and `cooperative-sticky`.

use std::collections::BTreeSet;
use std::time::Duration;

use moldau_client::admin::NewTopic;
use moldau_client::consumer::{AssignmentStrategy, GroupProtocol};
use moldau_client::{
    Client, ClientError, Consumer, ConsumerConfig, Isolation, OffsetAndMetadata, OffsetReset,
    ProducerConfig, TopicPartition,
};

use crate::cluster::{client, numbers, produce, read, record, topic, unique, values};

fn config(group: &str) -> ConsumerConfig {
    ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        group_protocol: GroupProtocol::Consumer,
        heartbeat_interval_ms: 100,
        session_timeout_ms: 10_000,
        ..ConsumerConfig::group(group)
    }
}

fn cooperative(group: &str) -> ConsumerConfig {
    ConsumerConfig {
        group_protocol: GroupProtocol::Classic,
        assignor: AssignmentStrategy::CooperativeSticky,
        ..config(group)
    }
}

fn member(client: &Client, topic: &str, config: &ConsumerConfig) -> Consumer {
    let mut consumer = client.consumer(config.clone());
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

/// Polls all members until each has as many partitions as wanted. Gives all that were revoked, by member.
async fn settle(members: &mut [&mut Consumer], wanted: &[usize]) -> Vec<usize> {
    let mut revoked = vec![0; members.len()];
    let settled = async {
        loop {
            for (index, member) in members.iter_mut().enumerate() {
                let poll = member.poll(Duration::from_millis(50)).await.unwrap();
                revoked[index] += poll.rebalanced.map_or(0, |change| change.revoked.len());
            }
            let have = members.iter().map(|member| member.assignment().len());
            if have.eq(wanted.iter().copied()) {
                return;
            }
        }
    };
    let finished = tokio::time::timeout(Duration::from_secs(60), settled).await;
    let have: Vec<_> = members
        .iter()
        .map(|member| member.assignment().len())
        .collect();
    assert!(finished.is_ok(), "the group did not settle: {have:?}");
    revoked
}

async fn members_come_and_go(client: &Client, config: ConsumerConfig) {
    let topic = topic(client, 4).await;
    let mut first = member(client, &topic, &config);
    settle(&mut [&mut first], &[4]).await;
    let generation = first.group_generation().unwrap();
    let mut second = member(client, &topic, &config);
    let revoked = settle(&mut [&mut first, &mut second], &[2, 2]).await;
    assert_eq!(revoked, [2, 0], "only what moves is given up");
    assert!(first.group_generation().unwrap() > generation);
    let all: BTreeSet<_> = first
        .assignment()
        .into_iter()
        .chain(second.assignment())
        .collect();
    assert_eq!(all.len(), 4);
    second.close().await;
    let revoked = settle(&mut [&mut first], &[4]).await;
    assert_eq!(revoked, [0]);
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_new_protocol_members_keep_what_they_have() {
    let Some(client) = client().await else { return };
    members_come_and_go(&client, config(&unique("group"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cooperative_members_keep_what_they_have() {
    let Some(client) = client().await else { return };
    members_come_and_go(&client, cooperative(&unique("group"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_reads_on_while_others_join() {
    let Some(client) = client().await else { return };
    for config in [config(&unique("group")), cooperative(&unique("group"))] {
        let topic = topic(&client, 2).await;
        let mut first = member(&client, &topic, &config);
        settle(&mut [&mut first], &[2]).await;
        produce(&client, &topic, 0, 10).await;
        produce(&client, &topic, 1, 10).await;
        read(&mut first, 20).await;
        let done: Vec<_> = first
            .assignment()
            .into_iter()
            .map(|partition| (partition, OffsetAndMetadata::new(10)))
            .collect();
        let mut second = member(&client, &topic, &config);
        let mut has_committed = false;
        while second.assignment().is_empty() {
            let poll = first.poll(Duration::from_millis(20)).await.unwrap();
            if let Some(change) = poll.rebalanced {
                assert!(change.revoked.len() <= 1 && !change.lost);
                if !change.revoked.is_empty() {
                    first.commit(&done).await.unwrap();
                    has_committed = true;
                }
            }
            second.poll(Duration::from_millis(20)).await.unwrap();
        }
        assert!(has_committed);
        settle(&mut [&mut first, &mut second], &[1, 1]).await;
        for partition in 0..2 {
            produce(&client, &topic, partition, 5).await;
        }
        assert_eq!(values(&read(&mut first, 5).await), numbers(0..5));
        assert_eq!(values(&read(&mut second, 5).await), numbers(0..5));
        first.close().await;
        second.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_covers_topics_that_come_later() {
    let Some(client) = client().await else { return };
    for config in [config(&unique("group")), cooperative(&unique("group"))] {
        let prefix = unique("pattern");
        let create = async |suffix: &str| {
            let topic = NewTopic::new(format!("{prefix}-{suffix}"), 1);
            client.admin().ensure_topic(topic).await.unwrap();
        };
        create("orders").await;
        create("bills").await;
        let mut consumer = client.consumer(config);
        let pattern = format!("{prefix}-(orders|later).*");
        consumer.subscribe_pattern(&pattern).unwrap();
        settle(&mut [&mut consumer], &[1]).await;
        create("later").await;
        settle(&mut [&mut consumer], &[2]).await;
        let assignment = consumer.assignment();
        assert!(assignment.iter().all(|name| !name.topic.contains("bills")));
        consumer.subscribe(&[&format!("{prefix}-bills")]).unwrap();
        settle(&mut [&mut consumer], &[1]).await;
        assert!(consumer.assignment()[0].topic.contains("bills"));
        consumer.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_comes_back_keeps_its_partitions() {
    let Some(client) = client().await else { return };
    let (topic, group) = (topic(&client, 2).await, unique("group"));
    let named = |name: &str| ConsumerConfig {
        group_instance_id: Some(name.to_owned()),
        ..config(&group)
    };
    let mut first = member(&client, &topic, &named("till-1"));
    let mut second = member(&client, &topic, &named("till-2"));
    settle(&mut [&mut first, &mut second], &[1, 1]).await;
    let before = second.assignment();
    second.close().await;
    let mut second = member(&client, &topic, &named("till-2"));
    let revoked = settle(&mut [&mut first, &mut second], &[1, 1]).await;
    assert_eq!((second.assignment(), revoked), (before, vec![0, 0]));
    first.close().await;
    second.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_the_new_protocol_that_polls_too_late_comes_back() {
    let Some(client) = client().await else { return };
    let topic = topic(&client, 1).await;
    let late = ConsumerConfig {
        max_poll_interval_ms: 1_000,
        ..config(&unique("group"))
    };
    let mut consumer = member(&client, &topic, &late);
    settle(&mut [&mut consumer], &[1]).await;
    let offsets = [(TopicPartition::new(&topic, 0), OffsetAndMetadata::new(1))];
    let fenced = async {
        while consumer.commit(&offsets).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), fenced)
        .await
        .unwrap();
    let error = consumer.commit(&offsets).await.unwrap_err();
    assert!(matches!(error, ClientError::Fenced { .. }), "{error}");
    let poll = consumer.poll(Duration::from_secs(5)).await.unwrap();
    assert!(poll.rebalanced.unwrap().lost);
    settle(&mut [&mut consumer], &[1]).await;
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_moves_from_the_classic_protocol_to_the_new_one_member_by_member() {
    let Some(client) = client().await else { return };
    let (topic, group) = (topic(&client, 2).await, unique("group"));
    let mut classic = member(&client, &topic, &cooperative(&group));
    settle(&mut [&mut classic], &[2]).await;
    let automatic = ConsumerConfig {
        group_protocol: GroupProtocol::Automatic,
        ..config(&group)
    };
    let mut modern = member(&client, &topic, &automatic);
    settle(&mut [&mut classic, &mut modern], &[1, 1]).await;
    classic.close().await;
    settle(&mut [&mut modern], &[2]).await;
    modern.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_takes_the_positions_of_a_member_of_the_new_protocol() {
    let Some(client) = client().await else { return };
    let (from, to, group) = (
        topic(&client, 1).await,
        topic(&client, 1).await,
        unique("group"),
    );
    produce(&client, &from, 0, 10).await;
    let mut consumer = member(&client, &from, &config(&group));
    let mut producer = client
        .transactional_producer(&unique("tx"), ProducerConfig::default())
        .await
        .unwrap();
    let read_records = read(&mut consumer, 10).await;
    producer.begin().unwrap();
    for value in values(&read_records) {
        producer.send(record(&to, 0, &value)).await.unwrap();
    }
    let offsets = [(TopicPartition::new(&from, 0), OffsetAndMetadata::new(10))];
    let metadata = consumer.group_metadata().unwrap();
    producer.send_offsets(&metadata, &offsets).await.unwrap();
    producer.commit().await.unwrap();
    consumer.close().await;
    let mut reader = client.consumer(ConsumerConfig {
        isolation: Isolation::ReadCommitted,
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::default()
    });
    reader.assign(vec![TopicPartition::new(&to, 0)]);
    assert_eq!(values(&read(&mut reader, 10).await), numbers(0..10));
}
