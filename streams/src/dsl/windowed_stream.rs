//! Grouped streams in windows.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use super::data::Data;
use super::graph::{NodeKind, build_node};
use super::grouped::{AGGREGATE, KGroupedStream, REDUCE, aggregate_one, count_one, reduce_one};
use super::ktable::{KTable, store_getter};
use super::materialized::Materialized;
use super::operators::window_aggregate::WindowAggregate;
use super::serde::Serde;
use super::windows::{Tumbling, Windowed, millis};
use crate::runtime::StoreKind;

/// A grouped stream in windows, to be aggregated: each key has a value per window.
///
/// Records without a key are dropped, and so are records whose window has closed: its end and
/// grace lie behind the largest timestamp that the aggregation has seen.
#[derive(Debug)]
#[must_use = "a windowed stream does nothing until it is aggregated"]
pub struct TimeWindowedKStream<K, V> {
    grouped: KGroupedStream<K, V>,
    windows: Tumbling,
}

impl<K: Serde, V: Serde> TimeWindowedKStream<K, V> {
    pub(super) const fn new(grouped: KGroupedStream<K, V>, windows: Tumbling) -> Self {
        Self { grouped, windows }
    }

    /// Names the aggregation that follows instead of numbering it.
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self::new(self.grouped.named(name), self.windows)
    }

    /// How many records each key has in each window.
    #[must_use]
    pub fn count(&self) -> KTable<Windowed<K>, i64> {
        self.aggregated(AGGREGATE, Materialized::default(), count_one)
    }

    /// As [`count`](Self::count), in a store with a name or settings of its own.
    #[must_use]
    pub fn count_as(&self, materialized: impl Into<Materialized>) -> KTable<Windowed<K>, i64> {
        let materialized = materialized.into();
        self.grouped.skip_number_of_unnamed(&materialized);
        self.aggregated(AGGREGATE, materialized, count_one)
    }

    /// The values of each key and window made into one of the same type.
    #[must_use]
    pub fn reduce(&self, reducer: impl Fn(&V, &V) -> V + Data) -> KTable<Windowed<K>, V>
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
    ) -> KTable<Windowed<K>, V>
    where
        V: Clone,
    {
        self.aggregated(REDUCE, materialized.into(), reduce_one(reducer))
    }

    /// The values of each key and window taken into an aggregate.
    #[must_use]
    pub fn aggregate<A: Serde>(
        &self,
        initial: impl Fn() -> A + Data,
        add: impl Fn(&K, &V, &mut A) + Data,
    ) -> KTable<Windowed<K>, A> {
        self.aggregate_as(Materialized::default(), initial, add)
    }

    /// As [`aggregate`](Self::aggregate), in a store with a name or settings of its own.
    #[must_use]
    pub fn aggregate_as<A: Serde>(
        &self,
        materialized: impl Into<Materialized>,
        initial: impl Fn() -> A + Data,
        add: impl Fn(&K, &V, &mut A) + Data,
    ) -> KTable<Windowed<K>, A> {
        self.aggregated(AGGREGATE, materialized.into(), aggregate_one(initial, add))
    }

    fn aggregated<A: Serde>(
        &self,
        prefix: &str,
        materialized: Materialized,
        add: impl Fn(&K, &V, &mut Option<A>) + Data,
    ) -> KTable<Windowed<K>, A> {
        let windows = self.windows;
        let kind = StoreKind::Window {
            retention_ms: self.retention_ms(&materialized),
        };
        let (stream, name, store) = self.grouped.prepare::<A>(prefix, materialized, kind);
        let add = Arc::new(add);
        let build = build_node::<K, V>(move |compiler, id| {
            Ok(Box::new(WindowAggregate {
                id,
                store: compiler.needed_store(store)?,
                store_name: compiler.graph().stores[store.0].name.clone(),
                windows,
                observed_stream_time: -1,
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
            store_getter::<Windowed<K>, A>(store),
            store,
        )
    }

    /// At least size and grace: as long as a window may still change.
    fn retention_ms(&self, materialized: &Materialized) -> i64 {
        let least = self.windows.size_ms.saturating_add(self.windows.grace_ms);
        materialized
            .retention
            .map_or(least, |retention| millis(retention).max(least))
    }
}
