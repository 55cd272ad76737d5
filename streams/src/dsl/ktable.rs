//! Tables: the last value of each key.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use super::compile::Compiler;
use super::data::Data;
use super::graph::{Build, Graph, NodeKind, SharedGraph, StoreId, build_node};
use super::kstream::KStream;
use super::materialized::Materialized;
use super::node::{Children, NodeId};
use super::operators::table::{
    Change, FilterGetter, MapGetter, StoreGetter, TableFilter, TableMapValues, ToStream,
    ValueGetter,
};
use super::serde::Serde;
use super::to_table::{keep, table_store};
use crate::runtime::{StoreKind, StreamsError};

/// A table: the last value of each key, and a stream of its changes.
///
/// With a cache (the default) a change is emitted at commit, once per key; see
/// [`StreamsConfig::cache_max_bytes`](crate::StreamsConfig::cache_max_bytes).
pub struct KTable<K, V> {
    pub(super) graph: SharedGraph,
    pub(super) node: NodeId,
    pub(super) sources: BTreeSet<NodeId>,
    pub(super) getter: GetterFactory<K, V>,
    /// The stores that look-ups end in.
    pub(super) stores: Vec<StoreId>,
    pub(super) next_name: Option<String>,
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
        Self::with_stores(graph, node, sources, getter, vec![store])
    }

    pub(super) fn with_stores(
        graph: SharedGraph,
        node: NodeId,
        sources: BTreeSet<NodeId>,
        getter: GetterFactory<K, V>,
        stores: Vec<StoreId>,
    ) -> Self {
        Self {
            graph,
            node,
            sources,
            getter,
            stores,
            next_name: None,
        }
    }

    /// Makes sure that the table can be looked up.
    pub(super) fn materialize(&self, graph: &mut Graph) {
        for store in &self.stores {
            graph.stores[store.0].used = true;
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
        let (build, getter) = (map_build(Arc::clone(&map), Bare), self.map_getter(map));
        self.followed_by(MAP_VALUES, build, getter)
    }

    /// As [`filter`](Self::filter), in a store of the result's own.
    #[must_use]
    pub fn filter_as(
        &self,
        materialized: impl Into<Materialized>,
        predicate: impl Fn(&K, &V) -> bool + Data,
    ) -> Self
    where
        K: Serde,
        V: Serde,
    {
        self.filtered_as(&materialized.into(), true, predicate)
    }

    /// As [`filter_not`](Self::filter_not), in a store of the result's own.
    #[must_use]
    pub fn filter_not_as(
        &self,
        materialized: impl Into<Materialized>,
        predicate: impl Fn(&K, &V) -> bool + Data,
    ) -> Self
    where
        K: Serde,
        V: Serde,
    {
        self.filtered_as(&materialized.into(), false, predicate)
    }

    /// As [`map_values`](Self::map_values), in a store of the result's own.
    #[must_use]
    pub fn map_values_as<V2: Serde>(
        &self,
        materialized: impl Into<Materialized>,
        map: impl Fn(&V) -> V2 + Data,
    ) -> KTable<K, V2>
    where
        K: Serde,
    {
        let materialized = materialized.into();
        let map = Arc::new(move |_: &K, value: &V| map(value));
        let Some(store) = self.own_store::<V2>(&materialized, MAP_VALUES) else {
            let (build, getter) = (map_build(Arc::clone(&map), Bare), self.map_getter(map));
            return self.followed_by(MAP_VALUES, build, getter);
        };
        let behind = Kept {
            store,
            is_filter: false,
        };
        self.kept(MAP_VALUES, map_build(map, behind), store)
    }

    fn map_getter<V2: Data, F>(&self, map: Arc<F>) -> GetterFactory<K, V2>
    where
        F: Fn(&K, &V) -> V2 + Data,
    {
        let parent = Arc::clone(&self.getter);
        Arc::new(move |compiler| {
            Ok(Box::new(MapGetter {
                parent: parent(compiler)?,
                map: Arc::clone(&map),
            }))
        })
    }

    fn filtered(&self, passes: bool, predicate: impl Fn(&K, &V) -> bool + Data) -> Self {
        let predicate = Arc::new(predicate);
        let build = filter_build(Arc::clone(&predicate), passes, Bare);
        let parent = Arc::clone(&self.getter);
        let getter: GetterFactory<K, V> = Arc::new(move |compiler| {
            Ok(Box::new(FilterGetter {
                parent: parent(compiler)?,
                predicate: Arc::clone(&predicate),
                passes,
            }))
        });
        self.told_of_removals(self.followed_by(FILTER, build, getter))
    }

    /// A filter asks for old values where its parent has them anyway, so that it need not remove
    /// what is not there (KAFKA-10077).
    fn told_of_removals(&self, filtered: Self) -> Self {
        let mut graph = self.graph.borrow_mut();
        if graph.can_send_old_values(self.node) {
            graph.send_old_values(filtered.node);
        }
        drop(graph);
        filtered
    }

    fn filtered_as(
        &self,
        materialized: &Materialized,
        passes: bool,
        predicate: impl Fn(&K, &V) -> bool + Data,
    ) -> Self
    where
        K: Serde,
        V: Serde,
    {
        let Some(store) = self.own_store::<V>(materialized, FILTER) else {
            return self.filtered(passes, predicate);
        };
        let behind = Kept {
            store,
            is_filter: true,
        };
        let build = filter_build(Arc::new(predicate), passes, behind);
        self.told_of_removals(self.kept(FILTER, build, store))
    }

    /// A store for the result of an operator. Without a name there is none, as in Kafka Streams,
    /// but a number is used up.
    pub(super) fn own_store<V2: Serde>(
        &self,
        materialized: &Materialized,
        prefix: &str,
    ) -> Option<StoreId> {
        let mut graph = self.graph.borrow_mut();
        let name = graph.store_name(materialized.name.clone(), prefix);
        materialized.name.as_ref()?;
        Some(table_store::<V2>(&mut graph, name, materialized, true))
    }

    fn kept<V2: Serde>(&self, prefix: &str, build: Build, store: StoreId) -> KTable<K, V2> {
        let mut graph = self.graph.borrow_mut();
        let name = graph.node_name(self.next_name.clone(), prefix);
        let parents = [self.node];
        let node = graph.add_node(name, NodeKind::Processor, &parents, vec![store], build);
        drop(graph);
        let graph = Rc::clone(&self.graph);
        let getter = store_getter::<K, V2>(store);
        KTable::new(graph, node, self.sources.clone(), getter, store)
    }

    fn followed_by<V2: Data>(
        &self,
        prefix: &str,
        build: Build,
        getter: GetterFactory<K, V2>,
    ) -> KTable<K, V2> {
        let mut graph = self.graph.borrow_mut();
        let name = graph.node_name(self.next_name.clone(), prefix);
        let node = graph.add_node(name, NodeKind::Processor, &[self.node], Vec::new(), build);
        drop(graph);
        let (graph, stores) = (Rc::clone(&self.graph), self.stores.clone());
        KTable::with_stores(graph, node, self.sources.clone(), getter, stores)
    }
}

/// What comes behind a filter or a mapping in the same operator: nothing, or its store.
pub(super) trait Behind<K, V>: Copy + Data {
    fn children(
        self,
        compiler: &mut Compiler<'_>,
        id: NodeId,
    ) -> Result<Children<K, Change<V>>, StreamsError>;

    /// Whether the operator itself is to pass on old values.
    fn sends_old(self, compiler: &Compiler<'_>, id: NodeId) -> bool;
}

/// No store.
#[derive(Clone, Copy)]
pub(super) struct Bare;

/// A store.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub(super) store: StoreId,
    /// Whether removing what is not there ends here, if old values are wanted: a filter's does.
    pub(super) is_filter: bool,
}

impl<K: Data, V: Data> Behind<K, V> for Bare {
    fn children(
        self,
        compiler: &mut Compiler<'_>,
        id: NodeId,
    ) -> Result<Children<K, Change<V>>, StreamsError> {
        compiler.children(id)
    }

    fn sends_old(self, compiler: &Compiler<'_>, id: NodeId) -> bool {
        compiler.sends_old(id)
    }
}

impl<K: Serde, V: Serde> Behind<K, V> for Kept {
    fn children(
        self,
        compiler: &mut Compiler<'_>,
        id: NodeId,
    ) -> Result<Children<K, Change<V>>, StreamsError> {
        let children = compiler.children(id)?;
        let skips_absent =
            self.is_filter && compiler.sends_old(id) && !reads_versioned(compiler.graph(), id);
        let store = keep::<K, V>(compiler, id, self.store, skips_absent, children)?;
        Ok(Children::new(vec![Box::new(store)]))
    }

    /// The store knows what was there before.
    fn sends_old(self, _: &Compiler<'_>, _: NodeId) -> bool {
        false
    }
}

/// Whether the table that an operator reads is versioned.
fn reads_versioned(graph: &Graph, id: NodeId) -> bool {
    let parents = &graph.nodes[id.0].parents;
    parents.iter().any(|parent| graph.is_versioned(*parent))
}

fn filter_build<K: Data, V: Data>(
    predicate: Arc<impl Fn(&K, &V) -> bool + Data>,
    passes: bool,
    behind: impl Behind<K, V>,
) -> Build {
    build_node::<K, Change<V>>(move |compiler, id| {
        Ok(Box::new(TableFilter {
            id,
            predicate: Arc::clone(&predicate),
            passes,
            sends_old: behind.sends_old(compiler, id),
            is_versioned: reads_versioned(compiler.graph(), id),
            children: behind.children(compiler, id)?,
        }))
    })
}

fn map_build<K: Data, V: Data, V2: Data>(
    map: Arc<impl Fn(&K, &V) -> V2 + Data>,
    behind: impl Behind<K, V2>,
) -> Build {
    build_node::<K, Change<V>>(move |compiler, id| {
        Ok(Box::new(TableMapValues {
            id,
            map: Arc::clone(&map),
            sends_old: behind.sends_old(compiler, id),
            input: PhantomData,
            children: behind.children(compiler, id)?,
        }))
    })
}

const FILTER: &str = "KTABLE-FILTER-";
const MAP_VALUES: &str = "KTABLE-MAPVALUES-";

/// Looks values up in a store.
pub(super) fn store_getter<K: Data, V: Serde>(store: StoreId) -> GetterFactory<K, V> {
    Arc::new(move |compiler| {
        Ok(Box::new(StoreGetter {
            store: compiler.needed_store(store)?,
            is_versioned: matches!(
                compiler.graph().stores[store.0].kind,
                StoreKind::Versioned { .. }
            ),
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
            stores: self.stores.clone(),
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
