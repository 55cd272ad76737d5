//! Streams whose records go to topics and partitions that closures choose.

use std::any::type_name;
use std::sync::Arc;

use moldau_client::{KString, RecordHeader};

use super::data::Data;
use super::graph::{NodeKind, build_node};
use super::kstream::{Fits, KStream};
use super::operators::routed_sink::{ChoosePartitions, Destination, NameTopic, RoutedSink};
use super::processor::Origin;
use super::repartition::Repartitioned;
use super::serde::Serde;
use super::topic::Topic;

/// What is known of a record besides its key and value.
#[derive(Clone, Copy, Debug)]
pub struct RecordContext<'a> {
    /// Event time in milliseconds.
    pub timestamp: i64,
    /// Headers in order; names may repeat.
    pub headers: &'a [RecordHeader],
    /// Where it comes from; nothing behind a table's cache.
    pub origin: Option<Origin<'a>>,
}

/// The topic that a partitioner chooses partitions of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Its name.
    pub topic: &'a str,
    /// How many partitions it has, at least 1.
    pub partitions: i32,
}

/// The partitions that a partitioner chooses for a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendTo {
    /// The one that the key says, as without a partitioner.
    KeyPartition,
    /// This one, counted from 0.
    Partition(i32),
    /// Each of these once; of an empty list, as [`Nowhere`](Self::Nowhere) (KIP-837).
    Partitions(Vec<i32>),
    /// All there are.
    AllPartitions,
    /// None: the record is dropped and counted as such.
    Nowhere,
}

impl<K: Serde + Data, V: Serde + Data> KStream<K, V> {
    /// Writes the records to a topic, in partitions that `partitioner` chooses. A partition that
    /// does not exist is an error.
    ///
    /// ```
    /// use moldau_streams::{Builder, SendTo, Topic};
    ///
    /// const ORDERS: Topic<String, i64> = Topic::new("orders");
    /// const BY_SIZE: Topic<String, i64> = Topic::new("orders-by-size");
    ///
    /// let builder = Builder::new("orders");
    /// let orders = builder.stream(&ORDERS);
    /// orders.to_partitioned(&BY_SIZE, |_, amount, target| match amount {
    ///     ..0 => SendTo::Nowhere,
    ///     0..1_000 => SendTo::KeyPartition,
    ///     _ => SendTo::Partition(target.partitions - 1),
    /// });
    /// # builder.build()?;
    /// # Ok::<(), moldau_streams::StreamsError>(())
    /// ```
    pub fn to_partitioned<K2, V2>(
        &self,
        topic: &Topic<K2, V2>,
        partitioner: impl Fn(&K, &V, &Target<'_>) -> SendTo + Data,
    ) where
        K: Fits<K2>,
        V: Fits<V2>,
    {
        let kind = NodeKind::Sink {
            topic: topic.name().to_owned(),
        };
        let topic = KString::from(topic.name().to_owned());
        let destination = move || Destination::Topic(topic.clone());
        self.routed(kind, destination, Some(Arc::new(partitioner)));
    }

    /// Writes each record to the topic that `name_topic` names. These topics must exist.
    ///
    /// ```
    /// use moldau_streams::{Builder, Str, Topic};
    ///
    /// const EVENTS: Topic<Str, Str> = Topic::new("events");
    ///
    /// let builder = Builder::new("split-by-tenant");
    /// builder
    ///     .stream(&EVENTS)
    ///     .to_dynamic(|tenant, _, _| format!("events-{}", tenant.as_str()));
    /// # builder.build()?;
    /// # Ok::<(), moldau_streams::StreamsError>(())
    /// ```
    pub fn to_dynamic<N: Into<KString>>(
        &self,
        name_topic: impl Fn(&K, &V, &RecordContext<'_>) -> N + Data,
    ) {
        self.dynamic(name_topic, None);
    }

    /// Writes each record to the topic that `name_topic` names, in partitions that `partitioner`
    /// chooses.
    pub fn to_dynamic_partitioned<N: Into<KString>>(
        &self,
        name_topic: impl Fn(&K, &V, &RecordContext<'_>) -> N + Data,
        partitioner: impl Fn(&K, &V, &Target<'_>) -> SendTo + Data,
    ) {
        self.dynamic(name_topic, Some(Arc::new(partitioner)));
    }

    /// The same records, led through a topic whose partitions `partitioner` chooses. Those
    /// without a key are dropped.
    ///
    /// Grouping and joining behind it take the records to be where they belong, so the
    /// partitioner has to bring equal keys to the same partition for them.
    #[must_use]
    pub fn repartition_partitioned(
        &self,
        repartitioned: Repartitioned,
        partitioner: impl Fn(&K, &V, &Target<'_>) -> SendTo + Data,
    ) -> Self {
        let name = self.repartition_name(repartitioned);
        self.repartitioned_by(&name, Some(Arc::new(partitioner)))
    }

    fn dynamic<N: Into<KString>, F>(
        &self,
        name_topic: F,
        partitioner: Option<Arc<ChoosePartitions<K, V>>>,
    ) where
        F: Fn(&K, &V, &RecordContext<'_>) -> N + Data,
    {
        let kind = NodeKind::DynamicSink {
            extractor: type_name::<F>(),
        };
        let name_topic: Arc<NameTopic<K, V>> =
            Arc::new(move |key, value, context| name_topic(key, value, context).into());
        let destination = move || Destination::Named(Arc::clone(&name_topic));
        self.routed(kind, destination, partitioner);
    }

    fn routed(
        &self,
        kind: NodeKind,
        destination: impl Fn() -> Destination<K, V> + Data,
        partitioner: Option<Arc<ChoosePartitions<K, V>>>,
    ) {
        let build = build_node::<K, V>(move |_, id| {
            Ok(Box::new(RoutedSink {
                id,
                destination: destination(),
                partitioner: partitioner.clone(),
            }))
        });
        let mut graph = self.graph.borrow_mut();
        let name = graph.node_name(self.next_name.clone(), "KSTREAM-SINK-");
        graph.add_node(name, kind, &[self.node], Vec::new(), build);
    }
}
