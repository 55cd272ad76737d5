//! Several instances of one application.

use std::collections::BTreeSet;
use std::time::Instant;

use moldau_broker::BrokerConfig;
use moldau_client::admin::{ConfigChange, ConfigOperation, ConfigResource, OffsetSpec};
use moldau_client::partitioner::partition_for_key;
use moldau_client::{ProducerConfig, ProducerRecord, TopicPartition, TransactionalProducer};
use moldau_streams::runtime::TaskId;
use moldau_streams::{ProcessingGuarantee, Raw, StreamsConfig, StreamsHandle, StreamsMetrics};

use crate::cluster::{Cluster, LIMIT, counts, often};
use crate::jobs::{word_count, word_count_topics};

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_their_state_move_to_a_new_instance_and_back() {
    let cluster = Cluster::start("instances").await;
    word_count_topics(&cluster, 4).await;
    let (lines, output) = (cluster.name("lines"), cluster.name("counts"));
    let topology = word_count(&cluster);
    let first = cluster.run(&topology, often()).await;
    let line = |words: &'static str| (None, words, 1);
    cluster.write(&lines, &[line("a b c d e f g h"); 3]).await;
    let all = |count| counts(&["a", "b", "c", "d", "e", "f", "g", "h"].map(|word| (word, count)));
    cluster.wait_for_table(&output, &all(3)).await;

    let second = cluster.run(&topology, often()).await;
    wait_for_tasks(&[&first, &second], &[4, 4]).await;
    cluster.write(&lines, &[line("a b c d e f g h"); 2]).await;
    cluster.wait_for_table(&output, &all(5)).await;

    first.close().await.expect("a clean end");
    cluster.write(&lines, &[line("a b c d e f g h")]).await;
    cluster.wait_for_table(&output, &all(6)).await;
    assert_eq!(second.metrics().tasks.len(), 8);
    second.close().await.expect("a clean end");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_keep_their_tasks_when_others_come_and_go() {
    let cluster = Cluster::start("keep").await;
    word_count_topics(&cluster, 6).await;
    let topology = word_count(&cluster);
    let first = cluster.run(&topology, often()).await;
    let second = cluster.run(&topology, often()).await;
    let before = wait_for_tasks(&[&first, &second], &[6, 6]).await;
    let third = cluster.run(&topology, often()).await;
    let with_third = wait_for_tasks(&[&first, &second, &third], &[4, 4, 4]).await;
    for (kept, had) in with_third.iter().zip(&before) {
        assert!(kept.is_subset(had), "{before:?}, then {with_third:?}");
    }
    // The new one gets its part of the state, not all of the stateless tasks or none.
    let stateful = with_third[2].iter().filter(|id| id.sub_topology == 1);
    assert_eq!(stateful.count(), 2, "{with_third:?}");
    third.close().await.expect("a clean end");
    let after = wait_for_tasks(&[&first, &second], &[6, 6]).await;
    for (has, kept) in after.iter().zip(&with_third) {
        assert!(has.is_superset(kept), "{with_third:?}, then {after:?}");
    }
    for handle in [first, second] {
        handle.close().await.expect("a clean end");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_get_the_tasks_whose_state_they_have_after_all_were_stopped() {
    // Long enough for both to join before anything is assigned.
    let change = |config: &mut BrokerConfig| config.group_initial_rebalance_delay_ms = 3_000;
    let cluster = Cluster::start_with("same-state", change).await;
    word_count_topics(&cluster, 6).await;
    let topology = word_count(&cluster);
    let directories = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let start = async |index: usize| {
        let config = StreamsConfig {
            state_dir: Some(directories[index].path().to_owned()),
            ..often()
        };
        cluster.run(&topology, config).await
    };
    // All tasks have run with the first one's state, and half of them later with the second's.
    let first = start(0).await;
    wait_for_tasks(&[&first], &[12]).await;
    let second = start(1).await;
    let before = wait_for_tasks(&[&first, &second], &[6, 6]).await;
    for handle in [first, second] {
        handle.close().await.expect("a clean end");
    }
    let (second, first) = tokio::join!(start(1), start(0));
    let after = wait_for_tasks(&[&first, &second], &[6, 6]).await;
    let stateful = |tasks: &[BTreeSet<TaskId>]| -> Vec<BTreeSet<TaskId>> {
        let only = tasks.iter().map(|ids| ids.iter().copied());
        only.map(|ids| ids.filter(|id| id.sub_topology == 1).collect())
            .collect()
    };
    assert_eq!(stateful(&after), stateful(&before));
    for handle in [first, second] {
        handle.close().await.expect("a clean end");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_goes_on_when_others_join() {
    let cluster = Cluster::start("restore-goes-on").await;
    word_count_topics(&cluster, 2).await;
    let (lines, output) = (cluster.name("lines"), cluster.name("counts"));
    let topology = word_count(&cluster);
    let handle = cluster.run(&topology, exactly_once()).await;
    let line = WORDS.join(" ");
    cluster.write(&lines, &[(None, &*line, 1); 3]).await;
    let all = |count| counts(&WORDS.map(|word| (word, count)));
    cluster.wait_for_table(&output, &all(3)).await;
    handle.close().await.expect("a clean end");

    let changelog = cluster.name("app-counts-changelog");
    let changelog = [0, 1].map(|number| TopicPartition::new(&changelog, number));
    // Whoever restores waits for its end.
    let mut transaction = open_transaction(&cluster, &changelog).await;
    let start = || topology.start(cluster.client.clone(), exactly_once());
    let first = start().await.expect("started");
    wait_until(&[&first], |metrics| {
        let left = metrics[0]
            .tasks
            .iter()
            .map(|task| task.to_restore - task.restored);
        metrics[0].tasks.len() == 4 && left.filter(|left| *left == 1).count() == 2
    })
    .await;

    // What it has read so far, nobody can read again.
    delete_all_but_last(&cluster, &changelog).await;
    let second = start().await.expect("started");
    let tasks = wait_for_tasks(&[&first, &second], &[2, 2]).await;
    transaction.abort().await.expect("aborted");
    cluster.write(&lines, &[(None, &*line, 2)]).await;
    // The second half of the topology counts.
    let kept = tasks[0].iter().filter(|id| id.sub_topology == 1);
    let kept: Vec<_> = kept.collect();
    assert!(!kept.is_empty(), "{tasks:?}");
    let count = |word: &'static str| {
        let partition = partition_for_key(word.as_bytes(), 2);
        let is_kept = kept.iter().any(|id| id.partition == partition);
        (word, if is_kept { 4 } else { 1 })
    };
    let expected = counts(&WORDS.map(count));
    cluster.wait_for_table(&output, &expected).await;
    for handle in [first, second] {
        handle.close().await.expect("a clean end");
    }
    cluster.stop().await;
}

/// A transaction with a record in each partition.
async fn open_transaction(
    cluster: &Cluster,
    partitions: &[TopicPartition],
) -> TransactionalProducer {
    let id = cluster.name("outsider");
    let config = ProducerConfig::default();
    let producer = cluster.client.transactional_producer(&id, config).await;
    let mut producer = producer.expect("a producer");
    producer.begin().expect("begun");
    for partition in partitions {
        let text = Some(Raw::from_static(b"a"));
        let record = ProducerRecord {
            partition: Some(partition.partition),
            ..ProducerRecord::new(partition.topic.clone(), text.clone(), text)
        };
        let delivery = producer.send(record).await.expect("sent");
        delivery.await.expect("stored");
    }
    producer
}

/// Deletes all records but the last one of partitions of a compacted topic.
async fn delete_all_but_last(cluster: &Cluster, partitions: &[TopicPartition; 2]) {
    let admin = cluster.client.admin();
    let topic = ConfigResource::Topic(partitions[0].topic.to_string());
    let policy = async |policy: &str| {
        let change = ConfigChange {
            name: "cleanup.policy".to_owned(),
            operation: ConfigOperation::Set(policy.to_owned()),
        };
        let changed = admin.incremental_alter_configs(&topic, &[change]).await;
        changed.expect("changed");
    };
    policy("delete").await;
    let ends = partitions.clone().map(|name| (name, OffsetSpec::Latest));
    let ends = admin.list_offsets(&ends).await.expect("ends").into_iter();
    let before: Vec<_> = ends.map(|(name, end)| (name, end.offset - 1)).collect();
    admin.delete_records(&before).await.expect("deleted");
    policy("compact").await;
}

fn exactly_once() -> StreamsConfig {
    StreamsConfig {
        processing_guarantee: ProcessingGuarantee::ExactlyOnceV2,
        ..often()
    }
}

/// Waits for figures of several instances.
async fn wait_until(
    instances: &[&StreamsHandle],
    are_there: impl Fn(&[StreamsMetrics]) -> bool,
) -> Vec<StreamsMetrics> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let metrics: Vec<_> = instances.iter().map(|handle| handle.metrics()).collect();
        if are_there(&metrics) {
            return metrics;
        }
        assert!(Instant::now() < deadline, "{metrics:?}");
        tokio::task::yield_now().await;
    }
}

/// Waits until the instances run that many tasks, and no task runs twice; says which each has.
async fn wait_for_tasks(instances: &[&StreamsHandle], counts: &[usize]) -> Vec<BTreeSet<TaskId>> {
    let is_there = |metrics: &[StreamsMetrics]| {
        let all: BTreeSet<_> = metrics.iter().flat_map(ids).collect();
        let shares = metrics.iter().map(|metrics| metrics.tasks.len());
        shares.eq(counts.iter().copied()) && all.len() == counts.iter().sum::<usize>()
    };
    let metrics = wait_until(instances, is_there).await;
    metrics.iter().map(ids).collect()
}

fn ids(metrics: &StreamsMetrics) -> BTreeSet<TaskId> {
    metrics.tasks.iter().map(|task| task.id).collect()
}

const WORDS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
