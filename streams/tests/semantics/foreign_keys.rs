//! Joins of two tables by a foreign key. Results and the bytes of all internal topics are those
//! of Kafka Streams 4.3.

use moldau_streams::{Builder, KTable, LocalConfig, Str, Topic};

use crate::table_joins::{plus, send_updates, without_cache};
use crate::{T, driver, driver_with, texts};

const U_TABLE: Topic<Str, Str> = Topic::new("u");
const OUT: Topic<Str, Str> = Topic::new("o");

const UPDATES: [(&str, Option<&str>, Option<&str>, i64); 18] = [
    ("t", Some("a"), Some("p1|x"), 10),
    ("u", Some("p1"), Some("P"), 5),
    ("u", Some("p1"), Some("Q"), 20),
    ("t", Some("a"), Some("p1|y"), 21),
    ("t", Some("a"), Some("p2|y"), 22),
    ("u", Some("p2"), Some("R"), 23),
    ("t", Some("b"), Some("p2|z"), 24),
    ("u", Some("p2"), Some("R"), 25),
    ("u", Some("p2"), None, 26),
    ("t", Some("a"), None, 27),
    ("t", Some("b"), Some("none"), 28),
    ("t", Some("b"), Some("p1|w"), 29),
    ("t", Some("b"), Some("none"), 30),
    ("t", Some("c"), Some("none"), 31),
    ("t", Some("c"), None, 32),
    ("t", Some("b"), None, 33),
    ("t", Some("zz"), None, 34),
    ("u", None, Some("x"), 35),
];

const SUBSCRIPTIONS: &str = "app-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-0000000006-topic";
const RESPONSES: &str = "app-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-0000000014-topic";
const STORE: &str = "app-KTABLE-FK-JOIN-SUBSCRIPTION-STATE-STORE-0000000010-changelog";

/// What is before the bar; without one there is no foreign key.
fn foreign_key(value: &Str) -> Option<Str> {
    let (key, _) = value.split_once('|')?;
    Some(Str::from(key.to_owned()))
}

fn inner(builder: &Builder) -> KTable<Str, Str> {
    let this = builder.table(&T);
    let other = builder.table(&U_TABLE);
    let join = this.join(other.on(|_: &Str, value: &Str| foreign_key(value)));
    join.by(|one, other| plus(Some(one), Some(other)))
}

fn left(builder: &Builder) -> KTable<Str, Str> {
    let this = builder.table(&T);
    let other = builder.table(&U_TABLE);
    let join = this.join(other.on(|_: &Str, value: &Str| foreign_key(value)));
    join.left().by(|one, other| plus(Some(one), other))
}

fn check(join: fn(&Builder) -> KTable<Str, Str>, topic: &str, expected: &[&str]) {
    let driver = driver(|builder| join(builder).to_stream().to(&OUT));
    send_updates(&driver, &UPDATES);
    assert_eq!(texts(&driver, topic), expected);
}

#[test]
fn an_inner_foreign_key_join_follows_both_sides() {
    check(
        inner,
        "o",
        &[
            "a=p1|x+P@5",
            "a=p1|x+Q@20",
            "a=p1|y+Q@21",
            "a=null@22",
            "a=p2|y+R@23",
            "b=p2|z+R@24",
            "a=p2|y+R@25",
            "b=p2|z+R@25",
            "a=null@26",
            "b=null@26",
            "a=null@27",
            "b=null@28",
            "b=p1|w+Q@29",
            "b=null@30",
        ],
    );
}

#[test]
fn subscriptions_of_an_inner_foreign_key_join_have_kafka_streams_bytes() {
    check(
        inner,
        SUBSCRIPTIONS,
        &[
            "p1=0103ac9e439ee0983a714d74042abb9886ab6100000000@10",
            "p1=0103e04a0550704d38290500c2108ed390466100000000@21",
            "p1=0100798a48d852fd31fdb377727c3b88b0f36100000000@22",
            "p2=0102798a48d852fd31fdb377727c3b88b0f36100000000@22",
            "p2=0103ce9390e1d74c97f7d6086927316db18c6200000000@24",
            "p2=81016100000000@27",
            "p2=01013923209bcd5598411af595432a19167c6200000000@28",
            "p1=01036f81c487ce977cce184cd9bea10989e36200000000@29",
            "p1=01013923209bcd5598411af595432a19167c6200000000@30",
        ],
    );
}

#[test]
fn responses_of_an_inner_foreign_key_join_have_kafka_streams_bytes() {
    check(
        inner,
        RESPONSES,
        &[
            "a=00ac9e439ee0983a714d74042abb9886ab50@5",
            "a=00ac9e439ee0983a714d74042abb9886ab51@20",
            "a=00e04a0550704d38290500c2108ed3904651@21",
            "a=00798a48d852fd31fdb377727c3b88b0f3@22",
            "a=00798a48d852fd31fdb377727c3b88b0f352@23",
            "b=00ce9390e1d74c97f7d6086927316db18c52@24",
            "a=00798a48d852fd31fdb377727c3b88b0f352@25",
            "b=00ce9390e1d74c97f7d6086927316db18c52@25",
            "a=00798a48d852fd31fdb377727c3b88b0f3@26",
            "b=00ce9390e1d74c97f7d6086927316db18c@26",
            "a=80@27",
            "b=003923209bcd5598411af595432a19167c@28",
            "b=006f81c487ce977cce184cd9bea10989e351@29",
            "b=003923209bcd5598411af595432a19167c@30",
        ],
    );
}

#[test]
fn the_store_of_an_inner_foreign_key_join_has_kafka_streams_changelog() {
    check(
        inner,
        STORE,
        &[
            "00000002703161=0103ac9e439ee0983a714d74042abb9886ab6100000000@10",
            "00000002703161=0103e04a0550704d38290500c2108ed390466100000000@21",
            "00000002703161=null@22",
            "00000002703261=0102798a48d852fd31fdb377727c3b88b0f36100000000@22",
            "00000002703262=0103ce9390e1d74c97f7d6086927316db18c6200000000@24",
            "00000002703261=null@27",
            "00000002703262=null@28",
            "00000002703162=01036f81c487ce977cce184cd9bea10989e36200000000@29",
            "00000002703162=null@30",
        ],
    );
}

#[test]
fn a_left_foreign_key_join_follows_both_sides() {
    check(
        left,
        "o",
        &[
            "a=p1|x+null@10",
            "a=p1|x+P@5",
            "a=p1|x+Q@20",
            "a=p1|y+Q@21",
            "a=p2|y+null@22",
            "a=p2|y+R@23",
            "b=p2|z+R@24",
            "a=p2|y+R@25",
            "b=p2|z+R@25",
            "a=p2|y+null@26",
            "b=p2|z+null@26",
            "a=null@27",
            "b=none+null@28",
            "b=p1|w+Q@29",
            "b=none+null@30",
            "c=none+null@31",
            "c=null@32",
            "b=null@33",
        ],
    );
}

#[test]
fn subscriptions_of_a_left_foreign_key_join_have_kafka_streams_bytes() {
    check(
        left,
        SUBSCRIPTIONS,
        &[
            "p1=0102ac9e439ee0983a714d74042abb9886ab6100000000@10",
            "p1=0102e04a0550704d38290500c2108ed390466100000000@21",
            "p1=0100798a48d852fd31fdb377727c3b88b0f36100000000@22",
            "p2=0102798a48d852fd31fdb377727c3b88b0f36100000000@22",
            "p2=0102ce9390e1d74c97f7d6086927316db18c6200000000@24",
            "p2=81006100000000@27",
            "null=81026100000000@27",
            "p2=01003923209bcd5598411af595432a19167c6200000000@28",
            "null=01023923209bcd5598411af595432a19167c6200000000@28",
            "p1=01026f81c487ce977cce184cd9bea10989e36200000000@29",
            "p1=01003923209bcd5598411af595432a19167c6200000000@30",
            "null=01023923209bcd5598411af595432a19167c6200000000@30",
            "null=01023923209bcd5598411af595432a19167c6300000000@31",
            "null=81026300000000@32",
            "null=81026200000000@33",
        ],
    );
}

#[test]
fn responses_of_a_left_foreign_key_join_have_kafka_streams_bytes() {
    check(
        left,
        RESPONSES,
        &[
            "a=00ac9e439ee0983a714d74042abb9886ab@10",
            "a=00ac9e439ee0983a714d74042abb9886ab50@5",
            "a=00ac9e439ee0983a714d74042abb9886ab51@20",
            "a=00e04a0550704d38290500c2108ed3904651@21",
            "a=00798a48d852fd31fdb377727c3b88b0f3@22",
            "a=00798a48d852fd31fdb377727c3b88b0f352@23",
            "b=00ce9390e1d74c97f7d6086927316db18c52@24",
            "a=00798a48d852fd31fdb377727c3b88b0f352@25",
            "b=00ce9390e1d74c97f7d6086927316db18c52@25",
            "a=00798a48d852fd31fdb377727c3b88b0f3@26",
            "b=00ce9390e1d74c97f7d6086927316db18c@26",
            "a=80@27",
            "b=003923209bcd5598411af595432a19167c@28",
            "b=006f81c487ce977cce184cd9bea10989e351@29",
            "b=003923209bcd5598411af595432a19167c@30",
            "c=003923209bcd5598411af595432a19167c@31",
            "c=80@32",
            "b=80@33",
        ],
    );
}

#[test]
fn the_store_of_a_left_foreign_key_join_has_kafka_streams_changelog() {
    check(
        left,
        STORE,
        &[
            "00000002703161=0102ac9e439ee0983a714d74042abb9886ab6100000000@10",
            "00000002703161=0102e04a0550704d38290500c2108ed390466100000000@21",
            "00000002703161=null@22",
            "00000002703261=0102798a48d852fd31fdb377727c3b88b0f36100000000@22",
            "00000002703262=0102ce9390e1d74c97f7d6086927316db18c6200000000@24",
            "00000002703261=null@27",
            "00000002703262=null@28",
            "00000002703162=01026f81c487ce977cce184cd9bea10989e36200000000@29",
            "00000002703162=null@30",
        ],
    );
}

#[test]
fn a_foreign_key_join_with_a_store_emits_no_second_tombstone() {
    let driver = driver(|builder| {
        let this = builder.table(&T).named("fkj");
        let other = builder.table(&U_TABLE);
        let join = this.join(other.on(|_: &Str, value: &Str| foreign_key(value)));
        let joined = join.by_as("fkstore", |one, other| plus(Some(one), Some(other)));
        joined.to_stream().to(&OUT);
    });
    send_updates(&driver, &UPDATES);
    let expected = &[
        "a=p1|x+P@5",
        "a=p1|x+Q@20",
        "a=p1|y+Q@21",
        "a=null@22",
        "a=p2|y+R@23",
        "b=p2|z+R@24",
        "a=p2|y+R@25",
        "b=p2|z+R@25",
        "a=null@26",
        "b=null@26",
        "b=p1|w+Q@29",
        "b=null@30",
    ];
    assert_eq!(texts(&driver, "o"), expected);
    assert_eq!(texts(&driver, "app-fkstore-changelog"), expected);
}

/// The foreign key may come from the left entry's own key (KIP-1104).
#[test]
fn the_extractor_sees_the_primary_key() {
    let driver = driver(|builder| {
        let this = builder.table(&T);
        let other = builder.table(&U_TABLE);
        let join = this.join(other.on(|key: &Str, _: &Str| foreign_key(key)));
        let joined = join.by(|one, other| plus(Some(one), Some(other)));
        joined.to_stream().to(&OUT);
    });
    send_updates(
        &driver,
        &[
            ("u", Some("p1"), Some("P"), 1),
            ("t", Some("p1|x"), Some("v"), 2),
        ],
    );
    assert_eq!(texts(&driver, "o"), ["p1|x=v+P@2"]);
}

#[test]
fn responses_go_back_to_the_partition_that_asked() {
    let config = LocalConfig::default().topic("t", 4).topic("u", 3);
    let driver = driver_with(config, |builder| left(builder).to_stream().to(&OUT));
    send_updates(&driver, &UPDATES);
    driver.crash_and_restore();
    send_updates(
        &driver,
        &[
            ("t", Some("d"), Some("p1|d"), 40),
            ("u", Some("p1"), Some("Z"), 41),
        ],
    );
    let joined = texts(&driver, "o");
    assert_eq!(joined.last().map(String::as_str), Some("d=p1|d+Z@41"));
}

#[test]
fn an_answer_about_a_left_value_that_is_no_more_is_left_out() {
    let driver = driver_with(without_cache(), |builder| {
        // Both values are in the table before the first answer comes.
        let values = builder.stream(&T).flat_map_values(|line, values| {
            let words = line.split(' ').map(str::to_owned);
            values.extend(words.map(Str::from));
        });
        let this = values.to_table::<Str>();
        let other = builder.table(&U_TABLE);
        let join = this.join(other.on(|_: &Str, value: &Str| foreign_key(value)));
        let joined = join.by(|one, other| plus(Some(one), Some(other)));
        joined.to_stream().to(&OUT);
    });
    send_updates(
        &driver,
        &[
            ("u", Some("p1"), Some("P"), 5),
            ("t", Some("k"), Some("p1|x p1|y"), 10),
        ],
    );
    assert_eq!(texts(&driver, "o"), ["k=p1|y+P@10"]);
    assert_eq!(driver.records_dropped(), 1);
}
