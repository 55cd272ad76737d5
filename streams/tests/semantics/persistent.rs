//! The same topologies on stores that outlive the tasks, with crashes and restarts anywhere.

use std::collections::BTreeMap;
use std::time::Duration;

use moldau_streams::{
    Builder, CommitMode, LocalConfig, Materialized, Str, Topic, Tumbling, Windowed,
};

use crate::{COUNTS, S, driver_with, send};

#[test]
fn counts_on_disk_are_right_whenever_the_tasks_crash_or_restart() {
    for seed in 1..=4_u64 {
        let directory = tempfile::tempdir().expect("a directory");
        let config = LocalConfig {
            state_dir: Some(directory.path().to_owned()),
            // So little that stores are written all the time.
            store_memory_bytes: 4 * 1024,
            ..LocalConfig::default().commit(CommitMode::Manual)
        };
        let driver = driver_with(config, |builder| {
            let keyed = builder.stream(&S).group_by_key();
            keyed.count_as("c").to_stream().to(&COUNTS);
            let windows = Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(600));
            let counts = keyed.windowed_by(windows).count_as("w");
            let output = Topic::<Windowed<Option<Str>>, i64>::new("windows");
            counts.to_stream().to(&output);
        });
        let mut random = seed * 0x9E37_79B9;
        let mut next = |limit: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % limit
        };
        let mut expected: BTreeMap<(String, i64), i64> = BTreeMap::new();
        for _ in 0..300 {
            let (key, minute) = (format!("k{}", next(7)), next(5) as i64);
            send(&driver, &S, &[(Some(&key), Some("x"), minute * 60_000)]);
            *expected.entry((key, minute * 60_000)).or_default() += 1;
            match next(12) {
                0 | 1 => driver.commit(),
                2 => driver.crash_and_restore(),
                3 => driver.restart(),
                _ => {}
            }
        }
        driver.commit();
        driver.crash_and_restore();
        let windows = driver.window_store::<String, i64>("w");
        let mut totals: BTreeMap<String, i64> = BTreeMap::new();
        for ((key, start), count) in expected {
            assert_eq!(windows.get(key.clone(), start), Some(count), "seed {seed}");
            *totals.entry(key).or_default() += count;
        }
        let counts = driver.store::<String, i64>("c");
        for (key, count) in totals {
            assert_eq!(counts.get(key.clone()), Some(count), "seed {seed}");
        }
    }
}

#[test]
fn a_restart_in_order_finds_everything_on_disk() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = LocalConfig {
        state_dir: Some(directory.path().to_owned()),
        ..LocalConfig::default()
    };
    let driver = driver_with(config, |builder| {
        builder
            .stream(&S)
            .group_by_key()
            .count_as("c")
            .to_stream()
            .to(&COUNTS);
    });
    send(
        &driver,
        &S,
        &[(Some("a"), Some("x"), 1), (Some("a"), Some("x"), 2)],
    );
    driver.restart();
    send(&driver, &S, &[(Some("a"), Some("x"), 3)]);
    assert_eq!(driver.store::<Str, i64>("c").get("a"), Some(3));
    assert!(directory.path().join("app/0_0/c/main").is_dir());
    assert!(directory.path().join("app/0_0/format").is_file());
}

#[test]
fn each_store_may_be_in_memory_or_on_disk_as_it_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = LocalConfig {
        state_dir: Some(directory.path().to_owned()),
        ..LocalConfig::default()
    };
    let driver = driver_with(config, |builder| {
        let keyed = builder.stream(&S).group_by_key();
        let _ = keyed.count_as(Materialized::named("memory").in_memory());
        let _ = keyed.count_as(Materialized::named("disk").persistent());
    });
    send(&driver, &S, &[(Some("a"), Some("x"), 0)]);
    let task = directory.path().join("app").join("0_0");
    assert!(task.join("disk").is_dir());
    assert!(!task.join("memory").exists());
    driver.crash_and_restore();
    for store in ["memory", "disk"] {
        assert_eq!(driver.store::<String, i64>(store).get("a"), Some(1));
    }
}

#[test]
fn a_persistent_store_without_a_state_directory_is_refused() {
    let builder = Builder::new("app");
    let keyed = builder.stream(&S).group_by_key();
    drop(keyed.count_as(Materialized::named("disk").persistent()));
    let topology = builder.build().expect("a topology");
    let error = topology.test().expect_err("no directory").to_string();
    assert!(error.contains("store \"disk\""), "{error}");
    assert!(error.contains("state_dir"), "{error}");
}
