//! Joins of two tables by a foreign key: each left entry names the right entry that it wants.

use std::any::type_name;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use moldau_client::KString;

use super::data::Data;
use super::graph::{Graph, NodeKind, Reads, Store, StoreId, build_node, build_source};
use super::join::{Inner, JoinRhs, Left};
use super::ktable::{KTable, store_getter};
use super::materialized::Materialized;
use super::node::{Node, NodeId};
use super::on_error::OnError;
use super::operators::foreign_key::{
    Answer, AnswerAll, KeepSubscription, Resolve, ResponseSink, Subscribe,
};
use super::operators::sink::Sink;
use super::operators::source::Source;
use super::operators::table::Change;
use super::serde::Serde;
use super::subscription::{Response, Subscription};
use super::to_table::{keep, table_store};
use crate::runtime::{SourceRole, StartAt, StoreKind, StorePlace};

/// Finds the foreign key in a left entry; `None` where it has none.
type Extractor<K, V, KO> = Arc<dyn Fn(&K, &V) -> Option<KO> + Send + Sync>;

/// A table to be joined by a foreign key, made by [`KTable::on`].
#[must_use = "it is the right side of a join"]
pub struct ForeignKey<K, V, KO, T> {
    table: KTable<KO, T>,
    extractor: Extractor<K, V, KO>,
}

/// A join of two tables by a foreign key. The result has the left table's keys and changes when
/// either entry does. A left entry without a foreign key joins nothing.
#[must_use = "a join does nothing until `.by(..)` ends it"]
pub struct ForeignKeyJoin<K, V, KO, T, Kind = Inner> {
    this: KTable<K, V>,
    name: Option<String>,
    other: ForeignKey<K, V, KO, T>,
    kind: PhantomData<fn() -> Kind>,
}

impl<KO: Serde, T: Serde> KTable<KO, T> {
    /// This table as the right side of a join by a foreign key, which `key` finds in the left
    /// table's key and value; it may give an `Option` (KIP-1104).
    ///
    /// The left value's type has to be said, as in `products.on(|_, item: &Item| item.product)`.
    pub fn on<K: Data, V: Data, F: Into<Option<KO>>>(
        &self,
        key: impl Fn(&K, &V) -> F + Data,
    ) -> ForeignKey<K, V, KO, T> {
        ForeignKey {
            table: self.clone(),
            extractor: Arc::new(move |primary, value| key(primary, value).into()),
        }
    }
}

impl<K: Serde, V: Serde, KO: Serde, T: Serde> JoinRhs<KTable<K, V>> for ForeignKey<K, V, KO, T> {
    type Join = ForeignKeyJoin<K, V, KO, T>;

    fn join_to(self, left: &KTable<K, V>) -> Self::Join {
        ForeignKeyJoin {
            this: left.clone(),
            name: left.next_name.clone(),
            other: self,
            kind: PhantomData,
        }
    }
}

impl<K: Serde, V: Serde, KO: Serde, T: Serde> ForeignKeyJoin<K, V, KO, T> {
    /// Keeps left entries whose foreign key is missing or finds nothing.
    pub fn left(self) -> ForeignKeyJoin<K, V, KO, T, Left> {
        ForeignKeyJoin {
            this: self.this,
            name: self.name,
            other: self.other,
            kind: PhantomData,
        }
    }

    /// What a left entry and the one that it names make.
    #[must_use]
    pub fn by<R: Serde>(self, joiner: impl Fn(&V, &T) -> R + Data) -> KTable<K, R> {
        self.by_as(Materialized::default(), joiner)
    }

    /// As [`by`](Self::by), in a store with a name or settings of its own.
    #[must_use]
    pub fn by_as<R: Serde>(
        self,
        materialized: impl Into<Materialized>,
        joiner: impl Fn(&V, &T) -> R + Data,
    ) -> KTable<K, R> {
        self.joined(false, &materialized.into(), move |_, value, foreign| {
            let foreign = foreign.expect("an inner join calls only for what it has found");
            joiner(value, foreign)
        })
    }
}

impl<K: Serde, V: Serde, KO: Serde, T: Serde> ForeignKeyJoin<K, V, KO, T, Left> {
    /// What a left entry and the one that it names, if any, make.
    #[must_use]
    pub fn by<R: Serde>(self, joiner: impl Fn(&V, Option<&T>) -> R + Data) -> KTable<K, R> {
        self.by_as(Materialized::default(), joiner)
    }

    /// As [`by`](Self::by), in a store with a name or settings of its own.
    #[must_use]
    pub fn by_as<R: Serde>(
        self,
        materialized: impl Into<Materialized>,
        joiner: impl Fn(&V, Option<&T>) -> R + Data,
    ) -> KTable<K, R> {
        let joiner = move |_: &K, value: &V, foreign: Option<&T>| joiner(value, foreign);
        self.joined(true, &materialized.into(), joiner)
    }
}

/// Names of a foreign-key join's topics, operators and stores.
struct Names {
    topic: String,
    subscribe: String,
    sink: String,
    source: String,
    subscriptions: String,
    keep: String,
    answer: String,
    answer_all: String,
    response_topic: String,
    response_sink: String,
    response_source: String,
    resolve: String,
    result: String,
    store: String,
}

impl Names {
    /// Numbered in Kafka Streams' order; a given name uses up its numbers too.
    fn new(graph: &mut Graph, given: Option<&str>, materialized: &Materialized) -> Self {
        let mut next = |suffix: &str, prefix: &str| {
            let name = given.map(|name| format!("{name}{suffix}"));
            graph.node_name(name, prefix)
        };
        let registration = next("-subscription-registration", REGISTRATION);
        let subscribe = next("-subscription-registration-processor", REGISTRATION);
        let sink = next("-subscription-registration-sink", "KTABLE-SINK-");
        let source = next("-subscription-registration-source", "KTABLE-SOURCE-");
        let subscriptions = next("-subscription-store", STATE_STORE);
        let keep = next("-subscription-receive", PROCESSOR);
        let answer = next("-subscription-join-foreign", PROCESSOR);
        let answer_all = next("-foreign-join-subscription", PROCESSOR);
        let response = next("-subscription-response", RESPONSE);
        let response_sink = next("-subscription-response-sink", "KTABLE-SINK-");
        let response_source = next("-subscription-response-source", "KTABLE-SOURCE-");
        let resolve = next("-subscription-response-resolver", RESOLVER);
        let result = next("-result", OUTPUT);
        Self {
            topic: format!("{registration}-topic"),
            subscribe,
            sink,
            source,
            subscriptions,
            keep,
            answer,
            answer_all,
            response_topic: format!("{response}-topic"),
            response_sink,
            response_source,
            resolve,
            result,
            store: graph.store_name(materialized.name.clone(), OUTPUT),
        }
    }
}

impl<K: Serde, V: Serde, KO: Serde, T: Serde, Kind> ForeignKeyJoin<K, V, KO, T, Kind> {
    fn joined<R: Serde>(
        self,
        left: bool,
        materialized: &Materialized,
        joiner: impl Fn(&K, &V, Option<&T>) -> R + Data,
    ) -> KTable<K, R> {
        let shared = Rc::clone(&self.this.graph);
        let mut graph = shared.borrow_mut();
        let table = &self.other.table;
        graph.send_old_values(table.node);
        graph.send_old_values(self.this.node);
        let names = Names::new(&mut graph, self.name.as_deref(), materialized);
        table.materialize(&mut graph);
        self.this.materialize(&mut graph);

        self.subscribe(&mut graph, &names, left);
        let [answer, answer_all] = self.answer(&mut graph, &names);
        let topic = full_name(&graph, &names.response_topic);
        let build = build_node::<K, Response<T>>(move |_, id| {
            let topic = topic.clone();
            Ok(Box::new(ResponseSink { id, topic }) as Box<dyn Node<K, Response<T>>>)
        });
        let kind = NodeKind::RepartitionSink {
            topic: names.response_topic.clone(),
        };
        let parents = [answer, answer_all];
        graph.add_node(names.response_sink, kind, &parents, Vec::new(), build);

        let name = names.response_source;
        let source = add_source::<K, Response<T>>(&mut graph, name, &names.response_topic);
        let mut sources = self.this.sources.clone();
        sources.insert(source);
        graph.copartitions.push((sources.clone(), source));
        let topic = full_name(&graph, &names.response_topic);
        let (getter, joiner) = (Arc::clone(&self.this.getter), Arc::new(joiner));
        let build = build_node::<K, Response<T>>(move |compiler, id| {
            Ok(Box::new(Resolve {
                id,
                left,
                topic: topic.clone(),
                table: getter(compiler)?,
                joiner: Arc::clone(&joiner),
                input: PhantomData,
                children: compiler.children::<K, Arc<Option<R>>>(id)?,
            }))
        });
        let (kind, stores) = (NodeKind::Processor, self.this.stores.clone());
        let resolve = graph.add_node(names.resolve, kind, &[source], stores, build);
        let used = materialized.name.is_some();
        let store = table_store::<R>(&mut graph, names.store, materialized, used);
        let build = build_node::<K, Arc<Option<R>>>(move |compiler, id| {
            let children = compiler.children(id)?;
            Ok(Box::new(keep::<K, R>(
                compiler, id, store, false, children,
            )?))
        });
        let kind = NodeKind::Processor;
        let node = graph.add_node(names.result, kind, &[resolve], vec![store], build);
        drop(graph);
        KTable::new(shared, node, sources, store_getter::<K, R>(store), store)
    }

    /// The left side up to the topic of subscriptions.
    fn subscribe(&self, graph: &mut Graph, names: &Names, left: bool) {
        let extractor = Arc::clone(&self.other.extractor);
        let extractor = Arc::new(move |key: &K, value: &V| extractor(key, value));
        let topic = full_name(graph, &names.topic);
        let sink_topic = topic.clone();
        let build = build_node::<K, Change<V>>(move |compiler, id| {
            Ok(Box::new(Subscribe {
                id,
                left,
                topic: topic.clone(),
                foreign_key: Arc::clone(&extractor),
                input: PhantomData,
                children: compiler.children(id)?,
            }))
        });
        let name = names.subscribe.clone();
        let parents = [self.this.node];
        let subscribe = graph.add_node(name, NodeKind::Processor, &parents, Vec::new(), build);
        let build = build_node::<Option<KO>, Subscription>(move |_, id| {
            let topic = sink_topic.clone();
            Ok(Box::new(Sink { id, topic }) as Box<dyn Node<Option<KO>, Subscription>>)
        });
        let kind = NodeKind::RepartitionSink {
            topic: names.topic.clone(),
        };
        graph.add_node(names.sink.clone(), kind, &[subscribe], Vec::new(), build);
    }

    /// The right side: what answers subscriptions, and what answers changes of the table.
    fn answer(&self, graph: &mut Graph, names: &Names) -> [NodeId; 2] {
        let name = names.source.clone();
        let source = add_source::<Option<KO>, Subscription>(graph, name, &names.topic);
        let table = &self.other.table;
        let mut sources: BTreeSet<_> = table.sources.clone();
        sources.insert(source);
        graph.copartitions.push((sources, source));
        let store = subscription_store(graph, names.subscriptions.clone());
        let topic = full_name(graph, &names.topic);
        let keep_topic = topic.clone();
        let build = build_node::<Option<KO>, Subscription>(move |compiler, id| {
            Ok(Box::new(KeepSubscription {
                id,
                topic: keep_topic.clone(),
                store: compiler.needed_store(store)?,
                children: compiler.children(id)?,
            }))
        });
        let (name, kind) = (names.keep.clone(), NodeKind::Processor);
        let kept = graph.add_node(name, kind.clone(), &[source], vec![store], build);
        let getter = Arc::clone(&table.getter);
        let answer_topic = topic.clone();
        let build = build_node::<Option<KO>, Subscription>(move |compiler, id| {
            Ok(Box::new(Answer {
                id,
                topic: answer_topic.clone(),
                table: getter(compiler)?,
                children: compiler.children::<K, Response<T>>(id)?,
            }))
        });
        let (name, stores) = (names.answer.clone(), table.stores.clone());
        let answer = graph.add_node(name, kind.clone(), &[kept], stores, build);
        let build = build_node::<KO, Change<T>>(move |compiler, id| {
            Ok(Box::new(AnswerAll {
                id,
                topic: topic.clone(),
                store: compiler.needed_store(store)?,
                input: PhantomData,
                children: compiler.children::<K, Response<T>>(id)?,
            }))
        });
        let (name, parents) = (names.answer_all.clone(), [table.node]);
        let answer_all = graph.add_node(name, kind, &parents, vec![store], build);
        graph.relays_old.extend([answer, answer_all]);
        [answer, answer_all]
    }
}

fn full_name(graph: &Graph, topic: &str) -> KString {
    KString::from(graph.source_topic_name(topic, SourceRole::Repartition))
}

fn add_source<K: Serde, V: Serde>(graph: &mut Graph, name: String, topic: &str) -> NodeId {
    let build = build_source(move |compiler, id| {
        Ok(Box::new(Source::<K, V> {
            id,
            on_error: OnError::Fail,
            trusts_values: false,
            children: compiler.children(id)?,
        }))
    });
    let kind = NodeKind::Source {
        reads: Reads::Topics(vec![topic.to_owned()]),
        start_at: StartAt::Earliest,
        role: SourceRole::Repartition,
        types: type_name::<(K, V)>(),
    };
    graph.add_node(name, kind, &[], Vec::new(), build)
}

/// The store of subscriptions is written and read as bytes; nothing is kept in types.
fn subscription_store(graph: &mut Graph, name: String) -> StoreId {
    graph.add_store(Store {
        name,
        kind: StoreKind::KeyValue,
        caching: false,
        logging: true,
        place: StorePlace::AsConfigured,
        used: true,
        sends_old: false,
        build: Arc::new(|_, _| Box::new(())),
    })
}

impl<K, V, KO, T> fmt::Debug for ForeignKey<K, V, KO, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("ForeignKey")
            .field(&self.table)
            .finish()
    }
}

impl<K, V, KO, T, Kind> fmt::Debug for ForeignKeyJoin<K, V, KO, T, Kind> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ForeignKeyJoin")
            .field("left", &self.this)
            .field("right", &self.other)
            .finish()
    }
}

const REGISTRATION: &str = "KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-";
const STATE_STORE: &str = "KTABLE-FK-JOIN-SUBSCRIPTION-STATE-STORE-";
const PROCESSOR: &str = "KTABLE-FK-JOIN-SUBSCRIPTION-PROCESSOR-";
const RESPONSE: &str = "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-";
const RESOLVER: &str = "KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-RESOLVER-PROCESSOR-";
const OUTPUT: &str = "KTABLE-FK-JOIN-OUTPUT-";
