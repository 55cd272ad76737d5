//! Several topics as one source, topics that each record names, partitioners.

use moldau_streams::{Builder, LocalConfig, Repartitioned, SendTo, Topic};

use super::{Nullable, O, S, T_IN, U, driver, driver_with, header, send, text, texts};

const BOTH: [&Topic<Nullable, Nullable>; 2] = [&U, &S];

fn partitions(driver: &moldau_streams::TestDriver, topic: &str) -> Vec<(String, i32)> {
    let records = driver.raw_topic(topic);
    let shown = records.iter().map(|record| {
        let value = record.value.as_deref().unwrap_or(b"null");
        (
            String::from_utf8_lossy(value).into_owned(),
            record.partition,
        )
    });
    shown.collect()
}

#[test]
fn several_topics_are_read_as_one_source() {
    let driver = driver(|builder| builder.stream_of(&BOTH).to(&O));
    send(&driver, &S, &[(Some("a"), Some("1"), 5)]);
    send(&driver, &U, &[(Some("b"), Some("2"), 3)]);
    send(&driver, &S, &[(Some("c"), None, 4)]);
    assert_eq!(texts(&driver, "o"), ["a=1@5", "b=2@3", "c=null@4"]);
}

#[test]
fn one_source_of_several_topics_is_described_as_kafka_streams_does() {
    let builder = Builder::new("app");
    builder.stream_of(&BOTH).to(&O);
    let topology = builder.build().expect("a topology");
    assert_eq!(
        topology.describe(),
        "Topologies:\n   Sub-topology: 0\n    Source: KSTREAM-SOURCE-0000000000 (topics: [s, u])\n      \
         --> KSTREAM-SINK-0000000001\n    Sink: KSTREAM-SINK-0000000001 (topic: o)\n      \
         <-- KSTREAM-SOURCE-0000000000\n\n"
    );
}

#[test]
fn the_same_topics_read_twice_in_any_order_are_one_source() {
    let driver = driver(|builder| {
        let one = builder.stream_of(&BOTH);
        one.merge(&builder.stream_of(&[&S, &U])).to(&O);
    });
    send(&driver, &S, &[(Some("a"), Some("1"), 0)]);
    assert_eq!(texts(&driver, "o"), ["a=1@0"]);
}

#[test]
fn a_topic_that_two_sources_share_only_in_part_is_refused() {
    let builder = Builder::new("app");
    builder.stream_of(&BOTH).to(&O);
    builder.stream(&S).for_each(|_, _| ());
    let error = builder.build().expect_err("a topic of two sources");
    assert!(error.to_string().contains("topic \"s\" is read twice"));
}

#[test]
fn a_source_without_topics_is_refused() {
    let builder = Builder::new("app");
    builder.stream_of::<Nullable, Nullable>(&[]).to(&O);
    let error = builder.build().expect_err("no topics");
    assert!(error.to_string().contains("has no topics"), "{error}");
}

#[test]
fn all_topics_of_a_joined_source_must_have_the_tables_partition_count() {
    let builder = Builder::new("app");
    let table = builder.table(&Topic::<Nullable, Nullable>::new("t"));
    let joined = builder.stream_of(&BOTH).join(&table);
    joined.by(|value, _| value.clone()).to(&O);
    let topology = builder.build().expect("a topology");
    let config = LocalConfig::default().topic("s", 2).topic("t", 2);
    let error = topology.test_with(config).expect_err("unequal counts");
    assert!(error.to_string().contains("\"u\" has 1"), "{error}");
    let config = LocalConfig::default().topic("s", 2).topic("t", 2);
    assert!(topology.test_with(config.topic("u", 2)).is_ok());
}

#[test]
fn topics_of_a_source_that_is_only_grouped_may_have_different_partition_counts() {
    let config = LocalConfig::default().topic("s", 3);
    let driver = driver_with(config, |builder| {
        let counts = builder.stream_of(&BOTH).group_by_key().count_as("counts");
        counts.to_stream().to(&Topic::<Nullable, i64>::new("o"));
    });
    send(&driver, &S, &[(Some("a"), Some("1"), 0)]);
    send(&driver, &U, &[(Some("b"), Some("1"), 0)]);
    assert_eq!(driver.raw_topic("o").len(), 2);
}

#[test]
fn each_record_goes_to_the_topic_that_it_names() {
    let driver = driver(|builder| {
        let stream = builder.stream(&S);
        stream.to_dynamic(|key, _, _| {
            let key = key.as_ref().map_or("nobody", |key| key.as_str());
            format!("of-{key}")
        });
    });
    send(
        &driver,
        &S,
        &[
            (Some("a"), Some("1"), 7),
            (None, Some("2"), 8),
            (Some("a"), None, 9),
        ],
    );
    assert_eq!(texts(&driver, "of-a"), ["a=1@7", "a=null@9"]);
    assert_eq!(texts(&driver, "of-nobody"), ["null=2@8"]);
}

#[test]
fn the_topic_may_follow_from_time_headers_and_where_a_record_comes_from() {
    let driver = driver(|builder| {
        let stream = builder.stream_of(&BOTH);
        stream.to_dynamic(|_, _, context| {
            let origin = context.origin.expect("a record of a topic");
            let header = context.headers.first().and_then(|h| h.value.clone());
            let header = header.unwrap_or_default();
            let header = String::from_utf8_lossy(&header).into_owned();
            let (topic, offset) = (origin.topic, origin.offset);
            format!("{topic}-{offset}-{}-{header}", context.timestamp)
        });
    });
    driver
        .input(&U)
        .send_with_headers(42, text(None), text(Some("v")), vec![header("h", b"x")]);
    assert_eq!(texts(&driver, "u-0-42-x"), ["null=v@42"]);
}

#[test]
fn an_empty_topic_name_is_an_error_of_the_operator() {
    let driver = driver(|builder| {
        builder.stream(&S).named("fan-out").to_dynamic(|_, _, _| "");
    });
    let sent = driver
        .input(&S)
        .try_send_at(0, text(Some("a")), text(Some("1")));
    let error = sent.expect_err("no topic").to_string();
    assert!(error.contains("operator fan-out"), "{error}");
    assert!(error.contains("names no topic"), "{error}");
}

#[test]
fn a_partitioner_chooses_the_partition_and_knows_how_many_there_are() {
    let config = LocalConfig::default().topic("o", 4);
    let driver = driver_with(config, |builder| {
        let stream = builder.stream(&S);
        stream.to_partitioned(&O, |_, _, target| {
            assert_eq!((target.topic, target.partitions), ("o", 4));
            SendTo::Partition(target.partitions - 1)
        });
    });
    send(&driver, &S, &[(Some("a"), Some("1"), 0)]);
    assert_eq!(partitions(&driver, "o"), [("1".to_owned(), 3)]);
}

#[test]
fn a_partitioner_may_send_a_record_to_several_partitions_or_to_none() {
    let config = LocalConfig::default().topic("o", 3);
    let driver = driver_with(config, |builder| {
        let stream = builder.stream(&S);
        stream.to_partitioned(&O, |_, value, _| {
            match value.as_ref().map(|value| value.as_str()) {
                Some("all") => SendTo::AllPartitions,
                Some("two") => SendTo::Partitions(vec![2, 0, 2]),
                Some("empty") => SendTo::Partitions(Vec::new()),
                Some("key") => SendTo::KeyPartition,
                _ => SendTo::Nowhere,
            }
        });
    });
    let before = driver.records_dropped();
    for value in ["all", "two", "empty", "none", "key"] {
        send(&driver, &S, &[(Some("a"), Some(value), 0)]);
    }
    let written: Vec<_> = partitions(&driver, "o");
    let named = |value: &str, partition| (value.to_owned(), partition);
    assert_eq!(
        written[..5],
        [
            named("all", 0),
            named("all", 1),
            named("all", 2),
            named("two", 0),
            named("two", 2)
        ]
    );
    let by_key = moldau_client::partitioner::partition_for_key(b"a", 3);
    assert_eq!(written[5..], [named("key", by_key)]);
    assert_eq!(driver.records_dropped() - before, 2);
}

#[test]
fn a_partition_that_does_not_exist_is_an_error_of_the_operator() {
    let driver = driver(|builder| {
        let stream = builder.stream(&S);
        stream.to_partitioned(&O, |_, _, _| SendTo::Partition(1));
    });
    let sent = driver
        .input(&S)
        .try_send_at(0, text(Some("a")), text(Some("1")));
    let error = sent.expect_err("no such partition").to_string();
    assert!(error.contains("partition 1 of topic \"o\""), "{error}");
}

#[test]
fn topics_that_records_name_have_partitioners_too() {
    let config = LocalConfig::default().topic("x", 2);
    let driver = driver_with(config, |builder| {
        let stream = builder.stream(&S);
        stream.to_dynamic_partitioned(|_, _, _| "x", |_, _, _| SendTo::Partition(1));
    });
    send(&driver, &S, &[(Some("a"), Some("1"), 0)]);
    assert_eq!(partitions(&driver, "x"), [("1".to_owned(), 1)]);
}

#[test]
fn a_repartition_topic_takes_a_partitioner_and_multicasts() {
    let config = LocalConfig::default();
    let driver = driver_with(config, |builder| {
        let stream = builder.stream(&S);
        let spread = Repartitioned::named("spread").partitions(3);
        let stream = stream.repartition_partitioned(spread, |_, value, target| {
            assert_eq!(target.partitions, 3);
            match value {
                Some(_) => SendTo::AllPartitions,
                None => SendTo::Nowhere,
            }
        });
        stream.to(&O);
    });
    send(
        &driver,
        &S,
        &[(Some("a"), Some("1"), 0), (Some("a"), None, 1)],
    );
    let spread = partitions(&driver, "app-spread-repartition");
    let places: Vec<_> = spread.iter().map(|(_, partition)| *partition).collect();
    assert_eq!(places, [0, 1, 2]);
    assert_eq!(texts(&driver, "o").len(), 3);
}

#[test]
fn a_table_joined_with_a_source_of_several_topics_sees_the_records_of_each() {
    let driver = driver(|builder| {
        let table = builder.table(&Topic::<Nullable, Nullable>::new("t"));
        let stream = builder.stream_of(&BOTH);
        stream.join(&table).by(|_, found| found.clone()).to(&O);
    });
    send(&driver, &T_IN, &[(Some("a"), Some("x"), 0)]);
    send(&driver, &S, &[(Some("a"), Some("1"), 1)]);
    send(&driver, &U, &[(Some("a"), Some("2"), 2)]);
    assert_eq!(texts(&driver, "o"), ["a=x@1", "a=x@2"]);
}
