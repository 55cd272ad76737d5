//! Streams: records that are facts of their own.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use moldau_client::KString;

use super::data::Data;
use super::graph::{NodeKind, SharedGraph, build_node};
use super::grouped::KGroupedStream;
use super::join::JoinRhs;
use super::node::{Node, NodeId};
use super::operators::sink::Sink;
use super::operators::stateless::{
    Filter, FlatMap, FlatMapValues, Map, MapValues, Merge, Peek, Present, SelectKey,
};
use super::serde::Serde;
use super::topic::Topic;

/// A stream of records with typed keys and values.
///
/// Operators take closures that get references and return new values; nothing is cloned on the
/// way. A clone of a stream is the same stream: whatever hangs on either gets all records.
pub struct KStream<K, V> {
    pub(super) graph: SharedGraph,
    pub(super) node: NodeId,
    /// Source nodes that the records come from.
    pub(super) sources: BTreeSet<NodeId>,
    /// Whether the key was changed since the records were partitioned by it.
    pub(super) repartition_required: bool,
    pub(super) next_name: Option<String>,
    /// Whether this is a topic that was read before. Kafka Streams makes one source of the two
    /// and hangs what follows this one on it last.
    is_read_again: bool,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Data, V: Data> KStream<K, V> {
    pub(super) fn new(
        graph: SharedGraph,
        node: NodeId,
        sources: BTreeSet<NodeId>,
        repartition_required: bool,
    ) -> Self {
        Self {
            graph,
            node,
            sources,
            repartition_required,
            next_name: None,
            is_read_again: false,
            types: PhantomData,
        }
    }

    pub(super) fn read_again(self, is_read_again: bool) -> Self {
        Self {
            is_read_again,
            ..self
        }
    }

    /// Names the operator that follows instead of numbering it. The name of a grouping or a
    /// join is also that of its repartition topic.
    #[must_use = "the name is for the operator that follows"]
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self {
            next_name: Some(name.into()),
            ..self.clone()
        }
    }

    /// The records for which `predicate` is true.
    #[must_use]
    pub fn filter(&self, predicate: impl Fn(&K, &V) -> bool + Data) -> Self {
        self.filtered(true, predicate)
    }

    /// The records for which `predicate` is false.
    #[must_use]
    pub fn filter_not(&self, predicate: impl Fn(&K, &V) -> bool + Data) -> Self {
        self.filtered(false, predicate)
    }

    /// A new key and value for each record. Grouping or joining afterwards repartitions; if
    /// the key stays, use [`map_values`](Self::map_values).
    #[must_use]
    pub fn map<K2: Data, V2: Data>(
        &self,
        map: impl Fn(&K, &V) -> (K2, V2) + Data,
    ) -> KStream<K2, V2> {
        let map = Arc::new(map);
        let node = self.add("KSTREAM-MAP-", move |compiler, id| {
            Ok(Box::new(Map {
                id,
                map: Arc::clone(&map),
                input: PhantomData,
                children: compiler.children(id)?,
            }))
        });
        self.followed_by(node, true)
    }

    /// A new value for each record.
    #[must_use]
    pub fn map_values<V2: Data>(&self, map: impl Fn(&V) -> V2 + Data) -> KStream<K, V2> {
        self.map_values_with_key(move |_, value| map(value))
    }

    /// A new value for each record, made from key and value.
    #[must_use]
    pub fn map_values_with_key<V2: Data>(
        &self,
        map: impl Fn(&K, &V) -> V2 + Data,
    ) -> KStream<K, V2> {
        let map = Arc::new(map);
        let node = self.add("KSTREAM-MAPVALUES-", move |compiler, id| {
            Ok(Box::new(MapValues {
                id,
                map: Arc::clone(&map),
                input: PhantomData,
                children: compiler.children(id)?,
            }))
        });
        self.followed_by(node, self.repartition_required)
    }

    /// Any number of values for each record: `map` adds them to the list it is given.
    #[must_use]
    pub fn flat_map_values<V2: Data>(
        &self,
        map: impl Fn(&V, &mut Vec<V2>) + Data,
    ) -> KStream<K, V2> {
        self.flat_map_values_with_key(move |_, value, values| map(value, values))
    }

    /// Any number of values for each record, made from key and value.
    #[must_use]
    pub fn flat_map_values_with_key<V2: Data>(
        &self,
        map: impl Fn(&K, &V, &mut Vec<V2>) + Data,
    ) -> KStream<K, V2> {
        let map = Arc::new(map);
        let node = self.add("KSTREAM-FLATMAPVALUES-", move |compiler, id| {
            Ok(Box::new(FlatMapValues {
                id,
                map: Arc::clone(&map),
                values: Vec::new(),
                input: PhantomData,
                children: compiler.children(id)?,
            }))
        });
        self.followed_by(node, self.repartition_required)
    }

    /// Any number of keys and values for each record: `map` adds them to the list it is given.
    #[must_use]
    pub fn flat_map<K2: Data, V2: Data>(
        &self,
        map: impl Fn(&K, &V, &mut Vec<(K2, V2)>) + Data,
    ) -> KStream<K2, V2> {
        let map = Arc::new(map);
        let node = self.add("KSTREAM-FLATMAP-", move |compiler, id| {
            Ok(Box::new(FlatMap {
                id,
                map: Arc::clone(&map),
                records: Vec::new(),
                input: PhantomData,
                children: compiler.children(id)?,
            }))
        });
        self.followed_by(node, true)
    }

    /// A new key for each record. Grouping or joining afterwards repartitions.
    #[must_use]
    pub fn select_key<K2: Data>(&self, select: impl Fn(&K, &V) -> K2 + Data) -> KStream<K2, V> {
        let select = Arc::new(select);
        let node = self.add("KSTREAM-KEY-SELECT-", move |compiler, id| {
            Ok(Box::new(SelectKey {
                id,
                select: Arc::clone(&select),
                input: PhantomData,
                children: compiler.children(id)?,
            }))
        });
        self.followed_by(node, true)
    }

    /// The same records, after `look` has seen each.
    #[must_use]
    pub fn peek(&self, look: impl Fn(&K, &V) + Data) -> Self {
        let node = self.looked_at("KSTREAM-PEEK-", look);
        self.followed_by(node, self.repartition_required)
    }

    /// Calls `act` for each record and ends the stream.
    pub fn for_each(&self, act: impl Fn(&K, &V) + Data) {
        self.looked_at("KSTREAM-FOREACH-", act);
    }

    /// The records of this stream and another, each in its own order.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let mut graph = self.graph.borrow_mut();
        let name = graph.node_name(self.next_name.clone(), "KSTREAM-MERGE-");
        let build = build_node::<K, V>(|compiler, id| {
            Ok(Box::new(Merge {
                children: compiler.children(id)?,
            }))
        });
        // Kafka Streams merges a stream with itself to itself: each record comes once.
        let is_same = self.node == other.node;
        let mut parents = [self.node, other.node];
        if self.is_read_again {
            parents.reverse();
        }
        let parents = if is_same { &parents[..1] } else { &parents };
        let node = graph.add_node(name, NodeKind::Processor, parents, Vec::new(), build);
        drop(graph);
        Self::new(
            Rc::clone(&self.graph),
            node,
            self.sources.union(&other.sources).copied().collect(),
            self.repartition_required || other.repartition_required,
        )
    }

    /// Groups the records by a new key, to aggregate them. Repartitions.
    pub fn group_by<K2: Serde>(&self, select: impl Fn(&K, &V) -> K2 + Data) -> KGroupedStream<K2, V>
    where
        V: Serde,
    {
        let name = self.next_name.clone();
        KGroupedStream::new(self.select_key(select), name)
    }

    /// Groups the records by their key, to aggregate them. Repartitions only if the key was
    /// changed before.
    pub fn group_by_key(&self) -> KGroupedStream<K, V>
    where
        K: Serde,
        V: Serde,
    {
        KGroupedStream::new(self.clone(), self.next_name.clone())
    }

    /// Joins each record with what `with` says: a table (`&table`), or what
    /// a global table.s `on(..)` or a window around another stream makes.
    /// What it gives tells how, by `.left()` and such, and ends with `.by(closure)`.
    pub fn join<J: JoinRhs<Self>>(&self, with: J) -> J::Join {
        with.join_to(self)
    }

    /// Writes the records to a topic. A stream of `Option<V>` fits a topic of `V`: `None` is
    /// written as a tombstone.
    pub fn to<K2, V2>(&self, topic: &Topic<K2, V2>)
    where
        K: Serde + Fits<K2>,
        V: Serde + Fits<V2>,
    {
        let kind = NodeKind::Sink {
            topic: topic.name().to_owned(),
        };
        let topic = KString::from(topic.name().to_owned());
        let build = build_node::<K, V>(move |_, id| {
            let topic = topic.clone();
            Ok(Box::new(Sink { id, topic }) as Box<dyn Node<K, V>>)
        });
        let mut graph = self.graph.borrow_mut();
        let name = graph.node_name(self.next_name.clone(), "KSTREAM-SINK-");
        graph.add_node(name, kind, &[self.node], Vec::new(), build);
    }

    fn filtered(&self, passes: bool, predicate: impl Fn(&K, &V) -> bool + Data) -> Self {
        let predicate = Arc::new(predicate);
        let node = self.add("KSTREAM-FILTER-", move |compiler, id| {
            Ok(Box::new(Filter {
                id,
                predicate: Arc::clone(&predicate),
                passes,
                children: compiler.children(id)?,
            }))
        });
        self.followed_by(node, self.repartition_required)
    }

    fn looked_at(&self, prefix: &str, look: impl Fn(&K, &V) + Data) -> NodeId {
        let look = Arc::new(look);
        self.add(prefix, move |compiler, id| {
            Ok(Box::new(Peek {
                id,
                look: Arc::clone(&look),
                children: compiler.children(id)?,
            }))
        })
    }

    pub(super) fn node_name(&self) -> String {
        self.graph.borrow().nodes[self.node.0].name.clone()
    }

    pub(super) fn add(
        &self,
        prefix: &str,
        make: impl Fn(
            &mut super::compile::Compiler<'_>,
            NodeId,
        ) -> Result<Box<dyn Node<K, V>>, crate::runtime::StreamsError>
        + Data,
    ) -> NodeId {
        let mut graph = self.graph.borrow_mut();
        let name = graph.node_name(self.next_name.clone(), prefix);
        let build = build_node(make);
        graph.add_node(name, NodeKind::Processor, &[self.node], Vec::new(), build)
    }

    pub(super) fn followed_by<K2: Data, V2: Data>(
        &self,
        node: NodeId,
        repartition_required: bool,
    ) -> KStream<K2, V2> {
        let graph = Rc::clone(&self.graph);
        KStream::new(graph, node, self.sources.clone(), repartition_required)
    }
}

impl<K: Data, V: Data> KStream<K, Option<V>> {
    /// The records that have a value.
    #[must_use]
    pub fn present(&self) -> KStream<K, V> {
        let node = self.add("KSTREAM-FILTER-", |compiler, id| {
            Ok(Box::new(Present {
                children: compiler.children(id)?,
            }))
        });
        self.followed_by(node, self.repartition_required)
    }
}

/// Keys or values that can be written to a topic of `T`: those that differ at most in whether
/// they may be null.
pub trait Fits<T> {}

impl<T> Fits<T> for T {}
impl<T> Fits<Option<T>> for T {}
impl<T> Fits<T> for Option<T> {}

impl<K, V> Clone for KStream<K, V> {
    fn clone(&self) -> Self {
        Self {
            graph: Rc::clone(&self.graph),
            node: self.node,
            sources: self.sources.clone(),
            repartition_required: self.repartition_required,
            next_name: None,
            is_read_again: self.is_read_again,
            types: PhantomData,
        }
    }
}

impl<K, V> fmt::Debug for KStream<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.graph.borrow().nodes[self.node.0].name;
        formatter.debug_tuple("KStream").field(name).finish()
    }
}
