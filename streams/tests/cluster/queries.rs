//! Interactive queries, in this process and over HTTP, and standby replicas.

use std::time::Instant;

use moldau_streams::runtime::{QueryAnswer, StoreQuery};
use moldau_streams::{Raw, StreamsConfig, StreamsHandle};

use crate::cluster::{Cluster, LIMIT, counts, often};
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
