//! Sinks whose topic or partition follows from each record.

use std::collections::BTreeSet;
use std::sync::Arc;

use moldau_client::KString;

use crate::dsl::data::Data;
use crate::dsl::node::{Cx, Meta, Node, NodeId};
use crate::dsl::routing::{RecordContext, SendTo, Target};
use crate::dsl::serde::Serde;
use crate::runtime::{OutputRecord, StreamsError};

/// The topic of a record.
pub(crate) enum Destination<K, V> {
    /// Always this one.
    Topic(KString),
    /// The one that a closure names.
    Named(Arc<NameTopic<K, V>>),
}

/// Names the topic of a record.
pub(crate) type NameTopic<K, V> =
    dyn Fn(&K, &V, &RecordContext<'_>) -> KString + Send + Sync + 'static;

/// Chooses the partitions of a record.
pub(crate) type ChoosePartitions<K, V> = dyn Fn(&K, &V, &Target<'_>) -> SendTo + Send + Sync;

/// Writes records to topics and partitions that closures choose.
pub(crate) struct RoutedSink<K, V> {
    pub(crate) id: NodeId,
    pub(crate) destination: Destination<K, V>,
    pub(crate) partitioner: Option<Arc<ChoosePartitions<K, V>>>,
}

impl<K: Serde + Data, V: Serde + Data> Node<K, V> for RoutedSink<K, V> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let topic = self.topic(cx, key, value, meta)?;
        let partitions = self.partitions(cx, key, value, meta, &topic)?;
        let raw_key = cx.key_bytes(key, meta, &topic)?;
        let raw_value = cx.value_bytes(value, meta, &topic)?;
        let record = OutputRecord {
            topic,
            partition: None,
            timestamp: meta.timestamp,
            key: raw_key,
            value: raw_value,
            headers: meta.headers.to_vec(),
        };
        let Some(partitions) = partitions else {
            match record.key.as_ref().and_then(K::partition_key) {
                Some(part) => cx.task.send_partitioned_by(record, part),
                None => cx.task.send(record),
            }
            return Ok(());
        };
        if partitions.is_empty() {
            cx.task.drop_records(1);
        }
        for partition in partitions {
            cx.task.send(OutputRecord {
                partition: Some(partition),
                ..record.clone()
            });
        }
        Ok(())
    }

    fn flush(&mut self, _: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        Ok(())
    }
}

impl<K, V> RoutedSink<K, V> {
    fn topic(
        &self,
        cx: &Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<KString, StreamsError> {
        let name = match &self.destination {
            Destination::Topic(topic) => return Ok(topic.clone()),
            Destination::Named(name) => name,
        };
        let context = RecordContext {
            timestamp: meta.timestamp,
            headers: meta.headers,
            origin: meta.origin(&cx.state.origin_topic),
        };
        let topic = name(key, value, &context);
        if topic.is_empty() {
            return Err(failed(cx, meta, "it names no topic to write to".to_owned()));
        }
        Ok(topic)
    }

    /// The partitions in order, none if the record is to go nowhere; `None` if the key decides.
    fn partitions(
        &self,
        cx: &Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
        topic: &KString,
    ) -> Result<Option<BTreeSet<i32>>, StreamsError> {
        let Some(partitioner) = &self.partitioner else {
            return Ok(None);
        };
        let count = cx.task.partition_count(topic)?;
        let target = Target {
            topic,
            partitions: count,
        };
        let partitions = match partitioner(key, value, &target) {
            SendTo::KeyPartition => return Ok(None),
            SendTo::Nowhere => BTreeSet::new(),
            SendTo::Partition(partition) => BTreeSet::from([partition]),
            SendTo::Partitions(partitions) => partitions.into_iter().collect(),
            SendTo::AllPartitions => (0..count).collect(),
        };
        match partitions
            .iter()
            .find(|chosen| !(0..count).contains(chosen))
        {
            None => Ok(Some(partitions)),
            Some(wrong) => Err(failed(
                cx,
                meta,
                format!(
                    "its partitioner chose partition {wrong} of topic \"{topic}\", which has partitions 0 to {}",
                    count - 1
                ),
            )),
        }
    }
}

fn failed(cx: &Cx<'_, '_>, meta: &Meta<'_>, reason: String) -> StreamsError {
    StreamsError::Operator {
        operator: cx.state.operator_name(),
        record: cx.describe_record(meta),
        reason,
    }
}
