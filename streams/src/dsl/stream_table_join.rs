//! Joins of a stream with a table.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::data::Data;
use super::graph::{BuildStore, Graph, NodeKind, Store, StoreId, build_node};
use super::join::{Inner, JoinRhs, Left};
use super::kstream::KStream;
use super::ktable::KTable;
use super::materialized::Materialized;
use super::node::{Node, NodeId};
use super::operators::grace_join::GraceJoin;
use super::operators::join::StreamTableJoin as JoinNode;
use super::serde::Serde;
use super::windows::millis;
use crate::runtime::StoreKind;

/// A join of each record of a stream with the table's entry of its key, as the table is when the
/// record is processed. The result has the record's timestamp.
///
/// Records without a value are dropped. Without a key or an entry, an inner join drops the
/// record, a [`left`](Self::left) join joins it with nothing.
#[must_use = "a join does nothing until `.by(..)` ends it"]
#[derive(Clone, Debug)]
pub struct StreamTableJoin<K, V, T, Kind = Inner> {
    stream: KStream<K, V>,
    table: KTable<K, T>,
    grace: Option<Duration>,
    kind: PhantomData<fn() -> Kind>,
}

impl<K: Serde, V: Serde, T: Data> JoinRhs<KStream<K, V>> for &KTable<K, T> {
    type Join = StreamTableJoin<K, V, T>;

    fn join_to(self, left: &KStream<K, V>) -> Self::Join {
        let mut stream = left.clone();
        stream.next_name.clone_from(&left.next_name);
        StreamTableJoin {
            stream,
            table: self.clone(),
            grace: None,
            kind: PhantomData,
        }
    }
}

impl<K: Serde, V: Serde, T: Data> StreamTableJoin<K, V, T> {
    /// Keeps records that find nothing in the table.
    pub fn left(self) -> StreamTableJoin<K, V, T, Left> {
        StreamTableJoin {
            stream: self.stream,
            table: self.table,
            grace: self.grace,
            kind: PhantomData,
        }
    }

    /// What a record and the entry it finds make.
    #[must_use]
    pub fn by<R: Data>(self, joiner: impl Fn(&V, &T) -> R + Data) -> KStream<K, R> {
        self.by_with_key(move |_, value, found| joiner(value, found))
    }

    /// What a record with its key and the entry it finds make.
    #[must_use]
    pub fn by_with_key<R: Data>(self, joiner: impl Fn(&K, &V, &T) -> R + Data) -> KStream<K, R> {
        self.joined("KSTREAM-JOIN-", false, move |key, value, found| {
            let found = found.expect("an inner join calls only for what it has found");
            joiner(key, value, found)
        })
    }
}

impl<K: Serde, V: Serde, T: Data> StreamTableJoin<K, V, T, Left> {
    /// What a record and the entry it finds, if any, make.
    #[must_use]
    pub fn by<R: Data>(self, joiner: impl Fn(&V, Option<&T>) -> R + Data) -> KStream<K, R> {
        self.by_with_key(move |_, value, found| joiner(value, found))
    }

    /// What a record with its key and the entry it finds, if any, make.
    #[must_use]
    pub fn by_with_key<R: Data>(
        self,
        joiner: impl Fn(&K, &V, Option<&T>) -> R + Data,
    ) -> KStream<K, R> {
        self.joined("KSTREAM-LEFTJOIN-", true, joiner)
    }
}

impl<K: Serde, V: Serde, T: Data, Kind> StreamTableJoin<K, V, T, Kind> {
    /// Lets each record wait until stream time has passed its time by `grace`, so that it finds
    /// updates of the table that come late (KIP-923). The table must be
    /// [versioned](crate::Materialized::versioned), with at least this history. A record that is
    /// older than that already is joined at once. Records without a key, which only a left join
    /// keeps, do not wait.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    fn joined<R: Data>(
        self,
        prefix: &str,
        left: bool,
        joiner: impl Fn(&K, &V, Option<&T>) -> R + Data,
    ) -> KStream<K, R> {
        let (stream, table) = (self.stream, self.table);
        let given = stream.next_name.clone();
        let left_side = if stream.repartition_required {
            stream.repartitioned_for_join(given.as_deref())
        } else {
            stream.clone()
        };
        let mut graph = stream.graph.borrow_mut();
        table.materialize(&mut graph);
        let name = graph.node_name(given, prefix);
        let grace_ms = self.grace.map(millis);
        let buffer = grace_ms.map(|grace_ms| add_buffer(&mut graph, &name, table.node, grace_ms));
        // In this order, because Kafka Streams adds the buffer first.
        let stores = buffer.into_iter().chain(table.stores.iter().copied());
        let stores = stores.collect();
        let waits = buffer.zip(grace_ms);
        let (joiner, join_name) = (Arc::new(joiner), name.clone());
        let getter = Arc::clone(&table.getter);
        let build = build_node::<K, V>(move |compiler, id| {
            let inner = JoinNode {
                id,
                left,
                table: getter(compiler)?,
                joiner: Arc::clone(&joiner),
                input: PhantomData,
                children: compiler.children(id)?,
            };
            Ok(match waits {
                None => Box::new(inner) as Box<dyn Node<K, V>>,
                Some((buffer, grace_ms)) => Box::new(GraceJoin {
                    inner,
                    buffer: compiler.needed_store(buffer)?,
                    name: join_name.clone(),
                    grace_ms,
                    state: None,
                }),
            })
        });
        let parents = [left_side.node];
        let node = graph.add_node(name, NodeKind::Processor, &parents, stores, build);
        graph.left_joins.extend(left.then_some(node));
        let sources: BTreeSet<_> = left_side.sources.union(&table.sources).copied().collect();
        graph.copartitions.push((sources.clone(), node));
        drop(graph);
        KStream::new(Rc::clone(&stream.graph), node, sources, false)
    }
}

/// The store of the records that wait.
fn add_buffer(graph: &mut Graph, join: &str, table: NodeId, grace_ms: i64) -> StoreId {
    match graph.history_ms(table) {
        None => graph.mistake(format!(
            "join {join} has a grace period, but its table is not versioned\n  hint: give the table a Materialized::versioned store"
        )),
        Some(history_ms) if history_ms < grace_ms => graph.mistake(format!(
            "join {join} has a grace period of {grace_ms} ms, but its table knows only {history_ms} ms of history\n  hint: give the table's store at least that history"
        )),
        Some(_) => {}
    }
    let build: BuildStore = Arc::new(|_, _| Box::new(()));
    let materialized = Materialized::default();
    let name = format!("{join}-Buffer");
    graph.add_store(Store::new(name, StoreKind::KeyValue, &materialized, build))
}
