//! Mistakes of those who write and run jobs: what they are told, and that no record is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use moldau_broker::BrokerConfig;
use moldau_streams::{
    Builder, Raw, Serde, SerdeContext, SerdeError, Str, StreamsConfig, StreamsError, Topic,
    Topology, Tumbling, Windowed,
};

use crate::cluster::{Cluster, LIMIT, counts, often};
use crate::jobs::{word_count, word_count_topics};

type Text = Topic<Str, Str>;

/// Copies `in` to `out` with the types that these topics have.
fn copy<V: Serde + Clone>(cluster: &Cluster) -> Topology {
    let builder = Builder::new(cluster.name("app"));
    builder
        .stream(&Topic::<Str, Str>::named(cluster.name("in")))
        .named("convert")
        .map_values(|text| {
            V::decode(
                &SerdeContext::value("in"),
                &Bytes::copy_from_slice(text.as_bytes()),
            )
            .expect("a value")
        })
        .to(&Topic::<Str, V>::named(cluster.name("out")));
    builder.build().expect("a topology")
}

/// Runs a job until it fails; gives the error's text.
async fn failure(cluster: &Cluster, topology: &Topology, config: StreamsConfig) -> String {
    let handle = match topology.start(cluster.client.clone(), config).await {
        Ok(handle) => handle,
        Err(error) => return error.to_string(),
    };
    let ended = tokio::time::timeout(LIMIT, handle.ended()).await;
    ended.expect("an end within the limit");
    let error = handle.error().expect("an error").to_string();
    assert!(handle.close().await.is_err());
    error
}

fn says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "\"{part}\" is not in: {error}");
    }
}

fn table(entries: &[(&str, &str)]) -> BTreeMap<Raw, Option<Raw>> {
    let bytes = |text: &str| Raw::copy_from_slice(text.as_bytes());
    let entry = |(key, value): &(&str, &str)| (bytes(key), Some(bytes(value)));
    entries.iter().map(entry).collect()
}

const RECORDS: [(Option<&str>, &str, i64); 3] = [
    (Some("a"), "good", 1),
    (Some("b"), "bad", 2),
    (Some("c"), "good", 3),
];

async fn in_and_out(cluster: &Cluster) {
    for topic in ["in", "out"] {
        cluster.create(&cluster.name(topic), 1).await;
    }
    cluster.write(&cluster.name("in"), &RECORDS).await;
}

/// Runs the corrected job: all three records arrive.
async fn all_arrive(cluster: &Cluster) {
    let handle = cluster.run(&copy::<String>(cluster), often()).await;
    let expected = table(&[("a", "good"), ("b", "bad"), ("c", "good")]);
    cluster
        .wait_for_table(&cluster.name("out"), &expected)
        .await;
    handle.close().await.expect("a clean end");
}

/// Text, but not if it is bad.
#[derive(Clone)]
struct Picky(Bytes);

impl Serde for Picky {
    fn encode(&self, _: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        if &self.0[..] == b"bad" {
            return Err(SerdeError::new("bad values have no bytes"));
        }
        out.extend_from_slice(&self.0);
        Ok(())
    }

    fn decode(_: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        Ok(Self(bytes.clone()))
    }
}

/// Text that cannot be read if it is bad.
struct Strict(Bytes);

impl Serde for Strict {
    fn encode(&self, _: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        out.extend_from_slice(&self.0);
        Ok(())
    }

    fn decode(_: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        match &bytes[..] {
            b"bad" => Err(SerdeError::new("it is bad")),
            _ => Ok(Self(bytes.clone())),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_cannot_be_read_is_named_and_read_again_by_the_corrected_job() {
    let cluster = Cluster::start("read-serde").await;
    in_and_out(&cluster).await;
    let builder = Builder::new(cluster.name("app"));
    builder
        .stream(&Topic::<Str, Strict>::named(cluster.name("in")))
        .to(&Topic::<Str, Strict>::named(cluster.name("out")));
    let topology = builder.build().expect("a topology");
    let error = failure(&cluster, &topology, often()).await;
    let place = format!(
        "the value of topic \"{}\" partition 0 offset 1",
        cluster.name("in")
    );
    says(&error, &[&place, "it is bad", "hint: "]);
    let error = failure(&cluster, &topology, often()).await;
    says(&error, &[&place]);
    all_arrive(&cluster).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_cannot_be_written_is_named_by_operator_and_topic_and_comes_again() {
    let cluster = Cluster::start("write-serde").await;
    in_and_out(&cluster).await;
    let error = failure(&cluster, &copy::<Picky>(&cluster), often()).await;
    let output = format!("for topic \"{}\"", cluster.name("out"));
    says(&error, &["operator KSTREAM-SINK", "the value", &output]);
    says(&error, &["bad values have no bytes", "hint: "]);
    all_arrive(&cluster).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_panic_the_corrected_job_gets_the_record_again() {
    let cluster = Cluster::start("panic-again").await;
    in_and_out(&cluster).await;
    let builder = Builder::new(cluster.name("app"));
    builder
        .stream(&Text::named(cluster.name("in")))
        .named("check")
        .peek(|_, text| assert!(&**text != "bad", "what a bad value"))
        .to(&Text::named(cluster.name("out")));
    let topology = builder.build().expect("a topology");
    let error = failure(&cluster, &topology, often()).await;
    says(
        &error,
        &["operator check panicked: what a bad value", "hint: "],
    );
    all_arrive(&cluster).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_output_topic_is_named_and_the_records_are_written_once_it_is_there() {
    let without = |config: &mut BrokerConfig| config.auto_create_topics = false;
    let cluster = Cluster::start_with("no-output", without).await;
    if !cluster.is_ours() {
        // It may make the topic by itself.
        return;
    }
    cluster.create(&cluster.name("in"), 1).await;
    cluster.write(&cluster.name("in"), &RECORDS).await;
    let config = StreamsConfig {
        max_block_ms: 500,
        ..often()
    };
    let error = failure(&cluster, &copy::<String>(&cluster), config).await;
    let named = format!("topic \"{}\"", cluster.name("out"));
    says(&error, &[&named, "does not exist", "hint: create it first"]);
    cluster.create(&cluster.name("out"), 1).await;
    all_arrive(&cluster).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_topic_that_is_deleted_under_a_running_job_ends_it_with_its_name() {
    let cluster = Cluster::start("deleted").await;
    in_and_out(&cluster).await;
    let handle = cluster.run(&copy::<String>(&cluster), often()).await;
    let input = cluster.name("in");
    let deleted = cluster.client.admin().delete_topics(&[&input]).await;
    deleted.expect("asked");
    let ended = tokio::time::timeout(LIMIT, handle.ended()).await;
    ended.expect("an end within the limit");
    let error = handle.error().expect("an error").to_string();
    says(&error, &[&format!("\"{input}\""), "hint: "]);
    assert!(handle.close().await.is_err());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repartition_topic_that_does_not_fit_its_sources_any_more_is_named_with_what_to_do() {
    let cluster = Cluster::start("grown").await;
    word_count_topics(&cluster, 2).await;
    let handle = cluster.run(&word_count(&cluster), often()).await;
    handle.close().await.expect("a clean end");
    let grown = cluster.client.admin();
    let grown = grown.create_partitions(&cluster.name("lines"), 3).await;
    grown.expect("a third partition");
    let deadline = std::time::Instant::now() + LIMIT;
    while cluster.client.partition_count(&cluster.name("lines")).await != Ok(Some(3)) {
        assert!(std::time::Instant::now() < deadline, "no third partition");
        tokio::task::yield_now().await;
    }
    let error = failure(&cluster, &word_count(&cluster), often()).await;
    let topic = format!(
        "internal topic \"{}-counts-repartition\"",
        cluster.name("app")
    );
    says(
        &error,
        &[&topic, "it has 2 partitions, but 3 are needed", "hint: "],
    );
    cluster.stop().await;
}

/// As `word_count`, but its store is a window store.
fn counts_by_minute(cluster: &Cluster, minutes: u64) -> Topology {
    let builder = Builder::new(cluster.name("app"));
    let size = Duration::from_secs(60 * minutes);
    builder
        .stream(&Topic::<Option<Raw>, String>::named(cluster.name("lines")))
        .group_by(|_, line: &String| line.clone())
        .windowed_by(Tumbling::of(size).no_grace())
        .count_as("counts")
        .to_stream()
        .to(&Topic::<Windowed<String>, i64>::named(
            cluster.name("counts"),
        ));
    builder.build().expect("a topology")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_became_a_window_store_is_refused_by_its_changelog() {
    let cluster = Cluster::start("kind").await;
    word_count_topics(&cluster, 1).await;
    let (lines, output) = (cluster.name("lines"), cluster.name("counts"));
    cluster.write(&lines, &[(None, "word", 1)]).await;
    let handle = cluster.run(&word_count(&cluster), often()).await;
    let expected = counts(&[("word", 1)]);
    cluster.wait_for_table(&output, &expected).await;
    handle.close().await.expect("a clean end");
    let error = failure(&cluster, &counts_by_minute(&cluster, 1), often()).await;
    let topic = format!(
        "internal topic \"{}-counts-changelog\"",
        cluster.name("app")
    );
    says(&error, &[&topic, "compact,delete is needed", "hint: "]);
    // The old job is as it was.
    cluster.write(&lines, &[(None, "word", 2)]).await;
    let handle = cluster.run(&word_count(&cluster), often()).await;
    let expected = counts(&[("word", 2)]);
    cluster.wait_for_table(&output, &expected).await;
    handle.close().await.expect("a clean end");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changelog_that_was_deleted_is_noticed_and_its_store_begins_anew_and_is_counted() {
    let cluster = Cluster::start("no-changelog").await;
    word_count_topics(&cluster, 1).await;
    let (lines, output) = (cluster.name("lines"), cluster.name("counts"));
    let directory = tempfile::tempdir().expect("a directory");
    let config = StreamsConfig {
        state_dir: Some(directory.path().to_owned()),
        ..often()
    };
    cluster.write(&lines, &[(None, "word word", 1)]).await;
    let handle = cluster.run(&word_count(&cluster), config.clone()).await;
    cluster
        .wait_for_table(&output, &counts(&[("word", 2)]))
        .await;
    handle.close().await.expect("a clean end");
    let changelog = format!("{}-counts-changelog", cluster.name("app"));
    let deleted = cluster.client.admin().delete_topics(&[&changelog]).await;
    deleted.expect("asked");
    let deadline = std::time::Instant::now() + LIMIT;
    while cluster.client.partition_count(&changelog).await != Ok(None) {
        assert!(std::time::Instant::now() < deadline, "it is still there");
        tokio::task::yield_now().await;
    }
    cluster.write(&lines, &[(None, "word", 2)]).await;
    let handle = cluster.run(&word_count(&cluster), config).await;
    cluster
        .wait_for_table(&output, &counts(&[("word", 1)]))
        .await;
    assert_eq!(handle.metrics().stores_wiped, 1);
    handle.close().await.expect("a clean end");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_in_the_same_state_directory_is_refused() {
    let cluster = Cluster::start("same-directory").await;
    word_count_topics(&cluster, 2).await;
    let directory = tempfile::tempdir().expect("a directory");
    let config = StreamsConfig {
        state_dir: Some(directory.path().to_owned()),
        ..often()
    };
    let handle = cluster.run(&word_count(&cluster), config.clone()).await;
    let second = word_count(&cluster);
    let second = second.start(cluster.client.clone(), config).await;
    let error = second.expect_err("in use");
    assert!(matches!(
        error,
        StreamsError::Config {
            setting: "state_dir",
            ..
        }
    ));
    says(
        &error.to_string(),
        &["is used by another process", "hint: "],
    );
    handle.close().await.expect("a clean end");
    cluster.stop().await;
}
