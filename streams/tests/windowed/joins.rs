//! Joins of two streams in windows.

use moldau_streams::{Builder, NeedsGrace, StreamWindow, Topic};

use crate::{Nullable, S, U, check, driver, ms, send};

const JOINED: Topic<Nullable, String> = Topic::new("o");

fn show(left: Option<&Nullable>, right: Option<&Nullable>) -> String {
    let text = |value: Option<&Nullable>| match value {
        Some(value) => value.as_deref().unwrap_or("null").to_owned(),
        None => "null".to_owned(),
    };
    format!("{}+{}", text(left), text(right))
}

/// The other stream around which there is a window of 10 ms with a grace of 5 ms.
fn around(builder: &Builder) -> StreamWindow<Nullable, Nullable> {
    let window = builder.stream(&U).within(ms(10));
    window.grace(ms(5)).stored_as("st")
}

/// A window from 3 ms before to 20 ms after, without grace.
fn asymmetric(builder: &Builder) -> StreamWindow<Nullable, Nullable> {
    let window: NeedsGrace<_> = builder.stream(&U).within(ms(0));
    window
        .before(ms(3))
        .after(ms(20))
        .no_grace()
        .stored_as("st")
}

#[test]
fn an_inner_join_finds_partners_in_the_window_and_has_the_larger_timestamp() {
    check(include_str!("join_inner.txt"), |builder| {
        let left = builder.stream(&S);
        let joined = left
            .join(around(builder))
            .by(|one, two| show(Some(one), Some(two)));
        joined.to(&JOINED);
    });
}

#[test]
fn a_left_join_tells_of_records_without_partner_once_window_and_grace_have_passed() {
    check(include_str!("join_left.txt"), |builder| {
        let left = builder.stream(&S);
        let joined = left
            .join(around(builder))
            .left()
            .by(|one, two| show(Some(one), two));
        joined.to(&JOINED);
    });
}

#[test]
fn an_outer_join_does_so_for_both_sides_and_joins_null_keys_at_once() {
    check(include_str!("join_outer.txt"), |builder| {
        let left = builder.stream(&S);
        left.join(around(builder)).outer().by(show).to(&JOINED);
    });
}

#[test]
fn before_and_after_count_from_the_left_side_also_for_what_waits() {
    check(include_str!("join_outer_asymmetric.txt"), |builder| {
        let left = builder.stream(&S);
        left.join(asymmetric(builder)).outer().by(show).to(&JOINED);
    });
}

#[test]
fn many_records_out_of_order_are_outer_joined_as_in_kafka_streams() {
    check(include_str!("join_outer_random.txt"), |builder| {
        let left = builder.stream(&S);
        left.join(around(builder)).outer().by(show).to(&JOINED);
    });
}

#[test]
fn many_records_out_of_order_are_left_joined_as_in_kafka_streams() {
    check(include_str!("join_left_random.txt"), |builder| {
        let left = builder.stream(&S);
        let joined = left
            .join(asymmetric(builder))
            .left()
            .by(|one, two| show(Some(one), two));
        joined.to(&JOINED);
    });
}

#[test]
fn a_stream_joined_with_itself_meets_each_record_once_and_each_pair_twice() {
    check(include_str!("join_self.txt"), |builder| {
        let left = builder.stream(&S);
        let window = left.within(ms(10)).grace(ms(5)).stored_as("st");
        let joined = left.join(window).by(|one, two| show(Some(one), Some(two)));
        joined.to(&JOINED);
    });
}

#[test]
fn records_with_one_key_and_timestamp_are_all_kept() {
    check(include_str!("join_duplicates.txt"), |builder| {
        let left = builder.stream(&S);
        left.join(around(builder)).outer().by(show).to(&JOINED);
    });
}

#[test]
fn records_that_wait_for_a_partner_come_back_after_a_crash() {
    let driver = driver(|builder| {
        let left = builder.stream(&S);
        left.join(around(builder)).outer().by(show).to(&JOINED);
    });
    send(&driver, "s a 1 0");
    send(&driver, "u b 2 0");
    driver.crash_and_restore();
    send(&driver, "u a 3 4");
    send(&driver, "wall 1000");
    send(&driver, "s c 4 40");
    let values: Vec<_> = driver
        .output(&JOINED)
        .read()
        .into_iter()
        .map(|(_, v)| v)
        .collect();
    assert_eq!(values, ["1+3", "null+2"]);
}

#[test]
fn null_values_are_dropped_on_both_sides_of_every_join_but_move_time_on() {
    let driver = driver(|builder| {
        let left = builder.stream(&S);
        left.join(around(builder)).outer().by(show).to(&JOINED);
    });
    send(&driver, "s a 1 0");
    send(&driver, "u a - 40");
    assert_eq!(driver.records_dropped(), 1);
    assert_eq!(driver.output(&JOINED).read(), []);
    // Out of order, and by now the window around it is long past.
    send(&driver, "u b 2 0");
    let read = driver.output(&JOINED).read();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].1, "null+2");
}

#[test]
fn a_record_without_a_value_has_a_number_in_the_changelog_of_a_join_store() {
    let driver = driver(|builder| {
        let left = builder.stream(&S);
        let window = builder.stream(&U).within(ms(3)).no_grace().stored_as("st");
        let joined = left.join(window);
        joined.by(|one, two| show(Some(one), Some(two))).to(&JOINED);
    });
    send(&driver, "s a - 51");
    send(&driver, "s a 1 52");
    let logged = driver.raw_topic("app-st-this-join-store-changelog");
    let logged: Vec<_> = logged
        .iter()
        .map(|record| {
            let number = record.key.as_ref().and_then(|key| key.last().copied());
            (record.value.is_some(), number)
        })
        .collect();
    assert_eq!(logged, [(false, Some(1)), (true, Some(2))]);
}

#[test]
fn a_stream_with_new_keys_is_joined_with_itself_through_one_repartition_topic() {
    let driver = driver(|builder| {
        let left = builder.stream(&S).select_key(|_, value| value.clone());
        let window = left.within(ms(3)).no_grace();
        let joined = left.join(window);
        joined.by(|one, two| show(Some(one), Some(two))).to(&JOINED);
    });
    send(&driver, "s a 1 5");
    let values: Vec<_> = driver
        .output(&JOINED)
        .read()
        .into_iter()
        .map(|(_, v)| v)
        .collect();
    assert_eq!(values, ["1+1"]);
    let repartitioned = driver.raw_topic("app-KSTREAM-KEY-SELECT-0000000001-repartition");
    assert_eq!(repartitioned.len(), 1);
}
