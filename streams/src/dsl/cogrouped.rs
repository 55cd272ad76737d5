//! Several grouped streams, of different values, that go into one aggregate (KIP-150).

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use super::data::Data;
use super::emit::Emit;
use super::graph::{
    Build, BuildStore, Graph, NodeKind, SharedGraph, Store, StoreId, WindowInfo, build_node,
};
use super::grouped::{KGroupedStream, aggregate_one};
use super::ktable::{KTable, store_getter};
use super::materialized::Materialized;
use super::node::NodeId;
use super::operators::aggregate::Aggregate;
use super::operators::stateless::Merge;
use super::operators::table::Change;
use super::serde::Serde;
use super::session_stream::{merge_into, session_table};
use super::sessions::Sessions;
use super::typed_store::TypedStore;
use super::windowed::Windowed;
use super::windowed_by::WindowedBy;
use super::windowed_stream::AnyWindows;
use crate::runtime::{SessionWindow, StoreKind};

/// Grouped streams with keys of one type that are aggregated together.
#[must_use = "co-grouped streams do nothing until they are aggregated"]
pub struct CogroupedKStream<K, A> {
    graph: SharedGraph,
    groups: Vec<Group<K, A>>,
    next_name: Option<String>,
}

/// One of the streams, whose values' type is forgotten.
struct Group<K, A> {
    /// Leads the stream through a repartition topic if it needs to; takes the store's name.
    lead: Rc<dyn Fn(&str) -> Led>,
    build: Rc<BuildGroup<K, A>>,
}

type BuildGroup<K, A> = dyn Fn(How<K, A>, StoreId) -> Build;

/// A stream that is partitioned by its key.
struct Led {
    node: NodeId,
    sources: BTreeSet<NodeId>,
}

/// How the streams are aggregated.
enum How<K, A> {
    Plain(Initial<A>),
    Time(AnyWindows, Initial<A>),
    Session(Sessions, Initial<A>, MergeFn<K, A>),
}

type Initial<A> = Arc<dyn Fn() -> A + Send + Sync>;
type MergeFn<K, A> = Arc<dyn Fn(&K, &mut A, A) + Send + Sync>;

impl<K: Serde, V: Serde> KGroupedStream<K, V> {
    /// Begins a common aggregate with this stream's part in it; other streams are added with
    /// [`CogroupedKStream::cogroup`].
    pub fn cogroup<A: Serde>(&self, add: impl Fn(&K, &V, &mut A) + Data) -> CogroupedKStream<K, A> {
        let cogrouped = CogroupedKStream {
            graph: self.graph(),
            groups: Vec::new(),
            next_name: None,
        };
        cogrouped.cogroup(self, add)
    }
}

impl<K: Serde, A: Serde> CogroupedKStream<K, A> {
    /// Adds a stream, and how its values go into the aggregate.
    pub fn cogroup<V: Serde>(
        &self,
        grouped: &KGroupedStream<K, V>,
        add: impl Fn(&K, &V, &mut A) + Data,
    ) -> Self {
        let grouped = grouped.clone();
        let lead = move |store_name: &str| {
            let stream = grouped.by_key(store_name);
            Led {
                node: stream.node,
                sources: stream.sources,
            }
        };
        let mut cogrouped = self.clone();
        cogrouped.groups.push(Group {
            lead: Rc::new(lead),
            build: build_group(add),
        });
        cogrouped
    }

    /// Names the aggregation that follows instead of numbering it.
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self {
            next_name: Some(name.into()),
            ..self.clone()
        }
    }

    /// The values of all streams taken into one aggregate per key.
    #[must_use]
    pub fn aggregate(&self, initial: impl Fn() -> A + Data) -> KTable<K, A> {
        self.aggregate_as(Materialized::default(), initial)
    }

    /// As [`aggregate`](Self::aggregate), in a store with a name or settings of its own.
    #[must_use]
    pub fn aggregate_as(
        &self,
        materialized: impl Into<Materialized>,
        initial: impl Fn() -> A + Data,
    ) -> KTable<K, A> {
        let initial: Initial<A> = Arc::new(initial);
        let build_store: BuildStore =
            Arc::new(|index, store| Box::new(TypedStore::<A>::new(index, store)));
        let how = || How::Plain(Arc::clone(&initial));
        let materialized = materialized.into();
        let kind = materialized.table_kind();
        let (node, sources, store) = self.add::<K>(materialized, kind, build_store, None, how);
        let getter = store_getter::<K, A>(store);
        KTable::new(Rc::clone(&self.graph), node, sources, getter, store)
    }

    /// Aggregates in windows of event time: tumbling, hopping, sliding or sessions.
    pub fn windowed_by<W: WindowedBy>(&self, windows: W) -> W::Cogrouped<K, A> {
        windows.cogrouped(self.clone())
    }

    /// Adds store, aggregations and what brings them together, in the order in which Kafka
    /// Streams numbers them.
    fn add<KR: Data>(
        &self,
        materialized: Materialized,
        kind: StoreKind,
        build_store: BuildStore,
        info: Option<WindowInfo>,
        how: impl Fn() -> How<K, A>,
    ) -> (NodeId, BTreeSet<NodeId>, StoreId) {
        let given = materialized.name.clone();
        let store_name = self.graph.borrow_mut().store_name(given, AGGREGATE);
        let led: Vec<_> = self
            .groups
            .iter()
            .map(|group| (group.lead)(&store_name))
            .collect();
        let mut graph = self.graph.borrow_mut();
        graph.check_kind(&store_name, kind, &materialized);
        let store = graph.add_store(Store::new(store_name, kind, &materialized, build_store));
        let mut parents = Vec::new();
        for (index, (group, led)) in self.groups.iter().zip(&led).enumerate() {
            let name = self.suffixed(&mut graph, &format!("-cogroup-agg-{index}"), AGGREGATE);
            let build = (group.build)(how(), store);
            let node = graph.add_node(name, NodeKind::Processor, &[led.node], vec![store], build);
            if let Some(info) = info {
                graph.windows.insert(node, info);
            }
            parents.push(node);
        }
        let name = self.suffixed(&mut graph, "-cogroup-merge", MERGE);
        let build = build_node::<KR, Change<A>>(|compiler, id| {
            Ok(Box::new(Merge {
                children: compiler.children(id)?,
            }))
        });
        let node = graph.add_node(name, NodeKind::Processor, &parents, Vec::new(), build);
        let sources: BTreeSet<_> = led.into_iter().flat_map(|led| led.sources).collect();
        graph.copartitions.push((sources.clone(), node));
        (node, sources, store)
    }

    fn suffixed(&self, graph: &mut Graph, suffix: &str, prefix: &str) -> String {
        let given = self.next_name.as_ref();
        graph.node_name(given.map(|name| format!("{name}{suffix}")), prefix)
    }
}

/// Makes the node of one stream, once it is known how the streams are aggregated.
fn build_group<K: Serde, V: Serde, A: Serde>(
    add: impl Fn(&K, &V, &mut A) + Data,
) -> Rc<BuildGroup<K, A>> {
    let add = Arc::new(add);
    Rc::new(move |how, store| {
        let add = Arc::clone(&add);
        let add = move |key: &K, value: &V, aggregate: &mut A| add(key, value, aggregate);
        let emit = Emit::default();
        match how {
            How::Plain(initial) => plain(store, aggregate_one(move || initial(), add)),
            How::Time(windows, initial) => {
                let add = aggregate_one(move || initial(), add);
                windows.aggregate(store, emit, Arc::new(add), None)
            }
            How::Session(sessions, initial, merge) => {
                let merge = move |key: &K, one: &mut A, other: A| merge(key, one, other);
                let merging = Arc::clone(&initial);
                let merge = merge_into(Arc::new(move || merging()), merge);
                let add = aggregate_one(move || initial(), add);
                sessions.aggregate(store, emit, Arc::new(add), Arc::new(merge))
            }
        }
    })
}

fn plain<K: Serde, V: Serde, A: Serde>(
    store: StoreId,
    add: impl Fn(&K, &V, &mut Option<A>) + Data,
) -> Build {
    let add = Arc::new(add);
    build_node::<K, V>(move |compiler, id| {
        Ok(Box::new(Aggregate {
            id,
            store: compiler.needed_store(store)?,
            store_name: compiler.graph().stores[store.0].name.clone(),
            add: Arc::clone(&add),
            input: PhantomData,
            children: compiler.children(id)?,
        }))
    })
}

/// Co-grouped streams in tumbling, hopping or sliding windows.
#[derive(Debug)]
#[must_use = "co-grouped streams do nothing until they are aggregated"]
pub struct TimeWindowedCogroupedKStream<K, A> {
    cogrouped: CogroupedKStream<K, A>,
    windows: AnyWindows,
}

impl<K: Serde, A: Serde> TimeWindowedCogroupedKStream<K, A> {
    pub(super) fn new(cogrouped: CogroupedKStream<K, A>, windows: AnyWindows) -> Self {
        Self { cogrouped, windows }
    }

    /// Names the aggregation that follows instead of numbering it.
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self::new(self.cogrouped.named(name), self.windows)
    }

    /// The values of all streams taken into one aggregate per key and window.
    #[must_use]
    pub fn aggregate(&self, initial: impl Fn() -> A + Data) -> KTable<Windowed<K>, A> {
        self.aggregate_as(Materialized::default(), initial)
    }

    /// As [`aggregate`](Self::aggregate), in a store with a name or settings of its own.
    #[must_use]
    pub fn aggregate_as(
        &self,
        materialized: impl Into<Materialized>,
        initial: impl Fn() -> A + Data,
    ) -> KTable<Windowed<K>, A> {
        let materialized = materialized.into();
        let initial: Initial<A> = Arc::new(initial);
        let how = || How::Time(self.windows, Arc::clone(&initial));
        let kind = self.windows.store_kind(&materialized);
        let build_store = self.windows.store::<A>();
        let info = Some(self.windows.info());
        let cogrouped = &self.cogrouped;
        let (node, sources, store) =
            cogrouped.add::<Windowed<K>>(materialized, kind, build_store, info, how);
        if let Some(mistake) = self.windows.mistake() {
            cogrouped.graph.borrow_mut().mistake(mistake);
        }
        let graph = Rc::clone(&cogrouped.graph);
        self.windows.table(graph, node, sources, store)
    }
}

/// Co-grouped streams in sessions.
#[derive(Debug)]
#[must_use = "co-grouped streams do nothing until they are aggregated"]
pub struct SessionWindowedCogroupedKStream<K, A> {
    cogrouped: CogroupedKStream<K, A>,
    sessions: Sessions,
}

impl<K: Serde, A: Serde> SessionWindowedCogroupedKStream<K, A> {
    pub(super) fn new(cogrouped: CogroupedKStream<K, A>, sessions: Sessions) -> Self {
        Self {
            cogrouped,
            sessions,
        }
    }

    /// Names the aggregation that follows instead of numbering it.
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self::new(self.cogrouped.named(name), self.sessions)
    }

    /// The values of all streams taken into one aggregate per key and session; `merge` takes the
    /// aggregate of another session into one when a record joins the two.
    #[must_use]
    pub fn aggregate(
        &self,
        initial: impl Fn() -> A + Data,
        merge: impl Fn(&K, &mut A, A) + Data,
    ) -> KTable<Windowed<K, SessionWindow>, A> {
        self.aggregate_as(Materialized::default(), initial, merge)
    }

    /// As [`aggregate`](Self::aggregate), in a store with a name or settings of its own.
    #[must_use]
    pub fn aggregate_as(
        &self,
        materialized: impl Into<Materialized>,
        initial: impl Fn() -> A + Data,
        merge: impl Fn(&K, &mut A, A) + Data,
    ) -> KTable<Windowed<K, SessionWindow>, A> {
        let materialized = materialized.into();
        let initial: Initial<A> = Arc::new(initial);
        let merge: MergeFn<K, A> = Arc::new(merge);
        let how = || How::Session(self.sessions, Arc::clone(&initial), Arc::clone(&merge));
        let kind = self.sessions.store_kind(&materialized);
        let info = Some(self.sessions.info());
        let cogrouped = &self.cogrouped;
        let build_store = Sessions::store::<A>();
        let (node, sources, store) =
            cogrouped.add::<Windowed<K, SessionWindow>>(materialized, kind, build_store, info, how);
        session_table(Rc::clone(&cogrouped.graph), node, sources, store)
    }
}

impl<K, A> Clone for Group<K, A> {
    fn clone(&self) -> Self {
        Self {
            lead: Rc::clone(&self.lead),
            build: Rc::clone(&self.build),
        }
    }
}

impl<K, A> Clone for CogroupedKStream<K, A> {
    fn clone(&self) -> Self {
        Self {
            graph: Rc::clone(&self.graph),
            groups: self.groups.clone(),
            next_name: self.next_name.clone(),
        }
    }
}

impl<K, A> fmt::Debug for CogroupedKStream<K, A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CogroupedKStream")
            .field("streams", &self.groups.len())
            .finish()
    }
}

const AGGREGATE: &str = "COGROUPKSTREAM-AGGREGATE-";
const MERGE: &str = "COGROUPKSTREAM-MERGE-";
