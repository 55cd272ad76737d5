//! Interactive queries, in this process and over HTTP, and standby replicas.

use std::time::{Duration, Instant};

use moldau_streams::runtime::{QueryAnswer, StoreQuery, Streams};
use moldau_streams::{
    Builder, Raw, SessionWindow, Sessions, StreamsConfig, StreamsHandle, Topic, Windowed,
};

use crate::cluster::{Cluster, LIMIT, counts, often};
use crate::histories::Histories;
use crate::jobs::{word_count, word_count_topics};

const WORDS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Asks until somebody answers: tasks may be on their way.
async fn ask(handle: &StreamsHandle, query: &StoreQuery) -> QueryAnswer {
    let deadline = Instant::now() + LIMIT;
    loop {
        match handle.query(query).await {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

fn count(answer: &QueryAnswer) -> Option<i64> {
    let entry = answer.entries.first()?;
    Some(i64::from_be_bytes(
        entry.value[..].try_into().expect("8 bytes"),
    ))
}

fn served() -> StreamsConfig {
    StreamsConfig {
        application_server: Some("127.0.0.1:0".to_owned()),
        ..often()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_found_in_whichever_instance_owns_it_and_a_wrong_store_is_named() {
    let cluster = Cluster::start("queries").await;
    word_count_topics(&cluster, 4).await;
    let topology = word_count(&cluster);
    let first = cluster.run(&topology, served()).await;
    let second = cluster.run(&topology, served()).await;
    assert_ne!(first.application_server(), second.application_server());
    let words = [(None, "a b c d e f g h", 1), (None, "a", 2)];
    cluster.write(&cluster.name("lines"), &words).await;
    let expected = counts(&WORDS.map(|word| (word, if word == "a" { 2 } else { 1 })));
    cluster
        .wait_for_table(&cluster.name("counts"), &expected)
        .await;
    for handle in [&first, &second] {
        for word in WORDS {
            let query = StoreQuery::get("counts", Raw::from_static(word.as_bytes()));
            let answer = ask(handle, &query).await;
            assert_eq!(
                count(&answer),
                Some(if word == "a" { 2 } else { 1 }),
                "{word}"
            );
            assert!(answer.is_active && answer.staleness == 0);
        }
        let missing = StoreQuery::get("counts", Raw::from_static(b"nobody"));
        assert_eq!(count(&ask(handle, &missing).await), None);
    }
    let mut entries = 0;
    for partition in 0..4 {
        let answer = ask(&first, &StoreQuery::scan("counts", partition, 100)).await;
        entries += answer.entries.len();
    }
    assert_eq!(entries, WORDS.len());
    let wrong = StoreQuery::get("cuonts", Raw::new());
    let error = first.query(&wrong).await.expect_err("no such store");
    assert!(error.to_string().contains("\"cuonts\""), "{error}");
    first.close().await.expect("a clean end");
    second.close().await.expect("a clean end");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_answers_within_its_bound_and_takes_over_without_a_restore() {
    let cluster = Cluster::start("standby").await;
    word_count_topics(&cluster, 4).await;
    let config = StreamsConfig {
        num_standby_replicas: 1,
        ..often()
    };
    let topology = word_count(&cluster);
    let first = cluster.run(&topology, config.clone()).await;
    let second = cluster.run(&topology, config).await;
    let line = [(None, "a b c d e f g h", 1)];
    cluster.write(&cluster.name("lines"), &line).await;
    let expected = counts(&WORDS.map(|word| (word, 1)));
    cluster
        .wait_for_table(&cluster.name("counts"), &expected)
        .await;
    let deadline = Instant::now() + LIMIT;
    loop {
        let lags = [first.standby_lags(), second.standby_lags()].concat();
        // No process has the other's address, so each word is found here or nowhere.
        let mut found = 0;
        for word in WORDS {
            let query = StoreQuery::get("counts", Raw::from_static(word.as_bytes()));
            let answer = first.query(&query.max_staleness(1_000)).await;
            found += usize::from(answer.is_ok_and(|answer| count(&answer) == Some(1)));
        }
        if lags.len() == 4 && lags.iter().all(|(_, lag)| *lag == 0) && found == WORDS.len() {
            break;
        }
        assert!(Instant::now() < deadline, "{lags:?}, {found} found");
        tokio::task::yield_now().await;
    }
    second.close().await.expect("a clean end");
    while first.metrics().tasks.len() < 8 || !first.wait_until_running(LIMIT).await {
        assert!(Instant::now() < deadline + LIMIT, "{:?}", first.metrics());
        tokio::task::yield_now().await;
    }
    cluster.write(&cluster.name("lines"), &line).await;
    let expected = counts(&WORDS.map(|word| (word, 2)));
    cluster
        .wait_for_table(&cluster.name("counts"), &expected)
        .await;
    let restored: u64 = first.metrics().tasks.iter().map(|task| task.restored).sum();
    assert_eq!(restored, 0, "{:?}", first.metrics());
    first.close().await.expect("a clean end");
    cluster.stop().await;
}

/// Asks until there is an answer with this many entries: they are there after the next commit.
async fn ask_for(handle: &StreamsHandle, query: &StoreQuery, count: usize) -> QueryAnswer {
    let deadline = Instant::now() + LIMIT;
    loop {
        let answer = ask(handle, query).await;
        if answer.entries.len() == count {
            return answer;
        }
        assert!(Instant::now() < deadline, "{query:?}: {answer:?}");
        tokio::task::yield_now().await;
    }
}

/// Two instances that both answer for all keys, their own or by asking the other one.
async fn pair(cluster: &Cluster, topology: &moldau_streams::Topology) -> [StreamsHandle; 2] {
    [
        cluster.run(topology, served()).await,
        cluster.run(topology, served()).await,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_key_are_found_in_whichever_instance_has_them() {
    let cluster = Cluster::start("session-queries").await;
    let (clicks, visits) = (cluster.name("clicks"), cluster.name("visits"));
    for topic in [&clicks, &visits] {
        cluster.create(topic, 4).await;
    }
    let builder = Builder::new(cluster.name("app"));
    builder
        .stream(&Topic::<String, String>::named(clicks.clone()))
        .group_by_key()
        .windowed_by(Sessions::gap(Duration::from_millis(100)).grace(Duration::from_secs(60)))
        .count_as("visits")
        .to_stream()
        .to(&Topic::<Windowed<String, SessionWindow>, i64>::named(
            visits,
        ));
    let handles = pair(&cluster, &builder.build().expect("a topology")).await;
    for word in WORDS {
        let at = |time| (Some(word), "click", time);
        cluster
            .write(&clicks, &[at(1_000), at(1_050), at(2_000)])
            .await;
    }
    for handle in &handles {
        for word in WORDS {
            let key = Raw::from_static(word.as_bytes());
            let all = StoreQuery::sessions("visits", key.clone(), 0, 10_000);
            let answer = ask_for(handle, &all, 2).await;
            let session = |index: usize| {
                let entry = &answer.entries[index];
                (entry.window_start, entry.window_end, entry.timestamp)
            };
            assert_eq!(session(0), (Some(1_000), Some(1_050), 1_050));
            assert_eq!(session(1), (Some(2_000), Some(2_000), 2_000));
            assert_eq!(count(&answer), Some(2));
            let late = StoreQuery::sessions("visits", key.clone(), 1_051, 10_000);
            assert_eq!(ask(handle, &late).await.entries.len(), 1);
            let wrong = handle.query(&StoreQuery::get("visits", key)).await;
            let error = wrong.expect_err("no key-value store").to_string();
            assert!(error.contains("it is a session store"), "{error}");
        }
    }
    for handle in handles {
        handle.close().await.expect("a clean end");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_of_a_key_are_found_as_of_any_time_in_whichever_instance_has_them() {
    let cluster = Cluster::start("version-queries").await;
    let prices = cluster.name("prices");
    cluster.create(&prices, 4).await;
    let start = || {
        let application = Histories::application(&cluster.name("app"), &prices);
        Streams::start(cluster.client.clone(), application, served())
    };
    let handles = [
        start().await.expect("started"),
        start().await.expect("started"),
    ];
    for word in WORDS {
        let at = |price, time| (Some(word), price, time);
        let versions = [at("1", 1_000), at("3", 3_000), at("2", 2_000)];
        cluster.write(&prices, &versions).await;
    }
    for handle in &handles {
        for word in WORDS {
            let key = Raw::from_static(word.as_bytes());
            let all = StoreQuery::versions("prices", key.clone(), 0, 10_000);
            let answer = ask_for(handle, &all, 3).await;
            let times: Vec<_> = answer
                .entries
                .iter()
                .map(|entry| (&entry.value[..], entry.timestamp, entry.valid_to))
                .collect();
            let expected: [(&[u8], _, _); 3] = [
                (b"1", 1_000, Some(2_000)),
                (b"2", 2_000, Some(3_000)),
                (b"3", 3_000, None),
            ];
            assert_eq!(times, expected);
            let value = async |query: StoreQuery| {
                let answer = ask(handle, &query).await;
                answer.entries.first().map(|entry| entry.value.clone())
            };
            let latest = StoreQuery::latest_version("prices", key.clone());
            assert_eq!(value(latest).await, Some(Raw::from_static(b"3")));
            let before = StoreQuery::version_as_of("prices", key.clone(), 2_999);
            assert_eq!(value(before).await, Some(Raw::from_static(b"2")));
            let too_early = StoreQuery::version_as_of("prices", key, 999);
            assert_eq!(value(too_early).await, None);
        }
    }
    for handle in handles {
        handle.close().await.expect("a clean end");
    }
    cluster.stop().await;
}
