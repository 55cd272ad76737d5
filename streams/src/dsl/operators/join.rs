//! Joins of a stream with a table.

use std::marker::PhantomData;
use std::sync::Arc;

use super::table::{Found, ValueGetter};
use crate::dsl::data::Data;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::serde::Serde;
use crate::runtime::StreamsError;

/// Looks the key of each record up in a table, as the table is when the record is processed.
///
/// The result has the record's timestamp. Records without a value are dropped; records without
/// a key or without an entry in the table are dropped by an inner join and joined with nothing
/// by a left join.
pub(crate) struct StreamTableJoin<K, V, T, R, F> {
    pub(crate) id: NodeId,
    pub(crate) left: bool,
    pub(crate) table: Box<dyn ValueGetter<K, T>>,
    pub(crate) joiner: Arc<F>,
    pub(crate) input: PhantomData<fn(V)>,
    pub(crate) children: Children<K, R>,
}

impl<K: Serde, V: Serde, T: Data, R: Data, F> Node<K, V> for StreamTableJoin<K, V, T, R, F>
where
    F: Fn(&K, &V, Option<&T>) -> R + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        if self.refuses(key, value) {
            cx.task.drop_records(1);
            return Ok(());
        }
        self.join(cx, key, value, meta)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

impl<K: Serde, V: Serde, T: Data, R: Data, F> StreamTableJoin<K, V, T, R, F>
where
    F: Fn(&K, &V, Option<&T>) -> R + Data,
{
    /// Whether a record is dropped unseen.
    pub(super) fn refuses(&self, key: &K, value: &V) -> bool {
        value.is_null() || (key.is_null() && !self.left)
    }

    pub(super) fn join(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        let found = match cx.key_bytes(key, meta, "join")? {
            Some(raw_key) if !key.is_null() => Some(if self.table.is_versioned() {
                self.table.value_as_of(cx, key, &raw_key, meta.timestamp)?
            } else {
                self.table.value(cx, key, &raw_key)?
            }),
            _ => None,
        };
        let found = found.as_ref().and_then(Found::get);
        if found.is_none() && !self.left {
            return Ok(());
        }
        let joined = (self.joiner)(key, value, found);
        self.children.push(cx, key, &joined, &meta.new_value())
    }
}
