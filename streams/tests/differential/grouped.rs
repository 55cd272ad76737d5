//! Aggregations of grouped streams and tables.

use moldau_streams::{
    CogroupedKStream, Hopping, KGroupedStream, KTable, Materialized, Serde, SessionWindow,
    SessionWindowedKStream, Sessions, Sliding, Str, TimeWindowedKStream, Topic, Tumbling, Windowed,
};

use crate::case::{Fold, Kept, Op, Step, Window};
use crate::functions::{self as apply, Text};
use crate::interpret::{Made, Results, materialized, millis};

/// What a step makes of a grouped stream.
pub(crate) fn of_grouped(
    step: &Step,
    grouped: &KGroupedStream<Text, Text>,
    results: &Results,
) -> Made {
    let named = match &step.name {
        Some(name) => grouped.named(name),
        None => grouped.clone(),
    };
    match &step.op {
        Op::Cogroup { .. } => cogrouped(step, grouped, results),
        Op::Aggregate { window: None, .. } => Made::Table(aggregated(step, &named)),
        Op::Aggregate {
            window: Some(window),
            emits_final,
            ..
        } => in_windows(step, &named, *window, *emits_final),
        op => panic!("{op:?} is not for groups"),
    }
}

/// A fold with its function, where counts go, how it is kept, and whether that is as usual.
fn fold(step: &Step) -> (Fold, String, Option<String>, Materialized, bool) {
    let emits_final = matches!(
        step.op,
        Op::Aggregate {
            emits_final: true,
            ..
        }
    );
    match step.op.clone() {
        Op::Aggregate {
            kind,
            f,
            counts_to,
            kept,
            ..
        }
        | Op::TableGroup {
            kind,
            f,
            counts_to,
            kept,
            ..
        } => {
            let as_usual = kept == Kept::default() && !emits_final;
            let kept = materialized(&kept);
            // Otherwise Kafka Streams may forget windows before they are emitted.
            let kept = match emits_final {
                true => kept.retention(millis(60_000)),
                false => kept,
            };
            (kind, f, counts_to, kept, as_usual)
        }
        op => panic!("{op:?} is no fold"),
    }
}

fn aggregated(step: &Step, grouped: &KGroupedStream<Text, Text>) -> KTable<Text, Text> {
    let (kind, f, counts_to, kept, as_usual) = fold(step);
    match kind {
        Fold::Count if as_usual => counted(grouped.count(), counts_to),
        Fold::Count => counted(grouped.count_as(kept), counts_to),
        Fold::Reduce => {
            grouped.reduce_as(kept, move |before, value| apply::reduce(&f, before, value))
        }
        Fold::Aggregate => grouped.aggregate_as(kept, apply::start, adding(f)),
    }
}

/// An aggregator.
fn adding(f: String) -> impl Fn(&Text, &Text, &mut Text) + Send + Sync + 'static {
    move |_, value, aggregate| *aggregate = apply::add(&f, value, aggregate)
}

/// Counts, written as they are if they are to be, as text.
fn counted<K: Serde>(counts: KTable<K, i64>, counts_to: Option<String>) -> KTable<K, Text> {
    if let Some(topic) = counts_to {
        counts.to_stream().to(&Topic::<K, i64>::named(&topic));
    }
    counts.map_values(|count| Some(Str::from(count.to_string())))
}

fn in_windows(
    step: &Step,
    grouped: &KGroupedStream<Text, Text>,
    window: Window,
    emits_final: bool,
) -> Made {
    let windowed = match window {
        Window::Tumbling { size, grace } => grouped.windowed_by(tumbling(size, grace)),
        Window::Hopping {
            size,
            advance,
            grace,
        } => grouped.windowed_by(hopping(size, advance, grace)),
        Window::Sliding { difference, grace } => grouped.windowed_by(sliding(difference, grace)),
        Window::Session { gap, grace } => {
            let windowed = grouped.windowed_by(sessions(gap, grace));
            let windowed = if emits_final {
                windowed.emit_final()
            } else {
                windowed
            };
            return Made::Sessions(in_sessions(step, &windowed));
        }
    };
    let windowed = if emits_final {
        windowed.emit_final()
    } else {
        windowed
    };
    Made::Windowed(in_time_windows(step, &windowed))
}

fn in_time_windows(
    step: &Step,
    windowed: &TimeWindowedKStream<Text, Text>,
) -> KTable<Windowed<Text>, Text> {
    let (kind, f, counts_to, kept, as_usual) = fold(step);
    match kind {
        Fold::Count if as_usual => counted(windowed.count(), counts_to),
        Fold::Count => counted(windowed.count_as(kept), counts_to),
        Fold::Reduce => {
            windowed.reduce_as(kept, move |before, value| apply::reduce(&f, before, value))
        }
        Fold::Aggregate => windowed.aggregate_as(kept, apply::start, adding(f)),
    }
}

fn in_sessions(
    step: &Step,
    windowed: &SessionWindowedKStream<Text, Text>,
) -> KTable<Windowed<Text, SessionWindow>, Text> {
    let (kind, f, counts_to, kept, as_usual) = fold(step);
    match kind {
        Fold::Count if as_usual => counted(windowed.count(), counts_to),
        Fold::Count => counted(windowed.count_as(kept), counts_to),
        Fold::Reduce => {
            windowed.reduce_as(kept, move |before, value| apply::reduce(&f, before, value))
        }
        Fold::Aggregate => windowed.aggregate_as(kept, apply::start, adding(f), merge),
    }
}

/// Makes the aggregates of two sessions one.
fn merge(_: &Text, aggregate: &mut Text, other: Text) {
    *aggregate = apply::join(aggregate, &other);
}

fn cogrouped(step: &Step, first: &KGroupedStream<Text, Text>, results: &Results) -> Made {
    let Op::Cogroup { f, window, kept } = step.op.clone() else {
        panic!("{step:?} groups nothing together");
    };
    let mut cogrouped: CogroupedKStream<Text, Text> = first.cogroup(adding(f.clone()));
    for other in &step.inputs[1..] {
        let Made::Grouped(other) = &results[other] else {
            panic!("{step:?} has something that is not grouped");
        };
        cogrouped = cogrouped.cogroup(other, adding(f.clone()));
    }
    if let Some(name) = &step.name {
        cogrouped = cogrouped.named(name);
    }
    let kept = materialized(&kept);
    let start = apply::start;
    Made::Windowed(match window {
        None => return Made::Table(cogrouped.aggregate_as(kept, start)),
        Some(Window::Tumbling { size, grace }) => cogrouped
            .windowed_by(tumbling(size, grace))
            .aggregate_as(kept, start),
        Some(Window::Hopping {
            size,
            advance,
            grace,
        }) => {
            let windowed = cogrouped.windowed_by(hopping(size, advance, grace));
            windowed.aggregate_as(kept, start)
        }
        Some(Window::Sliding { difference, grace }) => cogrouped
            .windowed_by(sliding(difference, grace))
            .aggregate_as(kept, start),
        Some(Window::Session { gap, grace }) => {
            let windowed = cogrouped.windowed_by(sessions(gap, grace));
            return Made::Sessions(windowed.aggregate_as(kept, start, merge));
        }
    })
}

fn tumbling(size: u64, grace: u64) -> Tumbling {
    Tumbling::of(millis(size)).grace(millis(grace))
}

fn hopping(size: u64, advance: u64, grace: u64) -> Hopping {
    let windows = Hopping::of(millis(size)).advance_by(millis(advance));
    windows.grace(millis(grace))
}

fn sliding(difference: u64, grace: u64) -> Sliding {
    Sliding::of(millis(difference)).grace(millis(grace))
}

fn sessions(gap: u64, grace: u64) -> Sessions {
    Sessions::gap(millis(gap)).grace(millis(grace))
}

/// A table grouped by other keys.
pub(crate) fn table_group(step: &Step, table: &KTable<Text, Text>) -> KTable<Text, Text> {
    let Op::TableGroup { kf, .. } = step.op.clone() else {
        panic!("{step:?} is no grouping");
    };
    let (kind, f, counts_to, kept, _) = fold(step);
    let grouped = table.group_by(move |key, value| (apply::key(&kf, key, value), value.clone()));
    match kind {
        Fold::Count => counted(grouped.count_as(kept), counts_to),
        Fold::Reduce => grouped.reduce_as(
            kept,
            move |before, value| apply::reduce(&f, before, value),
            |before, value| apply::subtract(value, before),
        ),
        Fold::Aggregate => grouped.aggregate_as(
            kept,
            apply::start,
            move |_, value, all: &mut Text| *all = apply::add(&f, value, all),
            |_, value, all: &mut Text| *all = apply::subtract(value, all),
        ),
    }
}
