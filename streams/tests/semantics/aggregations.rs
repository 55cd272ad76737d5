//! Aggregation of grouped streams without windows.

use moldau_streams::{Str, Topic};

use crate::{COUNTS, Nullable, O, S, driver, header, send, text, texts};

#[test]
fn count_drops_records_without_key_or_value_and_keeps_the_larger_timestamp() {
    let driver = driver(|builder| {
        builder
            .stream(&S)
            .group_by_key()
            .count()
            .to_stream()
            .to(&COUNTS);
    });
    send(
        &driver,
        &S,
        &[
            (Some("a"), Some("x"), 10),
            (Some("a"), None, 20),
            (None, Some("x"), 30),
            (Some("a"), Some("y"), 5),
        ],
    );
    let both = ["a=0000000000000001@10", "a=0000000000000002@10"];
    assert_eq!(texts(&driver, "o"), both);
    let changelog = "app-KSTREAM-AGGREGATE-STATE-STORE-0000000001-changelog";
    assert_eq!(texts(&driver, changelog), both);
    assert_eq!(driver.records_dropped(), 2);
}

#[test]
fn reduce_takes_the_first_value_as_it_is_and_drops_nulls() {
    let driver = driver(|builder| {
        let reduced = builder.stream(&S).group_by_key().reduce(|one, other| {
            let (one, other) = (one.as_deref(), other.as_deref());
            text(Some(&format!(
                "{}{}",
                one.unwrap_or_default(),
                other.unwrap_or_default()
            )))
        });
        reduced
            .to_stream()
            .to(&Topic::<Nullable, Nullable>::new("o"));
    });
    send(
        &driver,
        &S,
        &[
            (Some("a"), Some("x"), 10),
            (Some("a"), Some("y"), 5),
            (Some("a"), None, 20),
            (Some("b"), Some("z"), 1),
        ],
    );
    assert_eq!(texts(&driver, "o"), ["a=x@10", "a=xy@10", "b=z@1"]);
}

#[test]
fn grouping_by_a_null_key_drops_the_record_before_the_repartition_topic() {
    let driver = driver(|builder| {
        let by_value = builder
            .stream(&S)
            .group_by(|_, value| match value.as_deref() {
                Some("null") | None => None,
                Some(_) => value.clone(),
            });
        by_value.count().to_stream().to(&COUNTS);
    });
    send(
        &driver,
        &S,
        &[
            (Some("a"), Some("x"), 1),
            (Some("a"), Some("null"), 2),
            (Some("a"), None, 3),
            (None, Some("x"), 4),
        ],
    );
    assert_eq!(
        texts(
            &driver,
            "app-KSTREAM-AGGREGATE-STATE-STORE-0000000002-repartition"
        ),
        ["x=x@1", "x=x@4"]
    );
    assert_eq!(
        texts(&driver, "o"),
        ["x=0000000000000001@1", "x=0000000000000002@4"]
    );
}

#[test]
fn every_record_of_a_repartition_topic_is_seen_and_committed_by_itself() {
    let driver = driver(|builder| {
        let words = builder
            .stream(&S)
            .flat_map_values(|line, words: &mut Vec<String>| {
                words.extend(
                    line.iter()
                        .flat_map(|line| line.split(' '))
                        .map(str::to_owned),
                );
            });
        let counts = words.group_by(|_, word| word.clone()).count_as("cs");
        counts.to_stream().to(&Topic::<String, i64>::new("o"));
    });
    send(&driver, &S, &[(Some("k"), Some("a b a"), 7)]);
    assert_eq!(
        texts(&driver, "app-cs-repartition"),
        ["a=a@7", "b=b@7", "a=a@7"]
    );
    let counts = [
        "a=0000000000000001@7",
        "b=0000000000000001@7",
        "a=0000000000000002@7",
    ];
    assert_eq!(texts(&driver, "app-cs-changelog"), counts);
    assert_eq!(texts(&driver, "o"), counts);
}

#[test]
fn an_aggregate_of_another_type_begins_as_its_initial_value() {
    let driver = driver(|builder| {
        let lengths = builder.stream(&S).group_by_key().aggregate(
            || 100_i64,
            |_, value, sum| *sum += i64::try_from(value.as_deref().map_or(0, str::len)).unwrap(),
        );
        lengths.to_stream().to(&COUNTS);
    });
    send(
        &driver,
        &S,
        &[(Some("a"), Some("xyz"), 1), (Some("a"), Some("x"), 2)],
    );
    assert_eq!(
        driver.output(&COUNTS).read(),
        [(text(Some("a")), 103), (text(Some("a")), 104)]
    );
}

#[test]
fn headers_of_the_last_record_go_with_the_aggregate() {
    let driver = driver(|builder| {
        builder
            .stream(&S)
            .group_by_key()
            .count()
            .to_stream()
            .to(&COUNTS);
    });
    let input = driver.input(&S);
    for value in [b"1".as_slice(), b"2"] {
        input.send_with_headers(
            0,
            text(Some("a")),
            text(Some("x")),
            vec![header("h", value)],
        );
    }
    let headers: Vec<_> = driver
        .output(&COUNTS)
        .read_records()
        .into_iter()
        .map(|record| record.headers)
        .collect();
    assert_eq!(headers, [[header("h", b"1")], [header("h", b"2")]]);
}

#[test]
fn a_stream_joined_with_its_own_aggregate_sees_the_record_already_counted() {
    let driver = driver(|builder| {
        let stream = builder.stream(&S);
        let counts = stream.group_by_key().count();
        let joined = stream.join(&counts).by(|value, count| {
            Str::from(format!("{}{count}", value.as_deref().unwrap_or_default()))
        });
        joined.to(&Topic::<Nullable, Str>::new("o"));
    });
    send(
        &driver,
        &S,
        &[(Some("a"), Some("x"), 1), (Some("a"), Some("y"), 2)],
    );
    assert_eq!(texts(&driver, O.name()), ["a=x1@1", "a=y2@2"]);
}

#[test]
fn an_aggregate_that_was_null_begins_anew() {
    let test = driver(|builder| {
        let add = |_: &Nullable, value: &Nullable, sum: &mut Nullable| {
            let before = sum.as_ref().map_or("null", |sum| sum.as_ref());
            let value = value.as_ref().map_or("null", |value| value.as_ref());
            *sum = (value != "clear").then(|| Str::from(format!("{before}{value}")));
        };
        let sums = builder.stream(&S).group_by_key();
        let sums = sums.aggregate(|| Some(Str::from("0")), add);
        sums.to_stream().to(&O);
    });
    let records = [("a", 5), ("clear", 6), ("b", 1)];
    let records = records.map(|(value, at)| (Some("k"), Some(value), at));
    send(&test, &S, &records);
    // Nor is the time of what was there kept.
    assert_eq!(texts(&test, "o"), ["k=0a@5", "k=null@6", "k=0b@1"]);
}
