//! Tables: the last value of each key.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use super::compile::Compiler;
use super::data::Data;
use super::graph::{NodeKind, SharedGraph, StoreId, build_node};
use super::kstream::KStream;
use super::node::NodeId;
use super::operators::table::{
    Change, FilterGetter, MapGetter, StoreGetter, TableFilter, TableMapValues, ToStream,
    ValueGetter,
};
use super::serde::Serde;
use crate::runtime::StreamsError;

/// A table: the last value of each key, and a stream of its changes.
///
/// With a cache (the default) a change is emitted at commit, once per key; see
/// [`StreamsConfig::cache_max_bytes`](crate::StreamsConfig::cache_max_bytes).
pub struct KTable<K, V> {
    graph: SharedGraph,
    node: NodeId,
    pub(super) sources: BTreeSet<NodeId>,
    pub(super) getter: GetterFactory<K, V>,
    /// The store that look-ups end in.
    pub(super) store: StoreId,
    next_name: Option<String>,
}

/// Makes what looks values up in one task.
pub(super) type GetterFactory<K, V> =
    Arc<dyn Fn(&Compiler<'_>) -> Result<Box<dyn ValueGetter<K, V>>, StreamsError> + Send + Sync>;

impl<K: Data, V: Data> KTable<K, V> {
    pub(super) fn new(
        graph: SharedGraph,
        node: NodeId,
        sources: BTreeSet<NodeId>,
        getter: GetterFactory<K, V>,
        store: StoreId,
    ) -> Self {
        Self {
            graph,
            node,
            sources,
            getter,
            store,
            next_name: None,
        }
    }

    /// Names the operator that follows instead of numbering it.
    #[must_use = "the name is for the operator that follows"]
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self {
            next_name: Some(name.into()),
            ..self.clone()
        }
    }

    /// The table's changes as a stream; a removed key has the value `None`.
    #[must_use]
    pub fn to_stream(&self) -> KStream<K, Option<V>> {
        let mut graph = self.graph.borrow_mut();
        let name = graph.node_name(self.next_name.clone(), "KTABLE-TOSTREAM-");
        let build = build_node::<K, Change<V>>(|compiler, id| {
            Ok(Box::new(ToStream {
                children: compiler.children(id)?,
            }))
        });
        let node = graph.add_node(name, NodeKind::Processor, &[self.node], Vec::new(), build);
        drop(graph);
        KStream::new(Rc::clone(&self.graph), node, self.sources.clone(), false)
    }

    /// The entries for which `predicate` is true. An entry that is no longer, or never was, is
    /// removed from the result.
    #[must_use]
    pub fn filter(&self, predicate: impl Fn(&K, &V) -> bool + Data) -> Self {
        self.filtered(true, predicate)
    }

    /// The entries for which `predicate` is false.
    #[must_use]
    pub fn filter_not(&self, predicate: impl Fn(&K, &V) -> bool + Data) -> Self {
        self.filtered(false, predicate)
    }

    /// A new value for each entry.
    #[must_use]
    pub fn map_values<V2: Data>(&self, map: impl Fn(&V) -> V2 + Data) -> KTable<K, V2> {
        self.map_values_with_key(move |_, value| map(value))
    }

    /// A new value for each entry, made from key and value.
    #[must_use]
    pub fn map_values_with_key<V2: Data>(
        &self,
        map: impl Fn(&K, &V) -> V2 + Data,
    ) -> KTable<K, V2> {
        let map = Arc::new(map);
        let node_map = Arc::clone(&map);
        let build = build_node::<K, Change<V>>(move |compiler, id| {
            Ok(Box::new(TableMapValues {
                id,
                map: Arc::clone(&node_map),
                input: PhantomData,
                children: compiler.children(id)?,
            }))
        });
        let parent = Arc::clone(&self.getter);
        let getter: GetterFactory<K, V2> = Arc::new(move |compiler| {
            Ok(Box::new(MapGetter {
                parent: parent(compiler)?,
                map: Arc::clone(&map),
            }))
        });
        self.followed_by("KTABLE-MAPVALUES-", build, getter)
    }

    fn filtered(&self, passes: bool, predicate: impl Fn(&K, &V) -> bool + Data) -> Self {
        let predicate = Arc::new(predicate);
        let node_predicate = Arc::clone(&predicate);
        let build = build_node::<K, Change<V>>(move |compiler, id| {
            Ok(Box::new(TableFilter {
                id,
                predicate: Arc::clone(&node_predicate),
                passes,
                children: compiler.children(id)?,
            }))
        });
        let parent = Arc::clone(&self.getter);
        let getter: GetterFactory<K, V> = Arc::new(move |compiler| {
            Ok(Box::new(FilterGetter {
                parent: parent(compiler)?,
                predicate: Arc::clone(&predicate),
                passes,
            }))
        });
        self.followed_by("KTABLE-FILTER-", build, getter)
    }

    fn followed_by<V2: Data>(
        &self,
        prefix: &str,
        build: super::graph::Build,
        getter: GetterFactory<K, V2>,
    ) -> KTable<K, V2> {
        let mut graph = self.graph.borrow_mut();
        let name = graph.node_name(self.next_name.clone(), prefix);
        let node = graph.add_node(name, NodeKind::Processor, &[self.node], Vec::new(), build);
        drop(graph);
        let graph = Rc::clone(&self.graph);
        KTable::new(graph, node, self.sources.clone(), getter, self.store)
    }
}

/// Looks values up in a store.
pub(super) fn store_getter<K: Data, V: Serde>(store: StoreId) -> GetterFactory<K, V> {
    Arc::new(move |compiler| {
        Ok(Box::new(StoreGetter {
            store: compiler.needed_store(store)?,
            value: PhantomData,
        }))
    })
}

impl<K, V> Clone for KTable<K, V> {
    fn clone(&self) -> Self {
        Self {
            graph: Rc::clone(&self.graph),
            node: self.node,
            sources: self.sources.clone(),
            getter: Arc::clone(&self.getter),
            store: self.store,
            next_name: None,
        }
    }
}

impl<K, V> fmt::Debug for KTable<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.graph.borrow().nodes[self.node.0].name;
        formatter.debug_tuple("KTable").field(name).finish()
    }
}
