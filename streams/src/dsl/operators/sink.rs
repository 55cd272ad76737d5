//! Sinks: from typed keys and values to a topic's bytes.

use bytes::Bytes;
use moldau_client::KString;

use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::serde::Serde;
use crate::runtime::{OutputRecord, StreamsError};

/// Writes records to a topic. The key decides the partition; of a windowed key, the key without
/// its window.
pub(crate) struct Sink {
    pub(crate) id: NodeId,
    pub(crate) topic: KString,
}

impl<K: Serde, V: Serde> Node<K, V> for Sink {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let key = cx.key_bytes(key, meta, &self.topic)?;
        let value = cx.value_bytes(value, meta, &self.topic)?;
        self.send::<K>(cx, key, value, meta);
        Ok(())
    }

    fn takes_bytes(&self) -> bool {
        true
    }

    fn process_bytes(&mut self, cx: &mut Cx<'_, '_>, meta: &Meta<'_>) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let (key, value) = (meta.raw_key.cloned(), meta.raw_value.cloned());
        self.send::<K>(cx, key, value, meta);
        Ok(())
    }

    fn flush(&mut self, _: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        Ok(())
    }
}

impl Sink {
    fn send<K: Serde>(
        &self,
        cx: &mut Cx<'_, '_>,
        key: Option<Bytes>,
        value: Option<Bytes>,
        meta: &Meta<'_>,
    ) {
        let partition_key = key.as_ref().and_then(K::partition_key);
        let record = OutputRecord {
            topic: self.topic.clone(),
            partition: None,
            timestamp: meta.timestamp,
            key,
            value,
            headers: meta.headers.to_vec(),
        };
        match partition_key {
            Some(part) => cx.task.send_partitioned_by(record, part),
            None => cx.task.send(record),
        }
    }
}

/// Drops records without a key before a repartition topic, where they could go nowhere.
pub(crate) struct DropNullKeys<K, V> {
    pub(crate) id: NodeId,
    /// A left join wants them all the same: they are joined with nothing (KIP-962).
    pub(crate) keep: bool,
    pub(crate) children: Children<K, V>,
}

impl<K: Serde, V: Send + 'static> Node<K, V> for DropNullKeys<K, V> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        if key.is_null() && !self.keep {
            cx.state.operator = self.id;
            cx.task.drop_records(1);
            return Ok(());
        }
        self.children.push(cx, key, value, meta)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}
