//! Joins of a stream with a global table.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::dsl::data::Data;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::serde::{Serde, SerdeContext};
use crate::runtime::{GlobalIndex, StreamsError};

/// Finds the global table's key for a record; `None` where it has none.
pub(crate) type Extractor<K, V, GK> = Arc<dyn Fn(&K, &V) -> Option<GK> + Send + Sync>;

/// Looks a key of each record up in a global table, as far as that has been read.
pub(crate) struct GlobalJoin<K, V, GK, GV, R, F> {
    pub(crate) id: NodeId,
    pub(crate) left: bool,
    pub(crate) global: GlobalIndex,
    pub(crate) store_name: String,
    pub(crate) extractor: Extractor<K, V, GK>,
    pub(crate) joiner: Arc<F>,
    pub(crate) table: PhantomData<fn() -> GV>,
    pub(crate) children: Children<K, R>,
}

impl<K: Data, V: Serde, GK: Serde, GV: Serde, R: Data, F> GlobalJoin<K, V, GK, GV, R, F> {
    fn find(&self, cx: &mut Cx<'_, '_>, key: Option<&GK>) -> Result<Option<GV>, StreamsError> {
        let Some(key) = key else { return Ok(None) };
        let Some(bytes) = cx.encode(key, &SerdeContext::key(&self.store_name))? else {
            return Ok(None);
        };
        let Some(stored) = cx.task.global_store(self.global)?.get(&bytes)? else {
            return Ok(None);
        };
        let value = GV::decode(&SerdeContext::value(&self.store_name), &stored.value);
        value.map(Some).map_err(|error| StreamsError::Store {
            store: self.store_name.clone(),
            reason: format!("cannot read a value: {error}"),
        })
    }
}

impl<K, V, GK, GV, R, F> Node<K, V> for GlobalJoin<K, V, GK, GV, R, F>
where
    K: Data,
    V: Serde,
    GK: Serde,
    GV: Serde,
    R: Data,
    F: Fn(&K, &V, Option<&GV>) -> R + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        if value.is_null() {
            cx.task.drop_records(1);
            return Ok(());
        }
        let wanted = (self.extractor)(key, value).filter(|wanted| !wanted.is_null());
        if wanted.is_none() && !self.left {
            cx.task.drop_records(1);
            return Ok(());
        }
        let found = self.find(cx, wanted.as_ref())?;
        if found.is_none() && !self.left {
            return Ok(());
        }
        let joined = (self.joiner)(key, value, found.as_ref());
        self.children.push(cx, key, &joined, &meta.new_value())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}
