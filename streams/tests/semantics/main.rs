//! What each operator does with nulls, late records, caches, errors and crashes.
//!
//! The expected results are those of Kafka Streams 4.3 and its test driver for the same topology
//! and input, unless a test says what differs.

mod aggregations;
mod branches;
mod caching;
mod errors;
mod foreign_keys;
mod global_joins;
mod joins;
mod map_async;
mod patterns;
mod persistent;
mod processor_stores;
mod processors;
mod restore;
mod routing;
mod streams;
mod strict_names;
mod table_aggregations;
mod table_joins;
mod tables;
mod transform_values;
mod versioned;
mod versioned_transcripts;
mod windows;

use moldau_streams::{Builder, LocalConfig, RecordHeader, Str, TestDriver, Topic};

/// Keys and values that may be null, to send any trap into a topology.
pub(crate) type Nullable = Option<Str>;

pub(crate) const S: Topic<Nullable, Nullable> = Topic::new("s");
pub(crate) const U: Topic<Nullable, Nullable> = Topic::new("u");
pub(crate) const T: Topic<Str, Str> = Topic::new("t");
/// The topic of `T`, to write tombstones and null keys to.
pub(crate) const T_IN: Topic<Nullable, Nullable> = Topic::new("t");
pub(crate) const O: Topic<Nullable, Nullable> = Topic::new("o");
pub(crate) const COUNTS: Topic<Nullable, i64> = Topic::new("o");

/// A driver that commits after each record, as Kafka Streams' test driver does.
pub(crate) fn driver(build: impl FnOnce(&Builder)) -> TestDriver {
    driver_with(LocalConfig::default(), build)
}

pub(crate) fn driver_with(config: LocalConfig, build: impl FnOnce(&Builder)) -> TestDriver {
    let builder = Builder::new("app");
    build(&builder);
    let topology = builder.build().expect("a topology");
    topology.test_with(config).expect("a driver")
}

/// Writes text, or null, to `s`, `u` or `t`.
pub(crate) fn send(
    driver: &TestDriver,
    topic: &Topic<Nullable, Nullable>,
    records: &[(Option<&str>, Option<&str>, i64)],
) {
    let input = driver.input(topic);
    for (key, value, timestamp) in records {
        input.send_at(*timestamp, text(*key), text(*value));
    }
}

/// All of a topic as `key=value@timestamp`.
pub(crate) fn texts(driver: &TestDriver, topic: &str) -> Vec<String> {
    let shown = |bytes: Option<&[u8]>| match bytes {
        None => "null".to_owned(),
        Some(bytes) if bytes.iter().all(u8::is_ascii_graphic) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        Some(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let records = driver.raw_topic(topic);
    let text = records.iter().map(|record| {
        let (key, value) = (shown(record.key.as_deref()), shown(record.value.as_deref()));
        format!("{key}={value}@{}", record.timestamp)
    });
    text.collect()
}

pub(crate) fn text(text: Option<&str>) -> Nullable {
    text.map(|text| Str::from(text.to_owned()))
}

pub(crate) fn header(key: &'static str, value: &'static [u8]) -> RecordHeader {
    RecordHeader {
        key: Str::from(key),
        value: Some(value.into()),
    }
}
