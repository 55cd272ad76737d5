//! Tables of described topologies.

use moldau_streams::{EagerBuffer, KTable, Materialized, StrictBuffer, Suppressed, Topic};

use crate::case::{JoinKind, Op, Step};
use crate::functions::{self as apply, Text};
use crate::interpret::{self, Made, Results, materialized, millis};
use crate::{grouped, processors};

pub(crate) fn of_table(step: &Step, table: &KTable<Text, Text>, results: &Results) -> Option<Made> {
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
        Op::TableTransformValues { f } => processors::transformed(&table, f),
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
            join_tables(&table, interpret::table(step, results), kind, kept)
        }
        Op::ForeignKeyJoin { kind, kf, kept } => {
            let other = interpret::table(step, results);
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
