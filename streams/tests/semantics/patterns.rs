//! Sources that read all topics whose names match a pattern.

use moldau_streams::{Builder, LocalConfig, Str, Topic, TopicPattern};

use crate::{COUNTS, Nullable, driver, driver_with};

const ORDERS: TopicPattern<Nullable, Nullable> = TopicPattern::new("orders-.*");

fn topic(name: &'static str) -> Topic<Nullable, Nullable> {
    Topic::new(name)
}

fn count_by_value(builder: &Builder) {
    let orders = builder.stream_matching(&ORDERS);
    let by_value = orders.group_by(|_, value: &Nullable| value.clone());
    by_value.count_as("counts").to_stream().to(&COUNTS);
}

#[test]
fn a_pattern_reads_all_topics_that_match() {
    let config = LocalConfig::default();
    let config = config.topic("orders-eu", 1).topic("orders-us", 1);
    let test = driver_with(config.topic("bills", 1), count_by_value);
    test.input(&topic("orders-us"))
        .send_at(1, None, Some("a".into()));
    test.input(&topic("bills"))
        .send_at(1, None, Some("a".into()));
    test.input(&topic("orders-eu"))
        .send_at(2, None, Some("a".into()));
    let counts = test.output(&COUNTS).read();
    assert_eq!(counts, [(Some("a".into()), 1), (Some("a".into()), 2)]);
}

#[test]
fn a_topic_that_is_created_later_is_read_too_and_what_was_there_goes_on() {
    let test = driver(count_by_value);
    test.create_topic("orders-eu", 1);
    test.input(&topic("orders-eu"))
        .send_at(1, None, Some("a".into()));
    test.create_topic("orders-us", 2);
    test.input(&topic("orders-us"))
        .send_at(2, None, Some("a".into()));
    test.input(&topic("orders-eu"))
        .send_at(3, None, Some("a".into()));
    let counts = test.output(&COUNTS).read();
    let of = |count| (Some(Str::from("a")), count);
    assert_eq!(counts, [of(1), of(2), of(3)]);
}

#[test]
fn a_record_knows_its_own_topic() {
    let test = driver(|builder: &Builder| {
        builder
            .stream_matching(&ORDERS)
            .to_dynamic(|_, _, context| {
                format!(
                    "copy-of-{}",
                    context.origin.as_ref().map_or("", |origin| origin.topic)
                )
            });
    });
    test.create_topic("orders-eu", 1);
    test.create_topic("orders-us", 1);
    test.input(&topic("orders-us"))
        .send_at(1, None, Some("a".into()));
    assert_eq!(test.output(&topic("copy-of-orders-us")).read().len(), 1);
    assert!(test.output(&topic("copy-of-orders-eu")).read().is_empty());
}

#[test]
fn a_pattern_is_not_for_topics_that_are_read_by_themselves() {
    let builder = Builder::new("app");
    builder.stream(&topic("orders-eu")).to(&topic("o"));
    builder.stream_matching(&ORDERS).to(&topic("o"));
    let error = builder.build().expect_err("a mistake").to_string();
    assert!(
        error.contains("pattern \"orders-.*\" matches topic \"orders-eu\""),
        "{error}"
    );
}

#[test]
fn a_pattern_that_is_no_regular_expression_is_named() {
    let builder = Builder::new("app");
    let broken: TopicPattern<Nullable, Nullable> = TopicPattern::new("orders-(");
    builder.stream_matching(&broken).to(&topic("o"));
    let error = builder.build().expect_err("a mistake").to_string();
    assert!(
        error.contains("\"orders-(\" is not a regular expression"),
        "{error}"
    );
}
