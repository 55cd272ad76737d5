//! Operators whose closure may refuse a record; a policy says what happens then.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::dsl::data::Data;
use crate::dsl::dead_letter;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::on_error::OnError;
use crate::runtime::StreamsError;

/// Makes records under the same key of each record, or an error.
pub(crate) struct TryValues<K, V, V2, F> {
    pub(crate) id: NodeId,
    pub(crate) map: Arc<F>,
    pub(crate) on_error: OnError,
    pub(crate) values: Vec<V2>,
    pub(crate) input: PhantomData<fn(K, V)>,
    pub(crate) children: Children<K, V2>,
}

impl<K: Data, V: Data, V2: Data, F> Node<K, V> for TryValues<K, V, V2, F>
where
    F: Fn(&K, &V, &mut Vec<V2>) -> Result<(), String> + Data,
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
        if let Err(reason) = (self.map)(key, value, &mut self.values) {
            return refused(cx, &self.on_error, meta, reason);
        }
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

/// Makes records under new keys of each record, or an error.
pub(crate) struct TryRecords<K, V, K2, V2, F> {
    pub(crate) id: NodeId,
    pub(crate) map: Arc<F>,
    pub(crate) on_error: OnError,
    pub(crate) records: Vec<(K2, V2)>,
    pub(crate) input: PhantomData<fn(K, V)>,
    pub(crate) children: Children<K2, V2>,
}

impl<K: Data, V: Data, K2: Data, V2: Data, F> Node<K, V> for TryRecords<K, V, K2, V2, F>
where
    F: Fn(&K, &V, &mut Vec<(K2, V2)>) -> Result<(), String> + Data,
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
        if let Err(reason) = (self.map)(key, value, &mut self.records) {
            return refused(cx, &self.on_error, meta, reason);
        }
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

/// Passes on the records that a predicate wants, or that an action did not refuse.
pub(crate) struct TryFilter<K, V, F> {
    pub(crate) id: NodeId,
    pub(crate) predicate: Arc<F>,
    pub(crate) on_error: OnError,
    pub(crate) children: Children<K, V>,
}

impl<K: Data, V: Data, F> Node<K, V> for TryFilter<K, V, F>
where
    F: Fn(&K, &V) -> Result<bool, String> + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        match (self.predicate)(key, value) {
            Ok(true) => self.children.push(cx, key, value, meta),
            Ok(false) => Ok(()),
            Err(reason) => refused(cx, &self.on_error, meta, reason),
        }
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// Does with a refused record what the policy says.
pub(crate) fn refused(
    cx: &mut Cx<'_, '_>,
    on_error: &OnError,
    meta: &Meta<'_>,
    reason: String,
) -> Result<(), StreamsError> {
    let error = StreamsError::Operator {
        operator: cx.state.operator_name(),
        record: cx.describe_record(meta),
        reason,
    };
    dead_letter::handle(cx, on_error, meta.record, error)
}
