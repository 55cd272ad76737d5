//! Joins of two streams: nodes, stores and their names.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use super::data::Data;
use super::graph::{Graph, NodeKind, Store, StoreId, build_node};
use super::join::{Inner, JoinRhs, Left, Outer};
use super::join_windows::{JoinWindows, StreamWindow};
use super::kstream::KStream;
use super::node::NodeId;
use super::operators::stateless::Merge;
use super::operators::stream_join::{JoinSide, JoinTime, KeepWindow, SideJoiner};
use super::serde::Serde;
use crate::runtime::{StoreKind, StorePlace};

/// A join of two streams, to be ended with [`by`](Self::by).
///
/// The result has the larger timestamp of the two records. A record of a left or outer join that
/// finds no partner is joined with nothing once its window and grace have passed (KIP-633);
/// records without a value are dropped.
#[derive(Debug)]
#[must_use = "a join does nothing until it ends with `.by(..)`"]
pub struct StreamStreamJoin<K, V, V2, How> {
    left: KStream<K, V>,
    right: StreamWindow<K, V2>,
    how: How,
}

impl<K: Data, V: Data, V2: Data> JoinRhs<KStream<K, V>> for StreamWindow<K, V2> {
    type Join = StreamStreamJoin<K, V, V2, Inner>;

    fn join_to(self, left: &KStream<K, V>) -> Self::Join {
        StreamStreamJoin {
            left: match &left.next_name {
                Some(name) => left.named(name.clone()),
                None => left.clone(),
            },
            right: self,
            how: Inner,
        }
    }
}

impl<K: Serde, V: Serde, V2: Serde> StreamStreamJoin<K, V, V2, Inner> {
    /// Records of the left side without a partner are joined with nothing.
    pub fn left(self) -> StreamStreamJoin<K, V, V2, Left> {
        self.with(Left)
    }

    /// Records of either side without a partner are joined with nothing.
    pub fn outer(self) -> StreamStreamJoin<K, V, V2, Outer> {
        self.with(Outer)
    }

    /// Ends the join: makes a value of two.
    #[must_use]
    pub fn by<R: Data>(self, joiner: impl Fn(&V, &V2) -> R + Data) -> KStream<K, R> {
        self.joined(false, false, move |left, right| Some(joiner(left?, right?)))
    }

    fn with<How>(self, how: How) -> StreamStreamJoin<K, V, V2, How> {
        StreamStreamJoin {
            left: self.left,
            right: self.right,
            how,
        }
    }
}

impl<K: Serde, V: Serde, V2: Serde> StreamStreamJoin<K, V, V2, Left> {
    /// Ends the join: makes a value of the left one and what was found for it.
    #[must_use]
    pub fn by<R: Data>(self, joiner: impl Fn(&V, Option<&V2>) -> R + Data) -> KStream<K, R> {
        self.joined(true, false, move |left, right| Some(joiner(left?, right)))
    }
}

impl<K: Serde, V: Serde, V2: Serde> StreamStreamJoin<K, V, V2, Outer> {
    /// Ends the join: makes a value of the two, of which one may be missing.
    #[must_use]
    pub fn by<R: Data>(
        self,
        joiner: impl Fn(Option<&V>, Option<&V2>) -> R + Data,
    ) -> KStream<K, R> {
        self.joined(true, true, move |left, right| Some(joiner(left, right)))
    }
}

impl<K: Serde, V: Serde, V2: Serde, How> StreamStreamJoin<K, V, V2, How> {
    fn joined<R: Data>(
        self,
        left_outer: bool,
        right_outer: bool,
        joiner: impl Fn(Option<&V>, Option<&V2>) -> Option<R> + Data,
    ) -> KStream<K, R> {
        let _ = self.how;
        let given = self.left.next_name.clone();
        let left = partitioned(&self.left, given.as_deref(), "-left");
        let right = partitioned(&self.right.stream, given.as_deref(), "-right");
        let shared_graph = Rc::clone(&left.graph);
        let mut graph = shared_graph.borrow_mut();
        let names = Names::new(&mut graph, given.as_deref(), left_outer, right_outer);
        let stores = Stores::add(&mut graph, &names, &self.right, left_outer);

        let left_kept = keep_window::<K, V>(&mut graph, names.left_window, left.node, stores.left);
        let right_kept =
            keep_window::<K, V2>(&mut graph, names.right_window, right.node, stores.right);

        let joiner = Arc::new(joiner);
        let swapped = Arc::clone(&joiner);
        let left_side = Side {
            is_left: true,
            outer: left_outer,
            windows: self.right.windows,
            stores,
        };
        let right_side = Side {
            is_left: false,
            outer: right_outer,
            ..left_side
        };
        let from_left: SideJoiner<V, V2, R> = Arc::new(move |left, right| joiner(left, right));
        let from_right: SideJoiner<V2, V, R> = Arc::new(move |right, left| swapped(left, right));
        let from_left =
            left_side.add::<K, _, _, _>(&mut graph, names.left_join, left_kept, from_left);
        let from_right =
            right_side.add::<K, _, _, _>(&mut graph, names.right_join, right_kept, from_right);

        let build = build_node::<K, R>(|compiler, id| {
            Ok(Box::new(Merge {
                children: compiler.children(id)?,
            }))
        });
        let parents = [from_left, from_right];
        // Both sides: an outer join with nothing may be on either.
        graph
            .left_joins
            .extend(left_outer.then_some(parents).into_iter().flatten());
        let node = graph.add_node(
            names.merge,
            NodeKind::Processor,
            &parents,
            Vec::new(),
            build,
        );
        let sources: std::collections::BTreeSet<_> =
            left.sources.union(&right.sources).copied().collect();
        graph.copartitions.push((sources.clone(), node));
        drop(graph);
        KStream::new(shared_graph, node, sources, false)
    }
}

/// A side's stream, partitioned by its key.
fn partitioned<K: Serde, V: Serde>(
    stream: &KStream<K, V>,
    given: Option<&str>,
    suffix: &str,
) -> KStream<K, V> {
    if !stream.repartition_required {
        return stream.clone();
    }
    let name = given.map(|name| format!("{name}{suffix}"));
    stream.repartitioned_for_join(name.as_deref())
}

/// Names of a join's nodes, numbered in the order in which Kafka Streams does.
struct Names {
    left_window: String,
    right_window: String,
    left_join: String,
    right_join: String,
    merge: String,
    /// The numbered names of the two joins, also where they have another.
    numbered: (String, String),
    suffixes: (&'static str, &'static str),
    shared_suffix: &'static str,
}

impl Names {
    fn new(graph: &mut Graph, given: Option<&str>, left_outer: bool, right_outer: bool) -> Self {
        let with = |suffix: &str| given.map(|name| format!("{name}{suffix}"));
        let left_suffix = if right_outer {
            "-outer-this-join"
        } else {
            "-this-join"
        };
        let right_suffix = if left_outer {
            "-outer-other-join"
        } else {
            "-other-join"
        };
        let left_window = graph.node_name(with("-this-windowed"), WINDOWED);
        let right_window = graph.node_name(with("-other-windowed"), WINDOWED);
        let left = graph.numbered(if right_outer { OUTER_THIS } else { JOIN_THIS });
        let right = graph.numbered(if left_outer { OUTER_OTHER } else { JOIN_OTHER });
        Self {
            left_window,
            right_window,
            left_join: with(left_suffix).unwrap_or_else(|| left.clone()),
            right_join: with(right_suffix).unwrap_or_else(|| right.clone()),
            merge: graph.node_name(with("-merge"), "KSTREAM-MERGE-"),
            numbered: (left, right),
            suffixes: (left_suffix, right_suffix),
            shared_suffix: if right_outer {
                "-outer-shared-join"
            } else {
                "-left-shared-join"
            },
        }
    }

    /// Names of the stores of left side, right side, and of records without partner.
    fn stores(&self, given: Option<&str>) -> (String, String, String) {
        let (left, right) = &self.numbered;
        let (left, right, shared) = match given {
            Some(name) => (
                format!("{name}{}", self.suffixes.0),
                format!("{name}{}", self.suffixes.1),
                format!("{name}{}", self.shared_suffix),
            ),
            None => {
                let number = left.rsplit('-').next().unwrap_or_default();
                (
                    left.clone(),
                    right.clone(),
                    format!("{OUTER_SHARED}{number}"),
                )
            }
        };
        (
            format!("{left}-store"),
            format!("{right}-store"),
            format!("{shared}-store"),
        )
    }
}

/// The stores of a join.
#[derive(Clone, Copy)]
struct Stores {
    left: StoreId,
    right: StoreId,
    /// Records of a left or outer join that have no partner yet.
    unmatched: Option<StoreId>,
}

impl Stores {
    fn add<K, V>(
        graph: &mut Graph,
        names: &Names,
        right: &StreamWindow<K, V>,
        left_outer: bool,
    ) -> Self {
        let (left, other, shared) = names.stores(right.stored.store_name.as_deref());
        let logging = right.stored.logging;
        let mut add = |name, kind| {
            graph.add_store(Store {
                name,
                kind,
                caching: false,
                logging,
                place: StorePlace::AsConfigured,
                used: true,
                sends_old: false,
                build: Arc::new(|_, _| Box::new(JoinTime::default())),
            })
        };
        let kind = StoreKind::JoinWindow {
            retention_ms: right.windows.retention_ms(),
        };
        Self {
            left: add(left, kind),
            right: add(other, kind),
            unmatched: left_outer.then(|| add(shared, StoreKind::KeyValue)),
        }
    }
}

/// Adds the node that keeps a side's records for the other.
fn keep_window<K: Serde, V: Serde>(
    graph: &mut Graph,
    name: String,
    parent: NodeId,
    store: StoreId,
) -> NodeId {
    let build = build_node::<K, V>(move |compiler, id| {
        Ok(Box::new(KeepWindow {
            id,
            store: compiler.needed_store(store)?,
            store_name: compiler.graph().stores[store.0].name.clone(),
            children: compiler.children(id)?,
        }))
    });
    graph.add_node(name, NodeKind::Processor, &[parent], vec![store], build)
}

/// One side of a join, whose records look for partners on the other.
#[derive(Clone, Copy)]
struct Side {
    is_left: bool,
    outer: bool,
    windows: JoinWindows,
    stores: Stores,
}

impl Side {
    fn add<K: Serde, This: Serde, Other: Serde, R: Data>(
        self,
        graph: &mut Graph,
        name: String,
        parent: NodeId,
        joiner: SideJoiner<This, Other, R>,
    ) -> NodeId {
        let Stores {
            left,
            right,
            unmatched,
        } = self.stores;
        let other = if self.is_left { right } else { left };
        let build = build_node::<K, This>(move |compiler, id| {
            let unmatched = unmatched.map(|store| compiler.needed_store(store));
            Ok(Box::new(JoinSide::<K, This, Other, R> {
                id,
                is_left: self.is_left,
                outer: self.outer,
                windows: self.windows,
                other: compiler.needed_store(other)?,
                other_name: compiler.graph().stores[other.0].name.clone(),
                time: compiler.needed_store(left)?,
                unmatched: unmatched.transpose()?,
                joiner: Arc::clone(&joiner),
                input: PhantomData,
                children: compiler.children(id)?,
            }))
        });
        let stores = [other].into_iter().chain(unmatched).collect();
        graph.add_node(name, NodeKind::Processor, &[parent], stores, build)
    }
}

const WINDOWED: &str = "KSTREAM-WINDOWED-";
const JOIN_THIS: &str = "KSTREAM-JOINTHIS-";
const JOIN_OTHER: &str = "KSTREAM-JOINOTHER-";
const OUTER_THIS: &str = "KSTREAM-OUTERTHIS-";
const OUTER_OTHER: &str = "KSTREAM-OUTEROTHER-";
const OUTER_SHARED: &str = "KSTREAM-OUTERSHARED-";
