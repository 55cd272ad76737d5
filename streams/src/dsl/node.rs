//! The nodes that records are pushed through, depth first, within one task.
//!
//! A node owns its children, so a push is a plain call. Only a node with several parents (a
//! merge) lies in a junction of the program and is lent out for the time of a push; records
//! never come back to a node they are in, so it is always there.

use std::any::Any;
use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use moldau_client::{KString, RecordHeader};

use super::processor::{Origin, Punctuation};
use super::serde::{Serde, SerdeContext, encode};
use crate::runtime::{PunctuationId, Record, StoreIndex, StreamsError, TaskContext};

/// A node that takes keys and values of these types.
pub(crate) trait Node<K, V>: Send {
    /// Takes one record and pushes what follows from it to the children.
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError>;

    /// Whether this node looks at keys only, so that values need not be decoded for it.
    fn ignores_values(&self) -> bool {
        false
    }

    /// As [`process`](Self::process), for a record whose value is not null and was not decoded.
    /// Only called for a node that [ignores values](Self::ignores_values).
    fn process_key(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        let _ = (cx, key, meta);
        Err(StreamsError::topology(
            "an operator that needs values was given a key only",
        ))
    }

    /// Whether this node needs neither key nor value of a record that comes with the bytes of both.
    fn takes_bytes(&self) -> bool {
        false
    }

    /// As [`process`](Self::process), for a record with the bytes of key and value, neither of
    /// them null. Only called for a node that [takes bytes](Self::takes_bytes).
    fn process_bytes(&mut self, cx: &mut Cx<'_, '_>, meta: &Meta<'_>) -> Result<(), StreamsError> {
        let _ = (cx, meta);
        Err(StreamsError::topology(
            "an operator that needs keys and values was given their bytes only",
        ))
    }

    /// Commit boundary: emits what is pending if it is this node's [turn](ProgramState::flushes),
    /// then flushes the children.
    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError>;

    /// The task starts, its stores are restored. Only called for nodes that stand alone in the
    /// program.
    fn init(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        let _ = cx;
        Ok(())
    }

    /// A punctuation that this node asked for is due.
    fn punctuate(
        &mut self,
        cx: &mut Cx<'_, '_>,
        punctuation: Punctuation,
    ) -> Result<(), StreamsError> {
        let _ = (cx, punctuation);
        Ok(())
    }
}

/// A node that takes records as they come from a topic.
pub(crate) trait SourceNode: Send {
    fn process(&mut self, cx: &mut Cx<'_, '_>, record: &Record) -> Result<(), StreamsError>;
    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError>;
}

/// A node of the graph, as a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(pub(crate) usize);

/// A node of one task whose types are forgotten until its parent, which knows them, takes it.
pub(crate) trait Built: Send {
    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError>;

    fn init(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        let _ = cx;
        Ok(())
    }

    fn punctuate(
        &mut self,
        cx: &mut Cx<'_, '_>,
        punctuation: Punctuation,
    ) -> Result<(), StreamsError> {
        let _ = (cx, punctuation);
        Ok(())
    }

    fn as_any_mut(&mut self) -> &mut dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// A node with typed input.
pub(crate) struct TypedNode<K, V>(pub(crate) Box<dyn Node<K, V>>);

impl<K: 'static, V: 'static> Built for TypedNode<K, V> {
    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.0.flush(cx)
    }

    fn init(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.0.init(cx)
    }

    fn punctuate(
        &mut self,
        cx: &mut Cx<'_, '_>,
        punctuation: Punctuation,
    ) -> Result<(), StreamsError> {
        self.0.punctuate(cx, punctuation)
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// A source.
pub(crate) struct BuiltSource(pub(crate) Box<dyn SourceNode>);

impl Built for BuiltSource {
    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.0.flush(cx)
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// What travels with a key and a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta<'a> {
    pub(crate) timestamp: i64,
    pub(crate) headers: &'a [RecordHeader],
    /// The key's bytes, as long as the key is unchanged.
    pub(crate) raw_key: Option<&'a Bytes>,
    /// The value's bytes, as long as the value is unchanged.
    pub(crate) raw_value: Option<&'a Bytes>,
    /// The record this comes from; none for what a cache emits at commit.
    pub(crate) record: Option<&'a Record>,
}

impl Meta<'_> {
    /// Of what is emitted at a commit, which comes from no single record.
    pub(crate) const fn at_commit() -> Self {
        Self {
            timestamp: -1,
            headers: &[],
            raw_key: None,
            raw_value: None,
            record: None,
        }
    }

    /// Where the record comes from, which lies in this topic; `None` if it is no single record.
    pub(crate) fn origin<'o>(&self, topic: &'o str) -> Option<Origin<'o>> {
        self.record.map(|record| Origin {
            topic,
            partition: record.partition,
            offset: record.offset,
        })
    }

    /// The same, with a new value.
    pub(crate) const fn new_value(&self) -> Self {
        Self {
            raw_value: None,
            ..*self
        }
    }

    /// The same, with a new key and value.
    pub(crate) const fn new_key_and_value(&self) -> Self {
        Self {
            raw_key: None,
            raw_value: None,
            ..*self
        }
    }

    /// The same, with a new key.
    pub(crate) const fn new_key(&self) -> Self {
        Self {
            raw_key: None,
            ..*self
        }
    }
}

/// What a node works with, besides itself.
pub(crate) struct Cx<'a, 't> {
    pub(crate) task: &'a mut TaskContext<'t>,
    pub(crate) state: &'a mut ProgramState,
}

/// What all nodes of a task share.
pub(crate) struct ProgramState {
    /// Typed stores, by [`StoreIndex`].
    pub(crate) stores: Vec<Box<dyn Any + Send>>,
    /// Nodes with several parents, and nodes that punctuate; `None` while lent out. Each is a
    /// [`TypedNode`].
    pub(crate) junctions: Vec<Option<Box<dyn Built>>>,
    /// Position of each of them.
    pub(crate) slots: BTreeMap<NodeId, usize>,
    /// Which node asked for a punctuation.
    pub(crate) punctuations: BTreeMap<PunctuationId, NodeId>,
    /// Names of all nodes, by [`NodeId`].
    pub(crate) names: std::sync::Arc<[String]>,
    /// The node at work, to name it when it panics.
    pub(crate) operator: NodeId,
    /// Topic of the record that is being processed.
    pub(crate) origin_topic: KString,
    /// Its offset; at a commit, that of the last record processed.
    pub(crate) origin_offset: i64,
    /// Bytes are written here and cut off.
    pub(crate) buffer: BytesMut,
    /// The last key that was only looked up, so that its memory is used again.
    pub(crate) looked_up: BytesMut,
    /// Wall-clock time at which a node wants a commit; `i64::MAX` if none does.
    pub(crate) wake_at: i64,
    /// The node whose turn it is at a commit.
    pub(crate) flushing: NodeId,
}

impl<'t> Cx<'_, 't> {
    /// The bytes of a key: those it came with, or new ones.
    pub(crate) fn key_bytes<K: Serde>(
        &mut self,
        key: &K,
        meta: &Meta<'_>,
        topic: &str,
    ) -> Result<Option<Bytes>, StreamsError> {
        match meta.raw_key {
            Some(raw) => Ok(Some(raw.clone())),
            None => self.encode(key, &SerdeContext::key(topic)),
        }
    }

    /// The bytes of a value: those it came with, or new ones.
    pub(crate) fn value_bytes<V: Serde>(
        &mut self,
        value: &V,
        meta: &Meta<'_>,
        topic: &str,
    ) -> Result<Option<Bytes>, StreamsError> {
        match meta.raw_value {
            Some(raw) => Ok(Some(raw.clone())),
            None => self.encode(value, &SerdeContext::value(topic)),
        }
    }

    pub(crate) fn encode<T: Serde>(
        &mut self,
        value: &T,
        context: &SerdeContext<'_>,
    ) -> Result<Option<Bytes>, StreamsError> {
        encode(value, context, &mut self.state.buffer).map_err(|error| StreamsError::Serialize {
            operator: self.state.operator_name(),
            topic: context.topic.to_owned(),
            part: context.part.name(),
            reason: error.to_string(),
        })
    }

    /// The typed store at `index`, beside the task that has its bytes.
    pub(crate) fn store<S: 'static>(
        &mut self,
        index: StoreIndex,
    ) -> Result<(&mut S, &mut TaskContext<'t>), StreamsError> {
        let store = self.state.stores.get_mut(index.0);
        let store = store.and_then(|store| store.downcast_mut::<S>());
        store
            .map(|store| (store, &mut *self.task))
            .ok_or_else(|| StreamsError::Store {
                store: format!("#{}", index.0),
                reason: "is not what the operator was built for".to_owned(),
            })
    }

    /// Where the record at work comes from, for error texts.
    pub(crate) fn describe_record(&self, meta: &Meta<'_>) -> String {
        match meta.record {
            Some(record) => format!(
                "the record of topic \"{}\" partition {} offset {}",
                self.state.origin_topic, record.partition, record.offset
            ),
            None => "a table entry".to_owned(),
        }
    }
}

impl ProgramState {
    /// Asks for a commit at this wall-clock time, at which the node that asks looks around.
    pub(crate) fn wake_at(&mut self, wall_clock_ms: i64) {
        self.wake_at = self.wake_at.min(wall_clock_ms);
    }

    /// Whether it is this node's turn to emit what it has held back.
    pub(crate) fn flushes(&self, node: NodeId) -> bool {
        self.flushing == node
    }

    /// Notes that a node has asked for these punctuations.
    pub(crate) fn punctuated_by(&mut self, node: NodeId, ids: Vec<PunctuationId>) {
        self.punctuations
            .extend(ids.into_iter().map(|id| (id, node)));
    }

    pub(crate) fn operator_name(&self) -> String {
        self.names.get(self.operator.0).cloned().unwrap_or_default()
    }
}

/// The children of a node, in the order they were added.
pub(crate) struct Children<K, V> {
    nodes: Vec<Box<dyn Node<K, V>>>,
}

impl<K, V> Children<K, V> {
    pub(crate) const fn new(nodes: Vec<Box<dyn Node<K, V>>>) -> Self {
        Self { nodes }
    }

    pub(crate) fn push(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        for node in &mut self.nodes {
            node.process(cx, key, value, meta)?;
        }
        Ok(())
    }

    /// Whether no child looks at values.
    pub(crate) fn ignore_values(&self) -> bool {
        self.nodes.iter().all(|node| node.ignores_values())
    }

    /// Pushes a record whose value was not decoded.
    pub(crate) fn push_key(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        for node in &mut self.nodes {
            node.process_key(cx, key, meta)?;
        }
        Ok(())
    }

    /// Whether no child needs more than the bytes of keys and values.
    pub(crate) fn take_bytes(&self) -> bool {
        self.nodes.iter().all(|node| node.takes_bytes())
    }

    /// Pushes a record of which only the bytes are there.
    pub(crate) fn push_bytes(
        &mut self,
        cx: &mut Cx<'_, '_>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        for node in &mut self.nodes {
            node.process_bytes(cx, meta)?;
        }
        Ok(())
    }

    /// Pushes to one child only; to none if it does not exist.
    pub(crate) fn push_to(
        &mut self,
        child: usize,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        match self.nodes.get_mut(child) {
            Some(node) => node.process(cx, key, value, meta),
            None => Ok(()),
        }
    }

    pub(crate) fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        for node in &mut self.nodes {
            node.flush(cx)?;
        }
        Ok(())
    }
}

/// The way to a node that has several parents.
pub(crate) struct JunctionRef {
    pub(crate) slot: usize,
}

impl<K: 'static, V: 'static> Node<K, V> for JunctionRef {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        let lent = cx.state.junctions.get_mut(self.slot).and_then(Option::take);
        let Some(mut lent) = lent else {
            return Err(StreamsError::topology(
                "a record came back to a merge it was in",
            ));
        };
        let result = match lent.as_any_mut().downcast_mut::<TypedNode<K, V>>() {
            Some(node) => node.0.process(cx, key, value, meta),
            None => Err(StreamsError::topology(
                "a merge of streams of different types",
            )),
        };
        cx.state.junctions[self.slot] = Some(lent);
        result
    }

    /// The program flushes junctions itself, after all of their parents.
    fn flush(&mut self, _: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        Ok(())
    }
}
