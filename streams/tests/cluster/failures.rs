//! Applications that cannot start or cannot go on.

use moldau_streams::runtime::StreamsState;
use moldau_streams::{Builder, Str, StreamsError, Topic};

use crate::cluster::{Cluster, often};

type Text = Topic<Str, Str>;

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_source_topic_is_named_with_what_to_do() {
    let cluster = Cluster::start("missing").await;
    let builder = Builder::new(cluster.name("app"));
    let topic = cluster.name("nowhere");
    builder
        .stream(&Text::named(topic.clone()))
        .to(&Text::named(cluster.name("out")));
    let topology = builder.build().expect("a topology");
    let error = topology
        .start(cluster.client.clone(), often())
        .await
        .expect_err("no topic");
    assert!(matches!(&error, StreamsError::MissingTopic { topic: named } if *named == topic));
    assert!(error.to_string().contains("moldau topic create"), "{error}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn joined_topics_with_unequal_partition_counts_are_refused_before_anything_starts() {
    let cluster = Cluster::start("copartition").await;
    let (stream, table) = (cluster.name("stream"), cluster.name("table"));
    cluster.create(&stream, 3).await;
    cluster.create(&table, 2).await;
    let builder = Builder::new(cluster.name("app"));
    let names = builder.table(&Text::named(table.clone()));
    let joined = builder
        .stream(&Text::named(stream.clone()))
        .join(&names)
        .by(|one, _| one.clone());
    joined.to(&Text::named(cluster.name("out")));
    let topology = builder.build().expect("a topology");
    let error = topology
        .start(cluster.client.clone(), often())
        .await
        .expect_err("unequal");
    let text = error.to_string();
    assert!(text.contains(&format!("\"{stream}\" has 3")), "{text}");
    assert!(text.contains(&format!("\"{table}\" has 2")), "{text}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_that_panics_fails_the_application_and_commits_nothing_of_the_record() {
    let cluster = Cluster::start("panic").await;
    let input = cluster.name("input");
    cluster.create(&input, 1).await;
    cluster.create(&cluster.name("out"), 1).await;
    let builder = Builder::new(cluster.name("app"));
    let checked = builder
        .stream(&Text::named(input.clone()))
        .named("check")
        .map_values(|value| {
            assert!(&**value != "bad", "what a bad value");
            value.clone()
        });
    checked.to(&Text::named(cluster.name("out")));
    let topology = builder.build().expect("a topology");
    let handle = cluster.run(&topology, often()).await;
    cluster
        .write(&input, &[(Some("k"), "good", 1), (Some("k"), "bad", 2)])
        .await;
    handle.ended().await;
    assert_eq!(handle.state(), StreamsState::Failed);
    let error = handle.error().expect("an error").to_string();
    assert!(
        error.contains("task 0_0: operator check panicked: what a bad value"),
        "{error}"
    );
    assert!(handle.close().await.is_err());
    let offsets = cluster
        .client
        .admin()
        .group_offsets(&cluster.name("app"))
        .await;
    let committed = offsets
        .expect("offsets")
        .into_values()
        .map(|offset| offset.offset)
        .max();
    assert!(committed.is_none_or(|offset| offset <= 1), "{committed:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_topic_with_another_partition_count_is_an_error_that_names_it() {
    let cluster = Cluster::start("changed").await;
    cluster.create(&cluster.name("lines"), 2).await;
    cluster.create(&cluster.name("counts"), 2).await;
    let changelog = format!("{}-counts-changelog", cluster.name("app"));
    cluster.create(&changelog, 5).await;
    let topology = crate::jobs::word_count(&cluster);
    let error = topology
        .start(cluster.client.clone(), often())
        .await
        .expect_err("5 partitions");
    let text = error.to_string();
    assert!(text.contains(&changelog), "{text}");
    assert!(
        text.contains("it has 5 partitions, but 2 are needed"),
        "{text}"
    );
    cluster.stop().await;
}
