//! Records that cannot be handled, closures that panic, topologies that make no sense.

use moldau_streams::{Builder, Consumed, OnError, Str, StreamsError, Topic};

use crate::{COUNTS, O, S, T, driver, header};

const NUMBERS: Topic<Str, i64> = Topic::new("numbers");

#[test]
fn bytes_of_another_type_stop_the_application_and_are_named_by_topic_partition_and_offset() {
    let driver = driver(|builder| builder.stream(&NUMBERS).to(&NUMBERS_OUT));
    let input = driver.input(&NUMBERS);
    input.send("a", 1_i64);
    let error = input
        .send_raw(0, Some(b"a"), Some(b"three"))
        .expect_err("no number");
    assert!(
        matches!(error, StreamsError::Deserialize { offset: 1, .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains("the value of topic \"numbers\" partition 0 offset 1: i64 takes 8 bytes, but there are 5"),
        "{text}"
    );
    assert!(text.contains("hint: "), "{text}");
}

const NUMBERS_OUT: Topic<Str, i64> = Topic::new("o");

#[test]
fn a_null_that_the_type_does_not_know_is_an_error_that_says_how_to_declare_it() {
    let driver = driver(|builder| builder.stream(&NUMBERS).to(&NUMBERS_OUT));
    let error = driver
        .input(&NUMBERS)
        .send_raw(0, None, Some(&[0; 8]))
        .expect_err("no key");
    assert!(error.to_string().contains("the key of topic"), "{error}");
    assert!(
        error.to_string().contains("declare it as Option<..>"),
        "{error}"
    );
}

#[test]
fn skipped_records_are_counted_and_the_others_go_on() {
    let driver = driver(|builder| {
        let skipping = Consumed::new().on_error(OnError::Skip);
        builder.stream_with(&NUMBERS, skipping).to(&NUMBERS_OUT);
    });
    let input = driver.input(&NUMBERS);
    input
        .send_raw(0, Some(b"a"), Some(b"three"))
        .expect("skipped");
    input.send("a", 3_i64);
    assert_eq!(driver.output(&NUMBERS_OUT).read(), [("a".into(), 3)]);
    assert_eq!(driver.records_dropped(), 1);
}

#[test]
fn a_dead_letter_is_the_record_as_it_came_with_headers_about_the_error() {
    let driver = driver(|builder| {
        let parsed = builder
            .stream(&T)
            .try_map_values(|value| {
                if &**value == "bad" {
                    Err("boom")
                } else {
                    Ok(value.clone())
                }
            })
            .on_error(OnError::dead_letter("dlq"));
        parsed.to(&Topic::<Str, Str>::new("o"));
    });
    let input = driver.input(&T);
    input.send("k", "good");
    input.send_with_headers(77, "k", "bad", vec![header("h", b"v")]);
    let records = driver.raw_topic("dlq");
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].value.as_deref(), Some(b"bad".as_slice()));
    assert_eq!(records[0].timestamp, 77);
    let shown = |name: &str| {
        let header = records[0]
            .headers
            .iter()
            .find(|header| &*header.key == name);
        let value = header
            .and_then(|header| header.value.clone())
            .unwrap_or_default();
        String::from_utf8_lossy(&value).into_owned()
    };
    assert_eq!(shown("h"), "v");
    assert_eq!(shown("__streams.errors.message"), "boom");
    assert_eq!(shown("__streams.errors.exception"), "Operator");
    assert_eq!(shown("__streams.errors.topic"), "t");
    assert_eq!(shown("__streams.errors.partition"), "0");
    assert_eq!(shown("__streams.errors.offset"), "1");
    assert!(shown("__streams.errors.stacktrace").contains("KSTREAM-MAPVALUES-0000000001"));
    assert_eq!(driver.raw_topic("o").len(), 1);
}

#[test]
fn a_failing_operator_is_named_with_its_record() {
    let driver = driver(|builder| {
        let parsed = builder
            .stream(&T)
            .named("parse")
            .try_map_values(|value| value.parse::<i64>())
            .on_error(OnError::Fail);
        parsed.to(&NUMBERS_OUT);
    });
    let error = driver
        .input(&T)
        .try_send_at(0, "k", "one")
        .expect_err("no number");
    let text = error.to_string();
    assert!(
        text.contains(
            "operator parse failed on the record of topic \"t\" partition 0 offset 0: invalid digit"
        ),
        "{text}"
    );
}

#[test]
fn a_panic_is_caught_and_named_with_its_task_and_operator() {
    let driver = driver(|builder| {
        let doubled = builder.stream(&NUMBERS).map_values(|value| {
            assert!(*value < 10, "too large: {value}");
            value * 2
        });
        doubled
            .group_by_key()
            .count()
            .to_stream()
            .to(&COUNTS_BY_NAME);
    });
    let input = driver.input(&NUMBERS);
    input.send("a", 1_i64);
    let error = input.try_send_at(0, "a", 10_i64).expect_err("a panic");
    let StreamsError::Panic {
        operator, message, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(operator, "KSTREAM-MAPVALUES-0000000001");
    assert_eq!(message, "too large: 10");
}

const COUNTS_BY_NAME: Topic<Str, i64> = Topic::new("o");

#[test]
fn two_stores_of_one_name_are_refused_when_the_topology_is_built() {
    let builder = Builder::new("app");
    let grouped = builder.stream(&S).group_by_key();
    grouped.count_as("same").to_stream().to(&COUNTS);
    grouped.count_as("same").to_stream().to(&COUNTS);
    let error = builder.build().expect_err("two stores of one name");
    assert!(
        error.to_string().contains("two stores are called \"same\""),
        "{error}"
    );
}

#[test]
fn a_topic_read_with_two_types_is_refused() {
    let builder = Builder::new("app");
    builder.stream(&S).to(&O);
    builder
        .stream(&Topic::<Str, i64>::new("s"))
        .to(&NUMBERS_OUT);
    let error = builder.build().expect_err("two types");
    assert!(
        error.to_string().contains("topic \"s\" is read twice"),
        "{error}"
    );
}

#[test]
fn an_empty_topology_is_refused() {
    assert!(Builder::new("app").build().is_err());
}
