//! Global tables: every instance has all of their entries.

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use super::builder::Builder;
use super::consumed::Consumed;
use super::data::Data;
use super::graph::{NodeKind, SharedGraph, build_node};
use super::join::{Inner, JoinRhs, Left};
use super::kstream::KStream;
use super::on_error::OnError;
use super::operators::global_join::{Extractor, GlobalJoin as JoinNode};
use super::serde::{Serde, SerdeContext, decode};
use super::topic::Topic;
use crate::runtime::{GlobalIndex, GlobalTable, GlobalUpdate, StreamsError};

/// A table whose entries every instance has, whatever its tasks are. A stream may look it up by
/// any key, without being repartitioned. It is read to its end before anything starts; from then
/// on it is not in step with the streams.
pub struct GlobalKTable<K, V> {
    graph: SharedGraph,
    index: GlobalIndex,
    store_name: String,
    types: PhantomData<fn() -> (K, V)>,
}

/// A global table in a graph.
#[derive(Clone)]
pub(crate) struct Global {
    pub(crate) topic: String,
    pub(crate) store: String,
    /// Names of the source and of the table, for the topology's description.
    pub(crate) source_name: String,
    pub(crate) table_name: String,
    /// How many nodes of the graph were there before it.
    pub(crate) position: usize,
    pub(crate) update: GlobalUpdate,
}

impl Global {
    /// What the runtime keeps.
    pub(crate) fn table(&self) -> GlobalTable {
        GlobalTable::new(&self.topic, &self.store).with_update(Arc::clone(&self.update))
    }
}

impl Builder {
    /// A table of which every instance has all entries.
    #[must_use = "a global table does nothing until a stream joins it"]
    pub fn global_table<K: Serde, V: Serde>(&self, topic: &Topic<K, V>) -> GlobalKTable<K, V> {
        self.add_global_table(topic, Consumed::new(), None)
    }

    /// A global table in a store of this name, read in another way than by default.
    ///
    /// What cannot be read fails the application or is skipped; it cannot go to a dead-letter
    /// topic, because every instance reads it.
    #[must_use = "a global table does nothing until a stream joins it"]
    pub fn global_table_as<K: Serde, V: Serde>(
        &self,
        topic: &Topic<K, V>,
        store: impl Into<String>,
        consumed: Consumed,
    ) -> GlobalKTable<K, V> {
        self.add_global_table(topic, consumed, Some(store.into()))
    }

    fn add_global_table<K: Serde, V: Serde>(
        &self,
        topic: &Topic<K, V>,
        consumed: Consumed,
        store: Option<String>,
    ) -> GlobalKTable<K, V> {
        let mut graph = self.graph().borrow_mut();
        let store_name = graph.store_name(store, &format!("{}-", topic.name()));
        let source_name = consumed.name.as_ref().map(|name| format!("{name}-source"));
        let source_name = graph.node_name(source_name, "KSTREAM-SOURCE-");
        let table_name = graph.node_name(consumed.name, "KTABLE-SOURCE-");
        let on_error = consumed.on_error;
        let on_error = on_error.unwrap_or_else(|| graph.on_deserialization_error.clone());
        if matches!(on_error, OnError::DeadLetter(_)) {
            graph.mistake(format!(
                "global table \"{}\" cannot have a dead-letter topic, because every instance reads it\n  hint: give it OnError::Skip or OnError::Fail",
                topic.name()
            ));
        }
        let position = graph.nodes.len();
        graph.globals.push(Global {
            topic: topic.name().to_owned(),
            store: store_name.clone(),
            source_name,
            table_name,
            position,
            update: update::<K, V>(topic.name().to_owned(), on_error),
        });
        GlobalKTable {
            graph: Rc::clone(self.graph()),
            index: GlobalIndex(graph.globals.len() - 1),
            store_name,
            types: PhantomData,
        }
    }
}

/// Lets into the store only what can be read back.
fn update<K: Serde, V: Serde>(topic: String, on_error: OnError) -> GlobalUpdate {
    Arc::new(move |record, store| {
        let (Some(key), value) = (&record.key, &record.value) else {
            return Ok(());
        };
        let readable = K::decode(&SerdeContext::key(&topic), key)
            .map_err(|error| ("key", error))
            .and_then(|_| {
                let context = SerdeContext::value(&topic);
                let value = decode::<Option<V>>(&context, value.as_ref());
                value.map_err(|error| ("value", error))
            });
        match (readable, value) {
            (Ok(_), Some(value)) => store.put(key, value, record.timestamp),
            (Ok(_), None) => store.delete(key, record.timestamp),
            (Err((part, error)), _) => {
                let error = StreamsError::Deserialize {
                    topic: topic.clone(),
                    partition: record.partition,
                    offset: record.offset,
                    part,
                    reason: error.to_string(),
                };
                if on_error == OnError::Fail {
                    return Err(error);
                }
                tracing::warn!(%error, "record of a global table skipped");
                Ok(())
            }
        }
    })
}

/// A global table to be joined by a key found in each record, made by [`GlobalKTable::on`].
#[must_use = "it is the right side of a join"]
pub struct GlobalKey<K, V, GK, GV> {
    index: GlobalIndex,
    store_name: String,
    extractor: Extractor<K, V, GK>,
    types: PhantomData<fn() -> GV>,
}

/// A join of each record of a stream with the entry of a global table that it names. The result
/// has the record's key and timestamp.
///
/// Records without a value are dropped. Without a key to look up or an entry, an inner join drops
/// the record, a [`left`](Self::left) join joins it with nothing.
#[must_use = "a join does nothing until `.by(..)` ends it"]
pub struct StreamGlobalJoin<K, V, GK, GV, Kind = Inner> {
    stream: KStream<K, V>,
    name: Option<String>,
    global: GlobalKey<K, V, GK, GV>,
    kind: PhantomData<fn() -> Kind>,
}

impl<GK: Serde, GV: Serde> GlobalKTable<GK, GV> {
    /// This table as the right side of a stream's join, looked up by what `key` finds in each
    /// record; it may give an `Option`.
    ///
    /// The record's type has to be said, as in `rates.on(|_, order: &Order| order.currency)`.
    pub fn on<K: Data, V: Data, F: Into<Option<GK>>>(
        &self,
        key: impl Fn(&K, &V) -> F + Data,
    ) -> GlobalKey<K, V, GK, GV> {
        GlobalKey {
            index: self.index,
            store_name: self.store_name.clone(),
            extractor: Arc::new(move |record_key, value| key(record_key, value).into()),
            types: PhantomData,
        }
    }

    /// Name of the store.
    #[must_use]
    pub fn store_name(&self) -> &str {
        &self.store_name
    }
}

impl<K: Serde, V: Serde, GK: Serde, GV: Serde> JoinRhs<KStream<K, V>> for GlobalKey<K, V, GK, GV> {
    type Join = StreamGlobalJoin<K, V, GK, GV>;

    fn join_to(self, left: &KStream<K, V>) -> Self::Join {
        StreamGlobalJoin {
            stream: left.clone(),
            name: left.next_name.clone(),
            global: self,
            kind: PhantomData,
        }
    }
}

impl<K: Serde, V: Serde, GK: Serde, GV: Serde> StreamGlobalJoin<K, V, GK, GV> {
    /// Keeps records that find nothing in the table.
    pub fn left(self) -> StreamGlobalJoin<K, V, GK, GV, Left> {
        StreamGlobalJoin {
            stream: self.stream,
            name: self.name,
            global: self.global,
            kind: PhantomData,
        }
    }

    /// What a record and the entry it finds make.
    #[must_use]
    pub fn by<R: Data>(self, joiner: impl Fn(&V, &GV) -> R + Data) -> KStream<K, R> {
        self.joined(false, move |_, value, found| {
            let found = found.expect("an inner join calls only for what it has found");
            joiner(value, found)
        })
    }
}

impl<K: Serde, V: Serde, GK: Serde, GV: Serde> StreamGlobalJoin<K, V, GK, GV, Left> {
    /// What a record and the entry it finds, if any, make.
    #[must_use]
    pub fn by<R: Data>(self, joiner: impl Fn(&V, Option<&GV>) -> R + Data) -> KStream<K, R> {
        self.joined(true, move |_, value, found| joiner(value, found))
    }
}

impl<K: Serde, V: Serde, GK: Serde, GV: Serde, Kind> StreamGlobalJoin<K, V, GK, GV, Kind> {
    fn joined<R: Data>(
        self,
        left: bool,
        joiner: impl Fn(&K, &V, Option<&GV>) -> R + Data,
    ) -> KStream<K, R> {
        let (stream, global) = (self.stream, self.global);
        let joiner = Arc::new(joiner);
        let build = build_node::<K, V>(move |compiler, id| {
            Ok(Box::new(JoinNode {
                id,
                left,
                global: global.index,
                store_name: global.store_name.clone(),
                extractor: Arc::clone(&global.extractor),
                joiner: Arc::clone(&joiner),
                table: PhantomData,
                children: compiler.children(id)?,
            }))
        });
        let mut graph = stream.graph.borrow_mut();
        // Kafka Streams calls inner joins with a global table so, too.
        let name = graph.node_name(self.name, "KSTREAM-LEFTJOIN-");
        let parents = [stream.node];
        let node = graph.add_node(name, NodeKind::Processor, &parents, Vec::new(), build);
        graph.left_joins.extend(left.then_some(node));
        drop(graph);
        stream.followed_by(node, stream.repartition_required)
    }
}

impl<K, V> Clone for GlobalKTable<K, V> {
    fn clone(&self) -> Self {
        Self {
            graph: Rc::clone(&self.graph),
            index: self.index,
            store_name: self.store_name.clone(),
            types: PhantomData,
        }
    }
}

impl<K, V> fmt::Debug for GlobalKTable<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("GlobalKTable")
            .field(&self.store_name)
            .finish()
    }
}

impl<K, V, GK, GV> fmt::Debug for GlobalKey<K, V, GK, GV> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("GlobalKey")
            .field(&self.store_name)
            .finish()
    }
}

impl<K, V, GK, GV, Kind> fmt::Debug for StreamGlobalJoin<K, V, GK, GV, Kind> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StreamGlobalJoin")
            .field("left", &self.stream)
            .field("right", &self.global)
            .finish()
    }
}
