//! The beginning of a topology.

use std::any::type_name;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use moldau_client::consumer::Pattern;

use super::consumed::Consumed;
use super::graph::{Graph, NodeKind, Reads, SharedGraph, StoreId, build_source};
use super::kstream::KStream;
use super::ktable::{KTable, store_getter};
use super::materialized::Materialized;
use super::node::NodeId;
use super::on_error::OnError;
use super::operators::source::Source;
use super::operators::table::TableSource;
use super::serde::Serde;
use super::strict_names;
use super::to_table::table_store;
use super::topic::{Topic, TopicPattern};
use super::topology::Topology;
use crate::runtime::{SourceRole, StreamsError};

/// Builds a topology: streams and tables come from topics, operators hang on them.
///
/// Mistakes (two stores of one name, a topic read twice) are shown by [`Builder::build`], so that
/// building needs no `?`.
///
/// ```
/// use moldau_streams::{Builder, Raw, Topic};
///
/// const LINES: Topic<Option<Raw>, String> = Topic::new("lines");
/// const COUNTS: Topic<String, i64> = Topic::new("counts");
///
/// let builder = Builder::new("word-count");
/// builder
///     .stream(&LINES)
///     .flat_map_values(|line, words| {
///         words.extend(line.split_whitespace().map(str::to_lowercase));
///     })
///     .group_by(|_, word: &String| word.clone())
///     .count_as("counts")
///     .to_stream()
///     .to(&COUNTS);
/// let topology = builder.build()?;
/// # Ok::<(), moldau_streams::StreamsError>(())
/// ```
pub struct Builder {
    graph: SharedGraph,
}

impl Builder {
    /// A topology without operators. The application id is the consumer group, and the prefix
    /// of all internal topics.
    #[must_use]
    pub fn new(application_id: impl Into<String>) -> Self {
        Self {
            graph: Rc::new(RefCell::new(Graph::new(application_id.into()))),
        }
    }

    pub(super) const fn graph(&self) -> &SharedGraph {
        &self.graph
    }

    /// What to do with records that are not of their topic's types, where a source does not say
    /// itself. Applies to sources added afterwards; the default is [`OnError::Fail`].
    pub fn on_deserialization_error(&self, on_error: OnError) {
        self.graph.borrow_mut().on_deserialization_error = on_error;
    }

    /// Whether every store and internal topic has to be named (KIP-1111): then
    /// [`build`](Self::build) fails where one would get a numbered name, which another operator
    /// before it would change. Off by default.
    pub fn strict_names(&self, strict: bool) {
        self.graph.borrow_mut().strict_names = strict;
    }

    /// The records of a topic.
    #[must_use = "a stream does nothing until an operator hangs on it"]
    pub fn stream<K: Serde, V: Serde>(&self, topic: &Topic<K, V>) -> KStream<K, V> {
        self.stream_with(topic, Consumed::new())
    }

    /// The records of a topic, read in another way than by default.
    #[must_use = "a stream does nothing until an operator hangs on it"]
    pub fn stream_with<K: Serde, V: Serde>(
        &self,
        topic: &Topic<K, V>,
        consumed: Consumed,
    ) -> KStream<K, V> {
        self.stream_of_with(&[topic], consumed)
    }

    /// The records of several topics as one stream, each topic in its own order. Joined with
    /// another input, all of the topics must have as many partitions as that one.
    #[must_use = "a stream does nothing until an operator hangs on it"]
    pub fn stream_of<K: Serde, V: Serde>(&self, topics: &[&Topic<K, V>]) -> KStream<K, V> {
        self.stream_of_with(topics, Consumed::new())
    }

    /// The records of several topics as one stream, read in another way than by default.
    #[must_use = "a stream does nothing until an operator hangs on it"]
    pub fn stream_of_with<K: Serde, V: Serde>(
        &self,
        topics: &[&Topic<K, V>],
        consumed: Consumed,
    ) -> KStream<K, V> {
        let topics: BTreeSet<_> = topics.iter().map(|topic| topic.name().to_owned()).collect();
        if topics.is_empty() {
            self.graph.borrow_mut().mistake(
                "a source has no topics\n  hint: give `stream_of` at least one".to_owned(),
            );
        }
        self.add_stream(Reads::Topics(topics.into_iter().collect()), consumed)
    }

    /// The records of all topics whose whole names match, as one stream, each topic in its own
    /// order. Topics that are created later are found within seconds and read from their
    /// beginning (or end: [`Consumed::start_at`]); the application's own repartition topics and
    /// changelogs are left out. A stateful operator behind it needs all of them to have at most
    /// as many partitions as there were at first.
    #[must_use = "a stream does nothing until an operator hangs on it"]
    pub fn stream_matching<K: Serde, V: Serde>(
        &self,
        pattern: &TopicPattern<K, V>,
    ) -> KStream<K, V> {
        self.stream_matching_with(pattern, Consumed::new())
    }

    /// The records of all topics whose whole names match, read in another way than by default.
    #[must_use = "a stream does nothing until an operator hangs on it"]
    pub fn stream_matching_with<K: Serde, V: Serde>(
        &self,
        pattern: &TopicPattern<K, V>,
        consumed: Consumed,
    ) -> KStream<K, V> {
        let reads = match Pattern::parse(pattern.text()) {
            Ok(pattern) => Reads::Matching(pattern),
            Err(error) => {
                self.graph.borrow_mut().mistake(error.to_string());
                Reads::Topics(Vec::new())
            }
        };
        self.add_stream(reads, consumed)
    }

    fn add_stream<K: Serde, V: Serde>(&self, reads: Reads, consumed: Consumed) -> KStream<K, V> {
        let mut graph = self.graph.borrow_mut();
        let name = graph.node_name(consumed.name, "KSTREAM-SOURCE-");
        let kind = NodeKind::Source {
            reads,
            start_at: consumed.start_at,
            role: SourceRole::Stream,
            types: type_name::<(K, V)>(),
        };
        // A topic read twice is read once: both streams hang on the same source.
        let same = graph.nodes.iter().position(|node| node.kind == kind);
        let source = match same {
            Some(index) => NodeId(index),
            None => {
                let on_error = consumed.on_error;
                let on_error = on_error.unwrap_or_else(|| graph.on_deserialization_error.clone());
                let build = build_source(move |compiler, id| {
                    Ok(Box::new(Source::<K, V> {
                        id,
                        on_error: on_error.clone(),
                        trusts_values: false,
                        children: compiler.children(id)?,
                    }))
                });
                graph.add_node(name, kind, &[], Vec::new(), build)
            }
        };
        drop(graph);
        let graph = Rc::clone(&self.graph);
        KStream::new(graph, source, [source].into(), false).read_again(same.is_some())
    }

    /// A table that holds the last value of each key of a topic. A null value removes its key.
    #[must_use = "a table does nothing until an operator hangs on it"]
    pub fn table<K: Serde, V: Serde>(&self, topic: &Topic<K, V>) -> KTable<K, V> {
        self.add_table(topic, Consumed::new(), Materialized::default())
    }

    /// A table with a store of its own name, or kept in another way than by default.
    #[must_use = "a table does nothing until an operator hangs on it"]
    pub fn table_as<K: Serde, V: Serde>(
        &self,
        topic: &Topic<K, V>,
        materialized: impl Into<Materialized>,
    ) -> KTable<K, V> {
        self.add_table(topic, Consumed::new(), materialized.into())
    }

    /// A table, read and kept in another way than by default.
    #[must_use = "a table does nothing until an operator hangs on it"]
    pub fn table_with<K: Serde, V: Serde>(
        &self,
        topic: &Topic<K, V>,
        consumed: Consumed,
        materialized: impl Into<Materialized>,
    ) -> KTable<K, V> {
        self.add_table(topic, consumed, materialized.into())
    }

    /// The finished topology.
    ///
    /// # Errors
    /// The first mistake made while it was built, or [`StreamsError::Topology`] if it is empty.
    pub fn build(&self) -> Result<Topology, StreamsError> {
        let graph = self.graph.borrow();
        if let Some(mistake) = &graph.mistake {
            return Err(mistake.clone());
        }
        if graph.nodes.is_empty() {
            return Err(StreamsError::topology(
                "the topology is empty\n  hint: begin with `builder.stream(&TOPIC)` or `builder.table(&TOPIC)`",
            ));
        }
        check_sources(&graph)?;
        if graph.strict_names {
            strict_names::check(&graph)?;
        }
        Ok(Topology::new(Arc::new(graph.clone())))
    }

    fn add_table<K: Serde, V: Serde>(
        &self,
        topic: &Topic<K, V>,
        consumed: Consumed,
        materialized: Materialized,
    ) -> KTable<K, V> {
        let mut graph = self.graph.borrow_mut();
        let used = materialized.name.is_some();
        let store_name = graph.store_name(materialized.name.clone(), &format!("{}-", topic.name()));
        let given = consumed.name;
        let source_name = given.as_ref().map(|name| format!("{name}-source"));
        let source_name = graph.node_name(source_name, "KSTREAM-SOURCE-");
        let name = graph.node_name(given, "KTABLE-SOURCE-");
        let store = table_store::<V>(&mut graph, store_name, &materialized, used);
        let on_error = consumed.on_error;
        let on_error = on_error.unwrap_or_else(|| graph.on_deserialization_error.clone());
        let kind = NodeKind::Source {
            reads: Reads::Topics(vec![topic.name().to_owned()]),
            start_at: consumed.start_at,
            role: SourceRole::Table,
            types: type_name::<(K, V)>(),
        };
        let build = table_source::<K, V>(topic.name().to_owned(), on_error, store);
        let source = graph.add_node(source_name, kind, &[], Vec::new(), build);
        let inside_source = Arc::new(|_: &mut super::compile::Compiler<'_>, _: NodeId| {
            Err(StreamsError::topology(
                "a table's node is made by its source",
            ))
        });
        let table = graph.add_node(
            name,
            NodeKind::Processor,
            &[source],
            vec![store],
            inside_source,
        );
        drop(graph);
        let graph = Rc::clone(&self.graph);
        KTable::new(
            graph,
            table,
            [source].into(),
            store_getter::<K, V>(store),
            store,
        )
    }
}

/// Fails if a topic would be read by two sources.
fn check_sources(graph: &Graph) -> Result<(), StreamsError> {
    let sources = graph.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Source { reads, .. } => Some(reads),
        _ => None,
    });
    let mut topics = BTreeSet::new();
    for topic in sources.clone().flat_map(Reads::names) {
        if !topics.insert(topic) {
            return Err(StreamsError::topology(format!(
                "topic \"{topic}\" is read twice with different types, settings or other topics\n  hint: read it once and use the stream or table twice"
            )));
        }
    }
    topics.extend(graph.globals.iter().map(|global| &global.topic));
    for reads in sources {
        let Reads::Matching(pattern) = reads else {
            continue;
        };
        if let Some(topic) = topics.iter().find(|topic| pattern.matches(topic)) {
            return Err(StreamsError::topology(format!(
                "pattern \"{}\" matches topic \"{topic}\", which is read by itself as well\n  hint: read it in one way only",
                pattern.text()
            )));
        }
    }
    Ok(())
}

/// Makes the node that is both the source and the table behind it.
fn table_source<K: Serde, V: Serde>(
    topic: String,
    on_error: OnError,
    store: StoreId,
) -> super::graph::Build {
    build_source(move |compiler, source| {
        let table = compiler.graph().nodes[source.0].children.first().copied();
        let Some(table) = table else {
            return Err(StreamsError::topology("a table's source has no table"));
        };
        Ok(Box::new(TableSource::<K, V> {
            source,
            id: table,
            topic: topic.clone(),
            on_error: on_error.clone(),
            store: compiler.store(store),
            children: compiler.children(table)?,
        }))
    })
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let graph = self.graph.borrow();
        formatter
            .debug_struct("Builder")
            .field("application_id", &graph.application_id)
            .field("operators", &graph.nodes.len())
            .finish()
    }
}
