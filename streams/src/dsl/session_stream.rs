//! Grouped streams in sessions.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::data::Data;
use super::emit::Emit;
use super::graph::{Build, BuildStore, NodeKind, SharedGraph, StoreId, WindowInfo, build_node};
use super::grouped::{AGGREGATE, KGroupedStream, REDUCE, aggregate_one, count_one, reduce_one};
use super::ktable::KTable;
use super::materialized::Materialized;
use super::node::NodeId;
use super::operators::final_results::FinalResults;
use super::operators::session_aggregate::SessionAggregate;
use super::pending_store::{PendingStore, windowed_getter};
use super::serde::Serde;
use super::sessions::Sessions;
use super::windowed::Windowed;
use super::windows::millis;
use crate::runtime::{SessionWindow, StoreKind};

/// A grouped stream in sessions, to be aggregated: each key has a value per session.
///
/// A record that joins two sessions makes one of them: the two are removed from the table, and
/// the merged one is added. Records without a key are dropped, and so are records whose session
/// has closed: its end, gap and grace lie behind the largest timestamp seen.
#[derive(Debug)]
#[must_use = "a windowed stream does nothing until it is aggregated"]
pub struct SessionWindowedKStream<K, V> {
    grouped: KGroupedStream<K, V>,
    sessions: Sessions,
    emit: Emit,
}

/// A table of sessions.
type SessionTable<K, A> = KTable<Windowed<K, SessionWindow>, A>;

impl<K: Serde, V: Serde> SessionWindowedKStream<K, V> {
    pub(super) fn new(grouped: KGroupedStream<K, V>, sessions: Sessions) -> Self {
        Self {
            grouped,
            sessions,
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

    /// Emits each session once, with its final result, when it closes (KIP-825). Sessions that
    /// have closed are looked for with the next record, at most once a second of wall-clock time.
    pub fn emit_final(&self) -> Self {
        self.emitting(self.emit.on_close())
    }

    /// After [`emit_final`](Self::emit_final): closes all sessions when no record has come for
    /// this long in wall-clock time, so that the last session is emitted although nothing follows.
    /// Records that come for those sessions afterwards are late.
    pub fn idle_timeout(&self, timeout: Duration) -> Self {
        self.emitting(self.emit.idle_timeout(timeout))
    }

    /// How many records each key has in each session.
    #[must_use]
    pub fn count(&self) -> SessionTable<K, i64> {
        self.counted(Materialized::default())
    }

    /// As [`count`](Self::count), in a store with a name or settings of its own.
    #[must_use]
    pub fn count_as(&self, materialized: impl Into<Materialized>) -> SessionTable<K, i64> {
        let materialized = materialized.into();
        self.grouped.skip_number_of_unnamed(&materialized);
        self.counted(materialized)
    }

    fn counted(&self, materialized: Materialized) -> SessionTable<K, i64> {
        let merge = |_: &K, count: &mut Option<i64>, other: i64| {
            *count = Some(count.unwrap_or(0) + other);
        };
        self.aggregated(AGGREGATE, materialized, count_one, merge)
    }

    /// The values of each key and session made into one of the same type.
    #[must_use]
    pub fn reduce(&self, reducer: impl Fn(&V, &V) -> V + Data) -> SessionTable<K, V>
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
    ) -> SessionTable<K, V>
    where
        V: Clone,
    {
        let reducer = Arc::new(reducer);
        let merging = Arc::clone(&reducer);
        let merge = move |_: &K, reduced: &mut Option<V>, other: V| {
            *reduced = Some(match &*reduced {
                Some(before) => merging(before, &other),
                None => other,
            });
        };
        let add = reduce_one(move |one: &V, two: &V| reducer(one, two));
        self.aggregated(REDUCE, materialized.into(), add, merge)
    }

    /// The values of each key and session taken into an aggregate. `merge` takes the aggregate of
    /// another session into one when a record joins the two.
    #[must_use]
    pub fn aggregate<A: Serde>(
        &self,
        initial: impl Fn() -> A + Data,
        add: impl Fn(&K, &V, &mut A) + Data,
        merge: impl Fn(&K, &mut A, A) + Data,
    ) -> SessionTable<K, A> {
        self.aggregate_as(Materialized::default(), initial, add, merge)
    }

    /// As [`aggregate`](Self::aggregate), in a store with a name or settings of its own.
    #[must_use]
    pub fn aggregate_as<A: Serde>(
        &self,
        materialized: impl Into<Materialized>,
        initial: impl Fn() -> A + Data,
        add: impl Fn(&K, &V, &mut A) + Data,
        merge: impl Fn(&K, &mut A, A) + Data,
    ) -> SessionTable<K, A> {
        let initial = Arc::new(initial);
        let merge = merge_into(Arc::clone(&initial), merge);
        let add = aggregate_one(move || initial(), add);
        self.aggregated(AGGREGATE, materialized.into(), add, merge)
    }

    fn emitting(&self, emit: Emit) -> Self {
        Self {
            grouped: self.grouped.clone(),
            sessions: self.sessions,
            emit,
        }
    }

    fn aggregated<A: Serde>(
        &self,
        prefix: &str,
        materialized: Materialized,
        add: impl Fn(&K, &V, &mut Option<A>) + Data,
        merge: impl Fn(&K, &mut Option<A>, A) + Data,
    ) -> SessionTable<K, A> {
        let kind = self.sessions.store_kind(&materialized);
        let (stream, name, store) =
            self.grouped
                .prepare(prefix, materialized, kind, Sessions::store::<A>());
        let build = self
            .sessions
            .aggregate(store, self.emit, Arc::new(add), Arc::new(merge));
        let mut graph = stream.graph.borrow_mut();
        if let Some(mistake) = self.emit.mistake() {
            graph.mistake(mistake);
        }
        let parents = [stream.node];
        let node = graph.add_node(name, NodeKind::Processor, &parents, vec![store], build);
        graph.windows.insert(node, self.sessions.info());
        drop(graph);
        session_table(Rc::clone(&stream.graph), node, stream.sources, store)
    }
}

/// Merges an aggregate into another that may not have begun.
pub(super) fn merge_into<K, A>(
    initial: Arc<impl Fn() -> A + Data>,
    merge: impl Fn(&K, &mut A, A) + Data,
) -> impl Fn(&K, &mut Option<A>, A) + Data {
    move |key, aggregate, other| merge(key, aggregate.get_or_insert_with(|| initial()), other)
}

/// The table that the node at `node` makes.
pub(super) fn session_table<K: Serde, A: Serde>(
    graph: SharedGraph,
    node: NodeId,
    sources: BTreeSet<NodeId>,
    store: StoreId,
) -> SessionTable<K, A> {
    let getter = windowed_getter::<K, SessionWindow, A>(store);
    KTable::new(graph, node, sources, getter, store)
}

impl Sessions {
    /// The store of the sessions, kept as long as a session may still change.
    pub(super) fn store_kind(&self, materialized: &Materialized) -> StoreKind {
        let least = self.gap_ms.saturating_add(self.grace_ms);
        let retention = materialized.retention.map(millis);
        StoreKind::Session {
            retention_ms: retention.map_or(least, |retention| retention.max(least)),
        }
    }

    pub(super) fn store<A: Serde>() -> BuildStore {
        Arc::new(|index, store| Box::new(PendingStore::<A>::new(index, store)))
    }

    /// Makes the node that aggregates into `store`.
    pub(super) fn aggregate<K: Serde, V: Serde, A: Serde, F, M>(
        self,
        store: StoreId,
        emit: Emit,
        add: Arc<F>,
        merge: Arc<M>,
    ) -> Build
    where
        F: Fn(&K, &V, &mut Option<A>) + Data,
        M: Fn(&K, &mut Option<A>, A) + Data,
    {
        build_node::<K, V>(move |compiler, id| {
            let kept = &compiler.graph().stores[store.0];
            let (store_name, final_results) = (kept.name.clone(), FinalResults::new(emit, kept));
            Ok(Box::new(SessionAggregate {
                id,
                store: compiler.needed_store(store)?,
                final_results,
                store_name,
                sessions: self,
                observed_stream_time: -1,
                add: Arc::clone(&add),
                merge: Arc::clone(&merge),
                input: PhantomData,
                children: compiler.children(id)?,
            }))
        })
    }

    pub(super) const fn info(self) -> WindowInfo {
        WindowInfo {
            size_ms: 0,
            close_after_ms: self.gap_ms.saturating_add(self.grace_ms),
        }
    }
}
