//! Grouped streams, and what they are aggregated to.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use super::data::Data;
use super::graph::{BuildStore, NodeKind, SharedGraph, Store, StoreId, build_node};
use super::kstream::KStream;
use super::ktable::{KTable, store_getter};
use super::materialized::Materialized;
use super::operators::aggregate::Aggregate;
use super::serde::Serde;
use super::typed_store::TypedStore;
use super::windowed_by::WindowedBy;
use crate::runtime::StoreKind;

/// A stream grouped by its key, to be aggregated.
///
/// Records without a key, and without windows also records without a value, are dropped.
#[must_use = "a grouping does nothing until it is aggregated"]
pub struct KGroupedStream<K, V> {
    stream: KStream<K, V>,
    /// Name of the repartition topic, where it was given.
    name: Option<String>,
    /// Name of the aggregation that follows, where it was given.
    next_name: Option<String>,
    /// The way through the repartition topic of a named grouping, once there is one.
    repartitioned: Rc<RefCell<Option<KStream<K, V>>>>,
}

impl<K: Serde, V: Serde> KGroupedStream<K, V> {
    pub(super) fn new(stream: KStream<K, V>, name: Option<String>) -> Self {
        Self {
            stream,
            name,
            next_name: None,
            repartitioned: Rc::default(),
        }
    }

    /// Names the aggregation that follows instead of numbering it.
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self {
            next_name: Some(name.into()),
            ..self.clone()
        }
    }

    /// How many records each key has.
    #[must_use]
    pub fn count(&self) -> KTable<K, i64> {
        self.aggregated(AGGREGATE, Materialized::default(), count_one)
    }

    /// How many records each key has, in a store with a name or settings of its own.
    #[must_use]
    pub fn count_as(&self, materialized: impl Into<Materialized>) -> KTable<K, i64> {
        let materialized = materialized.into();
        self.skip_number_of_unnamed(&materialized);
        self.aggregated(AGGREGATE, materialized, count_one)
    }

    /// The values of each key made into one of the same type: `reducer` gets what there is and
    /// the new value. The first value of a key is taken as it is.
    #[must_use]
    pub fn reduce(&self, reducer: impl Fn(&V, &V) -> V + Data) -> KTable<K, V>
    where
        V: Clone,
    {
        self.reduce_as(Materialized::default(), reducer)
    }

    /// As [`reduce`](Self::reduce), in a store with a name or settings of its own.
    #[must_use]
    pub fn reduce_as(
        &self,
        materialized: impl Into<Materialized>,
        reducer: impl Fn(&V, &V) -> V + Data,
    ) -> KTable<K, V>
    where
        V: Clone,
    {
        self.aggregated(REDUCE, materialized.into(), reduce_one(reducer))
    }

    /// The values of each key taken into an aggregate that begins as `initial` makes it.
    #[must_use]
    pub fn aggregate<A: Serde>(
        &self,
        initial: impl Fn() -> A + Data,
        add: impl Fn(&K, &V, &mut A) + Data,
    ) -> KTable<K, A> {
        self.aggregate_as(Materialized::default(), initial, add)
    }

    /// As [`aggregate`](Self::aggregate), in a store with a name or settings of its own.
    #[must_use]
    pub fn aggregate_as<A: Serde>(
        &self,
        materialized: impl Into<Materialized>,
        initial: impl Fn() -> A + Data,
        add: impl Fn(&K, &V, &mut A) + Data,
    ) -> KTable<K, A> {
        self.aggregated(AGGREGATE, materialized.into(), aggregate_one(initial, add))
    }

    /// Aggregates in windows of event time: [`Tumbling`](crate::Tumbling),
    /// [`Hopping`](crate::Hopping), [`Sliding`](crate::Sliding) or
    /// [`Sessions`](crate::Sessions).
    pub fn windowed_by<W: WindowedBy>(&self, windows: W) -> W::Stream<K, V> {
        windows.stream(self.clone())
    }

    /// Kafka Streams uses up a number where a count's store has settings but no name.
    pub(super) fn skip_number_of_unnamed(&self, materialized: &Materialized) {
        if materialized.name.is_none() {
            self.stream.graph.borrow_mut().numbered(AGGREGATE);
        }
    }

    fn aggregated<A: Serde>(
        &self,
        prefix: &str,
        materialized: Materialized,
        add: impl Fn(&K, &V, &mut Option<A>) + Data,
    ) -> KTable<K, A> {
        let kind = materialized.table_kind();
        let build_store: BuildStore =
            Arc::new(|index, store| Box::new(TypedStore::<A>::new(index, store)));
        let (stream, name, store) = self.prepare(prefix, materialized, kind, build_store);
        let add = Arc::new(add);
        let build = build_node::<K, V>(move |compiler, id| {
            Ok(Box::new(Aggregate {
                id,
                store: compiler.needed_store(store)?,
                store_name: compiler.graph().stores[store.0].name.clone(),
                add: Arc::clone(&add),
                input: PhantomData,
                children: compiler.children(id)?,
            }))
        });
        let mut graph = stream.graph.borrow_mut();
        let parents = [stream.node];
        let node = graph.add_node(name, NodeKind::Processor, &parents, vec![store], build);
        drop(graph);
        let graph = Rc::clone(&stream.graph);
        KTable::new(
            graph,
            node,
            stream.sources,
            store_getter::<K, A>(store),
            store,
        )
    }

    /// Numbers store and operator, leads the stream through its repartition topic if it needs
    /// to, and adds the store: in the order in which Kafka Streams numbers them.
    pub(super) fn prepare(
        &self,
        prefix: &str,
        materialized: Materialized,
        kind: StoreKind,
        build: BuildStore,
    ) -> (KStream<K, V>, String, StoreId) {
        let mut graph = self.stream.graph.borrow_mut();
        let store_name = graph.store_name(materialized.name.clone(), prefix);
        let name = graph.node_name(self.next_name.clone(), prefix);
        drop(graph);
        let stream = self.by_key(&store_name);
        let mut graph = self.stream.graph.borrow_mut();
        graph.check_kind(&store_name, kind, &materialized);
        let store = graph.add_store(Store::new(store_name, kind, &materialized, build));
        drop(graph);
        (stream, name, store)
    }

    pub(super) fn graph(&self) -> SharedGraph {
        Rc::clone(&self.stream.graph)
    }

    /// The stream as it is partitioned by its key. A named grouping is repartitioned once for
    /// all of its aggregations, an unnamed one once for each.
    pub(super) fn by_key(&self, store_name: &str) -> KStream<K, V> {
        if !self.stream.repartition_required {
            return self.stream.clone();
        }
        let Some(name) = &self.name else {
            return self.stream.repartitioned(store_name);
        };
        let mut repartitioned = self.repartitioned.borrow_mut();
        if let Some(stream) = &*repartitioned {
            // Kafka Streams names the three nodes anew, and uses the old ones.
            let mut graph = self.stream.graph.borrow_mut();
            for prefix in ["KSTREAM-SINK-", "KSTREAM-FILTER-", "KSTREAM-SOURCE-"] {
                graph.numbered(prefix);
            }
            graph.use_again(stream.node);
            return stream.clone();
        }
        let stream = self.stream.repartitioned(name);
        *repartitioned = Some(stream.clone());
        stream
    }
}

/// Counts a record.
pub(super) fn count_one<K, V>(_: &K, _: &V, count: &mut Option<i64>) {
    count_any(count);
}

/// Counts something that need not be looked at.
pub(super) fn count_any(count: &mut Option<i64>) {
    *count = Some(count.unwrap_or(0) + 1);
}

/// Takes a value into another.
pub(super) fn reduce_one<K, V: Clone>(
    reducer: impl Fn(&V, &V) -> V + Data,
) -> impl Fn(&K, &V, &mut Option<V>) + Data {
    move |_, value, reduced| {
        *reduced = Some(match &*reduced {
            Some(before) => reducer(before, value),
            None => value.clone(),
        });
    }
}

/// Takes a value into an aggregate.
pub(super) fn aggregate_one<K, V, A>(
    initial: impl Fn() -> A + Data,
    add: impl Fn(&K, &V, &mut A) + Data,
) -> impl Fn(&K, &V, &mut Option<A>) + Data {
    move |key, value, aggregate| add(key, value, aggregate.get_or_insert_with(&initial))
}

impl<K, V> Clone for KGroupedStream<K, V> {
    fn clone(&self) -> Self {
        Self {
            stream: self.stream.clone(),
            name: self.name.clone(),
            next_name: self.next_name.clone(),
            repartitioned: Rc::clone(&self.repartitioned),
        }
    }
}

impl<K, V> fmt::Debug for KGroupedStream<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("KGroupedStream")
            .field(&self.stream)
            .finish()
    }
}

pub(super) const AGGREGATE: &str = "KSTREAM-AGGREGATE-";
pub(super) const REDUCE: &str = "KSTREAM-REDUCE-";
