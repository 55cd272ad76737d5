//! Operators without state: each record is handled by itself.
//!
//! Each is generic over its closure, so that the call can be inlined; the closure itself is
//! shared by all tasks.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::dsl::data::Data;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::runtime::StreamsError;

/// Passes on the records that a predicate wants.
pub(crate) struct Filter<K, V, F> {
    pub(crate) id: NodeId,
    pub(crate) predicate: Arc<F>,
    /// What the predicate must say for a record to pass.
    pub(crate) passes: bool,
    pub(crate) children: Children<K, V>,
}

impl<K: Data, V: Data, F: Fn(&K, &V) -> bool + Data> Node<K, V> for Filter<K, V, F> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        if (self.predicate)(key, value) != self.passes {
            return Ok(());
        }
        self.children.push(cx, key, value, meta)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// Makes a new key and value of each record.
pub(crate) struct Map<K, V, K2, V2, F> {
    pub(crate) id: NodeId,
    pub(crate) map: Arc<F>,
    pub(crate) input: PhantomData<fn(K, V)>,
    pub(crate) children: Children<K2, V2>,
}

impl<K: Data, V: Data, K2: Data, V2: Data, F> Node<K, V> for Map<K, V, K2, V2, F>
where
    F: Fn(&K, &V) -> (K2, V2) + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let (key, value) = (self.map)(key, value);
        self.children
            .push(cx, &key, &value, &meta.new_key_and_value())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// Makes a new value of each record.
pub(crate) struct MapValues<K, V, V2, F> {
    pub(crate) id: NodeId,
    pub(crate) map: Arc<F>,
    pub(crate) input: PhantomData<fn(V)>,
    pub(crate) children: Children<K, V2>,
}

impl<K: Data, V: Data, V2: Data, F> Node<K, V> for MapValues<K, V, V2, F>
where
    F: Fn(&K, &V) -> V2 + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let value = (self.map)(key, value);
        self.children.push(cx, key, &value, &meta.new_value())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// Makes any number of values of each record. Where they are collected is used again.
pub(crate) struct FlatMapValues<K, V, V2, F> {
    pub(crate) id: NodeId,
    pub(crate) map: Arc<F>,
    pub(crate) values: Vec<V2>,
    pub(crate) input: PhantomData<fn(V)>,
    pub(crate) children: Children<K, V2>,
}

impl<K: Data, V: Data, V2: Data, F> Node<K, V> for FlatMapValues<K, V, V2, F>
where
    F: Fn(&K, &V, &mut Vec<V2>) + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        self.values.clear();
        (self.map)(key, value, &mut self.values);
        let meta = meta.new_value();
        for value in &self.values {
            self.children.push(cx, key, value, &meta)?;
        }
        self.values.clear();
        Ok(())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// Makes any number of keys and values of each record.
pub(crate) struct FlatMap<K, V, K2, V2, F> {
    pub(crate) id: NodeId,
    pub(crate) map: Arc<F>,
    pub(crate) records: Vec<(K2, V2)>,
    pub(crate) input: PhantomData<fn(K, V)>,
    pub(crate) children: Children<K2, V2>,
}

impl<K: Data, V: Data, K2: Data, V2: Data, F> Node<K, V> for FlatMap<K, V, K2, V2, F>
where
    F: Fn(&K, &V, &mut Vec<(K2, V2)>) + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        self.records.clear();
        (self.map)(key, value, &mut self.records);
        let meta = meta.new_key_and_value();
        for (key, value) in &self.records {
            self.children.push(cx, key, value, &meta)?;
        }
        self.records.clear();
        Ok(())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// Gives each record a new key.
pub(crate) struct SelectKey<K, V, K2, F> {
    pub(crate) id: NodeId,
    pub(crate) select: Arc<F>,
    pub(crate) input: PhantomData<fn(K)>,
    pub(crate) children: Children<K2, V>,
}

impl<K: Data, V: Data, K2: Data, F: Fn(&K, &V) -> K2 + Data> Node<K, V> for SelectKey<K, V, K2, F> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let key = (self.select)(key, value);
        self.children.push(cx, &key, value, &meta.new_key())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// Looks at each record and passes it on.
pub(crate) struct Peek<K, V, F> {
    pub(crate) id: NodeId,
    pub(crate) look: Arc<F>,
    pub(crate) children: Children<K, V>,
}

impl<K: Data, V: Data, F: Fn(&K, &V) + Data> Node<K, V> for Peek<K, V, F> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        (self.look)(key, value);
        self.children.push(cx, key, value, meta)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// Passes all records of several streams on as one.
pub(crate) struct Merge<K, V> {
    pub(crate) children: Children<K, V>,
}

impl<K: Data, V: Data> Node<K, V> for Merge<K, V> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        self.children.push(cx, key, value, meta)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// Passes on the records that have a value.
pub(crate) struct Present<K, V> {
    pub(crate) children: Children<K, V>,
}

impl<K: Data, V: Data> Node<K, Option<V>> for Present<K, V> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &Option<V>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        match value {
            Some(value) => self.children.push(cx, key, value, meta),
            None => Ok(()),
        }
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}
