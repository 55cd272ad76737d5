//! Streams of described topologies.

use std::cell::RefCell;

use moldau_streams::{GlobalKTable, KStream, Repartitioned, Str, StreamJoined, Topic};

use crate::case::{JoinKind, Op, Step};
use crate::functions::{self as apply, Text};
use crate::interpret::{Made, Results, materialized, millis, table};
use crate::processors;

pub(crate) fn of_stream(
    step: &Step,
    stream: &KStream<Text, Text>,
    results: &Results,
) -> Option<Made> {
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
        Op::ToDynamic { topic, f } => {
            stream.to_dynamic(move |key, value, _| {
                let answer = if apply::test(&f, key, value) {
                    "yes"
                } else {
                    "no"
                };
                format!("{topic}-{answer}")
            });
            return None;
        }
        Op::ProcessValues { kind, store } => processors::numbered(&stream, kind, &store),
        Op::GroupByKey => return Some(Made::Grouped(stream.group_by_key())),
        Op::GroupBy { kf } => {
            let grouped = stream.group_by(move |key, value| apply::key(&kf, key, value));
            return Some(Made::Grouped(grouped));
        }
        _ => joined(step, &stream, results),
    };
    Some(Made::Stream(made))
}

fn joined(step: &Step, stream: &KStream<Text, Text>, results: &Results) -> KStream<Text, Text> {
    match step.op.clone() {
        Op::JoinTable { grace } => {
            let join = stream.join(table(step, results));
            match grace {
                Some(grace) => join.grace(millis(grace)).by(apply::join),
                None => join.by(apply::join),
            }
        }
        Op::LeftJoinTable { grace } => {
            let join = stream.join(table(step, results)).left();
            let join = match grace {
                Some(grace) => join.grace(millis(grace)),
                None => join,
            };
            join.by(|value, found| apply::join(value, found.unwrap_or(&None)))
        }
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
        Op::JoinStream { .. } => join_streams(step, stream, results),
        op => panic!("{op:?} is not for streams"),
    }
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
