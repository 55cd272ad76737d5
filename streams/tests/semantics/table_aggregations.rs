//! Aggregation of grouped tables, and tables with stores of their own.

use moldau_streams::{KTable, Str, Topic};

use crate::table_joins::without_cache;
use crate::{Nullable, O, S, T, T_IN, driver, driver_with, send, texts};

const OUT: Topic<Nullable, Str> = Topic::new("o");

const UPDATES: [(Option<&str>, Option<&str>, i64); 10] = [
    (Some("k1"), Some("a:1"), 10),
    (Some("k2"), Some("a:2"), 11),
    (Some("k1"), Some("a:5"), 5),
    (Some("k1"), Some("b:5"), 12),
    (Some("k2"), None, 13),
    (Some("k2"), None, 14),
    (Some("k3"), Some("c"), 15),
    (Some("k3"), Some("a:9"), 16),
    (None, Some("a:7"), 17),
    (Some("k1"), None, 18),
];

/// `a:1` is the value 1 of the group a; without a group it belongs to none.
fn split(value: &Str) -> (Nullable, Str) {
    match value.split_once(':') {
        Some((group, rest)) => (
            Some(Str::from(group.to_owned())),
            Str::from(rest.to_owned()),
        ),
        None => (None, value.clone()),
    }
}

#[test]
fn the_old_value_is_taken_out_before_the_new_one_is_taken_in() {
    let driver = driver(|builder| {
        let grouped = builder.table(&T).group_by(|_, value| split(value));
        let sums = grouped.aggregate(
            Str::default,
            |_, value, all| *all = Str::from(format!("{all}+{value}")),
            |_, value, all| *all = Str::from(format!("{all}-{value}")),
        );
        sums.to_stream().to(&OUT);
    });
    send(&driver, &T_IN, &UPDATES);
    assert_eq!(
        texts(&driver, "o"),
        [
            "a=+1@10",
            "a=+1+2@11",
            "a=+1+2-1+5@11",
            "a=+1+2-1+5-5@12",
            "b=+5@12",
            "a=+1+2-1+5-5-2@13",
            "a=+1+2-1+5-5-2+9@16",
            "b=+5-5@18",
        ]
    );
}

/// A change within a group is one record with both values (KIP-904), one between groups two.
#[test]
fn changes_in_the_repartition_topic_are_kafka_streams_bytes() {
    let driver = driver(|builder| {
        let grouped = builder.table(&T).group_by(|_, value| split(value));
        let joined = |one: &Str, other: &Str| Str::from(format!("{one}+{other}"));
        let parted = |one: &Str, other: &Str| Str::from(format!("{one}-{other}"));
        let reduced = grouped.reduce_as("red", joined, parted);
        reduced.to_stream().to(&OUT);
    });
    send(&driver, &T_IN, &UPDATES);
    assert_eq!(
        texts(&driver, "app-red-repartition"),
        [
            "a=3101@10",
            "a=3201@11",
            "a=02353102@5",
            "a=3500@12",
            "b=3501@12",
            "a=3200@13",
            "a=3901@16",
            "b=3500@18",
        ]
    );
    let expected = [
        "a=1@10",
        "a=1+2@11",
        "a=1+2-1+5@11",
        "a=1+2-1+5-5@12",
        "b=5@12",
        "a=1+2-1+5-5-2@13",
        "a=1+2-1+5-5-2+9@16",
        "b=5-5@18",
    ];
    assert_eq!(texts(&driver, "o"), expected);
    assert_eq!(texts(&driver, "app-red-changelog"), expected);
}

#[test]
fn counts_of_a_filtered_and_mapped_table_go_down_again() {
    let driver = driver(|builder| {
        let wanted = builder.table(&T).filter(|_, value| value.starts_with('a'));
        let shouted = wanted.map_values(|value| Str::from(format!("{value}!")));
        let counts = shouted.group_by(|_, value| split(value)).count();
        counts.to_stream().to(&Topic::<Nullable, i64>::new("o"));
    });
    send(&driver, &T_IN, &UPDATES);
    let counts: Vec<_> = texts(&driver, "o")
        .iter()
        .map(|text| text.replace("a=000000000000000", ""))
        .collect();
    assert_eq!(counts, ["1@10", "2@11", "2@11", "1@12", "0@13", "1@16"]);
}

#[test]
fn a_filter_whose_old_values_are_wanted_removes_only_what_it_had_let_pass() {
    let driver = driver(|builder| {
        let wanted = builder.table(&T).filter(|_, value| value.starts_with('a'));
        wanted.to_stream().to(&T_OUT);
        let _ = wanted.group_by(|_, value| split(value)).count();
    });
    send(&driver, &T_IN, &UPDATES);
    assert_eq!(
        texts(&driver, "o"),
        [
            "k1=a:1@10",
            "k2=a:2@11",
            "k1=a:5@5",
            "k1=null@12",
            "k2=null@13",
            "k3=a:9@16",
        ]
    );
}

#[test]
fn a_filter_with_a_store_removes_only_what_is_there_if_it_has_a_cache() {
    let build = |builder: &moldau_streams::Builder| {
        let table = builder.table(&T);
        let wanted = table.filter_as("fm", |_, value| value.starts_with('a'));
        wanted.to_stream().to(&T_OUT);
    };
    let cached = driver(build);
    send(&cached, &T_IN, &UPDATES);
    let expected = [
        "k1=a:1@10",
        "k2=a:2@11",
        "k1=a:5@5",
        "k1=null@12",
        "k2=null@13",
        "k3=a:9@16",
    ];
    assert_eq!(texts(&cached, "o"), expected);
    assert_eq!(texts(&cached, "app-fm-changelog"), expected);

    let uncached = driver_with(without_cache(), build);
    send(&uncached, &T_IN, &UPDATES);
    assert_eq!(
        texts(&uncached, "o"),
        [
            "k1=a:1@10",
            "k2=a:2@11",
            "k1=a:5@5",
            "k1=null@12",
            "k2=null@13",
            "k2=null@14",
            "k3=null@15",
            "k3=a:9@16",
            "k1=null@18",
        ]
    );
}

#[test]
fn a_grouped_table_survives_a_crash() {
    let driver = driver(|builder| {
        let grouped = builder.table(&T).group_by(|_, value| split(value));
        let counts = grouped.count_as("counts");
        counts.to_stream().to(&Topic::<Nullable, i64>::new("o"));
    });
    send(&driver, &T_IN, &UPDATES[..2]);
    driver.crash_and_restore();
    send(&driver, &T_IN, &UPDATES[4..5]);
    assert_eq!(driver.store::<Str, i64>("counts").get("a"), Some(1));
}

#[test]
fn a_table_of_a_stream_drops_null_keys_and_repeats_tombstones_without_a_store() {
    let driver = driver(|builder| {
        let table: KTable<Nullable, Str> = builder.stream(&S).to_table();
        table.to_stream().to(&OUT);
    });
    send(
        &driver,
        &S,
        &[
            (Some("a"), Some("1"), 1),
            (Some("a"), None, 2),
            (None, Some("x"), 3),
            (Some("a"), None, 4),
        ],
    );
    assert_eq!(texts(&driver, O.name()), ["a=1@1", "a=null@2", "a=null@4"]);
    assert_eq!(driver.records_dropped(), 1);
}

const T_OUT: Topic<Str, Str> = Topic::new("o");

#[test]
fn a_null_value_to_aggregate_leaves_out_its_half_of_the_change() {
    let driver = driver(|builder| {
        let grouped = builder.table(&T).group_by(|_, value| {
            let value = Some(value.clone()).filter(|value| &**value != "none");
            (Str::from("g"), value)
        });
        let shown = |value: &Nullable| value.as_deref().unwrap_or("null").to_owned();
        let sums = grouped.aggregate(
            Str::default,
            move |_, value: &Nullable, all: &mut Str| {
                *all = Str::from(format!("{all}+{}", shown(value)));
            },
            move |_, value: &Nullable, all: &mut Str| {
                *all = Str::from(format!("{all}-{}", shown(value)));
            },
        );
        sums.to_stream().to(&Topic::<Str, Str>::new("o"));
    });
    let updates = ["x", "none", "y"];
    for (timestamp, value) in (1..).zip(updates) {
        send(&driver, &T_IN, &[(Some("k"), Some(value), timestamp)]);
    }
    assert_eq!(texts(&driver, "o"), ["g=+x@1", "g=+x-x@2", "g=+x-x+y@3"]);
}
