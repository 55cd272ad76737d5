//! Joins of two tables by their key.

use moldau_streams::{Builder, KTable, LocalConfig, Str, TestDriver, Topic};

use crate::{Nullable, T, driver, driver_with, send, texts};

const U_TABLE: Topic<Str, Str> = Topic::new("u");
const OUT: Topic<Str, Str> = Topic::new("o");

/// Which table, key, value and timestamp.
type Update = (
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
    i64,
);

const UPDATES: [Update; 14] = [
    ("t", Some("a"), Some("1"), 10),
    ("u", Some("a"), Some("x"), 5),
    ("t", Some("a"), Some("2"), 7),
    ("u", Some("a"), Some("y"), 20),
    ("t", Some("a"), None, 21),
    ("t", Some("a"), None, 22),
    ("u", Some("a"), None, 23),
    ("u", Some("b"), Some("z"), 24),
    ("t", Some("b"), Some("3"), 25),
    ("u", Some("b"), None, 26),
    ("t", Some("b"), None, 27),
    ("u", Some("b"), None, 28),
    ("t", None, Some("n"), 29),
    ("t", Some("c"), Some("4"), 30),
];

pub(crate) fn send_updates(driver: &TestDriver, updates: &[Update]) {
    for (topic, key, value, timestamp) in updates {
        let topic: Topic<Nullable, Nullable> = Topic::named(*topic);
        send(driver, &topic, &[(*key, *value, *timestamp)]);
    }
}

pub(crate) fn plus(one: Option<&Str>, other: Option<&Str>) -> Str {
    let text = |value: Option<&Str>| value.map_or("null".to_owned(), ToString::to_string);
    Str::from(format!("{}+{}", text(one), text(other)))
}

fn inner(builder: &Builder) -> KTable<Str, Str> {
    let other = builder.table(&U_TABLE);
    let join = builder.table(&T).join(&other);
    join.by(|one, other| plus(Some(one), Some(other)))
}

fn left(builder: &Builder) -> KTable<Str, Str> {
    let other = builder.table(&U_TABLE);
    let join = builder.table(&T).join(&other).left();
    join.by(|one, other| plus(Some(one), other))
}

fn outer(builder: &Builder) -> KTable<Str, Str> {
    let other = builder.table(&U_TABLE);
    builder.table(&T).join(&other).outer().by(plus)
}

fn check(join: fn(&Builder) -> KTable<Str, Str>, expected: &[&str]) {
    let driver = driver(|builder| join(builder).to_stream().to(&OUT));
    send_updates(&driver, &UPDATES);
    assert_eq!(texts(&driver, "o"), expected);
    assert_eq!(driver.records_dropped(), 1);
}

fn check_without_cache(join: fn(&Builder) -> KTable<Str, Str>, expected: &[&str]) {
    let driver = driver_with(without_cache(), |builder| {
        join(builder).to_stream().to(&OUT);
    });
    send_updates(&driver, &UPDATES);
    assert_eq!(texts(&driver, "o"), expected);
}

pub(crate) fn without_cache() -> LocalConfig {
    LocalConfig {
        cache_max_bytes: 0,
        ..LocalConfig::default()
    }
}

#[test]
fn an_inner_join_says_nothing_while_a_side_is_missing_and_removes_with_the_later_timestamp() {
    check(
        inner,
        &[
            "a=1+x@10",
            "a=2+x@7",
            "a=2+y@20",
            "a=null@21",
            "b=3+z@25",
            "b=null@26",
        ],
    );
}

#[test]
fn without_a_cache_an_inner_join_repeats_the_tombstone_of_a_repeated_removal() {
    check_without_cache(
        inner,
        &[
            "a=1+x@10",
            "a=2+x@7",
            "a=2+y@20",
            "a=null@21",
            "a=null@22",
            "b=3+z@25",
            "b=null@26",
        ],
    );
}

#[test]
fn a_left_join_keeps_left_entries_alone_and_ignores_right_ones_alone() {
    check(
        left,
        &[
            "a=1+null@10",
            "a=1+x@10",
            "a=2+x@7",
            "a=2+y@20",
            "a=null@21",
            "b=3+z@25",
            "b=3+null@26",
            "b=null@27",
            "c=4+null@30",
        ],
    );
}

#[test]
fn an_outer_join_keeps_either_side_and_removes_when_both_are_gone() {
    check(
        outer,
        &[
            "a=1+null@10",
            "a=1+x@10",
            "a=2+x@7",
            "a=2+y@20",
            "a=null+y@21",
            "a=null@23",
            "b=null+z@24",
            "b=3+z@25",
            "b=3+null@26",
            "b=null@27",
            "c=4+null@30",
        ],
    );
}

#[test]
fn without_a_cache_an_outer_join_repeats_the_side_that_stays() {
    check_without_cache(
        outer,
        &[
            "a=1+null@10",
            "a=1+x@10",
            "a=2+x@7",
            "a=2+y@20",
            "a=null+y@21",
            "a=null+y@22",
            "a=null@23",
            "b=null+z@24",
            "b=3+z@25",
            "b=3+null@26",
            "b=null@27",
            "c=4+null@30",
        ],
    );
}

#[test]
fn a_join_with_a_store_logs_what_it_emits() {
    let driver = driver(|builder| {
        let other = builder.table(&U_TABLE);
        let join = builder.table(&T).join(&other).left();
        let joined = join.by_as("jm", |one, other| plus(Some(one), other));
        joined.to_stream().to(&OUT);
    });
    send_updates(&driver, &UPDATES);
    assert_eq!(texts(&driver, "app-jm-changelog"), texts(&driver, "o"));
    let store = driver.store::<Str, Str>("jm");
    assert_eq!(store.get("c"), Some(Str::from("4+null")));
}

#[test]
fn a_grouped_join_takes_out_what_it_had_joined_before() {
    let driver = driver(|builder| {
        let grouped = inner(builder).group_by(|_, value| (Str::from("all"), value.clone()));
        let joined = grouped.aggregate(
            Str::default,
            |_, value, all| *all = Str::from(format!("{all}({value})")),
            |_, value, all| *all = Str::from(format!("{all}-({value})")),
        );
        joined.to_stream().to(&OUT);
    });
    send_updates(&driver, &UPDATES);
    let last = "all=(1+x)-(1+x)(2+x)-(2+x)(2+y)-(2+y)(3+z)-(3+z)@26";
    assert_eq!(texts(&driver, "o").last().map(String::as_str), Some(last));
}

#[test]
fn joined_tables_survive_a_crash() {
    let driver = driver(|builder| outer(builder).to_stream().to(&OUT));
    send_updates(&driver, &UPDATES[..4]);
    driver.crash_and_restore();
    send_updates(&driver, &UPDATES[4..6]);
    let after = texts(&driver, "o");
    assert_eq!(after.last().map(String::as_str), Some("a=null+y@21"));
}

#[test]
fn a_stream_finds_what_a_join_without_a_store_holds() {
    let driver = driver(|builder| {
        let table = outer(builder);
        let stream = builder.stream(&Topic::<Str, Str>::new("s"));
        stream.join(&table).by(|_, found| found.clone()).to(&OUT);
    });
    send_updates(
        &driver,
        &[
            ("u", Some("a"), Some("x"), 1),
            ("s", Some("a"), Some("?"), 2),
            ("t", Some("a"), Some("1"), 3),
            ("s", Some("a"), Some("?"), 4),
        ],
    );
    assert_eq!(texts(&driver, "o"), ["a=null+x@2", "a=1+x@4"]);
}
