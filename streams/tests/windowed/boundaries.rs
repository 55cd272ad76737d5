//! Where windows and sessions begin and end, to the millisecond, and what reaches them.

use moldau_streams::{Builder, SessionWindow, Sessions, Sliding, TestDriver, Topic, Windowed};

use crate::{Nullable, O, S, U, append, driver, grouped, merge, ms, send};

type SessionKey = Windowed<Nullable, SessionWindow>;

const JOINED: Topic<Nullable, String> = Topic::new("o");

/// Texts in sliding windows of 10 ms.
fn sliding(grace: u64) -> TestDriver {
    driver(|builder| {
        let windows = Sliding::of(ms(10)).grace(ms(grace));
        let table = grouped(builder, &S).windowed_by(windows);
        let texts = table.aggregate_as("w", String::new, append);
        texts.to_stream().to(&O);
    })
}

/// Texts in sessions with a gap of 10 ms and a grace of 5 ms.
fn sessions() -> TestDriver {
    driver(|builder| {
        let windows = Sessions::gap(ms(10)).grace(ms(5));
        let table = grouped(builder, &S).windowed_by(windows);
        let texts = table.aggregate_as("w", String::new, append, merge);
        let topic = Topic::<SessionKey, String>::new("o");
        texts.to_stream().to(&topic);
    })
}

/// The left join of `s` and `u` within 10 ms, with a grace of 5 ms.
fn left_joined() -> TestDriver {
    let text = |value: &Nullable| value.as_deref().unwrap_or("null").to_owned();
    driver(|builder: &Builder| {
        let window = builder.stream(&U).within(ms(10)).grace(ms(5));
        let joined = builder.stream(&S).join(window).left();
        let pairs = joined.by(move |left, right| {
            let right = right.map_or("none".to_owned(), text);
            format!("{}+{right}", text(left))
        });
        pairs.to(&JOINED);
    })
}

fn send_all(driver: &TestDriver, lines: &[&str]) {
    lines.iter().for_each(|line| send(driver, line));
}

/// All results as `key@start=text`, in the order of their keys and windows.
fn windows(driver: &TestDriver) -> Vec<String> {
    let read = driver.output(&O).read().into_iter();
    let shown = read.map(|(key, text)| {
        let start = key.window.start;
        format!("{}@{start}={text}", key.key.as_deref().unwrap_or("null"))
    });
    let mut shown: Vec<_> = shown.collect();
    shown.sort();
    shown
}

/// All results but tombstones as `key@start-end=text`.
fn told_sessions(driver: &TestDriver) -> Vec<String> {
    let output = driver.output(&Topic::<SessionKey, Option<String>>::new("o"));
    let shown = output.read().into_iter().filter_map(|(key, text)| {
        let SessionWindow { start, end } = key.window;
        let key = key.key.as_deref().unwrap_or("null").to_owned();
        Some(format!("{key}@{start}-{end}={}", text?))
    });
    shown.collect()
}

fn pairs(driver: &TestDriver) -> Vec<String> {
    let read = driver.output(&JOINED).read().into_iter();
    read.map(|(_, pair)| pair).collect()
}

#[test]
fn sliding_windows_drop_records_without_key_or_value() {
    let driver = sliding(0);
    send_all(&driver, &["s a - 20", "s - x 20"]);
    assert_eq!(windows(&driver), [] as [&str; 0]);
    assert_eq!(driver.records_dropped(), 2);
}

#[test]
fn both_ends_of_a_sliding_window_belong_to_it() {
    let driver = sliding(50);
    send_all(&driver, &["s a x 10", "s a y 20", "s a z 31"]);
    // 10 and 20 are in one window, 20 and 31 are in none.
    assert_eq!(windows(&driver), ["a@0=x", "a@10=xy", "a@11=y", "a@21=z"]);
}

#[test]
fn records_earlier_than_the_difference_share_the_first_sliding_window() {
    let driver = sliding(50);
    send_all(&driver, &["s a x 4", "s a y 7"]);
    assert_eq!(windows(&driver), ["a@0=x", "a@0=xy", "a@5=y"]);
}

#[test]
fn a_sliding_window_is_open_while_time_has_not_passed_its_end_and_grace() {
    let driver = sliding(5);
    send_all(&driver, &["s b x 100", "s a y 95", "s c z 94"]);
    assert_eq!(windows(&driver), ["a@85=y", "b@90=x"]);
    assert_eq!(driver.records_dropped(), 1);
}

#[test]
fn a_session_takes_null_values_and_drops_null_keys() {
    let driver = sessions();
    send_all(&driver, &["s a - 5", "s - x 6"]);
    assert_eq!(told_sessions(&driver), ["a@5-5=_"]);
    assert_eq!(driver.records_dropped(), 1);
}

#[test]
fn records_exactly_the_gap_apart_are_in_one_session() {
    let driver = sessions();
    send_all(&driver, &["s a x 0", "s a y 10", "s a z 21"]);
    let expected = ["a@0-0=x", "a@0-10=|xy", "a@21-21=z"];
    assert_eq!(told_sessions(&driver), expected);
}

#[test]
fn a_session_is_open_while_time_has_not_passed_its_end_gap_and_grace() {
    let driver = sessions();
    send_all(&driver, &["s b x 100", "s a y 85", "s c z 84"]);
    assert_eq!(told_sessions(&driver), ["b@100-100=x", "a@85-85=y"]);
    assert_eq!(driver.records_dropped(), 1);
}

#[test]
fn a_late_record_that_joins_an_open_session_is_not_late() {
    let driver = sessions();
    send_all(&driver, &["s a x 90", "s b x 100", "s a y 84"]);
    let last = told_sessions(&driver).pop();
    assert_eq!(last.as_deref(), Some("a@84-90=|xy"));
    assert_eq!(driver.records_dropped(), 0);
}

#[test]
fn a_record_without_partner_waits_until_time_is_past_window_and_grace() {
    let driver = left_joined();
    send_all(&driver, &["s a 1 0", "wall 1000", "s b 2 15"]);
    assert_eq!(pairs(&driver), [] as [&str; 0]);
    send_all(&driver, &["wall 1000", "s b 3 16"]);
    assert_eq!(pairs(&driver), ["1+none"]);
}

#[test]
fn an_out_of_order_record_without_partner_is_told_at_once_if_its_window_has_passed() {
    let driver = left_joined();
    send_all(&driver, &["s b 2 40", "s c 3 30", "s a 1 29"]);
    assert_eq!(pairs(&driver), ["1+none"]);
}
