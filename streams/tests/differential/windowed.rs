//! What steps make of tables with windows.

use moldau_streams::{
    KTable, SessionWindow, Str, StrictBuffer, Suppressed, Topic, WindowBounds, Windowed,
};

use crate::case::{Op, Step};
use crate::functions::{self as apply, Text};
use crate::interpret::{Made, millis};

/// Of a table with tumbling, hopping or sliding windows.
pub(crate) fn of_time_windows(step: &Step, table: &KTable<Windowed<Text>, Text>) -> Option<Made> {
    let bounds = |key: &Windowed<Text>| (key.window.start, key.window.end);
    of_windowed(step, table, bounds, Made::Windowed)
}

/// Of a table with sessions.
pub(crate) fn of_sessions(
    step: &Step,
    table: &KTable<Windowed<Text, SessionWindow>, Text>,
) -> Option<Made> {
    let bounds = |key: &Windowed<Text, SessionWindow>| (key.window.start, key.window.end);
    of_windowed(step, table, bounds, Made::Sessions)
}

fn of_windowed<W: WindowBounds>(
    step: &Step,
    table: &KTable<Windowed<Text, W>, Text>,
    bounds: fn(&Windowed<Text, W>) -> (i64, i64),
    made: fn(KTable<Windowed<Text, W>, Text>) -> Made,
) -> Option<Made> {
    let table = match &step.name {
        Some(name) => table.named(name),
        None => table.clone(),
    };
    Some(made(match step.op.clone() {
        Op::WindowedFilter { f } => {
            table.filter(move |key, value| apply::test(&f, &key.key, value))
        }
        Op::WindowedMapValues { f } => {
            table.map_values_with_key(move |key, value| apply::value(&f, &key.key, value))
        }
        Op::WindowedSuppress { time_limit } => {
            let buffer = StrictBuffer::unbounded();
            table.suppress(match time_limit {
                Some(limit) => Suppressed::until_time_limit(millis(limit), buffer),
                None => Suppressed::until_window_closes(buffer),
            })
        }
        Op::WindowedTo { topic } => {
            let topic = Topic::<Windowed<Text, W>, Text>::named(&topic);
            table.to_stream().to(&topic);
            return None;
        }
        Op::Unwindow => {
            let stream = table.to_stream().map(move |windowed, value| {
                let (start, end) = bounds(windowed);
                let key = format!("{}@{start}-{end}", apply::shown(&windowed.key));
                (Some(Str::from(key)), value.clone().flatten())
            });
            return Some(Made::Stream(stream));
        }
        op => panic!("{op:?} is not for windowed tables"),
    }))
}
