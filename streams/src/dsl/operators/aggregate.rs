//! Aggregation of a grouped stream, without windows.

use std::sync::Arc;

use super::table::{Change, emit, key_of};
use crate::dsl::data::Data;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::serde::Serde;
use crate::dsl::typed_store::TypedStore;
use crate::runtime::{StoreIndex, StreamsError};

/// Folds the values of each key into one. Records without key or value are dropped.
pub(crate) struct Aggregate<K, V, A, F> {
    pub(crate) id: NodeId,
    pub(crate) store: StoreIndex,
    pub(crate) store_name: String,
    /// Takes a value into the aggregate, which is `None` for the first one of a key.
    pub(crate) add: Arc<F>,
    pub(crate) input: std::marker::PhantomData<fn(V)>,
    pub(crate) children: Children<K, Change<A>>,
}

impl<K: Serde, V: Serde, A: Serde, F> Node<K, V> for Aggregate<K, V, A, F>
where
    F: Fn(&K, &V, &mut Option<A>) + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        if key.is_null() || value.is_null() {
            cx.task.drop_records(1);
            return Ok(());
        }
        let Some(raw_key) = cx.key_bytes(key, meta, &self.store_name)? else {
            return Ok(());
        };
        let (entries, task) = cx.store::<TypedStore<A>>(self.store)?;
        entries.update(task, &raw_key, meta.headers, |aggregate, timestamp| {
            (self.add)(key, value, aggregate);
            timestamp.max(meta.timestamp)
        })?;
        if entries.must_flush(task) {
            emit(cx, self.store, &mut self.children, key_of::<K>)?;
        }
        Ok(())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        if cx.state.flushes(self.id) {
            cx.state.operator = self.id;
            emit(cx, self.store, &mut self.children, key_of::<K>)?;
        }
        self.children.flush(cx)
    }
}
