//! Windows, suppression, stream-stream joins and co-grouping, record by record.
//!
//! Each text beside this file is a transcript of Kafka Streams 4.3 and its test driver: lines
//! `topic key value timestamp [header]` are what was sent (`-` is null), `wall` moves the clock on,
//! and the lines below with two spaces before are what came of it, output (`o`) as well as
//! changelogs (the last record of each key). The same must come of it here.

mod boundaries;
mod cogroup;
mod final_results;
mod joins;
mod names;
mod sessions;
mod sliding;
mod suppress;
mod times;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use moldau_streams::{
    Builder, KGroupedStream, LocalConfig, RecordHeader, Str, TestDriver, Topic, Windowed,
};

/// Keys and values that may be null, to send any trap into a topology.
pub(crate) type Nullable = Option<Str>;

pub(crate) const S: Topic<Nullable, Nullable> = Topic::new("s");
pub(crate) const U: Topic<Nullable, Nullable> = Topic::new("u");
pub(crate) const O: Topic<Windowed<Nullable>, String> = Topic::new("o");

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The records of a topic by their keys.
pub(crate) fn grouped(
    builder: &Builder,
    topic: &Topic<Nullable, Nullable>,
) -> KGroupedStream<Nullable, Nullable> {
    builder.stream(topic).group_by_key()
}

/// Puts a value behind a text; null is `_`.
pub(crate) fn append(_: &Nullable, value: &Nullable, text: &mut String) {
    text.push_str(value.as_deref().unwrap_or("_"));
}

/// Puts a session's text behind another's.
pub(crate) fn merge(_: &Nullable, text: &mut String, other: String) {
    text.push('|');
    text.push_str(&other);
}

pub(crate) fn driver(build: impl FnOnce(&Builder)) -> TestDriver {
    let builder = Builder::new("app");
    build(&builder);
    let config = LocalConfig {
        wall_clock_ms: 10_000,
        ..LocalConfig::default()
    };
    let topology = builder.build().expect("a topology");
    topology.test_with(config).expect("a driver")
}

/// Sends what a transcript says and compares what comes of it.
pub(crate) fn check(transcript: &str, build: impl FnOnce(&Builder)) {
    let driver = driver(build);
    let topics: BTreeSet<_> = transcript
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .collect();
    let mut seen = BTreeMap::new();
    let mut text = String::new();
    for line in transcript.lines().filter(|line| !line.starts_with(' ')) {
        if line.starts_with("dropped ") {
            let _ = writeln!(text, "dropped {}", driver.records_dropped());
            continue;
        }
        let _ = writeln!(text, "{line}");
        send(&driver, line);
        for topic in &topics {
            let from = seen.entry(*topic).or_insert(0);
            text.push_str(&news(&driver, topic, from));
        }
    }
    assert_eq!(text, transcript, "got:\n{text}");
}

/// Does what a line says.
pub(crate) fn send(driver: &TestDriver, line: &str) {
    let words: Vec<_> = line.split(' ').collect();
    let null = |text: &str| (text != "-").then(|| Str::from(text.to_owned()));
    match words[..] {
        ["wall", millis] => driver.advance_wall_clock(ms(millis.parse().expect("millis"))),
        [topic, key, value, timestamp, ref header @ ..] => {
            let topics = [S, U, Topic::new("t")];
            let topic = topics.iter().find(|known| known.name() == topic);
            let input = driver.input(topic.expect("a topic that is read"));
            let header = header.first().map(|value| RecordHeader {
                key: Str::from("h"),
                value: Some(value.to_string().into()),
            });
            let timestamp = timestamp.parse().expect("a timestamp");
            let headers = header.into_iter().collect();
            input.send_with_headers(timestamp, null(key), null(value), headers);
        }
        _ => panic!("no such line: {line}"),
    }
}

/// What a topic got since it was looked at last.
pub(crate) fn news(driver: &TestDriver, topic: &str, from: &mut usize) -> String {
    let records = driver.raw_topic(topic);
    let mut lines = Vec::new();
    let mut last = BTreeMap::new();
    for record in &records[*from..] {
        let key = shown(record.key.as_deref());
        let mut value = format!("={}@", shown(record.value.as_deref()));
        // Kafka Streams leaves the time of what a suppression buffer holds to the producer.
        match topic.contains("ss-store") {
            true => value.push_str("null"),
            false => value.push_str(&record.timestamp.to_string()),
        }
        for header in &record.headers {
            let _ = write!(value, " {}={}", header.key, shown(header.value.as_deref()));
        }
        if topic == "o" {
            lines.push(format!("  {topic} {key}{value}\n"));
        } else {
            last.insert(key, value);
        }
    }
    *from = records.len();
    let last = last
        .iter()
        .map(|(key, value)| format!("  {topic} {key}{value}\n"));
    lines.into_iter().chain(last).collect()
}

/// Bytes as text if they are, or in hexadecimal.
fn shown(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "null".to_owned(),
        Some(bytes) if bytes.iter().all(u8::is_ascii_graphic) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        Some(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
