//! Splitting, repartitioning and fallible operators.

use moldau_streams::{Builder, OnError, Repartitioned, Str, Topic};

use crate::{O, S, T, T_IN, driver, send, texts};

const OUT: Topic<Str, Str> = Topic::new("o");
const NUMBERS: Topic<Str, i64> = Topic::new("o");

#[test]
fn a_record_goes_to_the_first_branch_that_wants_it() {
    let driver = driver(|builder| {
        let split = builder.stream(&T).split();
        split
            .branch(|_, value| value.starts_with('a'), |a| a.to(&A))
            .branch(|_, value| value.ends_with('a'), |b| b.to(&B))
            .otherwise(|rest| rest.to(&OUT));
    });
    send(
        &driver,
        &T_IN,
        &[
            (Some("k"), Some("aa"), 1),
            (Some("k"), Some("ba"), 2),
            (Some("k"), Some("c"), 3),
        ],
    );
    assert_eq!(texts(&driver, "a"), ["k=aa@1"]);
    assert_eq!(texts(&driver, "b"), ["k=ba@2"]);
    assert_eq!(texts(&driver, "o"), ["k=c@3"]);
}

#[test]
fn without_otherwise_the_rest_is_left_out() {
    let driver = driver(|builder| {
        let split = builder.stream(&T).split();
        let _ = split.branch(|_, value| value.starts_with('a'), |a| a.to(&OUT));
    });
    send(
        &driver,
        &T_IN,
        &[(Some("k"), Some("a"), 1), (Some("k"), Some("b"), 2)],
    );
    assert_eq!(texts(&driver, "o"), ["k=a@1"]);
}

#[test]
fn an_explicit_repartition_has_its_own_partitions_and_drops_null_keys() {
    let driver = driver(|builder| {
        let stream = builder.stream(&S);
        let mine = Repartitioned::named("mine").partitions(3);
        stream.repartition(mine).to(&O);
    });
    send(
        &driver,
        &S,
        &[
            (Some("a"), Some("1"), 1),
            (None, Some("2"), 2),
            (Some("c"), Some("3"), 3),
        ],
    );
    assert_eq!(texts(&driver, "o").len(), 2);
    let records = driver.raw_topic("app-mine-repartition");
    let partitions: Vec<_> = records.iter().map(|record| record.partition).collect();
    assert_eq!(partitions.len(), 2);
    assert!(partitions.iter().all(|partition| *partition < 3));
}

#[test]
fn a_repartition_topic_without_partitions_is_refused() {
    let builder = Builder::new("app");
    let none = Repartitioned::named("mine").partitions(0);
    builder.stream(&S).repartition(none).to(&O);
    let error = builder.build().expect_err("no partitions").to_string();
    assert!(
        error.contains("\"mine\" cannot have 0 partitions"),
        "{error}"
    );
}

#[test]
fn refused_records_follow_the_policy_of_their_operator_else_that_of_the_application() {
    let driver = driver(|builder| {
        builder.on_processing_error(OnError::Skip);
        let numbers = builder
            .stream(&T)
            .try_filter(|_, value| match value.len() {
                0..=3 => Ok(true),
                length => Err(format!("{length} letters are too many")),
            })
            .on_error(OnError::dead_letter("dlq"))
            .try_map_values(|value| value.parse::<i64>());
        numbers.to(&NUMBERS);
    });
    send(
        &driver,
        &T_IN,
        &[
            (Some("k"), Some("long text"), 1),
            (Some("k"), Some("no"), 2),
            (Some("k"), Some("7"), 3),
        ],
    );
    assert_eq!(texts(&driver, "dlq"), ["k=6c6f6e672074657874@1"]);
    assert_eq!(driver.output(&NUMBERS).read(), [("k".into(), 7)]);
    assert_eq!(driver.records_dropped(), 2);
}

#[test]
fn all_that_a_refused_record_had_made_so_far_is_left_out() {
    let driver = driver(|builder| {
        builder.on_processing_error(OnError::Skip);
        let words = builder.stream(&T).try_flat_map_values(|line, words| {
            for word in line.split('-') {
                words.push(Str::from(word.to_owned()));
                if word == "bad" {
                    return Err("a bad word");
                }
            }
            Ok(())
        });
        words.to(&OUT);
    });
    send(
        &driver,
        &T_IN,
        &[(Some("k"), Some("a-bad"), 1), (Some("k"), Some("b-c"), 2)],
    );
    assert_eq!(texts(&driver, "o"), ["k=b@2", "k=c@2"]);
}
const A: Topic<Str, Str> = Topic::new("a");
const B: Topic<Str, Str> = Topic::new("b");
