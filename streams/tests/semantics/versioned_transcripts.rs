//! What Kafka Streams 4.3 and its test driver answer for versioned tables, input by input.

use std::time::Duration;

use moldau_streams::{Builder, KTable, Materialized, Str, Topic};

use super::{Nullable, S, T_IN, U, driver, send, texts};

const STREAM: Topic<Str, Str> = Topic::new("s");
const O: Topic<Str, Str> = Topic::new("o");

/// Topic, key, value, time.
type Input = (char, &'static str, Option<&'static str>, i64);

fn versioned(builder: &Builder, topic: &'static str) -> KTable<Str, Str> {
    let history = Duration::from_millis(100);
    let store = Materialized::versioned(format!("v-{topic}"), history);
    builder.table_as(&Topic::new(topic), store)
}

fn pair(value: &Str, found: Option<&Str>) -> Str {
    let found = found.map_or("null", Str::as_str);
    Str::from(format!("{}+{found}", value.as_str()))
}

#[track_caller]
fn check(build: impl FnOnce(&Builder), inputs: &[Input], expected: &str) {
    let driver = driver(build);
    for (topic, key, value, time) in inputs {
        let topic: &Topic<Nullable, Nullable> = match topic {
            's' => &S,
            't' => &T_IN,
            _ => &U,
        };
        send(&driver, topic, &[(Some(key), *value, *time)]);
    }
    assert_eq!(texts(&driver, "o").join(" "), expected);
}

#[test]
fn a_join_with_grace() {
    check(
        |builder| {
            let join = builder.stream(&STREAM).join(&versioned(builder, "t"));
            let join = join.grace(Duration::from_millis(10));
            join.by(|value, found| pair(value, Some(found))).to(&O);
        },
        &[
            ('t', "a", Some("1"), 0),
            ('t', "b", Some("1"), 0),
            ('s', "b", Some("2nd"), 25),
            ('s', "b", Some("1st"), 21),
            ('s', "a", Some("again"), 25),
            ('s', "b", Some("2nd"), 25),
            ('t', "a", Some("late"), 22),
            ('s', "a", Some("end"), 100),
            ('s', "a", Some("just"), 90),
            ('s', "a", Some("tooLate"), 89),
            ('s', "a", Some("x"), 91),
            ('s', "a", Some("z"), 120),
        ],
        "b=1st+1@21 a=again+late@25 b=2nd+1@25 b=2nd+1@25 a=just+late@90 a=tooLate+late@89 \
         a=x+late@91 a=end+late@100",
    );
}

#[test]
fn a_left_join_as_of_each_records_time() {
    check(
        |builder| {
            let join = builder.stream(&STREAM).join(&versioned(builder, "t"));
            join.left().by(pair).to(&O);
        },
        &[
            ('t', "a", Some("2"), 20),
            ('t', "a", Some("1"), 10),
            ('s', "a", Some("x"), 5),
            ('s', "a", Some("x"), 10),
            ('s', "a", Some("x"), 19),
            ('s', "a", Some("x"), 20),
            ('t', "a", None, 15),
            ('s', "a", Some("x"), 17),
            ('t', "z", Some("q"), 300),
            ('s', "a", Some("x"), 20),
            ('s', "a", Some("x"), 199),
            ('s', "a", Some("x"), 200),
        ],
        "a=x+null@5 a=x+1@10 a=x+1@19 a=x+2@20 a=x+null@17 a=x+2@20 a=x+2@199 a=x+2@200",
    );
}

#[test]
fn a_join_of_two_versioned_tables() {
    check(
        |builder| {
            let (left, right) = (versioned(builder, "t"), versioned(builder, "u"));
            let joined = left.join(&right).by(|left, right| pair(left, Some(right)));
            joined.to_stream().to(&O);
        },
        &[
            ('t', "a", Some("2"), 20),
            ('u', "a", Some("x"), 30),
            ('t', "a", Some("1"), 10),
            ('u', "a", None, 15),
            ('t', "a", Some("3"), 25),
        ],
        "a=2+x@30 a=3+x@30",
    );
}

#[test]
fn late_updates_and_removals() {
    check(
        |builder| versioned(builder, "t").to_stream().to(&O),
        &[
            ('t', "a", Some("2"), 200),
            ('t', "b", Some("1"), 99),
            ('t', "b", Some("1"), 100),
            ('t', "a", Some("1"), 150),
            ('t', "a", None, 160),
            ('t', "a", None, 250),
            ('t', "a", Some("q"), 240),
        ],
        "a=2@200 b=1@100 a=1@150 a=null@160 a=null@250 a=q@240",
    );
}

#[test]
fn a_filter_and_a_mapping() {
    check(
        |builder| {
            let wanted = versioned(builder, "t").filter(|_, value| value.as_str() != "no");
            let mapped = wanted.map_values(|value| Str::from(format!("{}!", value.as_str())));
            mapped.to_stream().to(&O);
        },
        &[
            ('t', "a", Some("2"), 20),
            ('t', "a", Some("no"), 10),
            ('t', "a", Some("no"), 30),
            ('t', "b", Some("no"), 5),
        ],
        "a=2!@20 a=null@10 a=null@30 b=null@5",
    );
}

#[test]
fn a_count_of_groups() {
    let text = |count: &Option<i64>| Str::from(count.unwrap_or(-1).to_string());
    check(
        |builder| {
            let grouped = versioned(builder, "t").group_by(|_, v| (v.clone(), v.clone()));
            grouped.count_as("c").to_stream().map_values(text).to(&O);
        },
        &[
            ('t', "a", Some("x"), 20),
            ('t', "a", Some("y"), 10),
            ('t', "a", Some("y"), 30),
        ],
        "x=1@20 x=0@30 y=1@30",
    );
}

#[test]
fn a_count_in_a_versioned_store() {
    let text = |count: &Option<i64>| Str::from(count.unwrap_or(-1).to_string());
    check(
        |builder| {
            let store = Materialized::versioned("c", Duration::from_millis(100));
            let counts = builder.stream(&STREAM).group_by_key().count_as(store);
            counts.to_stream().map_values(text).to(&O);
        },
        &[
            ('s', "a", Some("1"), 10),
            ('s', "a", Some("1"), 20),
            ('s', "a", Some("1"), 15),
            ('s', "b", Some("1"), 500),
            ('s', "c", Some("1"), 100),
            ('s', "c", Some("1"), 450),
        ],
        "a=1@10 a=2@20 a=3@20 b=1@500 c=1@450",
    );
}

#[test]
fn the_topics_of_a_source_and_the_stores_of_a_join_with_grace_in_javas_order() {
    let builder = Builder::new("app");
    let topics = ["u", "s", "zz", "topic-1"].map(Topic::<Str, Str>::new);
    let topics: Vec<_> = topics.iter().collect();
    builder.stream_of(&topics).to(&O);
    let text = builder.build().expect("a topology").describe();
    assert!(text.contains("(topics: [zz, s, u, topic-1])"), "{text}");

    let builder = Builder::new("app");
    let store = Materialized::versioned("v", Duration::from_millis(100));
    let table = builder.table_as(&Topic::<Str, Str>::new("t"), store);
    let join = builder.stream(&STREAM).join(&table);
    let join = join.grace(Duration::from_millis(10));
    join.by(|value, _| value.clone()).to(&O);
    let text = builder.build().expect("a topology").describe();
    let name = "KSTREAM-JOIN-0000000003";
    let expected = format!("Processor: {name} (stores: [{name}-Buffer, v])");
    assert!(text.contains(&expected), "{text}");
}
