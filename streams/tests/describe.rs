//! Names, numbers and descriptions of topologies are Kafka Streams' own: each text under
//! `describe/` was written by Kafka Streams 4.3 for the same topology.

use std::time::Duration;

use moldau_streams::{
    Builder, Consumed, KStream, KTable, Materialized, ProcessorError, ProcessorRecord,
    Repartitioned, Str, Topic, TopicPattern, Tumbling, ValueContext, ValueProcessor, Windowed,
};

const LINES: Topic<Str, Str> = Topic::new("lines");
const S: Topic<Str, Str> = Topic::new("s");
const T: Topic<Str, Str> = Topic::new("t");
const U: Topic<Str, Str> = Topic::new("u");
const OUT: Topic<Str, Str> = Topic::new("out");

fn check(build: impl FnOnce(&Builder), expected: &str) {
    let builder = Builder::new("app");
    build(&builder);
    let topology = builder.build().expect("a topology");
    assert_eq!(topology.describe(), expected);
}

fn by_value(stream: &KStream<Str, Str>) -> KStream<Str, Str> {
    stream.select_key(|_, value| value.clone())
}

fn minutes() -> Tumbling {
    Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(5))
}

#[test]
fn word_count() {
    let expected = include_str!("describe/word_count.txt");
    check(
        |builder| {
            let words = builder
                .stream(&LINES)
                .flat_map_values(|_, words: &mut Vec<Str>| words.clear());
            let counts = words.group_by(|_, word| word.clone()).count();
            counts.to_stream().to(&Topic::<Str, i64>::new("counts"));
        },
        expected,
    );
}

#[test]
fn pattern() {
    let expected = include_str!("describe/pattern.txt");
    const ORDERS: TopicPattern<Str, Str> = TopicPattern::new("orders-.*");
    check(
        |builder| {
            let orders = builder.stream_matching(&ORDERS);
            let counts = orders.group_by(|_, value| value.clone()).count();
            counts.to_stream().to(&Topic::<Str, i64>::new("counts"));
            builder
                .stream_matching(&ORDERS)
                .to(&Topic::<Str, Str>::new("o2"));
        },
        expected,
    );
}

#[test]
fn pattern_named_merge() {
    let expected = include_str!("describe/pattern_named_merge.txt");
    const LETTERS: TopicPattern<Str, Str> = TopicPattern::new("a-.*");
    check(
        |builder| {
            let letters = builder.stream_matching_with(&LETTERS, Consumed::new().named("letters"));
            let merged = letters.merge(&builder.stream_of(&[&T, &S]));
            merged.to(&Topic::<Str, Str>::new("o2"));
        },
        expected,
    );
}

#[test]
fn word_count_with_a_named_store() {
    let expected = include_str!("describe/word_count_named_store.txt");
    check(
        |builder| {
            let words = builder
                .stream(&LINES)
                .flat_map_values(|_, words: &mut Vec<Str>| words.clear());
            let counts = words
                .group_by(|_, word| word.clone())
                .count_as("counts-store");
            counts.to_stream().to(&Topic::<Str, i64>::new("counts"));
        },
        expected,
    );
}

#[test]
fn a_named_grouping_names_key_selection_and_repartition_topic() {
    let expected = include_str!("describe/named_grouping.txt");
    check(
        |builder| {
            let lines = builder.stream(&LINES);
            let counts = lines
                .named("by-word")
                .group_by(|_, word| word.clone())
                .count();
            counts.to_stream().to(&Topic::<Str, i64>::new("counts"));
        },
        expected,
    );
}

#[test]
fn a_named_grouping_is_repartitioned_once_for_all_of_its_aggregations() {
    let expected = include_str!("describe/named_grouping_twice.txt");
    check(
        |builder| {
            let grouped = builder
                .stream(&S)
                .named("gg")
                .group_by(|_, value| value.clone());
            let _ = grouped.count();
            let _ = grouped.reduce(|one, _| one.clone());
        },
        expected,
    );
}

#[test]
fn unnamed_groupings_are_repartitioned_once_for_each_aggregation() {
    let expected = include_str!("describe/two_groupings.txt");
    check(
        |builder| {
            let stream = by_value(&builder.stream(&S));
            let _ = stream.group_by_key().count();
            let _ = stream.group_by_key().reduce(|one, _| one.clone());
        },
        expected,
    );
}

#[test]
fn reduce() {
    let expected = include_str!("describe/reduce.txt");
    check(
        |builder| {
            let reduced = builder
                .stream(&LINES)
                .group_by_key()
                .reduce(|one, _| one.clone());
            reduced.to_stream().to(&OUT);
        },
        expected,
    );
}

#[test]
fn windowed_count() {
    let expected = include_str!("describe/windowed_count.txt");
    check(
        |builder| {
            let grouped = by_value(&builder.stream(&LINES)).group_by_key();
            let counts = grouped.windowed_by(minutes()).count();
            counts
                .to_stream()
                .to(&Topic::<Windowed<Str>, i64>::new("out"));
        },
        expected,
    );
}

#[test]
fn windowed_reduce() {
    let expected = include_str!("describe/windowed_reduce.txt");
    check(
        |builder| {
            let grouped = builder.stream(&LINES).group_by_key();
            let reduced = grouped.windowed_by(minutes()).reduce(|one, _| one.clone());
            reduced
                .to_stream()
                .to(&Topic::<Windowed<Str>, Str>::new("out"));
        },
        expected,
    );
}

#[test]
fn a_table_that_nobody_looks_into_has_no_store() {
    let expected = include_str!("describe/table.txt");
    check(|builder| builder.table(&T).to_stream().to(&OUT), expected);
}

#[test]
fn a_table_with_a_named_store_keeps_it() {
    let expected = include_str!("describe/table_named_store.txt");
    check(
        |builder| builder.table_as(&T, "t-store").to_stream().to(&OUT),
        expected,
    );
}

#[test]
fn a_joined_table_has_a_store() {
    let expected = include_str!("describe/join.txt");
    check(
        |builder| {
            let table = builder.table(&T);
            builder
                .stream(&S)
                .join(&table)
                .by(|value, _| value.clone())
                .to(&OUT);
        },
        expected,
    );
}

#[test]
fn a_join_after_a_key_change_is_repartitioned() {
    let expected = include_str!("describe/left_join_repartitioned.txt");
    check(
        |builder| {
            let table = builder.table(&T);
            let swapped = builder
                .stream(&S)
                .map(|key, value| (value.clone(), key.clone()));
            swapped
                .join(&table)
                .left()
                .by(|value, _| value.clone())
                .to(&OUT);
        },
        expected,
    );
}

#[test]
fn a_named_join_names_its_repartition_topic() {
    let expected = include_str!("describe/left_join_named.txt");
    check(
        |builder| {
            let table = builder.table(&T);
            let swapped = builder
                .stream(&S)
                .map(|key, value| (value.clone(), key.clone()));
            swapped
                .named("jn")
                .join(&table)
                .left()
                .by(|value, _| value.clone())
                .to(&OUT);
        },
        expected,
    );
}

#[test]
fn a_join_may_follow_a_join_of_the_same_table() {
    let expected = include_str!("describe/join_rekey_join.txt");
    check(
        |builder| {
            let stream = builder.stream(&S);
            let table = builder.table(&T);
            let joined = stream.join(&table).by(|value, _| value.clone());
            let rekeyed = by_value(&joined.map_values(Clone::clone));
            rekeyed
                .join(&table)
                .by(|value, _| value.clone())
                .to(&Topic::<Str, Str>::new("o"));
        },
        expected,
    );
}

#[test]
fn a_stream_may_be_joined_with_its_own_aggregate() {
    let expected = include_str!("describe/diamond.txt");
    check(
        |builder| {
            let stream = builder.stream(&S);
            let counts = stream.group_by_key().count();
            stream.join(&counts).by(|value, _| value.clone()).to(&OUT);
        },
        expected,
    );
}

#[test]
fn merge() {
    let expected = include_str!("describe/merge.txt");
    check(
        |builder| {
            let (s, u) = (builder.stream(&S), builder.stream(&U));
            let s = s.filter(|_, _| true);
            let merged = s.merge(&u.map_values(Clone::clone)).peek(|_, _| ());
            merged.filter_not(|_, _| false).for_each(|_, _| ());
        },
        expected,
    );
}

#[test]
fn a_merge_is_repartitioned_if_one_of_its_streams_must_be() {
    let expected = include_str!("describe/merge_repartitioned.txt");
    check(
        |builder| {
            let s = builder.stream(&S);
            let u = builder.stream(&U);
            let _ = s.merge(&by_value(&u)).group_by_key().count_as("m");
        },
        expected,
    );
}

#[test]
fn fan_out() {
    let expected = include_str!("describe/fan_out.txt");
    check(
        |builder| {
            let s = builder.stream(&S);
            s.to(&Topic::<Str, Str>::new("x"));
            s.map_values(Clone::clone).to(&Topic::<Str, Str>::new("y"));
            s.flat_map(|_, _, out: &mut Vec<(Str, Str)>| out.clear())
                .to(&Topic::<Str, Str>::new("z"));
        },
        expected,
    );
}

#[test]
fn a_topic_read_twice_is_one_source() {
    let expected = include_str!("describe/topic_twice.txt");
    check(
        |builder| {
            let (one, other) = (builder.stream(&S), builder.stream(&S));
            one.to(&Topic::<Str, Str>::new("x"));
            other
                .map_values(Clone::clone)
                .to(&Topic::<Str, Str>::new("y"));
        },
        expected,
    );
}

#[test]
fn table_operators() {
    let expected = include_str!("describe/table_operators.txt");
    check(
        |builder| {
            let table = builder
                .table(&T)
                .filter(|_, _| true)
                .map_values(Clone::clone);
            builder
                .stream(&S)
                .join(&table)
                .by(|value, _| value.clone())
                .to(&OUT);
            table.to_stream().to(&Topic::<Str, Str>::new("tt"));
        },
        expected,
    );
}

#[test]
fn named_operators() {
    let expected = include_str!("describe/named_operators.txt");
    check(
        |builder| {
            let filtered = builder.stream(&S).named("flt").filter(|_, _| true);
            filtered
                .named("mv")
                .map_values(Clone::clone)
                .named("snk")
                .to(&OUT);
        },
        expected,
    );
}

#[test]
fn naming_an_operator_uses_up_a_number_and_naming_a_store_does_not() {
    let expected = include_str!("describe/named_aggregate.txt");
    check(
        |builder| {
            let grouped = builder
                .stream_with(&S, Consumed::new().named("src"))
                .group_by_key();
            let table = grouped
                .named("agg")
                .aggregate_as("st", Str::default, |_, _, _| ());
            table.named("ts").to_stream().to(&OUT);
        },
        expected,
    );
}

#[test]
fn a_named_table_names_source_and_table() {
    let expected = include_str!("describe/named_table.txt");
    check(
        |builder| {
            let table =
                builder.table_with(&T, Consumed::new().named("tsrc"), Materialized::default());
            table.to_stream().to(&OUT);
        },
        expected,
    );
}

fn described(build: impl FnOnce(&Builder)) -> String {
    let builder = Builder::new("app");
    build(&builder);
    builder.build().expect("a topology").describe()
}

/// Forwards each value as it is.
struct Same;

impl ValueProcessor<Str, Str> for Same {
    type Value = Str;

    fn process(
        &mut self,
        cx: &mut ValueContext<'_, '_, Str, Str>,
        record: ProcessorRecord<'_, Str, Str>,
    ) -> Result<(), ProcessorError> {
        Ok(cx.forward(record.value)?)
    }
}

#[test]
fn naming_a_processor_uses_up_no_number() {
    let text = described(|builder| {
        let processed = builder
            .stream(&S)
            .named("p")
            .process_values([], |_| Ok(Same));
        processed.filter(|_, _| true).to(&OUT);
    });
    assert!(text.contains("KSTREAM-SOURCE-0000000000"), "{text}");
    assert!(text.contains("KSTREAM-FILTER-0000000001"), "{text}");
}

#[test]
fn children_are_in_the_order_in_which_kafka_streams_links_them() {
    let text = described(|builder| {
        let stream = builder.stream(&S);
        let _ = stream.group_by(|key, _| key.clone());
        let _ = stream.group_by(|key, _| key.clone()).count();
    });
    // By size alone the second key selection would be first.
    let expected = "--> KSTREAM-KEY-SELECT-0000000001, KSTREAM-KEY-SELECT-0000000002\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn sub_topologies_are_numbered_in_the_order_of_their_first_nodes() {
    let text = described(|builder| {
        let _ = by_value(&builder.stream(&S)).group_by_key().count_as("a");
        let _ = builder.stream(&T).peek(|_, _| {});
    });
    // By name, "KSTREAM-SOURCE-.." would be before "a-repartition-source".
    let (repartition, last) = (text.find("Sub-topology: 1"), text.find("Sub-topology: 2"));
    let source = text.find("Source: a-repartition-source");
    assert!(repartition < source && source < last, "{text}");
}

#[test]
fn what_follows_a_grouping_that_is_used_twice_is_numbered_behind_its_second_use() {
    let text = described(|builder| {
        let stream = builder.stream(&S);
        let grouped = stream.named("again").group_by(|_, value| value.clone());
        let counts = grouped.count();
        let _ = counts.group_by(|key, _| (key.clone(), key.clone())).count();
        let _ = grouped.reduce(|_, value| value.clone());
    });
    // The counts' repartition topic was added before the second use of the grouping's.
    let (grouping, last) = (text.find("Sub-topology: 1"), text.find("Sub-topology: 2"));
    let source = text.find("Source: again-repartition-source");
    assert!(grouping < source && source < last, "{text}");
}

#[test]
fn an_unnamed_count_with_settings_uses_up_a_number_more() {
    let plain = described(|builder| {
        let _ = builder.stream(&S).group_by_key().count();
    });
    assert!(
        plain.contains("KSTREAM-AGGREGATE-STATE-STORE-0000000001"),
        "{plain}"
    );
    let set = described(|builder| {
        let settings = Materialized::default().every_update();
        let _ = builder.stream(&S).group_by_key().count_as(settings);
    });
    assert!(
        set.contains("KSTREAM-AGGREGATE-STATE-STORE-0000000002"),
        "{set}"
    );
}

#[test]
fn a_named_grouping_used_again_uses_up_three_numbers() {
    let text = described(|builder| {
        let grouped = by_value(&builder.stream(&S))
            .named("by-value")
            .group_by_key();
        let _ = grouped.count_as("a");
        let _ = grouped.count_as("b");
        let _ = builder.stream(&T).peek(|_, _| {});
    });
    assert!(
        text.contains("KSTREAM-SOURCE-0000000010 (topics: [t])"),
        "{text}"
    );
}

#[test]
fn a_source_read_again_is_the_last_parent_of_a_merge() {
    let text = described(|builder| {
        let odd = builder.stream(&S).filter(|_, _| true);
        let _ = builder.stream(&S).merge(&odd);
    });
    let parents = "<-- KSTREAM-FILTER-0000000001, KSTREAM-SOURCE-0000000000\n";
    assert!(text.contains(parents), "{text}");
}

fn plus(one: &Str, other: &Str) -> Str {
    Str::from(format!("{one}{other}"))
}

fn optional(one: Option<&Str>, _: Option<&Str>) -> Str {
    one.cloned().unwrap_or_default()
}

#[test]
fn table_join() {
    let expected = include_str!("describe/table_join.txt");
    check(
        |builder| {
            let (this, other) = (builder.table(&T), builder.table(&U));
            this.join(&other).by(plus).to_stream().to(&O);
        },
        expected,
    );
}

#[test]
fn table_join_in_a_store_of_its_own() {
    let expected = include_str!("describe/table_join_named_store.txt");
    check(
        |builder| {
            let (this, other) = (builder.table(&T), builder.table(&U));
            let joined = this.join(&other).left().by_as("jm", |one, _| one.clone());
            joined.to_stream().to(&O);
        },
        expected,
    );
}

#[test]
fn a_named_table_join_names_its_sides() {
    let expected = include_str!("describe/table_join_named.txt");
    check(
        |builder| {
            let (this, other) = (builder.table(&T), builder.table(&U));
            let joined = this.named("jn").join(&other).outer().by_as("js", optional);
            joined.to_stream().to(&O);
        },
        expected,
    );
}

#[test]
fn a_joined_table_with_a_store_is_looked_up_there() {
    let expected = include_str!("describe/table_map_values_named_store.txt");
    check(
        |builder| {
            let mapped = builder.table(&T).map_values_as("mm", Clone::clone);
            let other = builder.table(&U);
            let joined = mapped.join(&other).left().by(|one: &Str, _| one.clone());
            joined.to_stream().to(&O);
        },
        expected,
    );
}

#[test]
fn table_aggregate() {
    let expected = include_str!("describe/table_aggregate.txt");
    check(
        |builder| {
            let grouped = builder
                .table(&T)
                .group_by(|key, value| (value.clone(), key.clone()));
            let table = grouped.aggregate(Str::default, |_, _, _| (), |_, _, _| ());
            table.to_stream().to(&O);
        },
        expected,
    );
}

#[test]
fn a_named_table_grouping_is_repartitioned_once() {
    let expected = include_str!("describe/table_grouping_named.txt");
    check(
        |builder| {
            let table = builder.table(&T);
            let grouped = table
                .named("gg")
                .group_by(|key, value| (value.clone(), key.clone()));
            let _ = grouped.named("cnt").count();
            let _ = grouped.reduce(plus, plus);
        },
        expected,
    );
}

#[test]
fn foreign_key_join() {
    let expected = include_str!("describe/foreign_key_join.txt");
    check(
        |builder| {
            let (this, other) = (builder.table(&T), builder.table(&U));
            let joined = this.join(other.on(|_: &Str, value: &Str| value.clone()));
            joined.by(plus).to_stream().to(&O);
        },
        expected,
    );
}

#[test]
fn a_named_foreign_key_join_names_all_of_its_parts() {
    let expected = include_str!("describe/foreign_key_join_named.txt");
    check(
        |builder| {
            let (this, other) = (builder.table(&T), builder.table(&U));
            let foreign = other.on(|_: &Str, value: &Str| value.clone());
            let joined = this.named("fkj").join(foreign).by_as("fkstore", plus);
            joined.to_stream().to(&O);
        },
        expected,
    );
}

#[test]
fn a_table_of_a_stream_with_another_key_is_repartitioned() {
    let expected = include_str!("describe/to_table_repartitioned.txt");
    check(
        |builder| {
            let table: KTable<Str, Str> = by_value(&builder.stream(&S)).to_table_as("tt");
            table.to_stream().to(&O);
        },
        expected,
    );
}

#[test]
fn branches_are_numbered_behind_their_splitter() {
    let expected = include_str!("describe/split.txt");
    check(
        |builder| {
            let split = builder.stream(&S).split();
            split
                .branch(|_, _| true, |branch| branch.to(&A))
                .branch_named("bee", |_, _| true, |branch| branch.to(&B))
                .otherwise(|rest| rest.to(&O));
        },
        expected,
    );
}

#[test]
fn branches_of_a_named_splitter_begin_with_its_name() {
    let expected = include_str!("describe/split_named.txt");
    check(
        |builder| {
            let split = builder.stream(&S).named("br-").split();
            let _ = split.branch(|_, _| true, |branch| branch.to(&A));
        },
        expected,
    );
}

#[test]
fn explicit_repartitions() {
    let expected = include_str!("describe/repartition.txt");
    check(
        |builder| {
            let once = builder.stream(&S).repartition(Repartitioned::new());
            let twice = once.repartition(Repartitioned::named("mine").partitions(3));
            twice.to(&O);
        },
        expected,
    );
}

const O: Topic<Str, Str> = Topic::new("o");
const A: Topic<Str, Str> = Topic::new("a");
const B: Topic<Str, Str> = Topic::new("b");

#[test]
fn global_tables_are_sub_topologies_without_tasks() {
    let expected = include_str!("describe/global_join.txt");
    check(
        |builder| {
            let global = builder.global_table(&T);
            let stream = builder.stream(&S);
            let by_value = || global.on(|_: &Str, value: &Str| value.clone());
            stream.join(by_value()).by(plus).to(&O);
            let left = stream.join(by_value()).left();
            left.by(|one, _| one.clone())
                .to(&Topic::<Str, Str>::new("o2"));
        },
        expected,
    );
}

#[test]
fn a_join_with_a_global_table_keeps_the_need_to_repartition() {
    let expected = include_str!("describe/global_tables_named.txt");
    check(
        |builder| {
            let named = Consumed::new().named("gsrc");
            let global = builder.global_table_as(&T, "gs", named);
            let _ = builder.global_table(&U);
            let stream = by_value(&builder.stream(&S));
            let found = global.on(|_: &Str, value: &Str| value.clone());
            let joined = stream.named("gj").join(found).by(plus);
            let _ = joined.group_by_key().count();
        },
        expected,
    );
}
