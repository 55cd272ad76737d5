//! Aggregation of a grouped table: each change takes its old value out and its new one in.

use std::marker::PhantomData;
use std::sync::Arc;

use super::table::{Change, emit, key_of};
use crate::dsl::data::Data;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::serde::Serde;
use crate::dsl::typed_store::TypedStore;
use crate::runtime::{StoreIndex, StreamsError};

/// Gives a table's entries new keys and values, old and new ones.
///
/// If both have the same new key they go on as one change, else the old one goes first. A half
/// that is null, or that becomes null, is left out.
pub(crate) struct Regroup<K, V, K2, V2, F> {
    pub(crate) id: NodeId,
    pub(crate) topic: String,
    pub(crate) map: Arc<F>,
    pub(crate) input: PhantomData<fn(K, V)>,
    pub(crate) children: Children<K2, Change<V2>>,
}

impl<K: Serde, V: Data, K2: Serde, V2: Serde, F> Node<K, Change<V>> for Regroup<K, V, K2, V2, F>
where
    F: Fn(&K, &V) -> (K2, V2) + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        change: &Change<V>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        if key.is_null() {
            return Err(null_key(cx, meta));
        }
        if !change.is_latest {
            // The group holds the latest value, which an older one does not replace (KIP-914).
            cx.task.drop_records(1);
            return Ok(());
        }
        let map = |value: Option<&V>| {
            let (key, value) = (self.map)(key, value?);
            (!key.is_null() && !value.is_null()).then_some((key, value))
        };
        let (new, old) = (map(change.new_value()), map(change.old_value()));
        let meta = meta.new_key_and_value();
        let new_key = match &new {
            Some((key, _)) => cx.key_bytes(key, &meta, &self.topic)?,
            None => None,
        };
        let old_key = match &old {
            Some((key, _)) => cx.key_bytes(key, &meta, &self.topic)?,
            None => None,
        };
        let is_one = new_key.is_some() && new_key == old_key;
        let half = |new: Option<V2>, old: Option<V2>| Change {
            new: Arc::new(new),
            old: Some(Arc::new(old)),
            is_latest: change.is_latest,
        };
        match (new, old) {
            (Some((key, new)), Some((_, old))) if is_one => {
                let meta = meta_with(&meta, new_key.as_ref());
                self.children
                    .push(cx, &key, &half(Some(new), Some(old)), &meta)
            }
            (new, old) => {
                if let Some((key, old)) = old {
                    let meta = meta_with(&meta, old_key.as_ref());
                    self.children
                        .push(cx, &key, &half(None, Some(old)), &meta)?;
                }
                if let Some((key, new)) = new {
                    let meta = meta_with(&meta, new_key.as_ref());
                    self.children
                        .push(cx, &key, &half(Some(new), None), &meta)?;
                }
                Ok(())
            }
        }
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

fn meta_with<'a>(meta: &Meta<'a>, raw_key: Option<&'a bytes::Bytes>) -> Meta<'a> {
    Meta { raw_key, ..*meta }
}

fn null_key(cx: &Cx<'_, '_>, meta: &Meta<'_>) -> StreamsError {
    StreamsError::Operator {
        operator: cx.state.operator_name(),
        record: cx.describe_record(meta),
        reason: "a grouped table has an entry without a key".to_owned(),
    }
}

/// Keeps an aggregate per key of a regrouped table.
pub(crate) struct TableAggregate<K, V, A, Add, Remove> {
    pub(crate) id: NodeId,
    pub(crate) store: StoreIndex,
    pub(crate) store_name: String,
    /// Takes a value into the aggregate, which is `None` for the first one of a key.
    pub(crate) add: Arc<Add>,
    /// Takes a value out of the aggregate; not called when there is none.
    pub(crate) remove: Arc<Remove>,
    pub(crate) input: PhantomData<fn(V)>,
    pub(crate) children: Children<K, Change<A>>,
}

impl<K: Serde, V: Serde, A: Serde, Add, Remove> Node<K, Change<V>>
    for TableAggregate<K, V, A, Add, Remove>
where
    Add: Fn(&K, &V, &mut Option<A>) + Data,
    Remove: Fn(&K, &V, &mut Option<A>) + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        change: &Change<V>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let Some(raw_key) = cx.key_bytes(key, meta, &self.store_name)? else {
            return Err(null_key(cx, meta));
        };
        let (entries, task) = cx.store::<TypedStore<A>>(self.store)?;
        entries.update(task, &raw_key, meta.headers, |aggregate, stored| {
            let existed = aggregate.is_some();
            if let (Some(old), true) = (change.old_value(), existed) {
                (self.remove)(key, old, aggregate);
            }
            if let Some(new) = change.new_value() {
                (self.add)(key, new, aggregate);
            }
            if existed {
                stored.max(meta.timestamp)
            } else {
                meta.timestamp
            }
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
