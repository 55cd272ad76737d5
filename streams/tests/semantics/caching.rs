//! When tables emit: at commit with a cache, at once without.

use moldau_streams::{CommitMode, LocalConfig, Materialized, TestDriver};

use crate::{COUNTS, S, driver_with, send, texts};

fn counting(config: LocalConfig, materialized: Materialized) -> TestDriver {
    driver_with(config.commit(CommitMode::Manual), |builder| {
        builder
            .stream(&S)
            .group_by_key()
            .count_as(materialized)
            .to_stream()
            .to(&COUNTS);
    })
}

const INPUT: [(Option<&str>, Option<&str>, i64); 3] = [
    (Some("a"), Some("x"), 1),
    (Some("b"), Some("x"), 2),
    (Some("a"), Some("y"), 3),
];

#[test]
fn with_a_cache_a_table_emits_each_changed_key_once_at_commit() {
    let driver = counting(LocalConfig::default(), Materialized::named("c"));
    send(&driver, &S, &INPUT);
    assert_eq!(texts(&driver, "o"), [""; 0]);
    driver.commit();
    let (a, b) = ("a=0000000000000002@3", "b=0000000000000001@2");
    // In the order of the last changes, so that time goes on.
    assert_eq!(texts(&driver, "o"), [b, a]);
    assert_eq!(texts(&driver, "app-c-changelog"), [a, b]);
    driver.commit();
    assert_eq!(texts(&driver, "o").len(), 2);
}

#[test]
fn without_a_cache_every_update_is_emitted_at_once_and_logged_once_per_key_and_commit() {
    let config = LocalConfig {
        cache_max_bytes: 0,
        ..LocalConfig::default()
    };
    let driver = counting(config, Materialized::named("c"));
    send(&driver, &S, &INPUT);
    assert_eq!(
        texts(&driver, "o"),
        [
            "a=0000000000000001@1",
            "b=0000000000000001@2",
            "a=0000000000000002@3"
        ]
    );
    driver.commit();
    let changelog = texts(&driver, "app-c-changelog");
    assert_eq!(changelog, ["a=0000000000000002@3", "b=0000000000000001@2"]);
}

#[test]
fn at_a_commit_the_store_that_was_added_first_emits_first() {
    let config = LocalConfig::default().commit(CommitMode::Manual);
    let driver = driver_with(config, |builder| {
        let stream = builder.stream(&S);
        let (one, other) = (stream.peek(|_, _| {}), stream.peek(|_, _| {}));
        for (peeked, name) in [(&other, "first"), (&one, "second")] {
            let counts = peeked.group_by_key().count_as(name);
            counts
                .to_stream()
                .map_values(move |_| crate::text(Some(name)))
                .to(&crate::O);
        }
    });
    send(&driver, &S, &[(Some("a"), Some("x"), 1)]);
    driver.commit();
    assert_eq!(texts(&driver, "o"), ["a=first@1", "a=second@1"]);
}

#[test]
fn one_table_may_emit_every_update_although_there_is_a_cache() {
    let materialized = Materialized::named("c").every_update();
    let driver = counting(LocalConfig::default(), materialized);
    send(&driver, &S, &INPUT);
    assert_eq!(texts(&driver, "o").len(), 3);
}

#[test]
fn a_cache_that_is_full_emits_before_the_commit() {
    let config = LocalConfig {
        cache_max_bytes: 1,
        ..LocalConfig::default()
    };
    let driver = counting(config, Materialized::named("c"));
    send(&driver, &S, &INPUT);
    assert_eq!(texts(&driver, "o").len(), 3);
}

#[test]
fn a_join_sees_updates_that_are_still_in_the_cache() {
    let driver = driver_with(
        LocalConfig::default().commit(CommitMode::Manual),
        |builder| {
            let stream = builder.stream(&S);
            let counts = stream.group_by_key().count();
            stream.join(&counts).by(|_, count| *count).to(&COUNTS);
        },
    );
    send(&driver, &S, &INPUT);
    assert_eq!(
        texts(&driver, "o"),
        [
            "a=0000000000000001@1",
            "b=0000000000000001@2",
            "a=0000000000000002@3"
        ]
    );
}

#[test]
fn caches_keep_to_their_common_budget_however_many_keys_there_are() {
    const LIMIT: usize = 64 * 1024;
    let config = LocalConfig {
        cache_max_bytes: LIMIT,
        ..LocalConfig::default().commit(CommitMode::Manual)
    };
    let driver = driver_with(config, |builder| {
        let _ = builder.stream(&S).group_by_key().count_as("c");
        let last = builder.stream(&crate::U).group_by_key();
        let _ = last.reduce_as("r", |_, new| new.clone());
    });
    let value = "x".repeat(300);
    // A cache that is full and then idle does not starve the other one.
    for at in 0..1_000 {
        let key = format!("key {at}");
        send(&driver, &S, &[(Some(&key), Some("x"), at)]);
        assert!(driver.cache_used_bytes() <= LIMIT + 1_000);
    }
    for at in 0..1_000 {
        let key = format!("key {at}");
        send(&driver, &crate::U, &[(Some(&key), Some(&value), at)]);
        assert!(driver.cache_used_bytes() <= LIMIT + LIMIT / 2 + 1_000);
    }
    driver.commit();
    assert!(driver.cache_used_bytes() <= LIMIT);
    let counts = driver.store::<moldau_streams::Str, i64>("c");
    assert_eq!(counts.get("key 0"), Some(1));
    assert_eq!(counts.get("key 999"), Some(1));
}
