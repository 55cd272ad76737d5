//! Tumbling windows: which window, when it closes, and what its keys look like.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use moldau_streams::{Serde, SerdeContext, SerdeError, Str, Topic, Tumbling, Windowed, windowed};

use crate::{Nullable, S, driver, send, text, texts};

const COUNTS: Topic<Windowed<Nullable>, i64> = Topic::new("o");

fn ten() -> Tumbling {
    Tumbling::of(Duration::from_millis(10)).no_grace()
}

fn key(key: &str, start: i64) -> Windowed<Nullable> {
    windowed(text(Some(key)), start)
}

#[test]
fn a_null_value_is_counted_and_a_null_key_is_dropped_and_moves_no_time() {
    let driver = driver(|builder| {
        let counts = builder.stream(&S).group_by_key().windowed_by(ten()).count();
        counts.to_stream().to(&COUNTS);
    });
    send(
        &driver,
        &S,
        &[
            (Some("a"), Some("x"), 3),
            (Some("a"), None, 4),
            (None, Some("x"), 50),
            (Some("a"), Some("y"), 9),
        ],
    );
    let counts: Vec<_> = driver
        .output(&COUNTS)
        .read()
        .into_iter()
        .map(|(_, n)| n)
        .collect();
    assert_eq!(counts, [1, 2, 3]);
    assert_eq!(driver.records_dropped(), 1);
}

#[test]
fn a_window_without_grace_closes_when_time_reaches_its_end() {
    let driver = driver(|builder| {
        let counts = builder.stream(&S).group_by_key().windowed_by(ten()).count();
        counts.to_stream().to(&COUNTS);
    });
    send(
        &driver,
        &S,
        &[
            (Some("a"), Some("x"), 9),
            (Some("a"), Some("y"), 10),
            (Some("a"), Some("late"), 9),
            (Some("b"), Some("y"), 12),
        ],
    );
    let seen = driver.output(&COUNTS).read();
    assert_eq!(
        seen,
        [(key("a", 0), 1), (key("a", 10), 1), (key("b", 10), 1)]
    );
    assert_eq!(driver.records_dropped(), 1);
}

#[test]
fn grace_keeps_a_window_open_until_time_reaches_its_end_and_grace() {
    let driver = driver(|builder| {
        let windows = Tumbling::of(Duration::from_millis(10)).grace(Duration::from_millis(5));
        let counts = builder
            .stream(&S)
            .group_by_key()
            .windowed_by(windows)
            .count_as("w");
        counts.to_stream().to(&COUNTS);
    });
    let records = [3, 14, 9, 15, 9].map(|timestamp| (Some("a"), Some("x"), timestamp));
    send(&driver, &S, &records);
    let seen = driver.output(&COUNTS).read_with_timestamps();
    assert_eq!(
        seen,
        [
            (key("a", 0), 1, 3),
            (key("a", 10), 1, 14),
            (key("a", 0), 2, 9),
            (key("a", 10), 2, 15),
        ]
    );
    assert_eq!(driver.records_dropped(), 1);
    let store = driver.window_store::<Nullable, i64>("w");
    assert_eq!(store.get(text(Some("a")), 10), Some(2));
}

#[test]
fn keys_on_topic_and_in_changelog_have_kafka_streams_bytes() {
    let driver = driver(|builder| {
        let counts = builder
            .stream(&S)
            .group_by_key()
            .windowed_by(ten())
            .count_as("w");
        counts.to_stream().to(&COUNTS);
    });
    send(&driver, &S, &[(Some("a"), Some("x"), 13)]);
    // key | start (8), and in the changelog a sequence number (4) behind.
    assert_eq!(
        texts(&driver, "o"),
        ["61000000000000000a=0000000000000001@13"]
    );
    let changelog = ["61000000000000000a00000000=0000000000000001@13"];
    assert_eq!(texts(&driver, "app-w-changelog"), changelog);
}

#[test]
fn a_filter_before_the_window_delays_its_closing() {
    let driver = driver(|builder| {
        let wanted = builder
            .stream(&S)
            .filter(|_, value| value.as_deref() != Some("skip"));
        let counts = wanted.group_by_key().windowed_by(ten()).count();
        counts.to_stream().to(&COUNTS);
    });
    send(
        &driver,
        &S,
        &[
            (Some("a"), Some("x"), 3),
            (Some("a"), Some("skip"), 100),
            (Some("a"), Some("x"), 4),
        ],
    );
    assert_eq!(
        driver.output(&COUNTS).read(),
        [(key("a", 0), 1), (key("a", 0), 2)]
    );
    assert_eq!(driver.records_dropped(), 0);
}

#[test]
fn the_windows_own_time_starts_anew_after_a_restart_so_a_late_record_counts_once_more() {
    let driver = driver(|builder| {
        let windows = Tumbling::of(Duration::from_millis(10)).no_grace();
        let grouped = builder.stream(&S).group_by_key().windowed_by(windows);
        let retained = moldau_streams::Materialized::named("w").retention(Duration::from_secs(1));
        grouped.count_as(retained).to_stream().to(&COUNTS);
    });
    send(
        &driver,
        &S,
        &[(Some("a"), Some("x"), 3), (Some("a"), Some("x"), 20)],
    );
    send(&driver, &S, &[(Some("a"), Some("late"), 4)]);
    assert_eq!(driver.output(&COUNTS).read().len(), 2);
    driver.crash_and_restore();
    send(&driver, &S, &[(Some("a"), Some("late"), 4)]);
    assert_eq!(driver.output(&COUNTS).read(), [(key("a", 0), 2)]);
}

#[test]
fn reduce_and_aggregate_work_on_each_window() {
    let driver = driver(|builder| {
        let grouped = builder.stream(&S).group_by_key().windowed_by(ten());
        let latest = grouped.reduce(|_, value| value.clone());
        latest
            .to_stream()
            .to(&Topic::<Windowed<Nullable>, Nullable>::new("latest"));
        let sums = grouped.aggregate(|| 0_i64, |_, _, sum| *sum += 10);
        sums.to_stream().to(&COUNTS);
    });
    send(
        &driver,
        &S,
        &[
            (Some("a"), Some("x"), 1),
            (Some("a"), Some("y"), 2),
            (Some("a"), Some("z"), 11),
        ],
    );
    let latest = driver
        .output(&Topic::<Windowed<Nullable>, Nullable>::new("latest"))
        .read();
    let values: Vec<_> = latest.into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, [text(Some("x")), text(Some("y")), text(Some("z"))]);
    let sums = driver.output(&COUNTS).read();
    assert_eq!(
        sums,
        [(key("a", 0), 10), (key("a", 0), 20), (key("a", 10), 10)]
    );
}

/// Text that counts how often it is decoded.
struct Counted(Str);

static DECODED: AtomicU64 = AtomicU64::new(0);

impl Serde for Counted {
    fn encode(&self, context: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        self.0.encode(context, out)
    }

    fn decode(context: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        DECODED.fetch_add(1, Ordering::Relaxed);
        Str::decode(context, bytes).map(Self)
    }
}

#[test]
fn values_behind_a_repartition_topic_that_are_only_counted_are_not_decoded_again() {
    let driver = driver(|builder| {
        builder
            .stream(&Topic::<Nullable, Counted>::new("s"))
            .group_by(|_, value| value.0.clone())
            .windowed_by(ten())
            .count()
            .to_stream()
            .to(&Topic::<Windowed<Str>, i64>::new("o"));
    });
    let records: Vec<_> = (0..9).map(|at| (Some("k"), Some("x"), at)).collect();
    send(&driver, &S, &records);
    assert_eq!(driver.raw_topic("o").len(), 9);
    // Once each, to find the new key.
    assert_eq!(DECODED.load(Ordering::Relaxed), 9);
}
