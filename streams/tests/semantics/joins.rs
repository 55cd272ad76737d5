//! Joins of a stream with a table.

use moldau_streams::{Builder, KStream, Repartitioned, Str, Topic};

use crate::{Nullable, O, S, T, T_IN, driver, send, texts};

/// The table of `t`, with keys of the streams' type.
const T_NULLABLE: Topic<Nullable, Str> = Topic::new("t");

fn show(value: &Nullable, found: Option<&Str>) -> Str {
    let found = found.map_or("null", |found| found);
    Str::from(format!("{}{found}", value.as_deref().unwrap_or("null")))
}

/// Sends what section 2.4's table is about: nulls, an entry that is newer than the stream's
/// record, and a removed entry.
fn send_all(driver: &moldau_streams::TestDriver) {
    send(driver, &S, &[(Some("a"), Some("0"), 1)]);
    send(driver, &T_IN, &[(Some("a"), Some("T"), 100)]);
    send(
        driver,
        &S,
        &[
            (Some("a"), Some("1"), 50),
            (Some("a"), None, 51),
            (None, Some("x"), 52),
        ],
    );
    send(driver, &T_IN, &[(Some("a"), None, 60)]);
    send(driver, &S, &[(Some("a"), Some("2"), 61)]);
}

#[test]
fn an_inner_join_drops_nulls_and_absent_keys_and_has_the_streams_timestamp() {
    let driver = driver(|builder| {
        let table = builder.table(&T_NULLABLE);
        let joined = builder
            .stream(&S)
            .join(&table)
            .by(|value, found| show(value, Some(found)));
        joined.to(&Topic::<Nullable, Str>::new("o"));
    });
    send_all(&driver);
    assert_eq!(texts(&driver, "o"), ["a=1T@50"]);
    let changelog = texts(&driver, "app-t-STATE-STORE-0000000000-changelog");
    assert_eq!(changelog, ["a=T@100", "a=null@60"]);
    assert_eq!(driver.records_dropped(), 2);
}

#[test]
fn a_left_join_joins_absent_and_null_keys_with_nothing_and_drops_null_values() {
    let driver = driver(|builder| {
        let table = builder.table(&T_NULLABLE);
        let joined = builder.stream(&S).join(&table).left().by(show);
        joined.to(&Topic::<Nullable, Str>::new("o"));
    });
    send_all(&driver);
    assert_eq!(
        texts(&driver, "o"),
        ["a=0null@1", "a=1T@50", "null=xnull@52", "a=2null@61"]
    );
    assert_eq!(driver.records_dropped(), 1);
}

fn by_value(stream: &KStream<Nullable, Nullable>) -> KStream<Nullable, Nullable> {
    stream.select_key(|_, value| value.clone().filter(|value| &**value != "null"))
}

#[test]
fn null_keys_reach_a_left_join_through_its_repartition_topic() {
    let driver = driver(|builder| {
        let table = builder.table(&T_NULLABLE);
        let joined = by_value(&builder.stream(&S)).join(&table).left().by(show);
        joined.to(&Topic::<Nullable, Str>::new("o"));
    });
    send(
        &driver,
        &S,
        &[(Some("a"), Some("0"), 1), (Some("a"), Some("null"), 2)],
    );
    let repartition = texts(&driver, "app-KSTREAM-KEY-SELECT-0000000004-repartition");
    assert_eq!(repartition, ["0=0@1", "null=null@2"]);
    assert_eq!(texts(&driver, "o"), ["0=0null@1", "null=nullnull@2"]);
}

#[test]
fn null_keys_reach_a_left_join_through_all_repartition_topics_before_it() {
    let driver = driver(|builder| {
        let table = builder.table(&T_NULLABLE);
        let keyed = by_value(&builder.stream(&S)).repartition(Repartitioned::named("one"));
        let again = keyed.filter(|_, _| true);
        let again = again.repartition(Repartitioned::named("two"));
        let joined = again.join(&table).left().by(show);
        joined.to(&Topic::<Nullable, Str>::new("o"));
    });
    send(&driver, &S, &[(Some("a"), Some("null"), 2)]);
    for topic in ["app-one-repartition", "app-two-repartition"] {
        assert_eq!(texts(&driver, topic), ["null=null@2"]);
    }
    assert_eq!(texts(&driver, "o"), ["null=nullnull@2"]);
}

#[test]
fn null_keys_do_not_reach_the_repartition_topic_of_an_inner_join() {
    let driver = driver(|builder| {
        let table = builder.table(&T_NULLABLE);
        let stream = by_value(&builder.stream(&S));
        stream
            .join(&table)
            .by(|value, found| show(value, Some(found)))
            .to(&Topic::<Nullable, Str>::new("o"));
    });
    send(&driver, &T_IN, &[(Some("0"), Some("T"), 0)]);
    send(
        &driver,
        &S,
        &[(Some("a"), Some("0"), 1), (Some("a"), Some("null"), 2)],
    );
    assert_eq!(
        texts(&driver, "app-KSTREAM-KEY-SELECT-0000000004-repartition"),
        ["0=0@1"]
    );
    assert_eq!(texts(&driver, "o"), ["0=0T@1"]);
}

#[test]
fn a_filtered_and_mapped_table_is_looked_up_without_a_store_of_its_own() {
    let driver = driver(|builder| {
        let wanted = builder.table(&T).filter(|_, value| value.starts_with('y'));
        let table = wanted.map_values(|value| format!("{value}!"));
        let stream = builder.stream(&Topic::<Str, Str>::new("s"));
        let joined = stream
            .join(&table)
            .left()
            .by(|value, found| format!("{value}{}", found.map_or("null", String::as_str)));
        joined.to(&Topic::<Str, String>::new("o"));
    });
    send(&driver, &T_IN, &[(Some("a"), Some("no"), 1)]);
    send(&driver, &S, &[(Some("a"), Some("1"), 2)]);
    send(&driver, &T_IN, &[(Some("a"), Some("yes"), 3)]);
    send(&driver, &S, &[(Some("a"), Some("2"), 4)]);
    assert_eq!(texts(&driver, O.name()), ["a=1null@2", "a=2yes!@4"]);
}

#[test]
fn joined_topics_with_unequal_partition_counts_are_refused_with_names_and_counts() {
    let builder = Builder::new("app");
    let table = builder.table(&T_NULLABLE);
    builder
        .stream(&S)
        .join(&table)
        .left()
        .by(show)
        .to(&Topic::<Nullable, Str>::new("o"));
    let topology = builder.build().expect("a topology");
    let config = moldau_streams::LocalConfig::default()
        .topic("s", 3)
        .topic("t", 2);
    let error = topology.test_with(config).expect_err("unequal counts");
    let error = error.to_string();
    assert!(error.contains("KSTREAM-LEFTJOIN-0000000004"), "{error}");
    assert!(error.contains("\"t\" has 2, \"s\" has 3"), "{error}");
    assert!(error.contains("hint: "), "{error}");
}

#[test]
fn a_join_without_a_name_reads_the_repartition_topic_that_a_named_one_has_made() {
    let builder = Builder::new("app");
    let moved = builder
        .stream(&S)
        .select_key(|_, value: &Nullable| value.clone());
    let table = builder.table(&T_NULLABLE);
    let named = moved.named("named").join(&table);
    named.by(|value, _| value.clone()).to(&O);
    let unnamed = moved.join(&table);
    unnamed.by(|value, _| value.clone()).for_each(|_, _| ());
    let described = builder.build().expect("a topology").describe();
    assert!(
        described.contains("(topic: named-repartition)"),
        "{described}"
    );
    assert_eq!(described.matches("-repartition)").count(), 1, "{described}");
}
