//! Tables that are kept in a store of their own: made of a stream, or of another table.

use std::marker::PhantomData;
use std::sync::Arc;

use super::table::{Change, emit, key_of};
use crate::dsl::data::Data;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::serde::Serde;
use crate::dsl::typed_store::TypedStore;
use crate::runtime::{StoreIndex, StreamsError};

/// Keeps each key's last value, if anyone looks it up, and emits what changes.
pub(crate) struct TableStore<K, V> {
    pub(crate) id: NodeId,
    /// Where the table is kept; `None` if nobody needs it.
    pub(crate) store: Option<StoreIndex>,
    pub(crate) store_name: String,
    /// Whether a tombstone of a key that is not there ends here (a filter that knows old values).
    pub(crate) skips_absent: bool,
    pub(crate) children: Children<K, Change<V>>,
}

impl<K: Serde, V: Serde> TableStore<K, V> {
    fn take(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        change: &Change<V>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        if key.is_null() {
            cx.task.drop_records(1);
            return Ok(());
        }
        let Some(store) = self.store else {
            return self.children.push(cx, key, change, meta);
        };
        let Some(raw_key) = cx.key_bytes(key, meta, &self.store_name)? else {
            return Ok(());
        };
        let (entries, task) = cx.store::<TypedStore<V>>(store)?;
        if self.skips_absent && change.new_value().is_none() {
            let (before, _) = entries.get(task, &raw_key)?;
            if before.is_none() {
                return Ok(());
            }
        }
        entries.set(task, &raw_key, meta.headers, &change.new, meta.timestamp)?;
        if entries.must_flush(task) {
            emit(cx, store, &mut self.children, key_of::<K>)?;
        }
        Ok(())
    }

    fn flush_all(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        if let Some(store) = self.store.filter(|_| cx.state.flushes(self.id)) {
            cx.state.operator = self.id;
            emit(cx, store, &mut self.children, key_of::<K>)?;
        }
        self.children.flush(cx)
    }
}

impl<K: Serde, V: Serde> Node<K, Change<V>> for TableStore<K, V> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        change: &Change<V>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        self.take(cx, key, change, meta)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.flush_all(cx)
    }
}

impl<K: Serde, V: Serde> Node<K, Arc<Option<V>>> for TableStore<K, V> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &Arc<Option<V>>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        let change = Change {
            new: Arc::clone(value),
            old: None,
            is_latest: true,
        };
        self.take(cx, key, &change, meta)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.flush_all(cx)
    }
}

/// Makes a table's updates of a stream's records.
pub(crate) struct Updates<K, V, T, F> {
    pub(crate) value: Arc<F>,
    pub(crate) input: PhantomData<fn(V)>,
    pub(crate) table: TableStore<K, T>,
}

impl<K: Serde, V: Data, T: Serde, F> Node<K, V> for Updates<K, V, T, F>
where
    F: Fn(&V) -> Option<T> + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        let change = Change::to((self.value)(value));
        self.table.take(cx, key, &change, meta)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.table.flush_all(cx)
    }
}
