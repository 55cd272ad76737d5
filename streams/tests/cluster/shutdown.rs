//! How jobs end: when they are asked to, and when a part of them fails.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use moldau_client::TopicPartition;
use moldau_streams::{Builder, Serde, SerdeContext, SerdeError, Str, StreamsConfig, Topic};

use crate::cluster::{Cluster, LIMIT, often};
use crate::instance::{Instance, Setup};
use crate::orders::{Enriched, prepare, write_orders};

type Text = Topic<Str, Str>;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_terminated_commits_and_leaves_its_group() {
    let cluster = Cluster::start("terminated").await;
    prepare(&cluster).await;
    write_orders(&cluster, 100).await;
    let instance = Instance::start(&Setup {
        bootstrap: cluster.bootstrap(),
        prefix: cluster.name("job"),
        state_dir: None,
        group_instance_id: None,
        num_standby_replicas: 0,
        runs_by_itself: true,
        file_size_limit: None,
    });
    let mut reader = Enriched::new(&cluster);
    reader.wait_for(100).await;
    instance.terminate();
    let ended = instance.wait();
    assert_eq!(ended.error, None);
    let group = cluster.name("job-app");
    let groups = cluster.client.admin().describe_groups(&[&group]).await;
    assert!(groups.expect("groups")[0].members.is_empty());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_fails_does_not_keep_the_others_from_committing_what_they_did() {
    let cluster = Cluster::start("others-commit").await;
    let input = cluster.name("in");
    cluster.create(&input, 2).await;
    cluster.create(&cluster.name("out"), 2).await;
    let builder = Builder::new(cluster.name("app"));
    builder
        .stream(&Text::named(input.clone()))
        .peek(|_, text| assert!(&**text != "bad", "what a bad value"))
        .to(&Text::named(cluster.name("out")));
    let config = StreamsConfig {
        num_threads: 2,
        commit_interval_ms: Some(3_600_000),
        ..often()
    };
    let topology = builder.build().expect("a topology");
    let handle = cluster.run(&topology, config).await;
    // Keys of both partitions.
    let good: Vec<_> = ["a", "b", "c", "d", "e", "f"]
        .map(|key| (Some(key), "good", 1))
        .into();
    cluster.write(&input, &good).await;
    let deadline = Instant::now() + LIMIT;
    while handle.metrics().records_in < 6 {
        assert!(Instant::now() < deadline, "{:?}", handle.metrics());
        tokio::task::yield_now().await;
    }
    cluster.write(&input, &[(Some("a"), "bad", 2)]).await;
    handle.ended().await;
    assert!(handle.close().await.is_err());
    let offsets = cluster.client.admin();
    let offsets = offsets.group_offsets(&cluster.name("app")).await;
    let offsets = offsets.expect("offsets");
    let committed = |partition| {
        let name = TopicPartition::new(&input, partition);
        offsets.get(&name).map(|stored| stored.offset)
    };
    let both = [committed(0), committed(1)];
    assert_eq!(
        both.iter().flatten().count(),
        1,
        "one thread commits, the one that failed does not: {both:?}"
    );
    cluster.stop().await;
}

/// Text whose reading panics if it is bad.
#[derive(Clone)]
struct Explosive(Bytes);

impl Serde for Explosive {
    fn encode(&self, _: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        out.extend_from_slice(&self.0);
        Ok(())
    }

    fn decode(_: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        assert!(&bytes[..] != b"bad", "what a bad value");
        Ok(Self(bytes.clone()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_global_table_whose_reading_panics_ends_the_application() {
    let cluster = Cluster::start("global-panic").await;
    for topic in ["in", "table", "out"] {
        cluster.create(&cluster.name(topic), 1).await;
    }
    let builder = Builder::new(cluster.name("app"));
    let table = Topic::<Str, Explosive>::named(cluster.name("table"));
    let table = builder.global_table(&table);
    builder
        .stream(&Text::named(cluster.name("in")))
        .join(table.on(|key: &Str, _: &Str| key.clone()))
        .by(|text, _: &Explosive| text.clone())
        .to(&Text::named(cluster.name("out")));
    let topology = builder.build().expect("a topology");
    let handle = cluster.run(&topology, often()).await;
    let bad = [(Some("a"), "bad", 1)];
    cluster.write(&cluster.name("table"), &bad).await;
    let ended = tokio::time::timeout(LIMIT, handle.ended()).await;
    ended.expect("an end within the limit");
    let error = handle.error().expect("an error").to_string();
    assert!(error.contains("panicked: what a bad value"), "{error}");
    assert!(handle.close().await.is_err());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_waits_no_longer_than_it_is_told() {
    let cluster = Cluster::start("close-within").await;
    let input = cluster.name("in");
    cluster.create(&input, 1).await;
    let builder = Builder::new(cluster.name("app"));
    let (entered, waiting) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    builder
        .stream(&Text::named(input.clone()))
        .for_each(move |_, _| {
            let _ = entered.send(());
            // Until the test has seen that closing gives up.
            let _ = released.lock().expect("one task").recv();
        });
    let topology = builder.build().expect("a topology");
    let handle = cluster.run(&topology, often()).await;
    cluster.write(&input, &[(Some("a"), "v", 1)]).await;
    let entered = tokio::task::spawn_blocking(move || waiting.recv_timeout(LIMIT)).await;
    entered.expect("joined").expect("the closure runs");
    let closed = handle.close_within(Duration::from_millis(50)).await;
    assert!(!closed.expect("no error"));
    drop(release);
    cluster.stop().await;
}
