//! The jobs of the examples, and what stays of them in topics.

use std::collections::BTreeMap;
use std::time::Duration;

use moldau_streams::{Builder, Json, Raw, StreamsConfig, Topic, Topology, Tumbling, Windowed};

use crate::cluster::{Cluster, counts, often};

pub(crate) fn word_count(cluster: &Cluster) -> Topology {
    let builder = Builder::new(cluster.name("app"));
    builder
        .stream(&Topic::<Option<Raw>, String>::named(cluster.name("lines")))
        .flat_map_values(|line, words| {
            words.extend(line.split_whitespace().map(str::to_lowercase));
        })
        .group_by(|_, word: &String| word.clone())
        .count_as("counts")
        .to_stream()
        .to(&Topic::<String, i64>::named(cluster.name("counts")));
    builder.build().expect("a topology")
}

pub(crate) async fn word_count_topics(cluster: &Cluster, partitions: i32) {
    cluster.create(&cluster.name("lines"), partitions).await;
    cluster.create(&cluster.name("counts"), partitions).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn word_count_counts_and_goes_on_counting_after_a_restart() {
    let cluster = Cluster::start("word-count").await;
    word_count_topics(&cluster, 3).await;
    let (lines, output) = (cluster.name("lines"), cluster.name("counts"));
    let topology = word_count(&cluster);

    cluster
        .write(
            &lines,
            &[(None, "To be or not", 1), (Some("k"), "to BE", 2)],
        )
        .await;
    let handle = cluster.run(&topology, often()).await;
    let expected = counts(&[("be", 2), ("not", 1), ("or", 1), ("to", 2)]);
    cluster.wait_for_table(&output, &expected).await;
    let metrics = handle.metrics();
    assert_eq!(metrics.tasks.len(), 6);
    handle.close().await.expect("a clean end");

    cluster
        .write(&lines, &[(None, "that is the question to", 3)])
        .await;
    let handle = cluster.run(&topology, often()).await;
    let expected = counts(&[
        ("be", 2),
        ("is", 1),
        ("not", 1),
        ("or", 1),
        ("question", 1),
        ("that", 1),
        ("the", 1),
        ("to", 3),
    ]);
    let entries = cluster.wait_for_table(&output, &expected).await;
    handle.close().await.expect("a clean end");
    // Nothing is counted twice: no word ever had a larger count than in the end.
    let total: usize = entries.len();
    assert!((8..=11).contains(&total), "{total} updates");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn internal_topics_have_kafka_streams_names_and_settings() {
    let cluster = Cluster::start("internal-topics").await;
    word_count_topics(&cluster, 2).await;
    let handle = cluster.run(&word_count(&cluster), often()).await;
    handle.close().await.expect("a clean end");
    let admin = cluster.client.admin();
    for (part, name, value) in [
        ("counts-repartition", "cleanup.policy", "delete"),
        ("counts-repartition", "retention.ms", "-1"),
        ("counts-repartition", "segment.bytes", "52428800"),
        ("counts-changelog", "cleanup.policy", "compact"),
        ("counts-changelog", "message.timestamp.type", "CreateTime"),
    ] {
        let topic = format!("{}-{part}", cluster.name("app"));
        assert_eq!(
            cluster.client.partition_count(&topic).await,
            Ok(Some(2)),
            "{topic}"
        );
        let configs = admin
            .describe_topic_configs(&topic)
            .await
            .expect("settings");
        let found = configs.iter().find(|config| config.name == name);
        let found = found.and_then(|config| config.value.as_deref());
        assert_eq!(found, Some(value), "{topic} {name}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn page_views_are_counted_per_user_and_minute_and_all_windows_of_a_user_are_in_one_partition()
{
    let cluster = Cluster::start("page-views").await;
    let (views, output) = (cluster.name("views"), cluster.name("per-minute"));
    cluster.create(&views, 3).await;
    cluster.create(&output, 3).await;
    let builder = Builder::new(cluster.name("app"));
    builder
        .stream(&Topic::<Option<Raw>, Json<BTreeMap<String, String>>>::named(views.clone()))
        .group_by(|_, view| view["user"].clone())
        .windowed_by(Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(600)))
        .count_as("views")
        .to_stream()
        .to(&Topic::<Windowed<String>, i64>::named(output.clone()));
    let topology = builder.build().expect("a topology");
    let handle = cluster
        .run(
            &topology,
            StreamsConfig {
                num_threads: 2,
                ..often()
            },
        )
        .await;

    let minute = 60_000;
    let ann = r#"{"user":"ann"}"#;
    let bob = r#"{"user":"bob"}"#;
    let records = [
        (Some("1"), ann, 5),
        (Some("2"), ann, minute - 1),
        (Some("3"), bob, minute),
        (Some("4"), ann, minute + 1),
        (Some("5"), ann, 7),
    ];
    cluster.write(&views, &records).await;
    let window = |user: &str, start: i64, count: i64| {
        let key = [user.as_bytes(), &start.to_be_bytes()].concat();
        (
            Raw::from(key),
            Some(Raw::copy_from_slice(&count.to_be_bytes())),
        )
    };
    let expected = [
        window("ann", 0, 3),
        window("ann", minute, 1),
        window("bob", minute, 1),
    ];
    cluster.wait_for_table(&output, &expected.into()).await;
    handle.close().await.expect("a clean end");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_joined_with_a_table_across_threads() {
    let cluster = Cluster::start("join").await;
    let (orders, customers) = (cluster.name("orders"), cluster.name("customers"));
    let output = cluster.name("named");
    for topic in [&orders, &customers, &output] {
        cluster.create(topic, 2).await;
    }
    let builder = Builder::new(cluster.name("app"));
    let names = builder.table(&Topic::<String, String>::named(customers.clone()));
    builder
        .stream(&Topic::<Option<Raw>, String>::named(orders.clone()))
        .select_key(|_, order| order.split(':').next().unwrap_or_default().to_owned())
        .join(&names)
        .left()
        .by(|order, name| format!("{order} for {}", name.map_or("nobody", String::as_str)))
        .map(|_, text| (text.clone(), text.clone()))
        .to(&Topic::<String, String>::named(output.clone()));
    let topology = builder.build().expect("a topology");
    cluster
        .write(&customers, &[(Some("7"), "Ann", 1), (Some("8"), "Bob", 1)])
        .await;
    cluster
        .write(
            &orders,
            &[
                (None, "7:tea", 10),
                (None, "8:milk", 11),
                (None, "9:salt", 12),
            ],
        )
        .await;
    let handle = cluster
        .run(
            &topology,
            StreamsConfig {
                num_threads: 2,
                ..often()
            },
        )
        .await;
    let entry = |text: &str| {
        let text = Raw::copy_from_slice(text.as_bytes());
        (text.clone(), Some(text))
    };
    let expected = [
        entry("7:tea for Ann"),
        entry("8:milk for Bob"),
        entry("9:salt for nobody"),
    ];
    cluster.wait_for_table(&output, &expected.into()).await;
    handle.close().await.expect("a clean end");
    cluster.stop().await;
}
