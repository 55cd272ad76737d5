//! Sources with a pattern: topics that come and go while the application runs.

use std::time::Instant;

use moldau_client::TopicPartition;
use moldau_streams::{Builder, Raw, Topic, TopicPattern, Topology};

use crate::cluster::{Cluster, LIMIT, counts, often};

fn word_count(cluster: &Cluster) -> Topology {
    let pattern = format!("{}-lines-.*", cluster.prefix());
    let builder = Builder::new(cluster.name("app"));
    let lines: TopicPattern<Option<Raw>, String> = TopicPattern::named(pattern);
    let words = builder
        .stream_matching(&lines)
        .flat_map_values(|line, words| words.extend(line.split_whitespace().map(str::to_owned)));
    let by_word = words.group_by(|_, word: &String| word.clone());
    let output = Topic::<String, i64>::named(cluster.name("counts"));
    by_word.count_as("counts").to_stream().to(&output);
    builder.build().expect("a topology")
}

async fn wait_until<F: Future<Output = bool>>(is_done: impl Fn() -> F) {
    let deadline = Instant::now() + LIMIT;
    while !is_done().await {
        assert!(Instant::now() < deadline, "it takes too long");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_of_a_pattern_that_come_and_go_are_followed_by_all_instances() {
    let cluster = Cluster::start("pattern").await;
    let output = cluster.name("counts");
    cluster.create(&output, 2).await;
    let topology = word_count(&cluster);
    // Nothing matches yet.
    let first = cluster.run(&topology, often()).await;

    let [eu, us] = ["lines-eu", "lines-us"].map(|topic| cluster.name(topic));
    cluster.create(&eu, 2).await;
    cluster
        .write(&eu, &[(None, "a b", 1), (None, "b", 2)])
        .await;
    let expected = counts(&[("a", 1), ("b", 2)]);
    cluster.wait_for_table(&output, &expected).await;

    let second = cluster.run(&topology, often()).await;
    cluster.create(&us, 1).await;
    cluster.write(&us, &[(None, "b c", 3)]).await;
    cluster.write(&eu, &[(None, "a", 4)]).await;
    let expected = counts(&[("a", 2), ("b", 3), ("c", 1)]);
    cluster.wait_for_table(&output, &expected).await;

    // A commit for a topic that is gone would be tried again for a minute.
    let us_partition = TopicPartition::new(&us, 0);
    let admin = cluster.client.admin();
    wait_until(|| async {
        let offsets = admin.group_offsets(topology.application_id()).await;
        let offsets = offsets.expect("offsets");
        offsets.get(&us_partition).is_some_and(|at| at.offset == 1)
    })
    .await;
    let deleted = admin.delete_topics(&[&us]).await;
    deleted.expect("deleted");
    cluster.write(&eu, &[(None, "c", 5)]).await;
    let expected = counts(&[("a", 2), ("b", 3), ("c", 2)]);
    cluster.wait_for_table(&output, &expected).await;
    for handle in [first, second] {
        assert_eq!(handle.metrics().stores_wiped, 0);
        handle.close().await.expect("a clean end");
    }
    cluster.stop().await;
}
