//! Versioned tables (KIP-889, KIP-914) and joins that wait for them (KIP-923).

use std::time::Duration;

use moldau_streams::{
    Builder, CommitMode, EagerBuffer, KTable, LocalConfig, Materialized, Str, Suppressed,
    TestDriver, Tumbling,
};

use super::{COUNTS, Nullable, O, S, T, T_IN, U, driver, driver_with, send, texts};

const HISTORY: Duration = Duration::from_millis(100);

fn versioned(builder: &Builder) -> KTable<Str, Str> {
    builder.table_as(&T, Materialized::versioned("v", HISTORY))
}

fn mistake(build: impl FnOnce(&Builder)) -> String {
    let builder = Builder::new("app");
    build(&builder);
    builder.build().expect_err("a mistake").to_string()
}

fn join_with_grace(builder: &Builder, grace_ms: u64, left: bool) {
    let table: KTable<Nullable, Str> = builder.table_as(
        &moldau_streams::Topic::new("t"),
        Materialized::versioned("v", HISTORY),
    );
    let join = builder.stream(&S).join(&table);
    let join = join.grace(Duration::from_millis(grace_ms));
    let pair = |value: &Nullable, found: Option<&Str>| {
        let value = value.as_ref().map_or("null", Str::as_str);
        let found = found.map_or("nothing", Str::as_str);
        Some(Str::from(format!("{value}+{found}")))
    };
    if left {
        join.left().by(pair).to(&O);
    } else {
        join.by(move |value, found| pair(value, Some(found))).to(&O);
    }
}

fn grace_driver(grace_ms: u64) -> TestDriver {
    driver(|builder| join_with_grace(builder, grace_ms, false))
}

#[test]
fn a_versioned_table_emits_late_updates_and_keeps_the_latest_value() {
    let driver = driver(|builder| versioned(builder).to_stream().to(&O));
    send(
        &driver,
        &T_IN,
        &[
            (Some("a"), Some("2"), 20),
            (Some("a"), Some("1"), 10),
            (Some("a"), None, 15),
        ],
    );
    assert_eq!(texts(&driver, "o"), ["a=2@20", "a=1@10", "a=null@15"]);
    let store = driver.versioned_store::<Str, Str>("v");
    assert_eq!(store.get("a"), Some(Str::from("2")));
    assert_eq!(store.get_as_of("a", 14), Some(Str::from("1")));
    assert_eq!(store.get_as_of("a", 15), None);
}

#[test]
fn an_update_older_than_the_history_is_dropped_and_not_emitted() {
    let driver = driver(|builder| versioned(builder).to_stream().to(&O));
    send(
        &driver,
        &T_IN,
        &[(Some("a"), Some("2"), 200), (Some("b"), Some("1"), 99)],
    );
    assert_eq!(texts(&driver, "o"), ["a=2@200"]);
    assert_eq!(driver.records_dropped(), 1);
    send(&driver, &T_IN, &[(Some("b"), Some("1"), 100)]);
    assert_eq!(texts(&driver, "o"), ["a=2@200", "b=1@100"]);
}

#[test]
fn the_changelog_of_a_versioned_table_has_every_version_with_its_time() {
    let config = LocalConfig::default().commit(CommitMode::Manual);
    let driver = driver_with(config, |builder| versioned(builder).to_stream().to(&O));
    send(
        &driver,
        &T_IN,
        &[
            (Some("a"), Some("2"), 20),
            (Some("a"), Some("1"), 10),
            (Some("a"), None, 30),
        ],
    );
    driver.commit();
    assert_eq!(
        texts(&driver, "app-v-changelog"),
        ["a=2@20", "a=1@10", "a=null@30"]
    );
    // Versions are not cached: each was emitted before the commit.
    assert_eq!(texts(&driver, "o").len(), 3);
}

#[test]
fn a_versioned_table_comes_back_from_its_changelog() {
    let driver = driver(|builder| versioned(builder).to_stream().to(&O));
    send(
        &driver,
        &T_IN,
        &[(Some("a"), Some("2"), 20), (Some("a"), Some("1"), 10)],
    );
    driver.crash_and_restore();
    let store = driver.versioned_store::<Str, Str>("v");
    assert_eq!(store.get_as_of("a", 12), Some(Str::from("1")));
    assert_eq!(store.get("a"), Some(Str::from("2")));
}

#[test]
fn a_stream_finds_what_was_valid_at_its_records_time() {
    let driver = driver(|builder| {
        let joined = builder.stream(&T_STREAM).join(&versioned(builder));
        joined.by(|value, found| pair(value, Some(found))).to(&O);
    });
    send(
        &driver,
        &T_IN,
        &[(Some("a"), Some("2"), 20), (Some("a"), Some("1"), 10)],
    );
    for time in [5, 10, 19, 20, 50] {
        send(&driver, &S, &[(Some("a"), Some("x"), time)]);
    }
    assert_eq!(
        texts(&driver, "o"),
        ["a=x+1@10", "a=x+1@19", "a=x+2@20", "a=x+2@50"]
    );
}

#[test]
fn a_filtered_and_mapped_versioned_table_is_versioned_and_one_in_a_plain_store_is_not() {
    let driver = driver(|builder| {
        let table = versioned(builder).filter(|_, value| value.as_str() != "no");
        let mapped = table.map_values(|value| Str::from(format!("{}!", value.as_str())));
        let stream = builder.stream(&T_STREAM);
        stream.join(&mapped).left().by(pair).to(&O);
        let plain = mapped.map_values_as("plain", Clone::clone);
        stream.join(&plain).left().by(pair).to(&P);
    });
    send(
        &driver,
        &T_IN,
        &[
            (Some("a"), Some("1"), 10),
            (Some("a"), Some("no"), 20),
            (Some("a"), Some("3"), 30),
        ],
    );
    for time in [10, 20, 30] {
        send(&driver, &S, &[(Some("a"), Some("x"), time)]);
    }
    assert_eq!(
        texts(&driver, "o"),
        ["a=x+1!@10", "a=x+nothing@20", "a=x+3!@30"]
    );
    assert_eq!(texts(&driver, "p"), ["a=x+3!@10", "a=x+3!@20", "a=x+3!@30"]);
}

#[test]
fn a_table_join_ignores_late_updates_of_a_versioned_side() {
    let driver = driver(|builder| {
        let other = builder.table_as(&U_TABLE, Materialized::versioned("w", HISTORY));
        let joined = versioned(builder)
            .join(&other)
            .by(|one, two| Str::from(format!("{}+{}", one.as_str(), two.as_str())));
        joined.to_stream().to(&O);
    });
    send(&driver, &T_IN, &[(Some("a"), Some("2"), 20)]);
    send(&driver, &U, &[(Some("a"), Some("x"), 30)]);
    let before = driver.records_dropped();
    send(&driver, &T_IN, &[(Some("a"), Some("1"), 10)]);
    send(&driver, &U, &[(Some("a"), None, 15)]);
    assert_eq!(texts(&driver, "o"), ["a=2+x@30"]);
    assert_eq!(driver.records_dropped() - before, 2);
}

#[test]
fn a_foreign_key_join_ignores_late_updates_of_either_versioned_side() {
    let driver = driver(|builder| {
        let other = builder.table_as(&U_TABLE, Materialized::versioned("w", HISTORY));
        let named = other.on(|_: &Str, value: &Str| Some(value.clone()));
        let joined = versioned(builder).join(named);
        joined
            .by(|one, two| Str::from(format!("{}+{}", one.as_str(), two.as_str())))
            .to_stream()
            .to(&O);
    });
    send(&driver, &U, &[(Some("f"), Some("x"), 30)]);
    send(&driver, &T_IN, &[(Some("a"), Some("f"), 40)]);
    send(&driver, &U, &[(Some("f"), Some("late"), 20)]);
    send(&driver, &T_IN, &[(Some("a"), Some("g"), 10)]);
    assert_eq!(texts(&driver, "o"), ["a=f+x@40"]);
}

#[test]
fn a_table_aggregation_ignores_late_updates_of_a_versioned_table() {
    let driver = driver(|builder| {
        let grouped = versioned(builder).group_by(|_, value| (value.clone(), value.clone()));
        grouped.count_as("counts").to_stream().to(&COUNTS_OF);
    });
    send(&driver, &T_IN, &[(Some("a"), Some("x"), 20)]);
    send(&driver, &T_IN, &[(Some("a"), Some("y"), 10)]);
    assert_eq!(driver.output(&COUNTS).read().len(), 1);
    send(&driver, &T_IN, &[(Some("a"), Some("y"), 30)]);
    let store = driver.store::<Str, i64>("counts");
    assert_eq!((store.get("x"), store.get("y")), (Some(0), Some(1)));
}

#[test]
fn an_aggregate_may_be_kept_in_a_versioned_store() {
    let driver = driver(|builder| {
        let grouped = builder.stream(&S).group_by_key();
        grouped
            .count_as(Materialized::versioned("c", HISTORY))
            .to_stream()
            .to(&COUNTS_OUT);
    });
    send(
        &driver,
        &S,
        &[
            (Some("a"), Some("1"), 10),
            (Some("a"), Some("1"), 20),
            (Some("a"), Some("1"), 15),
        ],
    );
    let counts = driver.versioned_store::<Str, i64>("c");
    assert_eq!(counts.get_as_of("a", 10), Some(1));
    assert_eq!(counts.get("a"), Some(3), "counted at the latest time");
}

#[test]
fn a_stream_made_a_versioned_table_has_its_history() {
    let driver = driver(|builder| {
        let table: KTable<Str, Str> = builder
            .stream(&T_STREAM)
            .to_table_as(Materialized::versioned("m", HISTORY));
        table.to_stream().to(&O);
    });
    send(
        &driver,
        &S,
        &[(Some("a"), Some("2"), 20), (Some("a"), Some("1"), 10)],
    );
    assert_eq!(
        driver.versioned_store::<Str, Str>("m").get_as_of("a", 11),
        Some(Str::from("1"))
    );
}

#[test]
fn a_versioned_table_cannot_be_suppressed() {
    let buffer = EagerBuffer::max_records(10);
    let limit = Suppressed::until_time_limit(Duration::from_secs(1), buffer);
    let error = mistake(|builder| drop(versioned(builder).suppress(limit)));
    assert!(error.contains("versioned table"), "{error}");
}

#[test]
fn windows_cannot_be_kept_in_a_versioned_store() {
    let error = mistake(|builder| {
        let grouped = builder.stream(&S).group_by_key();
        let windows = grouped.windowed_by(Tumbling::of(HISTORY).no_grace());
        drop(windows.count_as(Materialized::versioned("w", HISTORY)));
    });
    assert!(error.contains("store \"w\" cannot be versioned"), "{error}");
}

#[test]
fn a_join_with_grace_waits_until_stream_time_has_passed_it() {
    let driver = grace_driver(10);
    send(&driver, &T_IN, &[(Some("a"), Some("1"), 0)]);
    send(
        &driver,
        &S,
        &[(Some("a"), Some("x"), 20), (Some("a"), Some("y"), 29)],
    );
    assert_eq!(texts(&driver, "o"), Vec::<String>::new());
    send(&driver, &S, &[(Some("a"), Some("z"), 30)]);
    assert_eq!(texts(&driver, "o"), ["a=x+1@20"]);
}

#[test]
fn a_join_with_grace_finds_updates_that_came_after_the_record() {
    let driver = grace_driver(10);
    send(&driver, &S, &[(Some("a"), Some("x"), 20)]);
    send(
        &driver,
        &T_IN,
        &[
            (Some("a"), Some("late"), 19),
            (Some("a"), Some("later"), 21),
        ],
    );
    send(&driver, &S, &[(Some("b"), Some("z"), 30)]);
    assert_eq!(texts(&driver, "o"), ["a=x+late@20"]);
}

#[test]
fn records_that_wait_are_joined_in_the_order_of_time() {
    let driver = grace_driver(10);
    send(
        &driver,
        &T_IN,
        &[(Some("a"), Some("1"), 0), (Some("b"), Some("1"), 0)],
    );
    send(
        &driver,
        &S,
        &[
            (Some("b"), Some("2nd"), 25),
            (Some("b"), Some("1st"), 21),
            (Some("a"), Some("again"), 25),
            (Some("b"), Some("2nd"), 25),
            (Some("a"), Some("end"), 100),
        ],
    );
    assert_eq!(
        texts(&driver, "o"),
        ["b=1st+1@21", "a=again+1@25", "b=2nd+1@25", "b=2nd+1@25"]
    );
}

#[test]
fn a_record_older_than_the_grace_period_is_joined_at_once() {
    let driver = grace_driver(10);
    send(&driver, &T_IN, &[(Some("a"), Some("1"), 0)]);
    send(
        &driver,
        &S,
        &[(Some("a"), Some("x"), 50), (Some("a"), Some("late"), 39)],
    );
    assert_eq!(texts(&driver, "o"), ["a=late+1@39"]);
    send(&driver, &S, &[(Some("a"), Some("just"), 40)]);
    assert_eq!(texts(&driver, "o"), ["a=late+1@39", "a=just+1@40"]);
}

#[test]
fn a_left_join_with_grace_joins_with_nothing_and_keyless_records_do_not_wait() {
    let driver = driver(|builder| join_with_grace(builder, 10, true));
    send(
        &driver,
        &S,
        &[
            (Some("a"), Some("x"), 20),
            (None, Some("keyless"), 21),
            (Some("a"), None, 22),
            (Some("b"), Some("end"), 40),
        ],
    );
    assert_eq!(
        texts(&driver, "o"),
        ["null=keyless+nothing@21", "a=x+nothing@20"]
    );
    assert_eq!(driver.records_dropped(), 1);
}

#[test]
fn records_that_wait_survive_a_crash() {
    let driver = grace_driver(10);
    send(&driver, &T_IN, &[(Some("a"), Some("1"), 0)]);
    send(
        &driver,
        &S,
        &[(Some("a"), Some("x"), 20), (Some("a"), Some("y"), 20)],
    );
    driver.crash_and_restore();
    send(&driver, &S, &[(Some("a"), Some("late"), 9)]);
    assert_eq!(texts(&driver, "o"), ["a=late+1@9"], "stream time is known");
    send(
        &driver,
        &S,
        &[(Some("a"), Some("z"), 20), (Some("a"), Some("end"), 30)],
    );
    assert_eq!(
        texts(&driver, "o"),
        ["a=late+1@9", "a=x+1@20", "a=y+1@20", "a=z+1@20"]
    );
}

#[test]
fn the_buffer_of_a_join_with_grace_has_kafka_streams_name_and_keys() {
    let driver = grace_driver(10);
    send(&driver, &S, &[(Some("a"), Some("x"), 20)]);
    let changelog = driver.raw_topic("app-KSTREAM-JOIN-0000000003-Buffer-changelog");
    let key = changelog[0].key.as_deref().expect("a key");
    assert_eq!(key, b"\0\0\0\0\0\0\0\0\x14a\0\0\0\x01");
}

#[test]
fn a_join_with_grace_needs_a_versioned_table_with_as_much_history() {
    let plain = mistake(|builder| {
        let table = builder.table(&T);
        let join = builder.stream(&T_STREAM).join(&table).grace(HISTORY);
        join.by(|value, _| value.clone()).to(&O);
    });
    assert!(plain.contains("not versioned"), "{plain}");
    let short = mistake(|builder| join_with_grace(builder, 101, false));
    assert!(short.contains("only 100 ms of history"), "{short}");
}

const T_STREAM: moldau_streams::Topic<Str, Str> = moldau_streams::Topic::new("s");
const P: moldau_streams::Topic<Str, Str> = moldau_streams::Topic::new("p");
const U_TABLE: moldau_streams::Topic<Str, Str> = moldau_streams::Topic::new("u");
const COUNTS_OF: moldau_streams::Topic<Str, i64> = moldau_streams::Topic::new("o");
const COUNTS_OUT: moldau_streams::Topic<Nullable, i64> = moldau_streams::Topic::new("o");

fn pair(value: &Str, found: Option<&Str>) -> Str {
    let found = found.map_or("nothing", Str::as_str);
    Str::from(format!("{}+{found}", value.as_str()))
}
