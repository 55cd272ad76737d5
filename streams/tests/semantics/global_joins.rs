//! Joins of a stream with a global table.

use moldau_streams::{Builder, Consumed, OnError, Str, Topic};

use crate::{Nullable, S, T, T_IN, driver, send, texts};

const OUT: Topic<Nullable, Str> = Topic::new("o");

/// The record's value, unless it is the text `null`.
fn wanted(value: &Nullable) -> Nullable {
    value.clone().filter(|value| &**value != "null")
}

fn show(value: &Nullable, found: Option<&Str>) -> Str {
    let found = found.map_or("null", |found| found);
    Str::from(format!("{}{found}", value.as_deref().unwrap_or("null")))
}

fn send_all(driver: &moldau_streams::TestDriver) {
    send(driver, &S, &[(Some("a"), Some("1"), 1)]);
    send(driver, &T_IN, &[(Some("1"), Some("G"), 100)]);
    send(
        driver,
        &S,
        &[
            (Some("a"), Some("1"), 2),
            (None, Some("1"), 3),
            (Some("a"), None, 4),
            (Some("a"), Some("null"), 5),
        ],
    );
    send(driver, &T_IN, &[(Some("1"), None, 101)]);
    send(driver, &S, &[(Some("b"), Some("1"), 6)]);
}

#[test]
fn an_inner_join_drops_what_has_no_key_to_look_up_and_what_finds_nothing() {
    let driver = driver(|builder| {
        let global = builder.global_table(&T);
        let found = global.on(|_: &Nullable, value: &Nullable| wanted(value));
        let joined = builder.stream(&S).join(found);
        joined.by(|value, found| show(value, Some(found))).to(&OUT);
    });
    send_all(&driver);
    assert_eq!(texts(&driver, "o"), ["a=1G@2", "null=1G@3"]);
}

#[test]
fn a_left_join_joins_what_has_no_key_to_look_up_with_nothing_and_drops_null_values() {
    let driver = driver(|builder| {
        let global = builder.global_table(&T);
        let found = global.on(|_: &Nullable, value: &Nullable| wanted(value));
        builder.stream(&S).join(found).left().by(show).to(&OUT);
    });
    send_all(&driver);
    assert_eq!(
        texts(&driver, "o"),
        [
            "a=1null@1",
            "a=1G@2",
            "null=1G@3",
            "a=nullnull@5",
            "b=1null@6"
        ]
    );
    assert_eq!(driver.records_dropped(), 1);
}

#[test]
fn a_global_table_survives_a_crash() {
    let driver = driver(|builder| {
        let global = builder.global_table(&T);
        let found = global.on(|_: &Nullable, value: &Nullable| wanted(value));
        builder.stream(&S).join(found).left().by(show).to(&OUT);
    });
    send(&driver, &T_IN, &[(Some("1"), Some("G"), 100)]);
    driver.crash_and_restore();
    send(&driver, &S, &[(Some("a"), Some("1"), 1)]);
    assert_eq!(texts(&driver, "o"), ["a=1G@1"]);
}

#[test]
fn a_global_table_has_no_dead_letter_topic() {
    let builder = Builder::new("app");
    let consumed = Consumed::new().on_error(OnError::dead_letter("dlq"));
    let global = builder.global_table_as(&T, "g", consumed);
    let found = global.on(|_: &Nullable, value: &Nullable| wanted(value));
    builder.stream(&S).join(found).left().by(show).to(&OUT);
    let error = builder.build().expect_err("a dead letter").to_string();
    assert!(error.contains("global table \"t\" cannot have"), "{error}");
}
