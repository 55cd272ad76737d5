//! Splitting a stream: each record goes to the first branch that wants it.

use std::sync::{Arc, RwLock};

use crate::dsl::data::Data;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::runtime::StreamsError;

/// Whether a branch wants a record.
pub(crate) type Predicate<K, V> = Arc<dyn Fn(&K, &V) -> bool + Send + Sync>;

/// Predicates of the branches in the order of the node's children; `None` takes all the rest.
/// Filled while the topology is built, after its node was added.
pub(crate) type Predicates<K, V> = Arc<RwLock<Vec<Option<Predicate<K, V>>>>>;

/// Sends each record to the first child whose predicate is true.
pub(crate) struct Split<K, V> {
    pub(crate) id: NodeId,
    pub(crate) predicates: Vec<Option<Predicate<K, V>>>,
    pub(crate) children: Children<K, V>,
}

impl<K: Data, V: Data> Node<K, V> for Split<K, V> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let wants = |predicate: &Option<Predicate<K, V>>| {
            predicate.as_ref().is_none_or(|wants| wants(key, value))
        };
        match self.predicates.iter().position(wants) {
            Some(branch) => self.children.push_to(branch, cx, key, value, meta),
            None => Ok(()),
        }
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}
