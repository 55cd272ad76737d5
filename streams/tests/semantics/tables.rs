//! Tables read from topics, and their operators.

use moldau_streams::{LocalConfig, Materialized, Str, Topic};

use crate::{O, T, T_IN, driver, driver_with, send, texts};

const UPDATES: [(Option<&str>, Option<&str>, i64); 6] = [
    (Some("a"), Some("1"), 10),
    (Some("a"), Some("2"), 5),
    (None, Some("x"), 6),
    (Some("a"), None, 7),
    (Some("a"), None, 8),
    (Some("zz"), None, 9),
];

#[test]
fn an_older_update_is_applied_and_a_tombstone_of_an_absent_key_is_not_emitted() {
    let driver = driver(|builder| builder.table_as(&T, "st").to_stream().to(&O));
    send(&driver, &T_IN, &UPDATES);
    let expected = ["a=1@10", "a=2@5", "a=null@7"];
    assert_eq!(texts(&driver, "o"), expected);
    assert_eq!(texts(&driver, "app-st-changelog"), expected);
    assert_eq!(driver.records_dropped(), 1);
}

#[test]
fn a_table_without_a_store_emits_every_update_as_it_comes() {
    let driver = driver(|builder| builder.table(&T).to_stream().to(&O));
    send(&driver, &T_IN, &UPDATES);
    assert_eq!(
        texts(&driver, "o"),
        ["a=1@10", "a=2@5", "a=null@7", "a=null@8", "zz=null@9"]
    );
    assert_eq!(driver.records_dropped(), 1);
}

#[test]
fn without_a_cache_a_tombstone_of_an_absent_key_is_emitted_and_logged() {
    let config = LocalConfig {
        cache_max_bytes: 0,
        ..LocalConfig::default()
    };
    let driver = driver_with(config, |builder| {
        builder.table_as(&T, "st").to_stream().to(&O)
    });
    send(
        &driver,
        &T_IN,
        &[
            (Some("a"), Some("1"), 10),
            (Some("a"), None, 7),
            (Some("a"), None, 8),
            (Some("zz"), None, 9),
        ],
    );
    let expected = ["a=1@10", "a=null@7", "a=null@8", "zz=null@9"];
    assert_eq!(texts(&driver, "o"), expected);
    assert_eq!(texts(&driver, "app-st-changelog"), expected);
}

#[test]
fn a_filter_forwards_a_tombstone_for_each_refused_update() {
    let driver = driver(|builder| {
        builder
            .table(&T)
            .filter(|_, value| value.starts_with('y'))
            .to_stream()
            .to(&O);
    });
    send(
        &driver,
        &T_IN,
        &[
            (Some("a"), Some("no"), 10),
            (Some("a"), Some("no"), 11),
            (Some("a"), Some("yes"), 12),
            (Some("a"), Some("no"), 13),
            (Some("a"), None, 14),
        ],
    );
    assert_eq!(
        texts(&driver, "o"),
        [
            "a=null@10",
            "a=null@11",
            "a=yes@12",
            "a=null@13",
            "a=null@14"
        ]
    );
}

#[test]
fn map_values_forwards_tombstones_without_calling_the_closure() {
    let driver = driver(|builder| {
        let exclaimed = builder.table(&T).map_values(|value| format!("{value}!"));
        exclaimed.to_stream().to(&Topic::<Str, String>::new("o"));
    });
    send(
        &driver,
        &T_IN,
        &[(Some("a"), Some("1"), 10), (Some("a"), None, 11)],
    );
    assert_eq!(texts(&driver, "o"), ["a=1!@10", "a=null@11"]);
}

#[test]
fn tombstones_leave_a_table_as_none_and_present_takes_them_out() {
    let driver = driver(|builder| {
        let updates = builder.table_as(&T, Materialized::named("st")).to_stream();
        updates.present().to(&T_OUT);
    });
    send(
        &driver,
        &T_IN,
        &[
            (Some("a"), Some("1"), 1),
            (Some("a"), None, 2),
            (Some("b"), Some("2"), 3),
        ],
    );
    assert_eq!(texts(&driver, "o"), ["a=1@1", "b=2@3"]);
}

const T_OUT: Topic<Str, Str> = Topic::new("o");
