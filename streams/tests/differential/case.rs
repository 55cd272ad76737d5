//! A described topology with its input: what both sides interpret.
//!
//! As JSON it is one line; `tests/clients/java/streams/Interpreter.java` reads the same fields.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A topology and its input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    /// What it was generated from.
    pub(crate) seed: u64,
    /// Whether tables have a cache.
    pub(crate) cache: bool,
    /// Whether Kafka Streams keeps its stores in RocksDB; otherwise in memory.
    pub(crate) persistent: bool,
    pub(crate) steps: Vec<Step>,
    pub(crate) records: Vec<Input>,
}

/// Topic, key, value, timestamp and headers of an input record. Without a topic, it moves the
/// wall clock on by as many milliseconds as the timestamp says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Input(
    pub(crate) Option<String>,
    pub(crate) Option<String>,
    pub(crate) Option<String>,
    pub(crate) i64,
    pub(crate) Vec<(String, String)>,
);

/// An operator, and the steps that it hangs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) id: u32,
    pub(crate) inputs: Vec<u32>,
    /// Its name, or that of the grouping or join, instead of a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(flatten)]
    pub(crate) op: Op,
}

/// What a step does. `f` is a predicate, a function of values or an aggregator, `kf` a function
/// of keys; see `functions.rs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Op {
    Stream {
        topic: String,
        /// Further topics, read as if they were one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        more: Vec<String>,
    },
    Table {
        topic: String,
        #[serde(flatten)]
        kept: Kept,
    },
    /// A table of which every task has all; streams join it.
    GlobalTable {
        topic: String,
        #[serde(flatten)]
        kept: Kept,
    },
    Filter {
        f: String,
    },
    FilterNot {
        f: String,
    },
    Map {
        kf: String,
        f: String,
    },
    MapValues {
        f: String,
    },
    SelectKey {
        kf: String,
    },
    FlatMap {
        kf: String,
        f: String,
    },
    /// Each character of the value.
    FlatMapValues,
    Peek,
    ForEach,
    Merge,
    /// A step that makes several streams: one per predicate, and one of the rest.
    Branch {
        outputs: Vec<u32>,
        predicates: Vec<String>,
    },
    Repartition,
    /// Through `mapValues`, so that the table is one of text that may be null.
    ToTable {
        #[serde(flatten)]
        kept: Kept,
    },
    To {
        topic: String,
    },
    /// To `{topic}-yes` or `{topic}-no`, as `f` says.
    ToDynamic {
        topic: String,
        f: String,
    },
    /// Numbers the values of each key in a store of this kind; see `processors.rs`.
    ProcessValues {
        kind: StoreOf,
        store: String,
    },
    GroupByKey,
    GroupBy {
        kf: String,
    },
    /// Of a grouped stream, with a window or without.
    Aggregate {
        kind: Fold,
        f: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<Window>,
        /// Whether a window is emitted once, when it closes.
        #[serde(default, rename = "final")]
        emits_final: bool,
        /// Counts go to this topic as they are, before they are made text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        counts_to: Option<String>,
        #[serde(flatten)]
        kept: Kept,
    },
    /// All grouped streams that it hangs on in one aggregate.
    Cogroup {
        f: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<Window>,
        #[serde(flatten)]
        kept: Kept,
    },
    /// With a grace period if the table is versioned.
    JoinTable {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<u64>,
    },
    LeftJoinTable {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<u64>,
    },
    /// With the entry of a global table that `kf` makes the key of.
    JoinGlobal {
        kf: String,
    },
    LeftJoinGlobal {
        kf: String,
    },
    /// With the other stream's records from `before` ms before to `after` ms after.
    JoinStream {
        kind: JoinKind,
        before: u64,
        after: u64,
        grace: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        store: Option<String>,
    },
    /// `stored`: in a store of its own, named by `kept`.
    TableFilter {
        f: String,
        #[serde(default)]
        stored: bool,
        #[serde(flatten)]
        kept: Kept,
    },
    TableFilterNot {
        f: String,
        #[serde(default)]
        stored: bool,
        #[serde(flatten)]
        kept: Kept,
    },
    TableMapValues {
        f: String,
        #[serde(default)]
        stored: bool,
        #[serde(flatten)]
        kept: Kept,
    },
    /// By a transformer without a store.
    TableTransformValues {
        f: String,
    },
    /// Grouped by the key that `kf` makes, and aggregated.
    TableGroup {
        kf: String,
        kind: Fold,
        f: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        counts_to: Option<String>,
        #[serde(flatten)]
        kept: Kept,
    },
    JoinTables {
        kind: JoinKind,
        #[serde(default)]
        stored: bool,
        #[serde(flatten)]
        kept: Kept,
    },
    /// By the key that `kf` makes of the left value.
    ForeignKeyJoin {
        kind: JoinKind,
        kf: String,
        #[serde(flatten)]
        kept: Kept,
    },
    /// Updates held back for `time_limit` ms of event time, in at most `max_records`.
    Suppress {
        time_limit: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_records: Option<u64>,
    },
    /// To a stream of text, through `mapValues`.
    ToStream,
    TableTo {
        topic: String,
    },
    WindowedFilter {
        f: String,
    },
    WindowedMapValues {
        f: String,
    },
    /// Held back until the window closes, or for `time_limit` ms.
    WindowedSuppress {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_limit: Option<u64>,
    },
    WindowedTo {
        topic: String,
    },
    /// To a stream whose keys are `key@start-end`.
    Unwindow,
}

/// How values are made one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fold {
    Count,
    Reduce,
    Aggregate,
}

/// The store that a processor keeps its numbers in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoreOf {
    KeyValue,
    Window,
    Session,
    Versioned,
}

/// Which entries of two tables make a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JoinKind {
    Inner,
    Left,
    Outer,
}

/// A window; all in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Window {
    Tumbling { size: u64, grace: u64 },
    Hopping { size: u64, advance: u64, grace: u64 },
    Sliding { difference: u64, grace: u64 },
    Session { gap: u64, grace: u64 },
}

/// How a table is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<String>,
    #[serde(default)]
    pub(crate) every_update: bool,
    #[serde(default)]
    pub(crate) no_changelog: bool,
    /// History of a versioned store in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) history: Option<u64>,
}

/// What one side has made of a case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Why the topology was refused, or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(default)]
    pub(crate) describe: String,
    /// All records of all topics that were written to.
    #[serde(default)]
    pub(crate) topics: BTreeMap<String, Vec<Written>>,
}

/// Key, value, timestamp and headers of a written record, bytes in hexadecimal, and the number of
/// the input that it was written for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written(
    pub(crate) Option<String>,
    pub(crate) Option<String>,
    pub(crate) i64,
    pub(crate) Vec<(String, Option<String>)>,
    pub(crate) usize,
);

impl Answer {
    /// The answer without what both sides may do differently (see `docs/streams.md`): how often
    /// a changelog says what a key was between two commits, in which order keys are committed,
    /// the time of a tombstone and of what a suppression buffer holds, and the headers in a changelog (Kafka Streams keeps those of
    /// subscriptions to foreign keys), the class of what chooses a sink's topic.
    pub(crate) fn comparable(&self) -> Self {
        let mut answer = self.clone();
        let lines = self.describe.trim_end().lines();
        let lines = lines.map(|line| line.split("(extractor class: ").next().unwrap_or(line));
        answer.describe = lines.collect::<Vec<_>>().join("\n");
        let topics = answer.topics.iter_mut();
        for (topic, records) in topics.filter(|(topic, _)| topic.ends_with("-changelog")) {
            let mut last = BTreeMap::new();
            for mut record in records.drain(..) {
                record.3.clear();
                // Kafka Streams leaves the time of what a buffer holds to the producer.
                let is_buffer =
                    topic.contains("-SUPPRESS-") || topic.ends_with("-Buffer-changelog");
                if record.1.is_none() || is_buffer {
                    record.2 = 0;
                }
                last.insert((record.4, record.0.clone()), record);
            }
            // Nor does it matter whether a key that was never there is removed.
            let mut known = BTreeSet::new();
            records.extend(last.into_values().filter(|record| match record.1 {
                Some(_) => known.insert(record.0.clone()) || record.1.is_some(),
                None => known.remove(&record.0),
            }));
        }
        answer.topics.retain(|_, records| !records.is_empty());
        answer
    }
}

impl Case {
    /// Whether a step reads this topic.
    pub(crate) fn reads(&self, name: &str) -> bool {
        self.steps.iter().any(|step| match &step.op {
            Op::Stream { topic, more } => topic == name || more.iter().any(|more| more == name),
            Op::Table { topic, .. } | Op::GlobalTable { topic, .. } => topic == name,
            _ => false,
        })
    }

    /// The operator of each step, as it is called in JSON.
    pub(crate) fn operators(&self) -> impl Iterator<Item = String> + '_ {
        self.steps.iter().map(|step| {
            let json = serde_json::to_value(&step.op).expect("JSON");
            json["op"].as_str().expect("a name").to_owned()
        })
    }
}
