//! Several instances of one application.

use std::time::Instant;

use moldau_client::admin::{ConfigChange, ConfigOperation, ConfigResource, OffsetSpec};
use moldau_client::partitioner::partition_for_key;
use moldau_client::{ProducerConfig, ProducerRecord, TopicPartition, TransactionalProducer};
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
    let deadline = Instant::now() + LIMIT;
    while first.metrics().tasks.len() != 4 || second.metrics().tasks.len() != 4 {
        assert!(
            Instant::now() < deadline,
            "{:?} and {:?}",
            first.metrics(),
            second.metrics()
        );
        tokio::task::yield_now().await;
    }
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
    wait_until(&[&first, &second], |metrics| {
        metrics.iter().all(|metrics| metrics.tasks.len() == 2)
    })
    .await;
    transaction.abort().await.expect("aborted");
    cluster.write(&lines, &[(None, &*line, 2)]).await;
    let tasks = first.metrics().tasks;
    // The second half of the topology counts.
    let ids = tasks.iter().map(|task| task.id);
    let kept: Vec<_> = ids.filter(|id| id.sub_topology == 1).collect();
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
async fn wait_until(instances: &[&StreamsHandle], are_there: impl Fn(&[StreamsMetrics]) -> bool) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let metrics: Vec<_> = instances.iter().map(|handle| handle.metrics()).collect();
        if are_there(&metrics) {
            return;
        }
        assert!(Instant::now() < deadline, "{metrics:?}");
        tokio::task::yield_now().await;
    }
}

const WORDS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
