//! Names and numbers of nodes, stores and topics: each text under `describe/` was written by
//! Kafka Streams 4.3 for the same topology.

use moldau_streams::{
    Builder, EagerBuffer, Hopping, KStream, KTable, SessionWindow, Sessions, Sliding, Str,
    StreamWindow, StrictBuffer, Suppressed, Topic, Tumbling, Windowed,
};

use crate::ms;

const S: Topic<Str, Str> = Topic::new("s");
const T: Topic<Str, Str> = Topic::new("t");
const U: Topic<Str, Str> = Topic::new("u");
const OUT: Topic<Str, Str> = Topic::new("out");

type Sessioned = Windowed<Str, SessionWindow>;

fn check(expected: &str, build: impl FnOnce(&Builder)) {
    let builder = Builder::new("app");
    build(&builder);
    let topology = builder.build().expect("a topology");
    assert_eq!(topology.describe(), expected);
}

fn around(stream: &KStream<Str, Str>) -> StreamWindow<Str, Str> {
    stream.within(ms(10)).grace(ms(5))
}

fn by_value(stream: &KStream<Str, Str>) -> KStream<Str, Str> {
    stream.select_key(|_, value| value.clone())
}

fn first(one: Option<&Str>, other: Option<&Str>) -> Str {
    one.or(other).cloned().unwrap_or_default()
}

fn last(_: &Str, value: &Str, aggregate: &mut Str) {
    aggregate.clone_from(value);
}

fn out<V: moldau_streams::Serde>(table: &KTable<Windowed<Str>, V>) {
    table.to_stream().to(&Topic::<Windowed<Str>, V>::new("out"));
}

fn sessions_out<V: moldau_streams::Serde>(table: &KTable<Sessioned, V>) {
    table.to_stream().to(&Topic::<Sessioned, V>::new("out"));
}

#[test]
fn stream_joins() {
    check(include_str!("../describe/stream_join.txt"), |builder| {
        let (left, right) = (builder.stream(&S), builder.stream(&U));
        left.join(around(&right)).by(|one, _| one.clone()).to(&OUT);
    });
    check(
        include_str!("../describe/stream_left_join.txt"),
        |builder| {
            let (left, right) = (builder.stream(&S), builder.stream(&U));
            let joined = left.join(around(&right)).left().by(|one, _| one.clone());
            joined.to(&OUT);
        },
    );
    check(
        include_str!("../describe/stream_outer_join.txt"),
        |builder| {
            let (left, right) = (builder.stream(&S), builder.stream(&U));
            left.join(around(&right)).outer().by(first).to(&OUT);
        },
    );
}

#[test]
fn a_named_stream_join_names_its_nodes_and_a_named_store_its_stores() {
    check(
        include_str!("../describe/stream_outer_join_named.txt"),
        |builder| {
            let (left, right) = (builder.stream(&S), builder.stream(&U));
            let window = around(&right).stored_as("st");
            left.named("jj").join(window).outer().by(first).to(&OUT);
        },
    );
}

#[test]
fn both_sides_of_a_stream_join_are_repartitioned_if_they_need_to() {
    check(
        include_str!("../describe/stream_join_repartitioned.txt"),
        |builder| {
            let left = by_value(&builder.stream(&S));
            let right = by_value(&builder.stream(&U));
            left.join(around(&right)).by(|one, _| one.clone()).to(&OUT);
        },
    );
    let named = include_str!("../describe/stream_left_join_repartitioned_named.txt");
    check(named, |builder| {
        let left = by_value(&builder.stream(&S));
        let right = by_value(&builder.stream(&U));
        let joined = left.named("jj").join(around(&right)).left();
        joined.by(|one, _| one.clone()).to(&OUT);
    });
}

#[test]
fn a_stream_joined_with_itself_has_two_stores_without_optimisation() {
    check(include_str!("../describe/self_join.txt"), |builder| {
        let left = builder.stream(&S);
        left.join(around(&left)).by(|one, _| one.clone()).to(&OUT);
    });
}

#[test]
fn windowed_aggregations() {
    check(include_str!("../describe/session_count.txt"), |builder| {
        let sessions = Sessions::gap(ms(10)).no_grace();
        sessions_out(
            &builder
                .stream(&S)
                .group_by_key()
                .windowed_by(sessions)
                .count(),
        );
    });
    check(
        include_str!("../describe/session_reduce_named.txt"),
        |builder| {
            let sessions = Sessions::gap(ms(10)).no_grace();
            let windowed = builder.stream(&S).group_by_key().windowed_by(sessions);
            sessions_out(&windowed.named("rr").reduce_as("st", |one, _| one.clone()));
        },
    );
    check(
        include_str!("../describe/sliding_aggregate.txt"),
        |builder| {
            let windows = Sliding::of(ms(10)).no_grace();
            let windowed = builder.stream(&S).group_by_key().windowed_by(windows);
            out(&windowed.aggregate(Str::default, last));
        },
    );
}

#[test]
fn suppression() {
    check(
        include_str!("../describe/hopping_suppress.txt"),
        |builder| {
            let windows = Hopping::of(ms(10)).advance_by(ms(5)).no_grace();
            let counts = builder
                .stream(&S)
                .group_by_key()
                .windowed_by(windows)
                .count();
            out(&counts.suppress(Suppressed::until_window_closes(StrictBuffer::unbounded())));
        },
    );
    check(include_str!("../describe/suppress_named.txt"), |builder| {
        let windows = Tumbling::of(ms(10)).no_grace();
        let counts = builder
            .stream(&S)
            .group_by_key()
            .windowed_by(windows)
            .count();
        let closed = Suppressed::until_window_closes(StrictBuffer::unbounded());
        out(&counts
            .named("ss")
            .suppress(closed)
            .filter(|_, count| *count > 1));
    });
    check(include_str!("../describe/suppress_table.txt"), |builder| {
        let limit = Suppressed::until_time_limit(ms(5), EagerBuffer::max_records(2));
        builder.table(&T).suppress(limit).to_stream().to(&OUT);
    });
}

#[test]
fn co_groups() {
    let keep = |_: &Str, _: &Str, _: &mut Str| ();
    check(include_str!("../describe/cogroup.txt"), |builder| {
        let s = builder.stream(&S).group_by_key();
        let u = builder.stream(&U).group_by_key();
        let table = s.cogroup(keep).cogroup(&u, keep).aggregate(Str::default);
        table.to_stream().to(&OUT);
    });
    check(
        include_str!("../describe/cogroup_repartitioned.txt"),
        |builder| {
            let s = by_value(&builder.stream(&S)).group_by_key();
            let u = builder.stream(&U).group_by_key();
            let table = s.cogroup(keep).cogroup(&u, keep).aggregate(Str::default);
            table.to_stream().to(&OUT);
        },
    );
    check(include_str!("../describe/cogroup_named.txt"), |builder| {
        let s = builder.stream(&S).group_by_key();
        let u = builder.stream(&U).group_by_key();
        let sessions = Sessions::gap(ms(10)).no_grace();
        let both = s.cogroup(keep).cogroup(&u, keep).windowed_by(sessions);
        sessions_out(
            &both
                .named("cc")
                .aggregate_as("st", Str::default, |_, _, _| ()),
        );
    });
    check(
        include_str!("../describe/cogroup_windowed.txt"),
        |builder| {
            let s = builder.stream(&S).group_by_key();
            let windows = Tumbling::of(ms(10)).no_grace();
            out(&s.cogroup(keep).windowed_by(windows).aggregate(Str::default));
        },
    );
}
