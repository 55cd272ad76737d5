//! Grouped tables, and what they are aggregated to.

use std::any::type_name;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use moldau_client::KString;

use super::data::Data;
use super::graph::{NodeKind, Reads, SharedGraph, build_node, build_source};
use super::grouped::{aggregate_one, reduce_one};
use super::ktable::{KTable, store_getter};
use super::materialized::Materialized;
use super::node::{Node, NodeId};
use super::on_error::OnError;
use super::operators::sink::Sink;
use super::operators::source::Source;
use super::operators::table::Change;
use super::operators::table_aggregate::{Regroup, TableAggregate};
use super::serde::Serde;
use super::to_table::table_store;
use crate::runtime::{REPARTITION_SUFFIX, SourceRole, StartAt};

/// A table grouped by another key, to be aggregated. A change of the table takes the old value
/// out of its group and the new one into its own.
#[must_use = "a grouping does nothing until it is aggregated"]
pub struct KGroupedTable<K, V> {
    graph: SharedGraph,
    node: NodeId,
    name: Option<String>,
    next_name: Option<String>,
    /// Source behind the repartition topic of a named grouping, once there is one.
    repartitioned: Rc<RefCell<Option<NodeId>>>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Serde, V: Data> KTable<K, V> {
    /// Groups the entries by a new key, and gives them new values, to aggregate them. Goes
    /// through a repartition topic. An entry whose new key or value is null is left out.
    pub fn group_by<K2: Serde, V2: Serde>(
        &self,
        map: impl Fn(&K, &V) -> (K2, V2) + Data,
    ) -> KGroupedTable<K2, V2> {
        let map = Arc::new(map);
        let mut graph = self.graph.borrow_mut();
        let name = graph.node_name(self.next_name.clone(), "KTABLE-SELECT-");
        let topic = name.clone();
        let build = build_node::<K, Change<V>>(move |compiler, id| {
            Ok(Box::new(Regroup {
                id,
                topic: topic.clone(),
                map: Arc::clone(&map),
                input: PhantomData,
                children: compiler.children(id)?,
            }))
        });
        graph.send_old_values(self.node);
        let node = graph.add_node(name, NodeKind::Processor, &[self.node], Vec::new(), build);
        KGroupedTable {
            graph: Rc::clone(&self.graph),
            node,
            name: self.next_name.clone(),
            next_name: None,
            repartitioned: Rc::default(),
            types: PhantomData,
        }
    }
}

impl<K: Serde, V: Serde> KGroupedTable<K, V> {
    /// Names the aggregation that follows instead of numbering it.
    pub fn named(&self, name: impl Into<String>) -> Self {
        Self {
            next_name: Some(name.into()),
            ..self.clone()
        }
    }

    /// How many entries each group has.
    #[must_use]
    pub fn count(&self) -> KTable<K, i64> {
        self.count_as(Materialized::default())
    }

    /// How many entries each group has, in a store with a name or settings of its own.
    #[must_use]
    pub fn count_as(&self, materialized: impl Into<Materialized>) -> KTable<K, i64> {
        let add = |_: &K, _: &V, count: &mut Option<i64>| *count = Some(count.unwrap_or(0) + 1);
        let remove = |_: &K, _: &V, count: &mut Option<i64>| *count = count.map(|count| count - 1);
        self.aggregated(AGGREGATE, materialized.into(), add, remove)
    }

    /// The values of each group made into one: `adder` gets what there is and a new value,
    /// `subtractor` what there is and a value that is no longer in the group. The first value of
    /// a group is taken as it is.
    #[must_use]
    pub fn reduce(
        &self,
        adder: impl Fn(&V, &V) -> V + Data,
        subtractor: impl Fn(&V, &V) -> V + Data,
    ) -> KTable<K, V>
    where
        V: Clone,
    {
        self.reduce_as(Materialized::default(), adder, subtractor)
    }

    /// As [`reduce`](Self::reduce), in a store with a name or settings of its own.
    #[must_use]
    pub fn reduce_as(
        &self,
        materialized: impl Into<Materialized>,
        adder: impl Fn(&V, &V) -> V + Data,
        subtractor: impl Fn(&V, &V) -> V + Data,
    ) -> KTable<K, V>
    where
        V: Clone,
    {
        let (add, remove) = (reduce_one(adder), reduce_one(subtractor));
        self.aggregated(REDUCE, materialized.into(), add, remove)
    }

    /// The values of each group taken into an aggregate that begins as `initial` makes it:
    /// `adder` takes one in, `subtractor` one that is no longer in the group out. When a value
    /// changes within its group, the old one is taken out first.
    #[must_use]
    pub fn aggregate<A: Serde>(
        &self,
        initial: impl Fn() -> A + Data,
        adder: impl Fn(&K, &V, &mut A) + Data,
        subtractor: impl Fn(&K, &V, &mut A) + Data,
    ) -> KTable<K, A> {
        self.aggregate_as(Materialized::default(), initial, adder, subtractor)
    }

    /// As [`aggregate`](Self::aggregate), in a store with a name or settings of its own.
    #[must_use]
    pub fn aggregate_as<A: Serde>(
        &self,
        materialized: impl Into<Materialized>,
        initial: impl Fn() -> A + Data,
        adder: impl Fn(&K, &V, &mut A) + Data,
        subtractor: impl Fn(&K, &V, &mut A) + Data,
    ) -> KTable<K, A> {
        let remove = move |key: &K, value: &V, aggregate: &mut Option<A>| {
            if let Some(aggregate) = aggregate {
                subtractor(key, value, aggregate);
            }
        };
        let add = aggregate_one(initial, adder);
        self.aggregated(AGGREGATE, materialized.into(), add, remove)
    }

    fn aggregated<A: Serde>(
        &self,
        prefix: &str,
        materialized: Materialized,
        add: impl Fn(&K, &V, &mut Option<A>) + Data,
        remove: impl Fn(&K, &V, &mut Option<A>) + Data,
    ) -> KTable<K, A> {
        let mut graph = self.graph.borrow_mut();
        let store_name = graph.store_name(materialized.name.clone(), AGGREGATE);
        let suffixed = |suffix| {
            self.next_name
                .as_ref()
                .map(|name| format!("{name}{suffix}"))
        };
        let sink_name = graph.node_name(suffixed("-sink"), "KSTREAM-SINK-");
        let source_name = graph.node_name(suffixed("-source"), "KSTREAM-SOURCE-");
        let name = graph.node_name(self.next_name.clone(), prefix);
        drop(graph);
        let source = self.repartition(&store_name, sink_name, source_name);
        let mut graph = self.graph.borrow_mut();
        let store = table_store::<A>(&mut graph, store_name, &materialized, true);
        let (add, remove) = (Arc::new(add), Arc::new(remove));
        let build = build_node::<K, Change<V>>(move |compiler, id| {
            Ok(Box::new(TableAggregate {
                id,
                store: compiler.needed_store(store)?,
                store_name: compiler.graph().stores[store.0].name.clone(),
                add: Arc::clone(&add),
                remove: Arc::clone(&remove),
                input: PhantomData,
                children: compiler.children(id)?,
            }))
        });
        let node = graph.add_node(name, NodeKind::Processor, &[source], vec![store], build);
        drop(graph);
        KTable::new(
            Rc::clone(&self.graph),
            node,
            [source].into(),
            store_getter::<K, A>(store),
            store,
        )
    }

    /// The source behind the repartition topic: of a named grouping one for all aggregations,
    /// else one for each.
    fn repartition(&self, store_name: &str, sink_name: String, source_name: String) -> NodeId {
        if let (Some(source), Some(_)) = (*self.repartitioned.borrow(), &self.name) {
            self.graph.borrow_mut().use_again(source);
            return source;
        }
        let prefix = self.name.as_deref().unwrap_or(store_name);
        let short_name = format!("{prefix}{REPARTITION_SUFFIX}");
        let mut graph = self.graph.borrow_mut();
        let topic = graph.source_topic_name(&short_name, SourceRole::Repartition);
        let sink_topic = KString::from(topic);
        let build = build_node::<K, Change<V>>(move |_, id| {
            let topic = sink_topic.clone();
            Ok(Box::new(Sink { id, topic }) as Box<dyn Node<K, Change<V>>>)
        });
        let kind = NodeKind::RepartitionSink {
            topic: short_name.clone(),
        };
        graph.add_node(sink_name, kind, &[self.node], Vec::new(), build);
        let build = build_source(move |compiler, id| {
            Ok(Box::new(Source::<K, Change<V>> {
                id,
                on_error: OnError::Fail,
                trusts_values: false,
                children: compiler.children(id)?,
            }))
        });
        let kind = NodeKind::Source {
            reads: Reads::Topics(vec![short_name]),
            start_at: StartAt::Earliest,
            role: SourceRole::Repartition,
            types: type_name::<(K, Change<V>)>(),
        };
        let source = graph.add_node(source_name, kind, &[], Vec::new(), build);
        self.repartitioned.replace(Some(source));
        source
    }
}

impl<K, V> Clone for KGroupedTable<K, V> {
    fn clone(&self) -> Self {
        Self {
            graph: Rc::clone(&self.graph),
            node: self.node,
            name: self.name.clone(),
            next_name: self.next_name.clone(),
            repartitioned: Rc::clone(&self.repartitioned),
            types: PhantomData,
        }
    }
}

impl<K, V> fmt::Debug for KGroupedTable<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.graph.borrow().nodes[self.node.0].name;
        formatter.debug_tuple("KGroupedTable").field(name).finish()
    }
}

const AGGREGATE: &str = "KTABLE-AGGREGATE-";
const REDUCE: &str = "KTABLE-REDUCE-";
