//! What Moldau makes of a case.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use moldau_streams::{
    Builder, Consumed, GlobalKTable, KGroupedStream, KStream, KTable, LocalConfig, Materialized,
    RecordHeader, SessionWindow, Str, StreamsError, TestDriver, Topic, Windowed,
};

use crate::case::{Answer, Case, Input, Kept, Op, Step, Written};
use crate::functions::Text;
use crate::{grouped, streams, tables, windowed};

/// Runs a case on the test driver.
pub(crate) fn answer(case: &Case) -> Answer {
    let run = AssertUnwindSafe(|| run(case));
    match catch_unwind(run) {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => failed(error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            failed(text.unwrap_or_default())
        }
    }
}

fn failed(error: String) -> Answer {
    Answer {
        error: Some(error),
        ..Answer::default()
    }
}

fn run(case: &Case) -> Result<Answer, StreamsError> {
    let builder = Builder::new("app");
    let mut results = Results::new();
    for step in &case.steps {
        build(&builder, step, &mut results);
    }
    let topology = builder.build()?;
    let mut config = LocalConfig::default();
    if !case.cache {
        config.cache_max_bytes = 0;
    }
    let driver = topology.test_with(config)?;
    let mut topics = BTreeMap::new();
    for (index, record) in case.records.iter().enumerate() {
        send(&driver, record);
        for name in driver.topic_names() {
            if !case.reads(&name) {
                take_written(&driver, &name, index, &mut topics);
            }
        }
    }
    Ok(Answer {
        error: None,
        describe: topology.describe(),
        topics,
    })
}

fn send(driver: &TestDriver, record: &Input) {
    let Some(topic) = &record.0 else {
        driver.advance_wall_clock(Duration::from_millis(record.3.unsigned_abs()));
        return;
    };
    let headers = record.4.iter().map(|(key, value)| RecordHeader {
        key: Str::from(key.clone()),
        value: Some(value.clone().into_bytes().into()),
    });
    let text = |text: &Option<String>| text.clone().map(Str::from);
    let input = driver.input(&Topic::<Text, Text>::named(topic));
    let (key, value) = (text(&record.1), text(&record.2));
    input.send_with_headers(record.3, key, value, headers.collect());
}

/// Adds what was written to a topic since the last time.
fn take_written(
    driver: &TestDriver,
    topic: &str,
    index: usize,
    topics: &mut BTreeMap<String, Vec<Written>>,
) {
    let records = driver.raw_topic(topic);
    if records.is_empty() {
        return;
    }
    let written = topics.entry(topic.to_owned()).or_default();
    for record in &records[written.len()..] {
        let headers = record.headers.iter();
        let headers = headers.map(|header| (header.key.to_string(), hex(header.value.as_deref())));
        let (key, value) = (hex(record.key.as_deref()), hex(record.value.as_deref()));
        written.push(Written(
            key,
            value,
            record.timestamp,
            headers.collect(),
            index,
        ));
    }
}

fn hex(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What steps have made, by their id.
pub(crate) type Results = BTreeMap<u32, Made>;

/// What a step has made.
pub(crate) enum Made {
    Stream(KStream<Text, Text>),
    Grouped(KGroupedStream<Text, Text>),
    Table(KTable<Text, Text>),
    Windowed(KTable<Windowed<Text>, Text>),
    Sessions(KTable<Windowed<Text, SessionWindow>, Text>),
    Global(GlobalKTable<Text, Text>),
    Branches(Vec<KStream<Text, Text>>),
}

fn build(builder: &Builder, step: &Step, results: &mut Results) {
    let made = match step.inputs.first().map(|input| &results[input]) {
        None => Some(source(builder, step)),
        Some(Made::Stream(stream)) => streams::of_stream(step, stream, results),
        Some(Made::Grouped(grouped)) => Some(grouped::of_grouped(step, grouped, results)),
        Some(Made::Table(table)) => tables::of_table(step, table, results),
        Some(Made::Windowed(table)) => windowed::of_time_windows(step, table),
        Some(Made::Sessions(table)) => windowed::of_sessions(step, table),
        Some(Made::Global(_)) => panic!("a step hangs on a global table"),
        Some(Made::Branches(_)) => panic!("a step hangs on all branches"),
    };
    match (made, &step.op) {
        (Some(Made::Branches(streams)), Op::Branch { outputs, .. }) => {
            let streams = streams.into_iter().map(Made::Stream);
            results.extend(outputs.iter().copied().zip(streams));
        }
        (Some(made), _) => {
            results.insert(step.id, made);
        }
        (None, _) => {}
    }
}

fn source(builder: &Builder, step: &Step) -> Made {
    match &step.op {
        Op::Stream { topic, more } => {
            let names = [topic].into_iter().chain(more);
            let topics: Vec<_> = names.map(Topic::<Text, Text>::named).collect();
            Made::Stream(builder.stream_of(&topics.iter().collect::<Vec<_>>()))
        }
        Op::Table { topic, kept } => {
            Made::Table(builder.table_as(&Topic::named(topic), materialized(kept)))
        }
        Op::GlobalTable { topic, kept } => Made::Global(match &kept.store {
            Some(store) => {
                builder.global_table_as(&Topic::named(topic), store.clone(), Consumed::new())
            }
            None => builder.global_table(&Topic::named(topic)),
        }),
        op => panic!("{op:?} is no source"),
    }
}

pub(crate) fn table<'a>(step: &Step, results: &'a Results) -> &'a KTable<Text, Text> {
    match &results[&step.inputs[1]] {
        Made::Table(table) => table,
        _ => panic!("{step:?} has no table"),
    }
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn materialized(kept: &Kept) -> Materialized {
    let mut materialized = Materialized::default();
    if let (Some(store), Some(history)) = (&kept.store, kept.history) {
        materialized = Materialized::versioned(store, millis(history));
    } else if let Some(store) = &kept.store {
        materialized = Materialized::named(store);
    }
    if kept.every_update {
        materialized = materialized.every_update();
    }
    if kept.no_changelog {
        materialized = materialized.without_changelog();
    }
    materialized
}
