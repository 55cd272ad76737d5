//! Grouped streams in tumbling, hopping or sliding windows.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::data::Data;
use super::emit::Emit;
use super::graph::{Build, BuildStore, NodeKind, SharedGraph, StoreId, WindowInfo, build_node};
use super::grouped::{
    AGGREGATE, KGroupedStream, REDUCE, aggregate_one, count_any, count_one, reduce_one,
};
use super::ktable::{KTable, store_getter};
use super::materialized::Materialized;
use super::operators::final_results::FinalResults;
use super::operators::sliding_aggregate::SlidingAggregate;
use super::operators::window_aggregate::WindowAggregate;
use super::pending_store::{PendingStore, windowed_getter};
use super::serde::Serde;
use super::sliding::Sliding;
use super::typed_store::TypedStore;
use super::windowed::{Window, Windowed};
use super::windows::{TimeWindows, millis};
use crate::runtime::StoreKind;

/// A grouped stream in time windows, to be aggregated: each key has a value per window.
///
/// Records without a key are dropped, and so are records whose window has closed: its end and
/// grace lie behind the largest timestamp that the aggregation has seen.
#[derive(Debug)]
#[must_use = "a windowed stream does nothing until it is aggregated"]
pub struct TimeWindowedKStream<K, V> {
    grouped: KGroupedStream<K, V>,
    windows: AnyWindows,
    emit: Emit,
}

impl<K: Serde, V: Serde> TimeWindowedKStream<K, V> {
    pub(super) fn new(grouped: KGroupedStream<K, V>, windows: AnyWindows) -> Self {
        Self {
            grouped,
            windows,
            emit: Emit::default(),
        }
    }

    /// Names the aggregation that follows instead of numbering it.
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self {
            grouped: self.grouped.named(name),
            ..*self
        }
    }

    /// Emits each window once, with its final result, when it closes (KIP-825). Windows that have
    /// closed are looked for with the next record, at most once a second of wall-clock time.
    pub fn emit_final(&self) -> Self {
        self.emitting(self.emit.on_close())
    }

    /// After [`emit_final`](Self::emit_final): closes all windows when no record has come for
    /// this long in wall-clock time, so that the last window is emitted although nothing follows.
    /// Records that come for those windows afterwards are late.
    pub fn idle_timeout(&self, timeout: Duration) -> Self {
        self.emitting(self.emit.idle_timeout(timeout))
    }

    /// How many records each key has in each window.
    #[must_use]
    pub fn count(&self) -> KTable<Windowed<K>, i64> {
        self.counted(Materialized::default())
    }

    /// As [`count`](Self::count), in a store with a name or settings of its own.
    #[must_use]
    pub fn count_as(&self, materialized: impl Into<Materialized>) -> KTable<Windowed<K>, i64> {
        let materialized = materialized.into();
        // Kafka Streams numbers sliding windows without the extra one.
        if !matches!(self.windows, AnyWindows::Sliding(_)) {
            self.grouped.skip_number_of_unnamed(&materialized);
        }
        self.counted(materialized)
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
        self.aggregated(REDUCE, materialized.into(), reduce_one(reducer), None)
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
        self.aggregated(
            AGGREGATE,
            materialized.into(),
            aggregate_one(initial, add),
            None,
        )
    }

    fn emitting(&self, emit: Emit) -> Self {
        Self {
            grouped: self.grouped.clone(),
            windows: self.windows,
            emit,
        }
    }

    fn counted(&self, materialized: Materialized) -> KTable<Windowed<K>, i64> {
        self.aggregated(AGGREGATE, materialized, count_one, Some(count_any))
    }

    /// `add_any` is what `add` does, if it does not look at keys and values.
    fn aggregated<A: Serde>(
        &self,
        prefix: &str,
        materialized: Materialized,
        add: impl Fn(&K, &V, &mut Option<A>) + Data,
        add_any: Option<fn(&mut Option<A>)>,
    ) -> KTable<Windowed<K>, A> {
        let kind = self.windows.store_kind(&materialized);
        let build_store = self.windows.store::<A>();
        let (stream, name, store) = self
            .grouped
            .prepare(prefix, materialized, kind, build_store);
        let build = self
            .windows
            .aggregate(store, self.emit, Arc::new(add), add_any);
        let mut graph = stream.graph.borrow_mut();
        for mistake in self
            .windows
            .mistake()
            .into_iter()
            .chain(self.emit.mistake())
        {
            graph.mistake(mistake);
        }
        let parents = [stream.node];
        let node = graph.add_node(name, NodeKind::Processor, &parents, vec![store], build);
        graph.windows.insert(node, self.windows.info());
        drop(graph);
        let graph = Rc::clone(&stream.graph);
        self.windows.table(graph, node, stream.sources, store)
    }
}

/// Time windows of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnyWindows {
    Time(TimeWindows),
    Sliding(Sliding),
}

impl AnyWindows {
    /// The store that the windows need, kept as long as a window may still change.
    pub(super) fn store_kind(self, materialized: &Materialized) -> StoreKind {
        let least = match self {
            Self::Time(windows) => windows.size_ms.saturating_add(windows.grace_ms),
            Self::Sliding(windows) => {
                let reach = windows.difference_ms.saturating_mul(2);
                reach.saturating_add(windows.grace_ms)
            }
        };
        let retention = materialized.retention.map(millis);
        StoreKind::Window {
            retention_ms: retention.map_or(least, |retention| retention.max(least)),
        }
    }

    pub(super) fn store<A: Serde>(self) -> BuildStore {
        match self {
            Self::Time(_) => Arc::new(|index, store| Box::new(TypedStore::<A>::new(index, store))),
            Self::Sliding(_) => {
                Arc::new(|index, store| Box::new(PendingStore::<A>::new(index, store)))
            }
        }
    }

    /// Makes the node that aggregates into `store`.
    pub(super) fn aggregate<K: Serde, V: Serde, A: Serde, F>(
        self,
        store: StoreId,
        emit: Emit,
        add: Arc<F>,
        add_any: Option<fn(&mut Option<A>)>,
    ) -> Build
    where
        F: Fn(&K, &V, &mut Option<A>) + Data,
    {
        match self {
            Self::Time(windows) => build_node::<K, V>(move |compiler, id| {
                let kept = &compiler.graph().stores[store.0];
                let (store_name, final_results) =
                    (kept.name.clone(), FinalResults::new(emit, kept));
                Ok(Box::new(WindowAggregate {
                    id,
                    store: compiler.needed_store(store)?,
                    final_results,
                    store_name,
                    windows,
                    observed_stream_time: -1,
                    add: Arc::clone(&add),
                    add_any,
                    input: PhantomData,
                    children: compiler.children(id)?,
                }))
            }),
            Self::Sliding(windows) => build_node::<K, V>(move |compiler, id| {
                let kept = &compiler.graph().stores[store.0];
                let (store_name, final_results) =
                    (kept.name.clone(), FinalResults::new(emit, kept));
                Ok(Box::new(SlidingAggregate {
                    id,
                    store: compiler.needed_store(store)?,
                    final_results,
                    store_name,
                    windows,
                    observed_stream_time: -1,
                    add: Arc::clone(&add),
                    input: PhantomData,
                    children: compiler.children(id)?,
                }))
            }),
        }
    }

    /// The table that the node at `node` makes.
    pub(super) fn table<K: Serde, A: Serde>(
        self,
        graph: SharedGraph,
        node: super::node::NodeId,
        sources: std::collections::BTreeSet<super::node::NodeId>,
        store: StoreId,
    ) -> KTable<Windowed<K>, A> {
        let getter = match self {
            Self::Time(_) => store_getter::<Windowed<K>, A>(store),
            Self::Sliding(_) => windowed_getter::<K, Window, A>(store),
        };
        KTable::new(graph, node, sources, getter, store)
    }

    pub(super) const fn info(self) -> WindowInfo {
        match self {
            Self::Time(windows) => WindowInfo {
                size_ms: windows.size_ms,
                close_after_ms: windows.grace_ms,
            },
            Self::Sliding(windows) => WindowInfo {
                size_ms: windows.difference_ms,
                close_after_ms: windows.grace_ms,
            },
        }
    }

    pub(super) fn mistake(self) -> Option<String> {
        match self {
            Self::Time(windows) => windows.mistake(),
            Self::Sliding(_) => None,
        }
    }
}
