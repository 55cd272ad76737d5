//! Exactly-once processing, and what threads do when something goes wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use moldau_client::admin::TransactionFilter;
use moldau_streams::{
    Builder, KString, ProcessingGuarantee, Raw, Str, StreamsConfig, StreamsError, StreamsHandle,
    Topic, Topology, UncaughtErrorAction, UncaughtErrorHandler,
};

use crate::cluster::{Cluster, LIMIT, counts, often};
use crate::jobs::{word_count, word_count_topics};

fn exactly_once() -> StreamsConfig {
    StreamsConfig {
        processing_guarantee: ProcessingGuarantee::ExactlyOnceV2,
        ..often()
    }
}

/// Passes words on; panics at "bad", but only the first time.
fn fails_once(cluster: &Cluster) -> Topology {
    let builder = Builder::new(cluster.name("app"));
    let has_failed = Arc::new(AtomicBool::new(false));
    builder
        .stream(&Topic::<Str, Str>::named(cluster.name("in")))
        .map_values(move |value| {
            let fails = &**value == "bad" && !has_failed.swap(true, Ordering::Relaxed);
            assert!(!fails, "the first time it fails");
            KString::copy_from(value)
        })
        .to(&Topic::<Str, Str>::named(cluster.name("out")));
    builder.build().expect("a topology")
}

async fn ended(handle: &StreamsHandle) -> Option<StreamsError> {
    let ended = tokio::time::timeout(LIMIT, handle.ended()).await;
    ended.expect("an end within the limit");
    handle.error()
}

fn entry(key: &str, value: &str) -> (Raw, Option<Raw>) {
    let bytes = |text: &str| Raw::copy_from_slice(text.as_bytes());
    (bytes(key), Some(bytes(value)))
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_once_counts_go_on_after_a_restart_and_write_each_count_once() {
    let cluster = Cluster::start("eos-restart").await;
    word_count_topics(&cluster, 3).await;
    let (lines, output) = (cluster.name("lines"), cluster.name("counts"));
    let topology = word_count(&cluster);
    let config = StreamsConfig {
        num_threads: 2,
        cache_max_bytes: 0,
        ..exactly_once()
    };
    let mut entries = Vec::new();
    for round in 1..=3 {
        cluster
            .write(&lines, &[(None, "to be or not to be", round)])
            .await;
        let handle = cluster.run(&topology, config.clone()).await;
        let expected = counts(&[
            ("be", 2 * round),
            ("not", round),
            ("or", round),
            ("to", 2 * round),
        ]);
        entries = cluster.wait_for_table(&output, &expected).await;
        let metrics = handle.metrics();
        assert_eq!(metrics.stores_wiped, 0);
        assert_eq!((metrics.tasks_migrated, metrics.tasks_corrupted), (0, 0));
        handle.close().await.expect("a clean end");
    }
    assert_eq!(entries.len(), 18, "one update per word");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_fails_is_replaced_and_its_records_come_again_without_doubles() {
    let cluster = Cluster::start("replace").await;
    for topic in ["in", "out"] {
        cluster.create(&cluster.name(topic), 1).await;
    }
    let config = StreamsConfig {
        uncaught_error: UncaughtErrorHandler::always(UncaughtErrorAction::ReplaceThread),
        ..exactly_once()
    };
    let handle = cluster.run(&fails_once(&cluster), config).await;
    let records = [
        (Some("a"), "good", 1),
        (Some("b"), "bad", 2),
        (Some("c"), "good", 3),
    ];
    cluster.write(&cluster.name("in"), &records).await;
    let expected = BTreeMap::from([entry("a", "good"), entry("b", "bad"), entry("c", "good")]);
    let entries = cluster
        .wait_for_table(&cluster.name("out"), &expected)
        .await;
    assert_eq!(entries.len(), 3, "{entries:?}");
    assert_eq!(handle.metrics().threads_replaced, 1);
    handle.close().await.expect("a clean end");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_one_instance_can_stop_the_application_in_all() {
    let cluster = Cluster::start("stop-all").await;
    for topic in ["in", "out"] {
        cluster.create(&cluster.name(topic), 2).await;
    }
    let config = StreamsConfig {
        uncaught_error: UncaughtErrorHandler::always(UncaughtErrorAction::StopApplication),
        ..often()
    };
    let topology = fails_once(&cluster);
    let first = cluster.run(&topology, config.clone()).await;
    let second = cluster.run(&topology, config).await;
    cluster
        .write(&cluster.name("in"), &[(Some("a"), "bad", 1)])
        .await;
    let errors = [ended(&first).await, ended(&second).await];
    let is_panic = |error: &Option<StreamsError>| matches!(error, Some(StreamsError::Panic { .. }));
    let is_told =
        |error: &Option<StreamsError>| matches!(error, Some(StreamsError::StoppedByMember { .. }));
    assert!(
        errors.iter().any(is_panic) && errors.iter().any(is_told),
        "{errors:?}"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_application_keeps_its_tasks_and_processes_nothing() {
    let cluster = Cluster::start("pause").await;
    word_count_topics(&cluster, 1).await;
    let handle = cluster.run(&word_count(&cluster), often()).await;
    handle.pause();
    cluster
        .write(&cluster.name("lines"), &[(None, "a b", 1)])
        .await;
    let deadline = Instant::now() + LIMIT;
    while handle.metrics().lag.is_none_or(|lag| lag == 0) {
        assert!(Instant::now() < deadline, "{:?}", handle.metrics());
        tokio::task::yield_now().await;
    }
    assert_eq!(handle.metrics().records_in, 0);
    assert_eq!(handle.metrics().tasks.len(), 2);
    handle.resume();
    let expected = counts(&[("a", 1), ("b", 1)]);
    cluster
        .wait_for_table(&cluster.name("counts"), &expected)
        .await;
    handle.close().await.expect("a clean end");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_whose_transactional_id_is_taken_over_joins_again_and_counts_exactly() {
    let cluster = Cluster::start("fenced").await;
    word_count_topics(&cluster, 1).await;
    let state = tempfile::tempdir().expect("a directory");
    let config = StreamsConfig {
        state_dir: Some(state.path().to_owned()),
        cache_max_bytes: 0,
        ..exactly_once()
    };
    let handle = cluster.run(&word_count(&cluster), config).await;
    let (lines, output) = (cluster.name("lines"), cluster.name("counts"));
    cluster.write(&lines, &[(None, "a", 1)]).await;
    cluster.wait_for_table(&output, &counts(&[("a", 1)])).await;

    let application = cluster.name("app");
    let file = state
        .path()
        .join(&application)
        .join("kafka-streams-process-metadata");
    let file = std::fs::read_to_string(file).expect("a process id");
    let process_id = file.split('"').nth(3).expect("an id");
    let id = format!("{application}-{process_id}-1");
    let intruder = cluster
        .client
        .transactional_producer(&id, Default::default());
    intruder.await.expect("a producer").close(LIMIT).await;

    cluster.write(&lines, &[(None, "a a", 2)]).await;
    let entries = cluster.wait_for_table(&output, &counts(&[("a", 3)])).await;
    assert_eq!(entries.len(), 3, "{entries:?}");
    let metrics = handle.metrics();
    assert!(
        metrics.tasks_migrated + metrics.tasks_corrupted > 0,
        "{metrics:?}"
    );
    handle.close().await.expect("a clean end");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_memory_goes_back_to_its_last_commit_without_being_read_anew() {
    let cluster = Cluster::start("undo").await;
    word_count_topics(&cluster, 1).await;
    let config = StreamsConfig {
        cache_max_bytes: 0,
        ..exactly_once()
    };
    let handle = cluster.run(&word_count(&cluster), config).await;
    let (lines, output) = (cluster.name("lines"), cluster.name("counts"));
    let words: Vec<_> = (0..WORDS).map(|number| format!("w{number}")).collect();
    let all = words.join(" ");
    let expected = |count| counts(&words.iter().map(|w| (&**w, count)).collect::<Vec<_>>());
    for round in 1..=4 {
        cluster.write(&lines, &[(None, &all, round)]).await;
        cluster.wait_for_table(&output, &expected(round)).await;
    }

    let application = cluster.name("app");
    let admin = cluster.client.admin();
    let filter = TransactionFilter::default();
    let transactions = admin.list_transactions(&filter);
    let mut transactions = transactions.await.expect("transactions").into_iter();
    let id = transactions.find(|one| one.transactional_id.starts_with(&application));
    let id = id.expect("the thread's").transactional_id;
    let intruder = cluster
        .client
        .transactional_producer(&id, Default::default());
    intruder.await.expect("a producer").close(LIMIT).await;

    cluster.write(&lines, &[(None, &all, 5)]).await;
    let entries = cluster.wait_for_table(&output, &expected(5)).await;
    assert_eq!(entries.len(), 5 * WORDS, "each count once");
    let metrics = handle.metrics();
    let went_back = metrics.tasks_migrated + metrics.tasks_corrupted;
    assert!(went_back > 0, "{metrics:?}");
    // At most what was written and not committed lies behind the store's place in its changelog.
    let restored: u64 = metrics.tasks.iter().map(|task| task.restored).sum();
    let most = (WORDS as u64 + 2) * went_back;
    assert!(
        restored <= most,
        "{restored} of at most {most}: {metrics:?}"
    );
    handle.close().await.expect("a clean end");
    cluster.stop().await;
}

const WORDS: usize = 40;
