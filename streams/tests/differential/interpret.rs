//! What Moldau makes of a case.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use moldau_streams::{
    Builder, Consumed, EagerBuffer, GlobalKTable, KGroupedStream, KStream, KTable, LocalConfig,
    Materialized, RecordHeader, Repartitioned, SessionWindow, Str, StreamJoined, StreamsError,
    StrictBuffer, Suppressed, TestDriver, Topic, Windowed,
};

use crate::case::{Answer, Case, Input, JoinKind, Kept, Op, Step, Written};
use crate::functions::{self as apply, Text};
use crate::{grouped, windowed};

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
        Some(Made::Stream(stream)) => of_stream(step, stream, results),
        Some(Made::Grouped(grouped)) => Some(grouped::of_grouped(step, grouped, results)),
        Some(Made::Table(table)) => of_table(step, table, results),
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
        Op::Stream { topic } => Made::Stream(builder.stream(&Topic::named(topic))),
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

fn of_stream(step: &Step, stream: &KStream<Text, Text>, results: &Results) -> Option<Made> {
    let stream = match &step.name {
        Some(name) => stream.named(name),
        None => stream.clone(),
    };
    let made = match step.op.clone() {
        Op::Filter { f } => stream.filter(move |key, value| apply::test(&f, key, value)),
        Op::FilterNot { f } => stream.filter_not(move |key, value| apply::test(&f, key, value)),
        Op::Map { kf, f } => stream
            .map(move |key, value| (apply::key(&kf, key, value), apply::value(&f, key, value))),
        Op::MapValues { f } => {
            stream.map_values_with_key(move |key, value| apply::value(&f, key, value))
        }
        Op::SelectKey { kf } => stream.select_key(move |key, value| apply::key(&kf, key, value)),
        Op::FlatMap { kf, f } => stream.flat_map(move |key, value, records| {
            let new_key = apply::key(&kf, key, value);
            records.push((new_key.clone(), value.clone()));
            records.push((new_key, apply::value(&f, key, value)));
        }),
        Op::FlatMapValues => stream.flat_map_values(apply::characters),
        Op::Peek => stream.peek(|_, _| {}),
        Op::ForEach => {
            stream.for_each(|_, _| {});
            return None;
        }
        Op::Merge => match &results[&step.inputs[1]] {
            Made::Stream(other) => stream.merge(other),
            _ => panic!("{step:?} has no stream"),
        },
        Op::Branch { predicates, .. } => return Some(branches(&stream, predicates)),
        Op::Repartition => stream.repartition(match &step.name {
            Some(name) => Repartitioned::named(name),
            None => Repartitioned::new(),
        }),
        Op::ToTable { kept } => {
            let table = stream.to_table_as::<Str>(materialized(&kept));
            return Some(Made::Table(table.map_values(|value| Some(value.clone()))));
        }
        Op::To { topic } => {
            stream.to(&Topic::<Text, Text>::named(topic));
            return None;
        }
        Op::GroupByKey => return Some(Made::Grouped(stream.group_by_key())),
        Op::GroupBy { kf } => {
            let grouped = stream.group_by(move |key, value| apply::key(&kf, key, value));
            return Some(Made::Grouped(grouped));
        }
        Op::JoinTable => stream.join(table(step, results)).by(apply::join),
        Op::LeftJoinTable => stream
            .join(table(step, results))
            .left()
            .by(|value, found| apply::join(value, found.unwrap_or(&None))),
        Op::JoinGlobal { kf } => {
            let found =
                global(step, results).on(move |key, value| apply::key(&kf, key, value).map(Some));
            stream.join(found).by(apply::join)
        }
        Op::LeftJoinGlobal { kf } => {
            let found =
                global(step, results).on(move |key, value| apply::key(&kf, key, value).map(Some));
            let join = stream.join(found).left();
            join.by(|value, found| apply::join(value, found.unwrap_or(&None)))
        }
        Op::JoinStream { .. } => join_streams(step, &stream, results),
        op => panic!("{op:?} is not for streams"),
    };
    Some(Made::Stream(made))
}

fn branches(stream: &KStream<Text, Text>, predicates: Vec<String>) -> Made {
    let made = RefCell::new(Vec::new());
    let keep = |stream| made.borrow_mut().push(stream);
    let mut split = stream.split();
    for f in predicates {
        split = split.branch(move |key, value| apply::test(&f, key, value), keep);
    }
    split.otherwise(keep);
    Made::Branches(made.into_inner())
}

fn table<'a>(step: &Step, results: &'a Results) -> &'a KTable<Text, Text> {
    match &results[&step.inputs[1]] {
        Made::Table(table) => table,
        _ => panic!("{step:?} has no table"),
    }
}

fn global<'a>(step: &Step, results: &'a Results) -> &'a GlobalKTable<Text, Text> {
    match &results[&step.inputs[1]] {
        Made::Global(table) => table,
        _ => panic!("{step:?} has no global table"),
    }
}

fn join_streams(
    step: &Step,
    stream: &KStream<Text, Text>,
    results: &Results,
) -> KStream<Text, Text> {
    let Op::JoinStream {
        kind,
        before,
        after,
        grace,
        store,
    } = step.op.clone()
    else {
        panic!("{step:?} joins no streams");
    };
    let Made::Stream(other) = &results[&step.inputs[1]] else {
        panic!("{step:?} has no other stream");
    };
    let window = other
        .within(millis(before))
        .after(millis(after))
        .grace(millis(grace));
    let window = match store {
        Some(store) => window.stored_as(StreamJoined::named(store)),
        None => window,
    };
    let join = stream.join(window);
    let or_null = |text: Option<&Text>| text.cloned().flatten();
    match kind {
        JoinKind::Inner => join.by(apply::join),
        JoinKind::Left => join
            .left()
            .by(move |one, other| apply::join(one, &or_null(other))),
        JoinKind::Outer => join
            .outer()
            .by(move |one, other| apply::join(&or_null(one), &or_null(other))),
    }
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn of_table(step: &Step, table: &KTable<Text, Text>, results: &Results) -> Option<Made> {
    let table = match &step.name {
        Some(name) => table.named(name),
        None => table.clone(),
    };
    let made = match step.op.clone() {
        Op::TableFilter { f, stored, kept } => {
            let test = move |key: &Text, value: &Text| apply::test(&f, key, value);
            match stored {
                true => table.filter_as(materialized(&kept), test),
                false => table.filter(test),
            }
        }
        Op::TableFilterNot { f, stored, kept } => {
            let test = move |key: &Text, value: &Text| apply::test(&f, key, value);
            match stored {
                true => table.filter_not_as(materialized(&kept), test),
                false => table.filter_not(test),
            }
        }
        Op::TableMapValues { f, stored, kept } => match stored {
            true => table.map_values_as(materialized(&kept), move |value| {
                apply::value(&f, &None, value)
            }),
            false => table.map_values_with_key(move |key, value| apply::value(&f, key, value)),
        },
        Op::TableGroup { .. } => grouped::table_group(step, &table),
        Op::Suppress {
            time_limit,
            max_records,
        } => {
            let limit = millis(time_limit);
            table.suppress(match max_records {
                Some(records) => {
                    Suppressed::until_time_limit(limit, EagerBuffer::max_records(records))
                }
                None => Suppressed::until_time_limit(limit, StrictBuffer::unbounded()),
            })
        }
        Op::JoinTables { kind, stored, kept } => {
            let kept = stored.then(|| materialized(&kept));
            join_tables(&table, self::table(step, results), kind, kept)
        }
        Op::ForeignKeyJoin { kind, kf, kept } => {
            let other = self::table(step, results);
            let other =
                other.on(move |_: &Text, value: &Text| apply::key(&kf, &None, value).map(Some));
            let kept = materialized(&kept);
            match kind {
                JoinKind::Inner => table.join(other).by_as(kept, apply::join),
                _ => table
                    .join(other)
                    .left()
                    .by_as(kept, |one, other| apply::join(one, other.unwrap_or(&None))),
            }
        }
        Op::ToStream => {
            let stream = table.to_stream();
            return Some(Made::Stream(
                stream.map_values(|value| value.clone().flatten()),
            ));
        }
        Op::TableTo { topic } => {
            table.to_stream().to(&Topic::<Text, Text>::named(topic));
            return None;
        }
        op => panic!("{op:?} is not for tables"),
    };
    Some(Made::Table(made))
}

fn join_tables(
    table: &KTable<Text, Text>,
    other: &KTable<Text, Text>,
    kind: JoinKind,
    kept: Option<Materialized>,
) -> KTable<Text, Text> {
    let join = table.join(other);
    let left = |one: &Text, other: Option<&Text>| apply::join(one, other.unwrap_or(&None));
    let outer = |one: Option<&Text>, other: Option<&Text>| {
        apply::join(one.unwrap_or(&None), other.unwrap_or(&None))
    };
    match (kind, kept) {
        (JoinKind::Inner, None) => join.by(apply::join),
        (JoinKind::Inner, Some(kept)) => join.by_as(kept, apply::join),
        (JoinKind::Left, None) => join.left().by(left),
        (JoinKind::Left, Some(kept)) => join.left().by_as(kept, left),
        (JoinKind::Outer, None) => join.outer().by(outer),
        (JoinKind::Outer, Some(kept)) => join.outer().by_as(kept, outer),
    }
}

pub(crate) fn materialized(kept: &Kept) -> Materialized {
    let mut materialized = Materialized::default();
    if let Some(store) = &kept.store {
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
